"""Follows a run that a worker elsewhere does, to its end, and lets it be begun again where that died."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable
from dataclasses import replace

from kitaru_nb.engine.engine import Engine
from kitaru_nb.errors import KitaruError, StackError
from kitaru_nb.model.execution import Execution, ExecutionId, ExecutionStatus
from kitaru_nb.stacks.launcher import Launchers
from kitaru_nb.stacks.outcome import Exit, Outcome
from kitaru_nb.stacks.reconcile import Action, reconcile_one
from kitaru_nb.stacks.submissions import exit_of, last_word, note_stopped, submission_of
from kitaru_nb.stacks.watch import Signals

__all__ = ["follow", "stop"]

_LOOK = 0.3  # seconds between looks at the journal
_POLL = 2.0  # seconds between questions to a scheduler
_PATIENCE = 30.0  # seconds that a worker gets to end after it was asked to

_FINAL = (ExecutionStatus.COMPLETED, ExecutionStatus.CANCELLED, ExecutionStatus.FAILED)
_EXITS = {
    ExecutionStatus.COMPLETED: Exit.COMPLETED,
    ExecutionStatus.FAILED: Exit.FAILED,
    ExecutionStatus.WAITING: Exit.WAITING,
    ExecutionStatus.CANCELLED: Exit.SIGTERM,
    ExecutionStatus.INTERRUPTED: Exit.KERNEL_DIED,
}


def follow(
    engine: Engine,
    execution: ExecutionId,
    launchers: Launchers,
    *,
    signals: Signals,
    tell: Callable[[str], object] = lambda _: None,
    look: Callable[[], object] = lambda: None,
) -> Outcome:
    """Wait until a submitted run has ended, is cancelled or waits for a person.

    A worker that dies meanwhile is replaced, see `reconcile`. Where nothing on record says what a worker
    does next, and its scheduler gives no answer, that is waited for as long as the settings say. On SIGINT
    or SIGTERM the worker is asked to end, and the run is `interrupted`. If this process dies the run goes
    on without it.

    Args:
        engine: Where it is recorded.
        execution: Which run.
        launchers: Where its stack's launcher is found.
        signals: What notes the signals.
        tell: Called with a line when there is news of the job.
        look: Called with each look at the journal.
    """
    told, polled = "", 0.0
    silent: float | None = None
    while True:
        if signals.noted is not None:
            return stop(engine, execution, launchers, signals.noted)
        found = engine.journal.execution(execution)
        runs = found.status is ExecutionStatus.RUNNING
        attempt = engine.journal.attempts(execution)[-1]
        look()
        if runs and not attempt.owner.is_queue:
            news = f"running on {attempt.owner.host}" + (
                f", attempt {found.epoch}" if found.epoch > 1 else ""
            )
        elif runs and time.monotonic() - polled < _POLL:
            time.sleep(_LOOK)
            continue
        else:
            polled = time.monotonic()
            # asked first: a job that ends between the two questions is looked at once more
            over = False if runs else _is_over(engine, execution, launchers)
            silent = (silent or polled) if over is None else None
            if silent is not None:  # a scheduler that does not come back must not hold us for ever
                over = time.monotonic() - silent >= engine.settings.patience
            done = reconcile_one(engine, found, launchers)
            ends = done is None or (done.action is not Action.SUBMITTED and not _runs(done.execution))
            if ends and over:
                return ended(engine, engine.journal.execution(execution))
            if done is None or (ends and silent is None):
                time.sleep(_LOOK)
                continue
            news = done.reason if done.action is not Action.SUBMITTED else f"submitted again: {done.reason}"
        if news != told:
            tell(news)
            told = news
        time.sleep(_LOOK)


def ended(engine: Engine, execution: Execution) -> Outcome:
    """How a run that is not going on any more has ended."""
    said = exit_of(engine, execution, execution.epoch)
    if said is not None and execution.status is not ExecutionStatus.CANCELLED:
        return said
    exits = _EXITS.get(execution.status, Exit.FAILED)
    return Outcome(execution.status, exits, execution.id, reason=execution.reason or "")


def stop(engine: Engine, execution: ExecutionId, launchers: Launchers, signum: int) -> Outcome:
    """Ask the worker of a run to end, and wait until it has.

    Only what a person has stopped (SIGINT) stays so; after another signal `reconcile` lets it go on.
    """
    found = engine.journal.execution(execution)
    submission = submission_of(engine, found)
    launcher = None if submission is None else launchers(submission.stack)
    if signum == signal.SIGINT:
        note_stopped(engine, found)
    attempt = engine.journal.attempts(execution)[-1]
    if attempt.owner.is_queue:
        engine.journal.finish(attempt, ExecutionStatus.INTERRUPTED, reason="stopped before it began")
    try:
        if launcher is not None and submission is not None and submission.handle is not None:
            launcher.cancel(submission.handle)
    except KitaruError as error:
        hint = f"kitaru-nb cancel {execution}"
        raise StackError(
            f"the worker could not be stopped: {error.message}", kind=error.kind, hint=hint
        ) from error
    until = time.monotonic() + _PATIENCE
    while _runs(engine.journal.execution(execution)) and time.monotonic() < until:
        time.sleep(_LOOK)
    outcome = ended(engine, engine.journal.execution(execution))
    # the worker says with which signal it was ended; this command was ended by another, or by the same
    interrupted = outcome.status in (ExecutionStatus.INTERRUPTED, ExecutionStatus.RUNNING)
    return replace(outcome, exit=Exit(128 + signum)) if interrupted else outcome


def _is_over(engine: Engine, execution: ExecutionId, launchers: Launchers) -> bool | None:
    """Whether the worker has said all: it may be about to try a failed run again, or to say how it ended.

    None where only its scheduler can tell, and gives no answer.
    """
    found = engine.journal.execution(execution)
    submission = submission_of(engine, found)
    if submission is None or submission.handle is None or submission.epoch != found.epoch:
        return True
    if found.status in _FINAL and last_word(engine, found, found.epoch) is not None:
        return True
    try:
        launcher = launchers(submission.stack)
        return launcher is None or launcher.poll(submission.handle).over
    except StackError:
        return None


def _runs(execution: Execution) -> bool:
    return execution.status is ExecutionStatus.RUNNING
