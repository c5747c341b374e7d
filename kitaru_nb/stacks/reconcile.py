"""Brings what is on record and what schedulers say back together: one pass, which may be repeated.

A worker that died is seen by its lease and by its scheduler. Where both say that nothing runs, and no
person has ended it, the execution is submitted again, to its own stack and as it was submitted before.
What has ended elsewhere while nobody followed it has its output fetched, once on each machine.
There is no daemon: whoever follows a run does this, and `kitaru-nb reconcile`, by hand or from cron.
Of any number of passes at once one submits: the others find the attempt held by the queue.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum

from kitaru_nb.artifacts.vault import VAULT
from kitaru_nb.engine.addresses import held_up_by
from kitaru_nb.engine.engine import Engine
from kitaru_nb.engine.suspensions import is_own_stop
from kitaru_nb.errors import ConflictError, KitaruError, StackError, StoreError, UsageError
from kitaru_nb.model.checkpoint import Checkpoint, CheckpointStatus
from kitaru_nb.model.execution import Attempt, Execution, ExecutionStatus, current_owner
from kitaru_nb.stacks.collecting import collect, owes_output
from kitaru_nb.stacks.launcher import JobState, Launcher
from kitaru_nb.stacks.notices import tell
from kitaru_nb.stacks.outcome import Exit, Outcome
from kitaru_nb.stacks.submissions import (
    Submission,
    last_word,
    note_fetched,
    submission_of,
    was_fetched,
    was_stopped,
    was_submitted,
)
from kitaru_nb.stacks.submitting import submit_again

__all__ = ["LIMIT", "Action", "Reconciled", "decide", "reconcile", "reconcile_one"]

LIMIT = 3
"""After how many attempts in a row that recorded nothing an execution is given up."""

_LOST_AFTER = timedelta(seconds=60)
_LOG_TAIL = 500
_UNFINISHED = (ExecutionStatus.RUNNING, ExecutionStatus.INTERRUPTED, ExecutionStatus.WAITING)


class Action(StrEnum):
    """What became of one execution."""

    LEFT = "left"
    SUBMITTED = "submitted"
    GIVEN_UP = "given-up"
    FETCHED = "fetched"
    UNREACHABLE = "unreachable"


@dataclass(frozen=True, slots=True)
class Reconciled:
    """One execution that was looked at.

    Attributes:
        execution: Which.
        action: What was done.
        reason: Why; for one that was left, what it is doing.
    """

    execution: Execution
    action: Action
    reason: str


def decide(
    execution: Execution,
    attempt: Attempt,
    submission: Submission,
    *,
    state: JobState | None,
    ended: Outcome | None,
    answered: bool,
    stopped: bool,
    idle: int,
    now: datetime,
) -> tuple[Action, str]:
    """What to do with an execution that was submitted.

    Args:
        execution: As it stands, see `ExecutionStatus`.
        attempt: Its newest attempt.
        submission: How that was submitted.
        state: What the scheduler says; None where no job is known.
        ended: What its worker said last, if it could; None, too, where it was to try once more.
        answered: Whether it waited and may go on by itself.
        stopped: Whether a person has stopped it.
        idle: How many of its newest attempts in a row have recorded nothing.
        now: The time.
    """
    if execution.status not in _UNFINISHED:
        return Action.LEFT, execution.reason or execution.status.value
    if execution.status is ExecutionStatus.WAITING:
        return (Action.SUBMITTED, "its wait is over") if answered else (Action.LEFT, "waits for an answer")
    if execution.status is ExecutionStatus.RUNNING and not attempt.owner.is_queue:
        return Action.LEFT, "running"
    if stopped:
        return Action.LEFT, "was stopped"
    if state is not None and not state.over:
        return Action.LEFT, state.status.value + (f": {state.reason}" if state.reason else "")
    if state is None and now - submission.at < _LOST_AFTER:
        return Action.LEFT, "is being submitted"
    if ended is not None and ended.exit is not Exit.SIGTERM:
        return Action.LEFT, execution.reason or execution.status.value
    reason = _why(execution, attempt, state)
    return (Action.SUBMITTED if idle < LIMIT else Action.GIVEN_UP), reason


def reconcile(engine: Engine, launcher: Callable[[str], Launcher | None]) -> Iterator[Reconciled]:
    """Look at every unfinished execution that was submitted, see `reconcile_one`, and fetch owed outputs.

    Args:
        engine: Where they are recorded.
        launcher: The launcher of a stack by name, None for one that is not known here.
    """
    guests = engine.journal.guests()
    for status in _UNFINISHED:
        for execution in engine.journal.executions(status=status):
            if execution.identity.flow is None and execution.id not in guests:
                found = reconcile_one(engine, execution, launcher)
                if found is not None:
                    yield found
    for execution in engine.journal.executions():
        if execution.status not in _UNFINISHED and execution.id not in guests:
            fetched = _fetched(engine, execution)
            if fetched is not None:
                yield fetched


def _fetched(engine: Engine, execution: Execution) -> Reconciled | None:
    """Write the output of a run that ended elsewhere, unless that was done here before.

    Who has deleted it since does not want it back.
    """
    if not owes_output(engine, execution) or was_fetched(engine.journal, execution):
        return None
    submission = submission_of(engine, execution)
    if submission is None or not submission.own:  # a file is written where the record says: it has to be ours
        return None
    try:
        path = collect(engine, execution)
    except StoreError as error:
        return Reconciled(execution, Action.LEFT, error.message)
    note_fetched(engine, execution)
    return Reconciled(execution, Action.FETCHED, f"its output is here now: {path}")


def reconcile_one(
    engine: Engine, execution: Execution, launcher: Callable[[str], Launcher | None]
) -> Reconciled | None:
    """Look at one execution, and submit it again where its worker is gone; None where it was never submitted.

    A launcher that cannot be reached changes nothing.
    """
    attempt = engine.journal.attempts(execution.id)[-1]
    submission = submission_of(engine, execution)
    try:
        if (
            attempt.owner.is_queue
            and attempt.ended_at is None
            and not was_submitted(engine.journal, execution)
        ):
            return _of_no_job(engine, execution, attempt, submission, launcher)
        if submission is None or not submission.own or submission.epoch != attempt.epoch:
            return None  # nobody submitted it, or somebody has gone on with it by hand since
        chosen = launcher(submission.stack)
        if chosen is None:
            reason = f"stack `{submission.stack}` is not known here"
            return Reconciled(execution, Action.UNREACHABLE, reason)
        state = None if submission.handle is None else chosen.poll(submission.handle)
        # read again: an answer takes its time, and what a job that is over has done is on record by now
        execution = engine.journal.execution(execution.id)
        attempt = engine.journal.attempts(execution.id)[-1]
        if attempt.epoch != submission.epoch:
            return Reconciled(execution, Action.LEFT, execution.status.value)
        action, reason = decide(
            execution,
            attempt,
            submission,
            state=state,
            ended=last_word(engine, execution, attempt.epoch),
            answered=_may_go_on(engine, execution),
            stopped=was_stopped(engine.journal, execution),
            idle=_idle(engine, execution),
            now=datetime.now(UTC),
        )
        if action is Action.LEFT:
            return Reconciled(execution, action, reason)
        if execution.status is ExecutionStatus.RUNNING:  # in the queue, and nothing will take it from there
            reason += _said(chosen, submission)
            engine.journal.finish(attempt, ExecutionStatus.INTERRUPTED, reason=VAULT.mask(reason))
        if action is Action.GIVEN_UP:
            return _give_up(engine, execution, reason)
        submit_again(engine, execution.id, chosen, submission)
    except ConflictError as error:
        return Reconciled(engine.journal.execution(execution.id), Action.LEFT, error.message)
    except (StackError, UsageError) as error:  # of its stack: what it needs may be missing here
        return Reconciled(engine.journal.execution(execution.id), Action.UNREACHABLE, error.message)
    return Reconciled(engine.journal.execution(execution.id), action, reason)


def _of_no_job(
    engine: Engine,
    execution: Execution,
    attempt: Attempt,
    submission: Submission | None,
    launcher: Callable[[str], Launcher | None],
) -> Reconciled:
    """An attempt that a queue holds, though nobody has said that it was to be submitted.

    Who took the lease died before that, so no process will ever begin it. It is taken out; where it was
    submitted before, that is done again, and else the command that was to submit it goes on with it.
    """
    if datetime.now(UTC) - attempt.started_at < _LOST_AFTER:
        return Reconciled(execution, Action.LEFT, "is being submitted")
    reason = "who was to submit it died before that"
    engine.journal.finish(attempt, ExecutionStatus.INTERRUPTED, reason=reason)
    chosen = launcher(submission.stack) if submission is not None and submission.own else None
    if submission is None or chosen is None:
        return Reconciled(engine.journal.execution(execution.id), Action.LEFT, reason)
    submit_again(engine, execution.id, chosen, submission)
    return Reconciled(engine.journal.execution(execution.id), Action.SUBMITTED, reason)


def _give_up(engine: Engine, execution: Execution, reason: str) -> Reconciled:
    said = VAULT.mask(f"given up after {LIMIT} attempts that recorded nothing: {reason}")
    attempt = engine.journal.resume(execution.id, owner=current_owner())
    engine.journal.finish(attempt, ExecutionStatus.FAILED, reason=said)
    tell(engine, Outcome(ExecutionStatus.FAILED, Exit.FAILED, execution.id, reason=said))
    return Reconciled(engine.journal.execution(execution.id), Action.GIVEN_UP, said)


def _why(execution: Execution, attempt: Attempt, state: JobState | None) -> str:
    if state is None:
        return "no job is known for it"
    how = f" with exit code {state.code}" if state.code is not None else ""
    more = f" ({state.reason})" if state.reason else ""
    if attempt.owner.is_queue:
        return f"its job ended{how}{more} before it began"
    return f"{execution.reason or 'its worker ended'}{more}"


def _said(launcher: Launcher, submission: Submission) -> str:
    """The end of what a worker printed that never began, since nothing else says why."""
    if submission.handle is None:
        return ""
    try:
        text = launcher.logs(submission.handle).decode("utf-8", "replace").strip()
    except KitaruError:
        return ""
    # one line, as a reason is: what a program prints on several reads as well with strokes between them
    return f": {' | '.join(filter(None, map(str.strip, text[-_LOG_TAIL:].splitlines())))}" if text else ""


def _idle(engine: Engine, execution: Execution) -> int:
    """How many attempts have passed since something was recorded, or somebody was asked.

    Also within a cell: one that takes days records its calls and how far its loops have come.
    """
    asked = (
        each.epoch for each in engine.journal.attempts(execution.id) if each.status is ExecutionStatus.WAITING
    )
    newest = max(asked, default=0)  # a run that came to a question has done what it could
    idle = execution.epoch - max(newest, _newest(engine.journal.checkpoints(execution.id)))
    if idle < LIMIT:
        return idle
    return min(idle, execution.epoch - _newest(engine.journal.steps_within(execution.id)))


def _newest(steps: Sequence[Checkpoint]) -> int:
    return max((each.epoch for each in steps if each.draft.status is CheckpointStatus.COMPLETED), default=0)


def _may_go_on(engine: Engine, execution: Execution) -> bool:
    if execution.status is not ExecutionStatus.WAITING:
        return False
    stopped = engine.journal.suspended(execution.id)
    if stopped is None or not stopped.data["wait"] or held_up_by(engine.journal, execution.id) is not None:
        return False
    return is_own_stop(engine.journal, execution, engine.trust.keys)
