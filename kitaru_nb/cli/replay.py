"""`replay`: an execution run again from one of its checkpoints on, with changed inputs."""

from __future__ import annotations

import json as json_
import sys
from collections.abc import Sequence
from typing import Any

from kitaru_nb.cli.output import clean, duration, money, print_error, print_json
from kitaru_nb.cli.run import dollars_of, print_outcome, print_result
from kitaru_nb.engine.describe import execution_json
from kitaru_nb.engine.engine import Engine
from kitaru_nb.engine.refs import find_execution
from kitaru_nb.engine.replay import Replay
from kitaru_nb.errors import UsageError
from kitaru_nb.model.execution import Execution, ExecutionId
from kitaru_nb.model.served import Served
from kitaru_nb.model.settings import Settings
from kitaru_nb.stacks.flow_runs import run_flow
from kitaru_nb.stacks.flows import Here
from kitaru_nb.stacks.local import run
from kitaru_nb.stacks.outcome import Exit, Outcome, status_line
from kitaru_nb.stacks.replay_notebook import Wanted, begin_notebook
from kitaru_nb.stacks.replays import replay_flow

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
        progress: Show a progress bar.
        json: Print one JSON document.

    Raises:
        KitaruError: nothing was begun, and why.
    """
    typed = changes_typed(changes)
    dollars = dollars_of(budget)
    place = Here(stack)
    engine = place.engine()
    original = find_execution(engine.journal, execution)
    if original.identity.flow is None:
        wanted = Wanted(
            from_, typed=typed, output=output, tags=tags, budget=dollars, progress=progress and not json
        )
        return _replay_notebook(engine, original, wanted, settings=place.settings(), json=json)
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


def _replay_notebook(
    engine: Engine, original: Execution, wanted: Wanted, *, settings: Settings, json: bool
) -> int:
    begun = begin_notebook(engine, original, wanted, namespace={})
    execution = begun.attempt.execution
    announce(original, execution, begun.plan, begun.reused, what="checkpoint")
    for note in begun.notes:
        print(f"  {clean(note)}", file=sys.stderr)
    outcome = run(begun.job, settings=settings)
    if not json:
        print_outcome(begun.job, outcome)
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
    try:
        return [(name, json_.loads(text))]
    except ValueError:
        return [(name, text)]


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
