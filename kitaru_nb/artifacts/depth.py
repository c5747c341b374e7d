"""Where to cut a graph that is nested deeper than the pickler may recurse."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import compress
from typing import Any

from kitaru_nb.model.referents import referents

__all__ = ["deep_containers"]

_LEVELS = 40
_CONTAINERS = frozenset([list, dict, tuple, set, frozenset])
_identity = object.__hash__


def deep_containers(values: Mapping[str, object]) -> list[Any]:
    """Plain containers on every 40th level below the names, the deepest first.

    Written in this order none of them needs more than a few levels of recursion, as long as
    nothing leads back up.
    """
    level: list[Any] = list(values.values())
    seen: set[int] = set()
    cuts: list[list[Any]] = []
    depth = 0
    while level:
        kept = {_identity(obj): obj for obj in level if type(obj) in _CONTAINERS}
        fresh = [obj for key, obj in kept.items() if key not in seen]
        seen.update(kept)
        depth += 1
        if depth % _LEVELS == 0:
            cuts.append(fresh)
        below = referents(*fresh)
        level = list(compress(below, map(_CONTAINERS.__contains__, map(type, below))))
    return [obj for cut in reversed(cuts) for obj in cut]
