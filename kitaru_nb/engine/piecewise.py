"""A large removal in pieces, for a journal that has room to write a little down and no more."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from kitaru_nb.engine.census import Census, size_of
from kitaru_nb.model.artifact import Digest
from kitaru_nb.model.removal import Removal

__all__ = ["forget_places", "next_piece"]

_EXTENTS = 4  # extents without a value that count as one value


def next_piece(census: Census, removal: Removal, most: int) -> Removal | None:
    """The part of `removal` to carry out next, of at most `most` values; None when nothing is left.

    What frees most room for what has to be written comes first: files that no record knows, then
    the values in those files that few values fill. A value goes before its extents or with them, so
    dying between two pieces leaves extents that nothing needs, never a value without its extents.
    """
    known = {place.pack for place in census.places.values()}
    strangers = removal.packs - known
    if strangers:
        return replace(removal, artifacts=frozenset(), extents=frozenset(), packs=strangers, executions={})
    gone = frozenset(_by_worth(census, removal)[:most])
    if gone:
        left = [digest for digest in removal.artifacts if digest in census.values and digest not in gone]
        extents = (_extents(census, gone) & removal.extents) - _extents(census, left)
    else:
        extents = frozenset(sorted(removal.extents)[: _EXTENTS * most])
    if not gone and not extents:
        return None
    emptied = {census.places[extent].pack for extent in extents}
    packs = frozenset(pack for pack in removal.packs if pack in emptied)
    return replace(removal, artifacts=gone, extents=extents, packs=packs, executions={})


def forget_places(census: Census, piece: Removal) -> None:
    """Take a piece that was carried out out of the census."""
    for extent in piece.extents:
        census.places.pop(extent, None)


def _by_worth(census: Census, removal: Removal) -> list[Digest]:
    """The values that go, those first whose file is emptied by removing few."""
    packs: dict[str | None, list[Digest]] = {}
    bytes_in: dict[str | None, int] = {}
    for digest in sorted(removal.artifacts & census.values.keys()):
        places = [
            census.places[e] for e in census.values[digest].extents & removal.extents if e in census.places
        ]
        pack = max((place.pack or "" for place in places), default=None)
        packs.setdefault(pack, []).append(digest)
        bytes_in[pack] = bytes_in.get(pack, 0) + sum(map(size_of, places))
    order = sorted(packs, key=lambda pack: (-bytes_in[pack] / len(packs[pack]), pack or ""))
    return [digest for pack in order for digest in packs[pack]]


def _extents(census: Census, values: Iterable[Digest]) -> frozenset[Digest]:
    """What the values are in, as far as it is on record."""
    found = frozenset[Digest]().union(*(census.values[digest].extents for digest in values))
    return found & census.places.keys()
