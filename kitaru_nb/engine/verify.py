"""Everything that is stored, read and checked: rows, manifests, extents, ends of packs."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

from kitaru_nb.artifacts.store import ArtifactStore
from kitaru_nb.artifacts.values import checked_buffers
from kitaru_nb.engine.refs import checkpoint_names
from kitaru_nb.errors import CorruptError, KitaruError, StoreError
from kitaru_nb.journal.journal import Journal
from kitaru_nb.model.artifact import Digest, Location
from kitaru_nb.model.checkpoint import Checkpoint
from kitaru_nb.model.execution import ExecutionId

__all__ = ["Concerned", "Damage", "Verified", "verify"]

_MANY = 256
_THREADS = 4


@dataclass(frozen=True, slots=True)
class Concerned:
    """A step that cannot be restored wholly: its name as it is typed, and which of its names."""

    execution: ExecutionId
    checkpoint: str
    names: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Damage:
    """Something that is not as it was stored, told once however many extents and steps it concerns.

    Attributes:
        message: What, and where; of several extents in one pack, the first.
        extents: How many extents cannot be read for it, and `bytes` their length.
        checkpoints: The steps that hold them; none where it belongs to no value of a step.
    """

    message: str
    extents: int = 0
    bytes: int = 0
    checkpoints: tuple[Concerned, ...] = ()


@dataclass(slots=True)
class Verified:
    """What was checked, and what was found."""

    checkpoints: int = 0
    artifacts: int = 0
    extents: int = 0
    bytes: int = 0
    packs: int = 0
    tails: int = 0
    damage: list[Damage] = field(default_factory=list)


def verify(
    journal: Journal,
    store: ArtifactStore,
    *,
    rows: Callable[[], Iterable[CorruptError]],
    progress: Callable[[int, int], None] = lambda _done, _all: None,
) -> Verified:
    """Read and check everything. Changes nothing.

    Args:
        journal: The records.
        store: The bytes.
        rows: Checks the records themselves.
        progress: Told how many bytes are checked, and of how many.
    """
    found = Verified()
    found.damage += [Damage(error.message) for error in rows()]
    try:
        users = _users(journal, found)
        places = {place.extent.digest: place for place in journal.every_extent()}
        artifacts = journal.artifacts(journal.artifact_digests())
        removed = journal.removed(users.keys() - artifacts.keys())
        missing = users.keys() - artifacts.keys() - removed.keys()
        missing -= journal.artifacts(missing).keys()  # others go on meanwhile: it was stored anew
    except KitaruError as error:
        if Damage(error.message) not in found.damage:  # the check of the records may have met it
            found.damage.append(Damage(error.message))
        return found
    needed: dict[Digest, list[Digest]] = {}
    for digest, artifact in artifacts.items():
        found.artifacts += 1
        try:
            extents = {extent.digest for row in checked_buffers(artifact) for extent in row}
        except CorruptError as error:
            found.damage.append(Damage(error.message, checkpoints=_of(users, [digest])))
            continue
        for extent in extents:
            needed.setdefault(extent, []).append(digest)
    for digest in missing:
        message = f"the artifact `{digest[:12]}` is not on record"
        found.damage.append(Damage(message, checkpoints=_of(users, [digest])))
    lost = _lost(journal, needed, places)
    if lost:
        message = f"the journal has no place for the extent `{lost[0][:12]}`"
        holders = [digest for extent in lost for digest in needed[extent]]
        found.damage.append(Damage(message, len(lost), checkpoints=_of(users, holders)))
    faults: dict[str, list[tuple[Location, StoreError]]] = {}
    for place, fault in _read(journal, store, places, found, progress):
        faults.setdefault(place.pack or place.extent.digest, []).append((place, fault))
    for together in faults.values():
        holders = [digest for place, _ in together for digest in needed.get(place.extent.digest, ())]
        size = sum(place.extent.length for place, _ in together)
        found.damage.append(Damage(together[0][1].message, len(together), size, _of(users, holders)))
    _packs(store, places.values(), found)
    return found


def _users(journal: Journal, found: Verified) -> dict[Digest, list[Concerned]]:
    """For each artifact the steps that hold it, by the names people type."""
    of_execution: dict[ExecutionId, list[Checkpoint]] = {}
    for step in journal.every_checkpoint():
        found.checkpoints += 1
        of_execution.setdefault(step.execution, []).append(step)
    users: dict[Digest, list[Concerned]] = {}
    for execution, steps in of_execution.items():
        for step, label in zip(steps, checkpoint_names(steps), strict=True):
            names = {group.artifact: group.names for group in step.draft.groups}
            for digest in step.draft.stored:
                users.setdefault(digest, []).append(Concerned(execution, label, names.get(digest, ())))
    return users


def _of(users: Mapping[Digest, list[Concerned]], artifacts: Iterable[Digest]) -> tuple[Concerned, ...]:
    """The steps that hold one of `artifacts`, each once, with all its names that are in them."""
    found: dict[tuple[ExecutionId, str], dict[str, None]] = {}
    for digest in artifacts:
        for user in users.get(digest, ()):
            found.setdefault((user.execution, user.checkpoint), {}).update(dict.fromkeys(user.names))
    return tuple(
        Concerned(*step, tuple(names)) for step, names in sorted(found.items(), key=lambda one: one[0])
    )


def _lost(
    journal: Journal, needed: Mapping[Digest, Collection[Digest]], places: Mapping[Digest, Location]
) -> list[Digest]:
    """Extents without a place that something on record needs; others may have saved and removed meanwhile."""
    unseen = needed.keys() - places.keys()
    unseen -= journal.locate(unseen).keys()
    there = journal.artifacts(holder for extent in unseen for holder in needed[extent]).keys()
    return sorted(extent for extent in unseen if not there.isdisjoint(needed[extent]))


def _read(
    journal: Journal,
    store: ArtifactStore,
    places: Mapping[Digest, Location],
    found: Verified,
    progress: Callable[[int, int], None],
) -> Iterator[tuple[Location, StoreError]]:
    """Read every extent where it is; those that cannot be read, each with why."""
    ordered = sorted(places.values(), key=lambda place: (place.pack or "", place.offset))
    total = sum(place.extent.length for place in ordered)
    with ThreadPoolExecutor(_THREADS, thread_name_prefix="kitaru-nb-verify") as pool:
        for at in range(0, len(ordered), _MANY):
            some = journal.locate(place.extent.digest for place in ordered[at : at + _MANY])
            for place, error in zip(
                some.values(),
                pool.map(lambda place: _error(journal, store, place), some.values()),
                strict=True,
            ):
                found.extents += 1
                found.bytes += place.extent.length
                if error is not None:
                    yield place, error
            progress(found.bytes, total)


def _error(journal: Journal, store: ArtifactStore, place: Location) -> StoreError | None:
    """Why an extent cannot be read, though it is on record; `gc` may remove or move it meanwhile."""
    digest = place.extent.digest
    while True:
        try:
            store.read(place)
        except StoreError as error:
            now = journal.locate([digest]).get(digest)
            if now == place:
                return error
            if now is None:
                return None
            place = now
        else:
            return None


def _packs(store: ArtifactStore, places: Iterable[Location], found: Verified) -> None:
    """Count the packs, and the bytes at their ends that no record knows: spare, not damaged."""
    ends: dict[str, int] = {}
    for place in places:
        if place.pack is not None:
            ends[place.pack] = max(ends.get(place.pack, 0), place.offset + place.extent.length)
    try:
        for pack in store.packs():
            found.packs += 1
            found.tails += max(0, pack.bytes - ends.get(pack.name, 0))
    except StoreError as error:
        found.damage.append(Damage(error.message))
