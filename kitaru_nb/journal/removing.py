"""Taking values off the records: tombstones for what goes, and what a commit must not lean on then."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping

from kitaru_nb.errors import ConflictError
from kitaru_nb.journal import rows
from kitaru_nb.journal.ledger import Ledger
from kitaru_nb.journal.rows import ArtifactRow, CondemnedRow, ExtentRow, Head, SweepRow, TombstoneRow
from kitaru_nb.model.artifact import Artifact, Digest, Location, Tombstone
from kitaru_nb.model.removal import Removal

__all__ = ["SWEEPS", "Footing", "sweep", "tombstones"]

_REMEMBERED = 1 << 16

SWEEPS = "sweeps"
"""Under this name `newest` has the number of sweeps."""


def sweep(ledger: Ledger, head: Head, removal: Removal, *, at: int) -> tuple[Head, frozenset[str]]:
    """Take `removal` off the records; the caller updates the head.

    Returns:
        The new head, and the packs that may be removed once this is durable: those asked for that
        no extent is in.
    """
    number = (ledger.newest(SWEEPS) or 0) + 1
    gone = list(ledger.by_digest(ArtifactRow, removal.artifacts))
    ledger.keep(TombstoneRow(row.digest, number, row.codec, row.bytes) for row in gone)
    ledger.drop(ArtifactRow, (row.digest for row in gone))
    ledger.drop(ExtentRow, map(bytes.fromhex, removal.extents))
    _move(ledger, removal.moved)
    packs = removal.packs - ledger.packs_in_use()
    ledger.keep(CondemnedRow(pack, number) for pack in sorted(packs))
    ledger.insert(SweepRow(number, at, removal.policy, len(gone), sum(row.bytes for row in gone)))
    ledger.put_newest(SWEEPS, number)
    for execution, data in removal.executions.items():
        state = ledger.state(ledger.known(execution))
        told = {"policy": removal.policy, **data}
        head, state, _ = ledger.append_event(head, state, "values.removed", told, at=at)
        ledger.update(state)
    return head, frozenset(packs)


def _move(ledger: Ledger, moved: Iterable[tuple[Location, Location]]) -> None:
    """Record new places, as far as the old ones are still on record."""
    new = {old.extent.digest: tuple(rows.extent_rows((old, place))) for old, place in moved}
    now = {Digest(row.digest.hex()): row for row in ledger.by_digest(ExtentRow, new)}
    ledger.keep(place for digest, (old, place) in new.items() if now.get(digest) == old)


class Footing:
    """What the commits of one process may lean on: looked up once, and again after each sweep."""

    def __init__(self) -> None:
        self._sweeps = -1
        self._packs: set[str] = set()
        self._artifacts: set[Digest] = set()

    def check(self, ledger: Ledger, *, locations: Iterable[Location], needs: Collection[Digest]) -> None:
        """Refuse a commit that leans on what was removed. In the commit's own transaction.

        Raises:
            ConflictError: kind ``values-removed``: write the values anew and try once more.
        """
        sweeps = ledger.sweeps()
        if sweeps != self._sweeps or len(self._artifacts) > _REMEMBERED:
            self._packs, self._artifacts, self._sweeps = set(), set(), sweeps
        packs = {place.pack for place in locations if place.pack is not None} - self._packs
        wanted = set(needs) - self._artifacts if needs else ()
        if packs and ledger.condemned(packs):
            raise _refused()
        if wanted and len(list(ledger.by_digest(ArtifactRow, wanted))) < len(wanted):
            raise _refused()
        self._packs |= packs
        self._artifacts.update(wanted)

    def forget(self) -> None:
        """A transaction was undone: what was noted in it is not on record."""
        self._sweeps = -1  # `check` begins anew

    def committed(self, artifacts: Iterable[Artifact]) -> None:
        """Take note of what is on record since the last `check`."""
        self._artifacts.update(artifact.digest for artifact in artifacts)


def _refused() -> ConflictError:
    return ConflictError(
        "stored values that this checkpoint shares were removed by `gc` while it was being saved",
        kind="values-removed",
        hint="run the cell again",
    )


def tombstones(ledger: Ledger, digests: Collection[Digest]) -> Mapping[Digest, Tombstone]:
    """What is left of those of `digests` whose bytes were removed and not stored anew."""
    if not ledger.sweeps():
        return {}
    found = {Digest(row.digest.hex()): row for row in ledger.by_digest(TombstoneRow, digests)}
    for row in ledger.by_digest(ArtifactRow, found):
        del found[Digest(row.digest.hex())]
    sweeps = {row.sweep: ledger.fetch(SweepRow, row.sweep) for row in found.values()}
    return {digest: rows.tombstone_of(row, sweeps[row.sweep]) for digest, row in found.items()}
