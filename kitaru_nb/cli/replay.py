"""`replay`: an execution run again from one of its checkpoints on, with changed inputs."""

from __future__ import annotations

import json as json_
import sys
from collections.abc import Mapping, Sequence
from contextlib import closing, suppress
from typing import Any

from kitaru_nb.cli.elsewhere import follow_begun
from kitaru_nb.cli.grid import Wish
from kitaru_nb.cli.output import clean, duration, money, print_error, print_json
from kitaru_nb.cli.plan import foreseen_json, print_foreseen
from kitaru_nb.cli.replay_grid import replay_grid
from kitaru_nb.cli.run import (
    check_workers,
    dollars_of,
    make_page,
    print_outcome,
    print_result,
    say_doubts,
)
from kitaru_nb.engine.changes import value_typed
from kitaru_nb.engine.describe import execution_json
from kitaru_nb.engine.engine import Engine
from kitaru_nb.engine.refs import find_execution
from kitaru_nb.engine.replay import Replay
from kitaru_nb.errors import UsageError
from kitaru_nb.model.execution import Execution, ExecutionId, queue_owner
from kitaru_nb.model.served import Served
from kitaru_nb.model.settings import Settings
from kitaru_nb.stacks.flow_runs import run_flow
from kitaru_nb.stacks.flows import Here
from kitaru_nb.stacks.grid import Factor
from kitaru_nb.stacks.grid_files import axis_typed, file_read
from kitaru_nb.stacks.html_page import need_nbconvert
from kitaru_nb.stacks.local import run
from kitaru_nb.stacks.open import open_engine
from kitaru_nb.stacks.outcome import Exit, Outcome, status_line
from kitaru_nb.stacks.replay_notebook import Wanted, begin_notebook
from kitaru_nb.stacks.replay_plan import foresee_replay
from kitaru_nb.stacks.replays import replay_flow
from kitaru_nb.stacks.settings import resolve
from kitaru_nb.stacks.whereabouts import engine_with, is_elsewhere

__all__ = ["changes_typed", "replay_execution"]


def replay_execution(
    execution: str,
    from_: str,
    changes: Sequence[str],
    *,
    output: str | None = None,
    stack: str | None = None,
    tags: Sequence[str] = (),
    budget: float | None = None,
    files: Sequence[str] = (),
    grid: Sequence[str] = (),
    workers: int = 1,
    new: bool = False,
    dry_run: bool = False,
    html: bool = False,
    progress: bool = True,
    json: bool = False,
) -> int:
    """Replay an execution to its end; the exit code.

    Args:
        execution: An id, the start of one, or ``latest``.
        from_: The step to begin at.
        changes: ``NAME=VALUE``, as typed; ``-`` for those on standard input.
        output: For a notebook, where the executed one goes.
        stack: Where both are recorded.
        tags: Of the new execution.
        budget: What the new execution may cost in US dollars.
        files: Files of changes; `changes` count before them. Or files of grids, see `grid_files`.
        grid: ``NAME=V1,V2``: a replay for each combination of values, see `cli.grid`.
        workers: How many of them run at a time.
        new: Begin a grid anew, even where some of it is unfinished.
        dry_run: Only say what would be reused and what would run.
        html: Make a page of each output, too.
        progress: Show a progress bar.
        json: Print one JSON document.

    Raises:
        KitaruError: nothing was begun, and why.
    """
    typed, factors = _changes(changes, files, grid)
    dollars = dollars_of(budget)
    check_workers(workers)
    if stack is None:
        stack = _stack_of(execution)
    if dry_run and not factors:
        return _dry_run(execution, from_, typed, output=output, stack=stack, json=json)
    place = Here(stack)
    engine = place.engine()
    original = find_execution(engine.journal, execution)
    if html:
        need_nbconvert()
    if original.identity.flow is None and original.identity.notebook is not None:
        with suppress(UsageError):  # where the notebook is gone, beginning says so
            say_doubts(original.identity.notebook, original.identity.parameters)
    if factors:
        wish = Wish(workers=workers, html=html, json=json, progress=progress, dry_run=dry_run)
        return replay_grid(
            original,
            from_,
            factors,
            changes=typed,
            output=output,
            tags=tags,
            budget=dollars,
            new=new,
            wish=wish,
            settings=place.settings(),
        )
    if original.identity.flow is None:
        wanted = Wanted(
            from_, typed=typed, output=output, tags=tags, budget=dollars, progress=progress and not json
        )
        return _replay_notebook(engine, original, wanted, settings=place.settings(), json=json, html=html)
    if output is not None:
        message = f"`{original.id}` is a run of a flow, which writes no notebook"
        raise UsageError(message, kind="bad-option", hint="leave -o out")
    begun = replay_flow(engine, original, from_, typed=typed, tags=tags, place=place)
    if dollars is not None:
        begun.turn.book.set_limit(dollars)
    announce(original, begun.turn.execution, begun.plan, begun.reused)
    outcome, result = run_flow(begun.turn)
    if not json:
        print_result(original, outcome, result)
    return _ended(engine, outcome, json=json)


