"""Ends an execution for good, wherever it runs: the record says so, and its process finds out there."""

from __future__ import annotations

import os
import signal
from contextlib import suppress

from kitaru_nb.errors import UsageError
from kitaru_nb.journal.journal import Journal
from kitaru_nb.model.execution import (
    Execution,
    ExecutionId,
    ExecutionStatus,
    Owner,
    current_owner,
    is_alive,
)
from kitaru_nb.stacks.resuming import is_headless

__all__ = ["cancel"]

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
    if running and is_headless(found):
        _tell(attempt.owner)
    return journal.execution(execution)


def _over(found: Execution) -> Execution:
    if found.status is ExecutionStatus.CANCELLED:
        return found
    message = f"`{found.id}` has completed, so there is nothing to cancel"
    raise UsageError(message, kind="nothing-to-cancel", hint=f"kitaru-nb show {found.id}")


def _tell(owner: Owner) -> None:
    """Ask the process to end, where that is the one on this machine and not one of its number."""
    if is_alive(owner) and owner.pid != os.getpid():
        with suppress(OSError):  # it has just ended by itself
            os.kill(owner.pid, signal.SIGTERM)
