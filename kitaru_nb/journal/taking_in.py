"""Taking in what another journal recorded: rows that are missing are added, none is changed."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from itertools import islice
from typing import Any, TypeVar

from kitaru_nb.journal import rows
from kitaru_nb.journal.guests import receive
from kitaru_nb.journal.ledger import Ledger
from kitaru_nb.journal.removing import SWEEPS, Footing
from kitaru_nb.journal.rows import (
    ArtifactRow,
    AttemptRow,
    ExecutionRow,
    ExtentRow,
    Head,
    State,
    SweepRow,
    TombstoneRow,
)
from kitaru_nb.journal.steps import ROLLED_UP, place_step, require_artifacts, rolled, within
from kitaru_nb.journal.waits import retold
from kitaru_nb.model.artifact import Tombstone
from kitaru_nb.model.checkpoint import Checkpoint, StepKind
from kitaru_nb.model.event import Event
from kitaru_nb.model.execution import ExecutionId
from kitaru_nb.model.transcript import Run, Transcript, renumbered

__all__ = ["IMPORTED", "take_in"]

IMPORTED = "execution.imported"
"""The event that says where an execution came from."""

_MANY = 200  # rows looked at at once
Item = TypeVar("Item")


def take_in(
    ledger: Ledger, transcript: Transcript, told: Mapping[str, Any], footing: Footing, *, at: int
) -> Head:
    """Add what is missing of `transcript`; the caller updates the head.

    Args:
        ledger: Where to, inside a transaction.
        transcript: What to add. None of its executions may be on record.
        told: What the event of the import says.
        footing: Refuses extents in packs that `gc` has given up.
        at: Now, in microseconds since 1970.

    Raises:
        ConflictError: kind ``values-removed``: write the extents anew and try once more.
        NotFoundError: kind ``unknown-artifact``: a step holds a value that is not among them.
    """
    for artifacts in _batches(map(rows.artifact_row, transcript.artifacts)):
        known = {row.digest for row in ledger.by_digest(ArtifactRow, (row.digest.hex() for row in artifacts))}
        ledger.keep(row for row in artifacts if row.digest not in known)
    for places in _batches(transcript.locations):
        footing.check(ledger, locations=places, needs=())
        extents = {row.digest: row for row in rows.extent_rows(places)}
        for row in ledger.by_digest(ExtentRow, (digest.hex() for digest in extents)):
            del extents[row.digest]
        ledger.keep(extents.values())
    _lay_stones(ledger, transcript.removed, at=at)
    arrival = _Arrival(ledger, transcript.known)
    for run in transcript.runs:
        arrival.begin(run)
    for checkpoint in transcript.checkpoints:
        arrival.add(checkpoint)
    for event in transcript.events:
        arrival.retell(event)
    for run in transcript.runs:
        arrival.end(run.execution.id, dict(told), at=at)
    return arrival.head


def _lay_stones(ledger: Ledger, removed: Iterable[Tombstone], *, at: int) -> None:
    """Put it on record that values are not here and why, of those that are neither here nor were ever."""
    stones = {bytes.fromhex(stone.digest): stone for stone in removed}
    wanted = [digest.hex() for digest in stones]
    for digest in [row.digest for row in ledger.by_digest(ArtifactRow, wanted)]:
        stones.pop(digest)
    for digest in [row.digest for row in ledger.by_digest(TombstoneRow, wanted)]:
        stones.pop(digest, None)
    if not stones:
        return
    number, size = (ledger.newest(SWEEPS) or 0) + 1, sum(stone.bytes for stone in stones.values())
    policy = next(iter(stones.values())).policy
    ledger.keep(TombstoneRow(key, number, stone.codec, stone.bytes) for key, stone in stones.items())
    ledger.insert(SweepRow(number, at, policy, len(stones), size))
    ledger.put_newest(SWEEPS, number)


class _Arrival:
    """Executions on their way in, and how their steps are numbered here."""

    def __init__(self, ledger: Ledger, known: Mapping[int, int]) -> None:
        self.head = ledger.head()
        self.numbers = dict(known)
        self._ledger = ledger
        self._ordinals: dict[int, int] = {}
        self._states: dict[ExecutionId, State] = {}
        self._asked: dict[tuple[str, int], int] = {}

    def begin(self, run: Run) -> None:
        """Add an execution and its attempts."""
        execution, ledger = run.execution, self._ledger
        number, digest = self.head.executions + 1, rows.identity_digest(execution.identity)
        notebook = execution.identity.notebook
        ledger.put_newest("execution:" + execution.id, number)
        ledger.insert(
            ExecutionRow(
                n=number,
                id=execution.id,
                identity=rows.dumps(rows.identity_told(execution.identity)),
                identity_digest=digest,
                tags=rows.dumps(list(execution.tags)),
                parent=execution.parent,
                started_at=rows.microseconds(execution.started_at),
                previous_of_identity=ledger.put_newest("identity:" + digest.hex(), number),
                previous_of_notebook=(
                    None if notebook is None else ledger.put_newest("notebook:" + notebook, number)
                ),
            )
        )
        last = None
        for attempt in run.attempts:
            last = AttemptRow(
                n=self.head.attempts + 1,
                execution=number,
                epoch=attempt.epoch,
                previous=None if last is None else last.n,
                owner=rows.owner_text(attempt.owner),
                started_at=rows.microseconds(attempt.started_at),
                heartbeat_at=rows.microseconds(attempt.heartbeat_at),
                ended_at=rows.microseconds(attempt.ended_at or attempt.heartbeat_at),
                status=attempt.status.value,
                reason=attempt.reason,
            )
            ledger.insert(last)
            self.head = self.head._replace(attempts=last.n)
        assert last is not None
        state = State.of_new_execution(number)._replace(
            status=last.status,
            ended_at=last.ended_at,
            reason=last.reason,
            epoch=last.epoch,
            attempt=last.n,
            spent=float(execution.duration),
            cost=_real(execution.cost),
            tokens=execution.tokens,
            saved_cost=_real(execution.saved_cost),
            saved_duration=float(execution.saved_duration),
        )
        ledger.insert(state)
        self.head = self.head._replace(executions=number)
        self._states[execution.id] = state

    def add(self, checkpoint: Checkpoint) -> None:
        """Add a step; its parent must be here. An origin that is not is left out."""
        draft, state = checkpoint.draft, self._states[checkpoint.execution]
        require_artifacts(self._ledger, draft, set(), removed=True)
        parent = None if draft.parent is None else self.numbers[draft.parent]
        origin = None if draft.origin is None else self.numbers.get(draft.origin)
        cell = draft.kind is StepKind.CELL
        before = parent if cell else self._ledger.newest(within(checkpoint.execution))
        step = replace(
            checkpoint,
            seq=self.head.checkpoints + 1,
            ordinal=self._ordinal_after(before),
            draft=replace(draft, parent=parent, origin=origin),
        )
        self.head, self._states[checkpoint.execution] = place_step(self._ledger, self.head, state, step)
        self.numbers[checkpoint.seq], self._ordinals[step.seq] = step.seq, step.ordinal

    def _ordinal_after(self, before: int | None) -> int:
        if before is None:
            return 1
        known = self._ordinals.get(before)
        return (self._ledger.known_step(before).ordinal if known is None else known) + 1

    def retell(self, event: Event) -> None:
        """Add an event of before."""
        data = renumbered(event.data, self.numbers)
        of_wait = retold(self._ledger, replace(event, data=data), self._asked)
        if of_wait is not None:
            data = of_wait[0]
        seq = self.tell(event.execution, event.kind, data, at=rows.microseconds(event.at))
        if of_wait is not None:
            of_wait[1](seq)
        match data if event.kind == ROLLED_UP else {}:
            case {"child": str(child), "cost": float() | None, "tokens": int() | None} if (
                child in self._states
            ):
                self._ledger.put_newest(rolled(ExecutionId(child)), seq)  # it is not added once more

    def tell(self, execution: ExecutionId, kind: str, data: object, *, at: int) -> int:
        """Add an event; its number."""
        state = self._states[execution]
        self.head, state, row = self._ledger.append_event(self.head, state, kind, data, at=at)
        self._states[execution] = state
        return row.seq

    def end(self, execution: ExecutionId, told: object, *, at: int) -> None:
        """All of an execution is here: from now on it is a guest."""
        receive(self._ledger, execution, self.tell(execution, IMPORTED, told, at=at))
        self._ledger.update(self._states[execution])


def _real(number: float | None) -> float | None:
    """As a column of real numbers gives it back: an integer would not have the same checksum."""
    return None if number is None else float(number)


def _batches(items: Iterable[Item]) -> Iterator[list[Item]]:
    left = iter(items)
    while some := list(islice(left, _MANY)):
        yield some
