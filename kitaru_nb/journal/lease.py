"""Who holds an execution: taking its lease, giving it back, and fencing whoever lost it."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import timedelta

from kitaru_nb.errors import ConflictError
from kitaru_nb.journal import rows
from kitaru_nb.journal.ledger import Ledger
from kitaru_nb.journal.rows import AttemptRow, CheckpointRow, ExecutionRow, Head, State
from kitaru_nb.model.checkpoint import CheckpointStatus
from kitaru_nb.model.execution import (
    Attempt,
    Execution,
    ExecutionId,
    ExecutionStatus,
    Identity,
    Owner,
    is_alive,
    new_execution_id,
)

__all__ = ["ENDED_WITHOUT_WARNING", "Leases", "closed", "is_held"]

ENDED_WITHOUT_WARNING = "ended without warning"
"""Reason on record for an attempt whose process died without saying so."""


def is_held(attempt: Attempt, *, listened: tuple[int, int], lease: float) -> bool:
    """Whether a live owner holds the attempt's lease.

    On this host the process itself is looked at. An owner that cannot be seen from here
    counts as dead when it was silent for `lease` seconds while its signs of life could be
    recorded: `listened` says from when to when that was, in microseconds.
    """
    if attempt.ended_at is not None:
        return False
    alive = is_alive(attempt.owner, last_sign=attempt.heartbeat_at)
    if alive is None:
        since, until = map(rows.moment, listened)
        return until - max(since, attempt.heartbeat_at) <= timedelta(seconds=lease)
    return alive


def closed(
    state: State, attempt: AttemptRow, status: ExecutionStatus, *, ended_at: int, reason: str | None
) -> tuple[State, AttemptRow]:
    """Both rows after the attempt has ended."""
    ended = attempt._replace(ended_at=ended_at, status=status.value, reason=reason)
    spent = state.spent + _seconds_between(attempt.started_at, ended_at)
    return state._replace(status=status.value, ended_at=ended_at, reason=reason, spent=spent), ended


class Leases:
    """Decides who may record, from the rows, the owner's process and the clock."""

    def __init__(
        self, lease: float, clock: Callable[[], float], listened: Callable[[], tuple[int, int]] | None = None
    ) -> None:
        """`lease` in seconds; `clock` gives seconds since 1970, UTC; for `listened` see `is_held`."""
        self._lease = lease
        self._clock = clock
        self._listened = listened or (lambda: (0, self.now()))

    def now(self) -> int:
        """Microseconds since 1970, UTC."""
        return int(self._clock() * 1_000_000)

    def begin(
        self,
        ledger: Ledger,
        head: Head,
        identity: Identity,
        owner: Owner,
        *,
        tags: Sequence[str],
        parent: ExecutionId | None,
        execution: ExecutionId | None = None,
    ) -> tuple[Head, Attempt]:
        """Add a new execution and its first attempt; the caller updates the head."""
        number, id_, now = head.executions + 1, execution or new_execution_id(), self.now()
        digest = rows.identity_digest(identity)
        notebook = identity.notebook
        ledger.put_newest("execution:" + id_, number)
        ledger.insert(
            ExecutionRow(
                n=number,
                id=id_,
                identity=rows.dumps(rows.identity_told(identity)),
                identity_digest=digest,
                tags=rows.dumps(list(tags)),
                parent=parent,
                started_at=now,
                previous_of_identity=ledger.put_newest("identity:" + digest.hex(), number),
                previous_of_notebook=(
                    None if notebook is None else ledger.put_newest("notebook:" + notebook, number)
                ),
            )
        )
        state = State.of_new_execution(number)
        ledger.insert(state)
        data = {"identity": rows.identity_told(identity), "tags": list(tags), "parent": parent}
        head = head._replace(executions=number)
        head, state, _ = ledger.append_event(head, state, "execution.started", data, at=now)
        return self.next_attempt(ledger, head, state, owner, execution=id_)

    def next_attempt(
        self, ledger: Ledger, head: Head, state: State, owner: Owner, *, execution: ExecutionId
    ) -> tuple[Head, Attempt]:
        """Add the execution's next attempt; the caller updates the head."""
        now = self.now()
        row = AttemptRow(
            n=head.attempts + 1,
            execution=state.n,
            epoch=state.epoch + 1,
            previous=state.attempt or None,
            owner=rows.owner_text(owner),
            started_at=now,
            heartbeat_at=now,
            ended_at=None,
            status=ExecutionStatus.RUNNING.value,
            reason=None,
        )
        ledger.insert(row)
        state = state._replace(status=row.status, ended_at=None, reason=None, epoch=row.epoch, attempt=row.n)
        data = {"epoch": row.epoch, "host": owner.host, "pid": owner.pid}
        head = head._replace(attempts=row.n)
        head, state, _ = ledger.append_event(head, state, "attempt.started", data, at=now)
        ledger.update(state)
        return head, rows.attempt_of(row, execution)

    def settle(
        self, ledger: Ledger, head: Head, number: int, *, take_over: bool = False, leave: bool = False
    ) -> tuple[Head, Execution]:
        """The execution once nobody holds it: a dead owner's attempt is ended, a live one's refused.

        With `leave` a live owner's execution is left alone.

        Raises:
            ConflictError: kind ``execution-held``.
        """
        execution, state = ledger.fetch(ExecutionRow, number), ledger.state(number)
        row = ledger.fetch(AttemptRow, state.attempt)
        attempt = rows.attempt_of(row, ExecutionId(execution.id))
        held = is_held(attempt, listened=self._listened(), lease=self._lease)
        if held and not leave and not take_over:
            raise _held_error(attempt)
        if row.ended_at is None and not (held and leave):
            ended_at, reason = self.now(), "taken over"
            if not held:
                ended_at, reason = _last_sign(ledger, state, row), ENDED_WITHOUT_WARNING
            state, row = closed(state, row, ExecutionStatus.INTERRUPTED, ended_at=ended_at, reason=reason)
            data = {"epoch": row.epoch, "reason": reason}
            head, state, _ = ledger.append_event(head, state, "execution.interrupted", data, at=self.now())
            ledger.update(row)
            ledger.update(state)
        return head, self.execution(ledger, execution)

    def adopt(self, ledger: Ledger, head: Head, attempt: Attempt, owner: Owner) -> tuple[Head, Attempt]:
        """Put `owner` in the place of the queue that holds `attempt`; the caller updates the head.

        Raises:
            ConflictError: kind ``superseded``: it is no more in a queue.
        """
        state, row = self.fenced(ledger, attempt)
        if not rows.attempt_of(row, attempt.execution).owner.is_queue:
            raise _superseded_error(attempt, rows.attempt_of(row, attempt.execution))
        now = self.now()
        row = row._replace(owner=rows.owner_text(owner), heartbeat_at=now)
        data = {"epoch": row.epoch, "host": owner.host, "pid": owner.pid}
        head, state, _ = ledger.append_event(head, state, "attempt.begun", data, at=now)
        ledger.update(row)
        ledger.update(state)
        return head, rows.attempt_of(row, attempt.execution)

    def fenced(self, ledger: Ledger, attempt: Attempt) -> tuple[State, AttemptRow]:
        """The rows that `attempt` may change, once it is known to be the one that may.

        Raises:
            ConflictError: kind ``superseded``.
        """
        state = ledger.state(ledger.known(attempt.execution))
        row = ledger.fetch(AttemptRow, state.attempt)
        if row.epoch != attempt.epoch or row.ended_at is not None:
            raise _superseded_error(attempt, rows.attempt_of(row, attempt.execution))
        return state, row

    def holds(self, ledger: Ledger, state: State, execution: ExecutionId) -> bool:
        """Whether the execution's newest attempt goes on."""
        attempt = rows.attempt_of(ledger.fetch(AttemptRow, state.attempt), execution)
        return is_held(attempt, listened=self._listened(), lease=self._lease)

    def seen(self, ledger: Ledger, state: State, row: AttemptRow, execution: ExecutionId) -> Attempt:
        """The attempt as it is known from here: one whose owner died has ended."""
        attempt = rows.attempt_of(row, execution)
        if attempt.ended_at is not None or is_held(attempt, listened=self._listened(), lease=self._lease):
            return attempt
        return replace(
            attempt,
            ended_at=rows.moment(_last_sign(ledger, state, row)),
            status=ExecutionStatus.INTERRUPTED,
            reason=ENDED_WITHOUT_WARNING,
        )

    def execution(self, ledger: Ledger, row: ExecutionRow) -> Execution:
        """The execution as it is known from here."""
        state = ledger.state(row.n)
        attempt = self.seen(ledger, state, ledger.fetch(AttemptRow, state.attempt), ExecutionId(row.id))
        duration = state.spent
        if state.ended_at is None:
            ended = self.now() if attempt.ended_at is None else rows.microseconds(attempt.ended_at)
            duration += _seconds_between(rows.microseconds(attempt.started_at), ended)
        return Execution(
            id=ExecutionId(row.id),
            identity=rows.identity_of(row),
            status=attempt.status,
            started_at=rows.moment(row.started_at),
            ended_at=attempt.ended_at,
            reason=attempt.reason,
            epoch=state.epoch,
            parent=None if row.parent is None else ExecutionId(row.parent),
            tags=tuple(json.loads(row.tags)),
            duration=duration,
            cost=state.cost,
            tokens=state.tokens,
            saved_cost=state.saved_cost,
            saved_duration=state.saved_duration,
        )


