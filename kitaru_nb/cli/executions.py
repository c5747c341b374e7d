"""`executions` and `show`: what ran, and what became of each step."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from contextlib import closing
from shlex import quote
from typing import Annotated

from cyclopts import Parameter

from kitaru_nb.cli.output import (
    Json,
    age,
    clean,
    counted,
    duration,
    money,
    print_json,
    print_table,
    size,
    tidy_path,
)
from kitaru_nb.engine.describe import execution_json, noted_text, result_ref, show_json
from kitaru_nb.engine.refs import FLOW, LATEST, checkpoint_names, find_execution, steps
from kitaru_nb.engine.replays import replays_of
from kitaru_nb.engine.stops import stop_as_wait
from kitaru_nb.errors import NotFoundError, UsageError
from kitaru_nb.journal.journal import Journal
from kitaru_nb.model.checkpoint import Checkpoint, StepKind, error_line
from kitaru_nb.model.execution import Execution, ExecutionStatus
from kitaru_nb.model.settings import Settings
from kitaru_nb.model.stack import LOCAL
from kitaru_nb.model.wait import WaitStatus, asks_again, asks_again_from
from kitaru_nb.stacks.grid_rows import measured
from kitaru_nb.stacks.open import chosen_stack, open_engine
from kitaru_nb.stacks.parts import journal_at
from kitaru_nb.stacks.settings import begun_after, resolve
from kitaru_nb.stacks.whereabouts import engine_with

__all__ = ["executions", "show"]

_NAMES_SHOWN = 4


def executions(
    *,
    status: Annotated[ExecutionStatus | None, Parameter(metavar="STATUS", show_choices=False)] = None,
    tag: Annotated[str | None, Parameter(metavar="TAG")] = None,
    since: Annotated[str | None, Parameter(metavar="TIME")] = None,
    limit: Annotated[int | None, Parameter(metavar="N")] = None,
    json: Json = False,
) -> int:
    """List executions, newest first.

    Args:
        status: Only those that are running, waiting, completed, failed, interrupted or cancelled.
        tag: Only those with this tag.
        since: Only those begun since then: a length of time such as 2h, or a date such as 2026-03-01.
        limit: At most this many.
        json: Print one JSON document.
    """
    if limit is not None and limit < 1:
        raise UsageError(f"--limit is {limit}, and 1 is the least", kind="bad-limit", hint="--limit 20")
    moment = None if since is None else begun_after(since)
    settings = resolve()
    try:
        engine = open_engine(settings, read_only=True)
    except NotFoundError as error:
        found: list[Execution] = []
        nothing = f"{error.message}. To begin: {error.hint}"
    else:
        with closing(engine):
            found = engine.journal.executions(status=status, tag=tag, since=moment, limit=limit)
        nothing = "no execution fits" if status or tag or since else _none_in(settings)
    if json:
        print_json([execution_json(execution) for execution in found])
    elif not found:
        print(clean(nothing))
    else:
        print_table(_COLUMNS, [_row(execution) for execution in found], flexible=("what", "tags"))
    return 0


def show(execution: str = LATEST, /, *, json: Json = False) -> int:
    """Show one execution with its checkpoints.

    Args:
        execution: An id, the start of one, or latest.
        json: Print one JSON document.
    """
    with closing(engine_with(execution, read_only=True)) as engine:
        chosen = find_execution(engine.journal, execution)
        if json:
            print_json(show_json(engine.journal, chosen))
        else:
            from kitaru_nb.stacks.collecting import owes_output  # noqa: PLC0415 - a list needs none of it

            _print_execution(engine.journal, chosen)
            if owes_output(engine, chosen):
                print(f"its output was not written here yet: kitaru-nb resume {chosen.id}")
    return 0


_COLUMNS = ("id", "status", "what", "started", "took", "saved", "attempts", "cost", "tags")


def _none_in(settings: Settings) -> str:
    stack = chosen_stack(settings)
    of = "" if stack.name == LOCAL.name else f" (stack {stack.name})"
    return f"no executions in {journal_at(settings, stack)}{of}"


def _row(execution: Execution) -> list[str]:
    identity = execution.identity
    return [
        execution.id,
        execution.status.value,
        tidy_path(identity.notebook) if identity.notebook else identity.flow or "",
        age(execution.started_at),
        duration(execution.duration),
        duration(execution.saved_duration) if execution.saved_duration else "",
        str(execution.attempts),
        money(execution.cost),
        ", ".join(execution.tags),
    ]


def _print_execution(journal: Journal, execution: Execution) -> None:
    found = steps(journal, execution.id)
    pinned = execution.id in journal.pinned()
    arrived = journal.guests().get(execution.id)
    print(
        *_heading(execution),
        *_lineage(journal, execution),
        *([f"in the queue of stack {clean(queue)}"] if (queue := _queue_of(journal, execution)) else []),
        *(["pinned: its values are kept"] if pinned else []),
        *([f"imported {age(arrived)}, recorded elsewhere"] if arrived else []),
        sep="\n",
    )
    pending = [wait for wait in journal.waits(execution.id) if wait.status is WaitStatus.PENDING]
    for wait in pending:
        print(clean(f"{wait.address} waits for an answer: {wait.question}"))
    stopped = stop_as_wait(journal, execution)
    if stopped is not None:
        print(f"waiting for {stopped.kind.awaited}:", *map(clean, stopped.question.splitlines()), sep="\n  ")
    returned = result_ref(journal, execution)
    if returned is not None:
        print(clean(f"result kitaru-nb artifact {quote(returned)}"))
    noted, _ = measured(journal, execution.id)
    if noted:
        print(clean(noted_text(noted)))
    if not found:
        print("\nno checkpoints" if execution.ended_at else "\nno checkpoints yet")
        return
    print()
    wanted = {group.artifact for step in found for group in step.draft.groups}
    known, removed = journal.artifacts(wanted), journal.removed(wanted)
    stored = {
        step.seq: "removed"
        if any(g.artifact in removed for g in step.draft.groups)
        else size(sum(known[g.artifact].bytes for g in step.draft.groups if g.artifact in known) or None)
        for step in found
    }
    rows = [
        _step_row(step, name, stored[step.seq])
        for step, name in zip(found, checkpoint_names(found), strict=True)
    ]
    print_table(
        ("#", "checkpoint", "status", "took", "reads", "wrote", "stored", "cost"),
        rows,
        flexible=("reads", "wrote"),
    )
    print("\n" + counted(Counter(_fate(step) for step in found)))
    _print_failures(found)
    for said in dict.fromkeys(str(stone) for stone in removed.values()):
        print(f"values were {said}")
    if execution.status.continues and not arrived and not _only_asks_again(found):
        print(f"go on with: kitaru-nb resume {execution.id}")


def _queue_of(journal: Journal, execution: Execution) -> str | None:
    """The stack in whose queue a run waits for a worker."""
    attempt = journal.attempts(execution.id)[-1]
    return attempt.owner.host if attempt.owner.is_queue and attempt.ended_at is None else None


def _heading(execution: Execution) -> list[str]:
    identity = execution.identity
    what = tidy_path(identity.notebook) if identity.notebook else identity.flow or ""
    began = execution.started_at.astimezone().strftime("%Y-%m-%d %H:%M:%S")
    attempts = f" in {execution.attempts} attempts" if execution.attempts > 1 else ""
    lines = [
        clean(f"{execution.id}  {execution.status.value}  {what}"),
        f"started {began} ({age(execution.started_at)}), took {duration(execution.duration)}{attempts}",
    ]
    if execution.saved_duration:
        lines.append(f"saved {duration(execution.saved_duration)} by restoring")
    if execution.reason:
        lines.append(clean(f"{execution.status.value} because: {execution.reason}"))
    if identity.output:
        lines.append(clean(f"output {tidy_path(identity.output)}"))
    if identity.parameters:
        lines.append(clean("with " + ", ".join(f"{k}={v!r}" for k, v in identity.parameters.items())))
    if execution.tags:
        lines.append(clean("tags " + ", ".join(execution.tags)))
    return lines


def _lineage(journal: Journal, execution: Execution) -> list[str]:
    """What the execution replays, or is called by, and what replays it."""
    from kitaru_nb.engine.replay import replay_of  # noqa: PLC0415 - a list needs none of it

    lines = []
    replay = replay_of(journal, execution.id)
    if replay is not None:
        lines.append(clean(f"replays {replay.of} {replay.told()}"))
    elif execution.parent is not None:
        lines.append(clean(f"called by {execution.parent}"))
    lines += [clean(f"replayed as {by} from `{step}`") for by, step in replays_of(journal, execution.id)]
    return lines


def _step_row(step: Checkpoint, name: str, stored: str) -> list[str]:
    draft = step.draft
    return [
        str(step.ordinal),
        "  " * _depth(draft.scope) + name if draft.kind is StepKind.CALL else name,
        _fate(step),
        duration(draft.duration),
        _names(sorted(draft.reads)),
        _names(draft.writes),
        stored,
        money(draft.cost),
    ]


def _fate(step: Checkpoint) -> str:
    return "overridden" if step.draft.data.get("overridden") else step.draft.status.value


def _depth(scope: str) -> int:
    """How far inside a call is: in a cell one step, in a flow as many as there are calls around it."""
    return scope.count("/") + (0 if scope == FLOW or scope.startswith(f"{FLOW}/") else 1)


def _print_failures(found: Sequence[Checkpoint]) -> None:
    for step in found:
        if step.draft.error:
            ename, evalue = step.draft.error.get("ename", "error"), step.draft.error.get("evalue", "")
            ended = ename == "SystemExit" and evalue in ("", "0")
            what = "ended the run with `sys.exit()`" if ended else error_line(ename, evalue)
            first, *more = what.splitlines()
            print(clean(f"{step.draft.name}: {first}"))
            for line in more:
                print(f"  {clean(asks_again_from(line, step.draft.name))}")


def _only_asks_again(found: Sequence[Checkpoint]) -> bool:
    """Whether the run ended at a question that nobody answered in time: it would end there again."""
    ended = found[-1].draft.error if found else None
    return ended is not None and asks_again(ended.get("evalue", "").partition("\n  Try: ")[2])


def _names(names: Sequence[str]) -> str:
    more = f" +{len(names) - _NAMES_SHOWN}" if len(names) > _NAMES_SHOWN else ""
    return ", ".join(names[:_NAMES_SHOWN]) + more
