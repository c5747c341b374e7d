"""Ends an execution for good, wherever it runs: the record says so, and its process finds out there."""

from __future__ import annotations

import os
import signal
from contextlib import suppress

from kitaru_nb.engine.engine import Engine
from kitaru_nb.errors import KitaruError, UsageError
from kitaru_nb.journal.journal import Journal
from kitaru_nb.model.execution import (
    Execution,
    ExecutionId,
    ExecutionStatus,
    Owner,
    current_owner,
    is_alive,
)
from kitaru_nb.stacks.launcher import Launchers
from kitaru_nb.stacks.submissions import submission_of

__all__ = ["cancel", "end_job"]

_OVER = (ExecutionStatus.COMPLETED, ExecutionStatus.CANCELLED)


def cancel(journal: Journal, execution: ExecutionId, *, by: str) -> Execution:
    """Mark an execution as cancelled; it is not gone on with any more. How it stands now.

    It is on record when this returns. A run that is going on hears of it with its next heartbeat or
    step, on whatever machine it is, and commits nothing from now on; one on this machine at once.
    To cancel what is cancelled is harmless.

    Args:
        journal: Where it is recorded.
        execution: Which one.
        by: Who wants it.

    Raises:
        UsageError: kind ``nothing-to-cancel``: it has completed; kind ``interactive-execution``: a
            person runs it in a kernel.
    """
    reason = f"cancelled by {by}"
    with journal.holding():
        found = journal.execution(execution)
        if found.status in _OVER:
            return _over(found)
        attempt = journal.attempts(execution)[-1]
        running = attempt.ended_at is None
        if running and found.identity.interactive:
            raise UsageError(
                f"`{found.id}` is run by hand in a kernel",
                kind="interactive-execution",
                hint="interrupt the cell, or shut the kernel down",
            )
        if not running:
            attempt = journal.resume(execution, owner=current_owner())
        journal.finish(attempt, ExecutionStatus.CANCELLED, reason=reason)
    if running and found.identity.is_headless:
        _tell(attempt.owner)
    return journal.execution(execution)


def end_job(engine: Engine, execution: Execution, launchers: Launchers) -> str | None:
    """Take the job of a cancelled execution out of its scheduler; None, or why that could not be done.

    Its worker would find out by itself, with its next heartbeat or before its first cell.
    """
    submission = submission_of(engine, execution)
    if submission is None or submission.handle is None or not submission.own:
        return None
    try:
        launcher = launchers(submission.stack)
        if launcher is None:
            return f"stack `{submission.stack}` is not known here: its job ends by itself"
        launcher.cancel(submission.handle)
    except KitaruError as error:
        return f"its job could not be ended and will end by itself: {error.message}"
    return None


def _over(found: Execution) -> Execution:
    if found.status is ExecutionStatus.CANCELLED:
        return found
    message = f"`{found.id}` has completed, so there is nothing to cancel"
    raise UsageError(message, kind="nothing-to-cancel", hint=f"kitaru-nb show {found.id}")


def _tell(owner: Owner) -> None:
    """Ask the process to end, where that is the one on this machine and not one of its number."""
    if not owner.is_queue and is_alive(owner) and owner.pid != os.getpid():
        with suppress(OSError):  # it has just ended by itself
            os.kill(owner.pid, signal.SIGTERM)
