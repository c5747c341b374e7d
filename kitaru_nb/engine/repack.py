"""Writing a sparse pack anew: what is needed of it is copied elsewhere, then it goes."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence

from kitaru_nb.artifacts.store import ArtifactStore
from kitaru_nb.journal.journal import Journal
from kitaru_nb.model.artifact import Digest, Location
from kitaru_nb.model.crash import crash_point
from kitaru_nb.model.removal import Removal

__all__ = ["repack"]

_BATCH = 16 << 20


class _Nothing:
    """An index that knows nothing, so that everything is written."""

    def locate(self, digests: Iterable[Digest]) -> Mapping[Digest, Location]:
        """Nothing is known."""
        del digests
        return {}


def repack(journal: Journal, store: ArtifactStore, pack: str, policy: str) -> frozenset[str]:
    """Copy what is needed of `pack` to other packs and record the new places.

    Who reads an extent at its old place meanwhile finds it there until the pack is removed, and
    then looks up the new one. Who is about to record something at the old place is refused.

    Returns:
        The packs that may be removed now: this one, unless something new has come to be in it.

    Raises:
        CorruptError: something in it is damaged; everything stays where it is.
        StoreError: the copies could not be written; the same.
    """
    places = [place for place in journal.every_extent() if place.pack == pack]
    moved: list[tuple[Location, Location]] = []
    for batch in _batches(sorted(places, key=lambda place: place.offset)):
        copies = store.write([store.read(place) for place in batch], index=_Nothing())
        moved += zip(batch, copies, strict=True)
    store.flush()
    crash_point("after-repack-copy")
    free = journal.sweep(Removal(policy, packs=frozenset([pack]), moved=moved))
    crash_point("after-repack-sweep")
    return free


def _batches(places: Sequence[Location]) -> Iterator[list[Location]]:
    batch: list[Location] = []
    size = 0
    for place in places:
        if batch and size + place.extent.length > _BATCH:
            yield batch
            batch, size = [], 0
        batch.append(place)
        size += place.extent.length
    if batch:
        yield batch
