"""What is on record and what needs what: the steps, the artifacts they hold, the extents these are in.

Read once, then brought up to date at the price of what is new, so that what is to be removed can
be decided inside a transaction without holding writers up for long.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass, field

from kitaru_nb.artifacts.pack import padded
from kitaru_nb.artifacts.refers import refers_to
from kitaru_nb.artifacts.store import ArtifactStore
from kitaru_nb.artifacts.values import checked_buffers
from kitaru_nb.errors import CorruptError
from kitaru_nb.journal.journal import Journal
from kitaru_nb.model.artifact import Digest, Extent, Location
from kitaru_nb.model.execution import ExecutionId

__all__ = ["Census", "Marks", "Step", "Value", "size_of"]

_MANY = 500


@dataclass(frozen=True, slots=True)
class Step:
    """A step on record: whose, what it was built on, and the artifacts it holds."""

    execution: ExecutionId
    parent: int | None
    stored: frozenset[Digest]


@dataclass(frozen=True, slots=True)
class Value:
    """A stored value: its size, the extents it is in, and the values it refers to."""

    bytes: int
    extents: frozenset[Digest]
    refers: frozenset[Digest]


@dataclass(slots=True)
class Census:
    """Everything on record, as far as it says what needs what.

    Args:
        journal: Where it is on record.
        store: Where the bytes are; pickles of an early format are read to see what they refer to.

    Attributes:
        steps: By number.
        of_execution: The numbers of each execution's steps.
        values: By digest.
        places: Where each extent was when this was read first; inline ones come without bytes.
        removed: Values that were removed and not stored anew.
        damaged: Sentences about what could not be read.
    """

    journal: Journal
    store: ArtifactStore
    steps: dict[int, Step] = field(default_factory=dict)
    of_execution: dict[ExecutionId, list[int]] = field(default_factory=dict)
    values: dict[Digest, Value] = field(default_factory=dict)
    places: dict[Digest, Location] = field(default_factory=dict)
    removed: frozenset[Digest] = frozenset()
    damaged: list[str] = field(default_factory=list)
    _last: int = 0

    def refresh(self) -> None:
        """Take in what is on record now.

        Raises:
            CorruptError: a record is damaged. Then nothing can be told for certain.
        """
        if not self.places:
            self.places = {place.extent.digest: place for place in self.journal.every_extent()}
        for step in self.journal.every_checkpoint(after=self._last):
            self.steps[step.seq] = Step(step.execution, step.draft.parent, step.draft.stored)
            self.of_execution.setdefault(step.execution, []).append(step.seq)
            self._last = step.seq
        known = self.journal.artifact_digests()
        for digest in self.values.keys() - known:
            del self.values[digest]
        self._read(known - self.values.keys(), known)
        self.removed = frozenset(stone.digest for stone in self.journal.every_tombstone()) - known

    def _read(self, fresh: Collection[Digest], known: frozenset[Digest]) -> None:
        wanted = sorted(fresh)
        for at in range(0, len(wanted), _MANY):
            some = wanted[at : at + _MANY]
            found = self.journal.artifacts(some)
            if len(found) < len(some):
                missing = next(digest for digest in some if digest not in found)
                message = f"the record of the artifact `{missing[:12]}` cannot be found again"
                raise CorruptError(message, kind="corrupt-record", hint="kitaru-nb store verify")
            for digest, artifact in found.items():
                rows = checked_buffers(artifact)
                try:
                    refers = refers_to(artifact, extents=rows.__getitem__, read=self._extent, known=known)
                except CorruptError as error:
                    self.damaged.append(error.message)  # it cannot be restored, so it needs nothing
                    refers = frozenset()
                extents = frozenset(extent.digest for row in rows for extent in row)
                self.values[digest] = Value(artifact.bytes, extents, refers)

    def _extent(self, extent: Extent) -> memoryview:
        place = self.journal.locate([extent.digest]).get(extent.digest)
        if place is None:
            message = f"the extent `{extent.digest[:12]}` is not on record"
            raise CorruptError(message, kind="corrupt-artifact", hint="kitaru-nb store verify")
        return self.store.read(place)


class Marks:
    """What is needed, found step by step: everything that was marked stays.

    Args:
        census: What there is.
    """

    def __init__(self, census: Census) -> None:
        self._census = census
        self._steps: set[int] = set()
        self.artifacts: set[Digest] = set()
        self.extents: set[Digest] = set()

    def mark(self, execution: ExecutionId) -> int:
        """Keep what an execution's steps hold, and all that a restore of any of them needs.

        Returns:
            Bytes in the store that were not marked before.

        Raises:
            CorruptError: something that is needed is not on record.
        """
        return self.mark_steps(self._census.of_execution.get(execution, ()))

    def mark_steps(self, steps: Iterable[int]) -> int:
        """As `mark`, for single steps and the lines of commits that lead to them."""
        waiting, added = list(steps), 0
        while waiting:
            seq = waiting.pop()
            if seq in self._steps:
                continue
            self._steps.add(seq)
            step = self._census.steps[seq]
            if step.parent is not None:
                waiting.append(step.parent)
            added += self._mark_artifacts(step.stored)
        return added

    def _mark_artifacts(self, digests: Iterable[Digest]) -> int:
        waiting, added = list(digests), 0
        while waiting:
            digest = waiting.pop()
            if digest in self.artifacts or digest in self._census.removed:
                continue
            self.artifacts.add(digest)
            value = self._census.values.get(digest)
            if value is None:
                raise _missing(f"artifact `{digest[:12]}`")
            waiting.extend(value.refers)
            for extent in value.extents - self.extents:
                self.extents.add(extent)
                added += self._size(extent)
        return added

    def _size(self, extent: Digest) -> int:
        place = self._census.places.get(extent)
        if place is None:
            found = self._census.journal.locate([extent]).get(extent)
            if found is None:
                raise _missing(f"extent `{extent[:12]}`")
            place = self._census.places[extent] = found
        return size_of(place)


def size_of(place: Location) -> int:
    """Bytes that an extent takes where it is."""
    return place.extent.length if place.pack is None else padded(place.extent.length)


def _missing(what: str) -> CorruptError:
    return CorruptError(
        f"{what}, which a record refers to, is not in the journal: nothing was removed",
        kind="corrupt-record",
        hint="kitaru-nb store verify",
    )