def _stack_of(execution: str) -> str | None:
    """The stack that has an execution on record; None for the current one."""
    with closing(engine_with(execution, read_only=True)) as engine:
        found = engine.settings.stack
    return None if found == resolve().stack else found


def _changes(
    typed: Sequence[str], files: Sequence[str], grid: Sequence[str]
) -> tuple[dict[str, Any], list[Factor]]:
    """What is changed in all of them, and the factors of a grid.

    Raises:
        UsageError: kinds ``bad-change``, ``bad-grid``, ``bad-parameter-file``.
    """
    values: dict[str, Any] = {}
    factors: list[Factor] = []
    for file in files:
        read, more = file_read(file, read=value_typed)
        values.update(read)
        factors += more
    for name, texts in map(axis_typed, grid):
        factors.append([{name: value_typed(text)} for text in texts])
    varied = {name for factor in factors for part in factor for name in part}
    given = changes_typed(typed)
    both = next((name for name in given if name in varied), None)
    if both is not None:
        message = f"`{both}` is set with --set and varied by the grid"
        raise UsageError(message, kind="bad-grid", hint=f"leave out --set {both}")
    return {name: value for name, value in {**values, **given}.items() if name not in varied}, factors


def _dry_run(
    execution: str, from_: str, typed: Mapping[str, Any], *, output: str | None, stack: str | None, json: bool
) -> int:
    with closing(open_engine(resolve(stack=stack), read_only=True)) as engine:
        original = find_execution(engine.journal, execution)
        found = foresee_replay(engine, original, from_, typed=typed, output=output)
    if json:
        print_json(foreseen_json(found))
    else:
        print_foreseen(found)
    return 0


def _replay_notebook(
    engine: Engine, original: Execution, wanted: Wanted, *, settings: Settings, json: bool, html: bool
) -> int:
    elsewhere = is_elsewhere(settings)
    owner = queue_owner(settings.stack) if elsewhere else None
    begun = begin_notebook(engine, original, wanted, namespace={}, owner=owner)
    execution = begun.attempt.execution
    announce(original, execution, begun.plan, begun.reused, what="checkpoint")
    for note in begun.notes:
        print(f"  {clean(note)}", file=sys.stderr)
    outcome = follow_begun(begun.job, settings) if elsewhere else run(begun.job, settings=settings)
    if not json:
        print_outcome(begun.job, outcome)
    if html:
        make_page(begun.job, quiet=json)
    print(status_line(outcome), file=sys.stderr)
    if json:
        print_json(execution_json(engine.journal.execution(execution)))
    return int(outcome.exit)


def changes_typed(changes: Sequence[str]) -> dict[str, Any]:
    """``NAME=VALUE`` by name: a value that is JSON is that, any other one is text.

    ``-`` stands for a JSON object on standard input, where nobody else on the machine sees it.

    Raises:
        UsageError: kind ``bad-change``.
    """
    found: dict[str, Any] = {}
    for name, value in (pair for change in changes for pair in _typed(change)):
        if name in found:
            raise UsageError(f"`{name}` is set twice", kind="bad-change", hint=f"--set {name}=VALUE once")
        found[name] = value
    return found


def _typed(change: str) -> list[tuple[str, Any]]:
    if change == "-":
        return list(_changes_read(sys.stdin.read()).items())
    name, equals, text = change.partition("=")
    name = name.strip()
    if not equals or not name:
        message = f"--set is `{change}`, which gives no name a value"
        raise UsageError(message, kind="bad-change", hint="--set NAME=VALUE")
    return [(name, value_typed(text))]


def _changes_read(text: str) -> dict[str, Any]:
    try:
        found = json_.loads(text)
    except (ValueError, RecursionError):
        found = None
    if not isinstance(found, dict):
        message = "--set is `-`, and standard input holds no JSON object"
        raise UsageError(
            message, kind="bad-change", hint="""echo '{"NAME": VALUE}' | kitaru-nb replay --set -"""
        )
    return found


def announce(
    original: Execution, execution: ExecutionId, plan: Replay, reused: Served, *, what: str = "result"
) -> None:
    """Say what is replayed as what, and what that saves; `what` is what is reused."""
    count = len(reused.steps)
    saved = [duration(reused.duration)] if reused.duration else []
    saved += [money(reused.cost)] if reused.cost is not None else []
    results = f"1 {what} before it is" if count == 1 else f"{count or 'no'} {what}s before it are"
    tail = f" (saves {', '.join(saved)})" if count and saved else ""
    print(
        clean(f"kitaru: {execution} replays {original.id} {plan.told()}: {results} reused{tail}"),
        file=sys.stderr,
    )


def _ended(engine: Engine, outcome: Outcome, *, json: bool) -> int:
    if not json and outcome.traceback:
        print(outcome.traceback, file=sys.stderr, end="")
    if not json and outcome.error is not None:
        print_error(outcome.error, as_json=False)
    elif not json and outcome.exit is Exit.WAITING:
        print(outcome.reason, file=sys.stderr)
    print(status_line(outcome), file=sys.stderr)
    if json:
        print_json(execution_json(engine.journal.execution(outcome.execution)))
    return int(outcome.exit)
