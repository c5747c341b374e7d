"""Who holds an execution: decisions from a row, the owner's process and the clock."""

from __future__ import annotations

from datetime import timedelta

from kitaru_nb.errors import ConflictError
from kitaru_nb.journal.rows import AttemptRow, State, moment
from kitaru_nb.model.execution import Attempt, ExecutionId, ExecutionStatus, is_alive

__all__ = [
    "ENDED_WITHOUT_WARNING",
    "close_state",
    "held_error",
    "is_held",
    "seconds_between",
    "superseded_error",
]

ENDED_WITHOUT_WARNING = "ended without warning"
"""Reason on record for an attempt whose process died without saying so."""


def is_held(attempt: Attempt, *, now: int, lease: float) -> bool:
    """Whether a live owner holds the attempt's lease.

    On this host the process itself is looked at. An owner that cannot be seen from here
    counts as dead `lease` seconds after its last heartbeat; `now` is in microseconds.
    """
    if attempt.ended_at is not None:
        return False
    alive = is_alive(attempt.owner)
    if alive is None:
        return moment(now) - attempt.heartbeat_at <= timedelta(seconds=lease)
    return alive


def close_state(
    state: State, attempt: AttemptRow, status: ExecutionStatus, *, ended_at: int, reason: str | None
) -> tuple[State, AttemptRow]:
    """Both rows after the attempt has ended."""
    closed = attempt._replace(ended_at=ended_at, status=status.value, reason=reason)
    spent = state.spent + seconds_between(attempt.started_at, ended_at)
    return state._replace(status=status.value, ended_at=ended_at, reason=reason, spent=spent), closed


def seconds_between(start: int, end: int) -> float:
    """Seconds between two times in microseconds; a clock that was set back counts as 0."""
    return max(0, end - start) / 1e6


def held_error(attempt: Attempt) -> ConflictError:
    """The error for an execution that a live owner holds."""
    owner = attempt.owner
    return ConflictError(
        f"execution `{attempt.execution}` is held by process {owner.pid} on host `{owner.host}` "
        f"since {attempt.started_at:%Y-%m-%d %H:%M:%S} UTC",
        kind="execution-held",
        hint="stop that kernel, or `%resume --take-over` (on the command line `--take-over`) if it hangs",
    )


def superseded_error(execution: ExecutionId, epoch: int, newest: Attempt) -> ConflictError:
    """The error for an attempt that is no longer the one that may record."""
    owner = newest.owner
    if newest.epoch == epoch:
        what = f"attempt {epoch} of execution `{execution}` has ended ({newest.reason or newest.status})"
    else:
        what = (
            f"attempt {epoch} of execution `{execution}` was superseded by attempt {newest.epoch} "
            f"(process {owner.pid} on host `{owner.host}`)"
        )
    return ConflictError(
        f"{what}: nothing was recorded",
        kind="superseded",
        hint="go on in the kernel that holds it, or `%resume --take-over` here",
    )
