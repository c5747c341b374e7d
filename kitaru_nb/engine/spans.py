"""Where in memory the arrays of groups lie, to find who looks into the same memory."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Hashable, Iterable
from itertools import chain
from typing import Generic, TypeVar

__all__ = ["Spans"]

Owner = TypeVar("Owner", bound=Hashable)


class Spans(Generic[Owner]):
    """Addresses `[low, high)` by who has them. Those of one owner may overlap, of two never."""

    def __init__(self) -> None:
        self._of: dict[Owner, list[tuple[int, int]]] = {}
        self._index: tuple[list[int], list[tuple[int, Owner]]] | None = None

    def put(self, owner: Owner, spans: Iterable[tuple[int, int]]) -> None:
        """Let `owner` have these."""
        self._of[owner] = _joined(spans)
        self._index = None

    def drop(self, owner: Owner) -> None:
        """Let it have none."""
        if self._of.pop(owner, None) is not None:
            self._index = None

    def clear(self) -> None:
        """Nobody has any."""
        self._of.clear()
        self._index = None

    def met_by(self, spans: Iterable[tuple[int, int]]) -> set[Owner]:
        """Who has an address in one of `spans`."""
        if not self._of:
            return set()
        if self._index is None:
            rows = sorted(
                chain.from_iterable(((*span, owner) for span in held) for owner, held in self._of.items()),
                key=lambda row: row[0],
            )
            self._index = [low for low, _, _ in rows], [(high, owner) for _, high, owner in rows]
        lows, rest = self._index
        found: set[Owner] = set()
        for low, high in spans:
            at = bisect_left(lows, high) - 1
            while at >= 0 and rest[at][0] > low:
                found.add(rest[at][1])
                at -= 1
        return found


def _joined(spans: Iterable[tuple[int, int]]) -> list[tuple[int, int]]:
    """`spans` in order, those that overlap as one."""
    joined: list[tuple[int, int]] = []
    for low, high in sorted(spans):
        if joined and low < joined[-1][1]:
            joined[-1] = joined[-1][0], max(high, joined[-1][1])
        else:
            joined.append((low, high))
    return joined
