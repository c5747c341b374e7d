"""`resume`: executions that stopped go on as they were begun, named or all of them."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from contextlib import closing, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

from kitaru_nb.cli.output import clean, print_error, print_json
from kitaru_nb.cli.run import (
    Todo,
    check_exit,
    code_of,
    do,
    dollars_of,
    execution_document,
    print_result,
    say_doubts,
    say_misnamed,
    say_waiting,
)
from kitaru_nb.engine.addresses import held_up_by
from kitaru_nb.engine.allowance import SET
from kitaru_nb.engine.describe import execution_json
from kitaru_nb.engine.engine import Engine
from kitaru_nb.engine.refs import LATEST, find_execution
from kitaru_nb.engine.stops import is_lifted, stop_as_wait
from kitaru_nb.errors import KitaruError, NotFoundError, StackError, UntrustedError, UsageError
from kitaru_nb.model.execution import Execution, ExecutionStatus
from kitaru_nb.model.settings import Settings
from kitaru_nb.model.wait import WaitKind
from kitaru_nb.stacks.begun import is_vouched_for
from kitaru_nb.stacks.collecting import collect
from kitaru_nb.stacks.disk import limit_of, used_by
from kitaru_nb.stacks.open import chosen_stack, open_engine
from kitaru_nb.stacks.outcome import Exit, Outcome, exit_code_of, status_line
from kitaru_nb.stacks.parts import journal_file, store_folder
from kitaru_nb.stacks.resuming import can_go_on, is_by_hand, job_again, resumable
from kitaru_nb.stacks.settings import begun_after, parse_duration, resolve
from kitaru_nb.stacks.whereabouts import engine_with

__all__ = ["resume_executions"]


def resume_executions(
    executions: Sequence[str] = (),
    *,
    all: bool = False,  # noqa: A002 - the option's name
    tag: str | None = None,
    since: str | None = None,
    retries: int = 0,
    timeout: str | None = None,
    log_output: bool = False,
    dry_run: bool = False,
    budget: float | None = None,
    suspend_exit: int | None = None,
    json: bool = False,
    progress: bool = True,
) -> int:
    """Go on with interrupted, failed or waiting executions; the exit code.

    Each runs as it was begun: same notebook, output and parameters. Of several, one that
    cannot go on does not keep the others from it.

    Args:
        executions: Ids, starts of ids, or ``latest``; by default the newest one that is
            interrupted or failed.
        all: Every headless execution that is interrupted or failed, or waited and has its answer,
            oldest first; one that a budget has stopped only with a larger `budget`.
        tag: With `all`, only those with this tag.
        since: With `all`, only those begun since then, such as ``2h`` or ``2026-03-01``.
        retries: As for `run_notebooks`, like the arguments after it.
        timeout: As there.
        log_output: As there.
        dry_run: As there.
        budget: What each may cost from now on, in US dollars. An execution that is run by hand in a
            kernel is told so, and goes on when its cell is run again.
        suspend_exit: As there.
        json: As there.
        progress: As there.

    Raises:
        KitaruError: nothing was run, and why.
        UntrustedError: kinds ``untrusted-stop``, ``untrusted-beginning``: none was named, and the newest
            was suspended, or begun, by somebody who is not trusted here.
    """
    _check_choice(executions, all=all, narrowed=tag is not None or since is not None)
    check_exit(suspend_exit)
    say_misnamed()
    seconds = None if timeout is None else parse_duration(timeout, what="--timeout")
    dollars = dollars_of(budget)
    if dollars is not None and len(executions) == 1:
        by_hand = _raised_by_hand(executions[0], dollars, dry_run=dry_run)
        if by_hand is not None:
            if json:
                print_json(execution_json(by_hand))
            else:
                print(_run_its_cell(by_hand, dollars, dry_run=dry_run))
            return int(Exit.COMPLETED)
    if all:
        settings = resolve()
        chosen = [(settings, e) for e in _all_resumable(settings, tag=tag, since=since, dollars=dollars)]
    else:
        found = [_named(each) for each in executions or (None,)]
        chosen = [(settings, execution) for settings, execution, path in found if path is None]
        brought = [(execution, path) for _, execution, path in found if path is not None]
        if brought and not chosen:
            return _say_brought(brought, json=json, several=len(found) > 1)
    shown = progress and not log_output and not json
    flows = [(known, each) for known, each in chosen if each.identity.flow is not None]
    jobs = [
        Todo(
            replace(job_again(e, timeout=seconds, log_output=log_output, progress=shown), budget=dollars),
            known,
            e,
        )
        for known, e in chosen
        if e.identity.flow is None
    ]
    _say_doubts(jobs)
    if not jobs and not flows and not json:
        print(_nothing(tag, since))
    several = all or len(executions) > 1
    options: dict[str, Any] = {"dry_run": dry_run, "json": json, "several": several}
    options["suspend_exit"] = suspend_exit
    if flows and not jobs:
        return _do_flows(flows, budget=dollars, **options)
    if flows:
        worst = _do_flows(flows, budget=dollars, **{**options, "json": False, "several": True})
        return do(jobs, retries=retries, **{**options, "several": True}) or worst
    return do(jobs, retries=retries, **options)


def _raised_by_hand(text: str, dollars: float, *, dry_run: bool) -> Execution | None:
    """An execution of a notebook that is run by hand, which may cost this from now on; None for another."""
    with closing(engine_with(text, read_only=dry_run)) as engine:
        found = find_execution(engine.journal, text)
        if not is_by_hand(found):
            return None
        if not dry_run:
            engine.journal.record_event(found.id, SET, {"limit": dollars})
        return found


def _run_its_cell(execution: Execution, dollars: float, *, dry_run: bool) -> str:
    may = "would be allowed to cost" if dry_run else "may cost"
    return f"`{execution.id}` {may} ${dollars:g} from now on: run the cell that waits for it again"


def _say_doubts(todo: Sequence[Todo]) -> None:
    """Say of each notebook once which parameters it does not have."""
    names: dict[str, set[str]] = {}
    for each in todo:
        names.setdefault(each.job.notebook, set()).update(each.job.parameters)
    for notebook, given in names.items():
        with suppress(UsageError):  # of one that is gone its run says so
            say_doubts(notebook, sorted(given))


def _named(text: str | None) -> tuple[Settings, Execution, Path | None]:
    """The execution that `text` names, or the newest that can go on, and the settings of who knows it.

    One that has completed elsewhere while nobody followed it comes with its output, which is here now.
    """
    with closing(engine_with(text, read_only=True)) as engine:
        found = _newest(engine) if text is None else find_execution(engine.journal, text)
        if found.status is ExecutionStatus.COMPLETED:
            path = collect(engine, found)
            if path is not None:
                return engine.settings, found, path
        return engine.settings, resumable(found), None


def _say_brought(brought: Sequence[tuple[Execution, Path]], *, json: bool, several: bool) -> int:
    """Say of runs that have completed elsewhere where their output is now; the exit code."""
    documents = [execution_json(execution) for execution, _ in brought]
    for execution, path in brought:
        if not json:
            print(f"{clean(str(path))}: {execution.id} has completed, and this is its output")
        print(f"kitaru: {execution.status} execution={execution.id}", file=sys.stderr)
    if json:
        print_json(documents if several else documents[0])
    return int(Exit.COMPLETED)


def _nothing(tag: str | None, since: str | None) -> str:
    """What to say where there is nothing to go on with."""
    with_tag = "" if tag is None else f" with the tag `{clean(tag)}`"
    begun = "" if since is None else f" that was begun since {clean(since)}"
    return f"nothing to resume: no execution{with_tag}{begun} is interrupted or failed"


def _do_flows(
    executions: Sequence[tuple[Settings, Execution]],
    *,
    dry_run: bool,
    json: bool,
    several: bool,
    budget: float | None,
    suspend_exit: int | None = None,
) -> int:
    """Go on with executions of flows, in this process; the exit code."""
    from kitaru_nb.stacks.flow_runs import resume_flow  # noqa: PLC0415 - notebooks need nothing of it

    documents: list[Any] = []
    worst = 0
    for settings, execution in executions:
        if dry_run:
            documents.append(execution_json(execution))
            if not json:
                print(f"{execution.id}  {clean(execution.identity.flow or '')}: would go on")
            continue
        try:
            _check_current(settings, execution)
            outcome, result = resume_flow(execution, budget=budget)
        except KitaruError as error:
            if not several:
                raise
            print_error(error, as_json=False)
            documents.append(error.document)
            worst = worst or int(exit_code_of(error))
            continue
        if not json:
            _print_flow(execution, outcome, result)
        print(status_line(outcome), file=sys.stderr)
        worst = worst or code_of(outcome, suspend_exit)
        documents.append(execution_document(outcome, resolve()))
    if json:
        print_json(documents if several else documents[0])
    return worst


def _check_current(settings: Settings, execution: Execution) -> None:
    """Refuse a flow that another stack has on record: it runs in this process, on the current one.

    Raises:
        StackError: kind ``other-stack``.
    """
    if settings.stack != resolve().stack:
        raise StackError(
            f"`{execution.id}` is on record on stack `{settings.stack}`, which is not the current one",
            kind="other-stack",
            hint=f"KITARU_NB_STACK={settings.stack} kitaru-nb resume {execution.id}",
        )


def _print_flow(execution: Execution, outcome: Outcome, result: object) -> None:
    """How an attempt of a flow ended, and what it returned."""
    if outcome.traceback:
        print(outcome.traceback, file=sys.stderr, end="")
    if outcome.error is not None:
        print_error(outcome.error, as_json=False)
    elif outcome.exit is Exit.WAITING:
        say_waiting(outcome)
    print_result(execution, outcome, result)


def _check_choice(executions: Sequence[str], *, all: bool, narrowed: bool) -> None:  # noqa: A002 - as above
    if all and executions:
        raise UsageError(
            f"`{executions[0]}` and --all were both given", kind="bad-option", hint="kitaru-nb resume --all"
        )
    if narrowed and not all:
        raise UsageError(
            "--tag and --since choose among all executions",
            kind="bad-option",
            hint="kitaru-nb resume --all --since 2h",
        )


def _all_resumable(
    settings: Settings, *, tag: str | None, since: str | None, dollars: float | None
) -> list[Execution]:
    """Every headless execution that can go on, oldest first; none where nothing is recorded yet.

    What a budget has stopped is left alone, and said so, unless `dollars` is more than that was; so is
    what waits for room, until there is enough for what did not fit.
    """
    moment = None if since is None else begun_after(since)
    try:
        engine = open_engine(settings, read_only=True)
    except NotFoundError:
        return []
    with closing(engine):
        guests = engine.journal.guests()
        found = engine.journal.executions(tag=tag, since=moment)
        own = [e for e in found if can_go_on(e) and e.id not in guests]
        free = [e for e in own if held_up_by(engine.journal, e.id) is None][::-1]
        strange = [e for e in free if not is_vouched_for(engine, e)]
        for each in strange:
            print(f"{_strange(each)}: kitaru-nb resume {each.id}", file=sys.stderr)
        free = [e for e in free if e not in strange]
        room = _room(settings)
        lifted = [e for e in free if is_lifted(engine.journal, e, dollars, room)]
        for stopped in (e for e in free if e not in lifted):
            wait = stop_as_wait(engine.journal, stopped)
            if wait is not None:  # it may have gone on meanwhile
                print(f"{stopped.id} waits for {wait.kind.awaited}: {_LIFTED[wait.kind]}", file=sys.stderr)
        return lifted


_LIFTED = {
    WaitKind.BUDGET: "kitaru-nb resume --budget USD",
    WaitKind.ROOM: "kitaru-nb gc --keep-days 7, or export KITARU_NB_MAX_BYTES=50GB",
}


def _room(settings: Settings) -> int | None:
    """Bytes that the store may take in addition; None where there is no limit."""
    stack = chosen_stack(settings)
    folder = store_folder(settings, stack)
    most = None if folder is None else limit_of(folder, settings.max_bytes)
    return None if most is None else most - used_by(journal_file(settings, stack), folder)


def _newest(engine: Engine) -> Execution:
    """The newest headless execution that can go on, else the newest of all, to be told why it cannot."""
    guests = engine.journal.guests()
    waits = None  # one that nobody has answered would only stop again: only where there is no other
    for execution in engine.journal.executions():
        if can_go_on(execution) and execution.id not in guests and is_vouched_for(engine, execution):
            if held_up_by(engine.journal, execution.id) is None:
                return execution
            waits = waits or execution
    if waits is not None:
        return waits
    newest = find_execution(engine.journal, LATEST)
    if can_go_on(newest) and not is_vouched_for(engine, newest):
        kind = "untrusted-stop" if newest.status is ExecutionStatus.WAITING else "untrusted-beginning"
        raise UntrustedError(_strange(newest), kind=kind, hint=f"kitaru-nb resume {newest.id}")
    return newest


def _strange(execution: Execution) -> str:
    done = "suspended" if execution.status is ExecutionStatus.WAITING else "begun"
    return f"`{execution.id}` was {done} by somebody whose key is not trusted here"