def _last_sign(ledger: Ledger, state: State, row: AttemptRow) -> int:
    """When the attempt was last known to be alive: its last heartbeat, or the end of its last step."""
    step = None if state.last_step is None else ledger.fetch(CheckpointRow, state.last_step)
    if step is None or step.epoch != row.epoch:
        return row.heartbeat_at
    took = 0.0 if step.status == CheckpointStatus.RESTORED else step.duration
    return max(row.heartbeat_at, step.started_at + int(took * 1e6))


def _seconds_between(start: int, end: int) -> float:
    return max(0, end - start) / 1e6  # a clock that was set back counts as 0


def _held_error(attempt: Attempt) -> ConflictError:
    owner = attempt.owner
    if owner.is_queue:
        return ConflictError(
            f"execution `{attempt.execution}` was submitted to stack `{owner.host}` at "
            f"{attempt.started_at:%Y-%m-%d %H:%M:%S} UTC and has not begun yet",
            kind="execution-held",
            hint=f"kitaru-nb logs {attempt.execution} -f; kitaru-nb reconcile, where its job is gone; or "
            f"kitaru-nb cancel {attempt.execution}",
        )
    held = ConflictError(
        f"execution `{attempt.execution}` is held by process {owner.pid} on host `{owner.host}` "
        f"since {attempt.started_at:%Y-%m-%d %H:%M:%S} UTC",
        kind="execution-held",
        hint=f"stop that kernel, or `%resume {attempt.execution} --take-over` if it hangs",
    )
    held.execution = attempt.execution
    return held


def _superseded_error(attempt: Attempt, newest: Attempt) -> ConflictError:
    mine = f"attempt {attempt.epoch} of execution `{attempt.execution}`"
    if newest.epoch == attempt.epoch and newest.ended_at is None:
        owner = newest.owner
        what = f"{mine} was begun by process {owner.pid} on host `{owner.host}`"
    elif newest.epoch == attempt.epoch:
        what = f"{mine} has ended ({newest.reason or newest.status})"
    else:
        owner = newest.owner
        what = f"{mine} was superseded by process {owner.pid} on host `{owner.host}` (attempt {newest.epoch})"
    return ConflictError(
        f"{what}: nothing was recorded",
        kind="superseded",
        hint="go on in the kernel that holds it, or `%resume --take-over` here",
    )
