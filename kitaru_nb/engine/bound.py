"""What names are bound to, told by where the objects are: a look at thousands of names in microseconds."""

from __future__ import annotations

import ctypes
import sys
from array import array
from collections.abc import Callable, Iterator, Mapping
from itertools import compress, count
from operator import ne

__all__ = ["Bound"]


class Bound:
    """The names of a dict, and the addresses of what they were bound to when this was made.

    Holds the names and none of the values: where one has died, another may have its address.

    Args:
        live: Names with their values.
    """

    __slots__ = ("_named", "_values", "names")

    def __init__(self, live: Mapping[str, object]) -> None:
        self.names = tuple(live)
        places = _addresses((*self.names, *live.values()))
        middle = len(self.names) * _POINTER
        self._named, self._values = places[:middle], places[middle:]

    def moved_since(self, before: Bound) -> tuple[set[str], list[str]]:
        """The names of `before` that are gone, and those that are new or bound to another object.

        In C where there are the names from before in their order and then new ones, as it is from
        one step to the next.
        """
        if not self._named.startswith(before._named):
            last, now = dict(before._items()), dict(self._items())
            return last.keys() - now.keys(), [name for name, place in now.items() if last.get(name) != place]
        more = self.names[len(before.names) :]
        if self._values.startswith(before._values):
            return set(), [*more]
        return set(), [*(self.names[at] for at in _differing(before._values, self._values)), *more]

    def _items(self) -> Iterator[tuple[str, int]]:
        return zip(self.names, memoryview(self._values).cast("P"), strict=True)


_POINTER = ctypes.sizeof(ctypes.c_void_p)
_BLOCK = 64 * _POINTER


def _differing(one: bytes, other: bytes) -> Iterator[int]:
    """At which places two rows of addresses differ, as far as the first goes."""
    for start in range(0, len(one), _BLOCK):
        old, new = one[start : start + _BLOCK], other[start : start + _BLOCK]
        if not new.startswith(old):
            moved = map(ne, memoryview(old).cast("P"), memoryview(new[: len(old)]).cast("P"))
            yield from compress(count(start // _POINTER), moved)


def _in_memory(objects: tuple[object, ...]) -> bytes:
    # A tuple keeps its pointers right behind its head.
    return ctypes.string_at(id(objects) + tuple.__basicsize__, len(objects) * _POINTER)


def _one_by_one(objects: tuple[object, ...]) -> bytes:
    return array("Q" if _POINTER == 8 else "I", map(id, objects)).tobytes()


def _shows_addresses() -> bool:
    """Whether the memory looked at holds the addresses, in this build of Python."""
    probe = (object(), "a", 1 << 70)
    return sys.implementation.name == "cpython" and _in_memory(probe) == _one_by_one(probe)


_addresses: Callable[[tuple[object, ...]], bytes] = _in_memory if _shows_addresses() else _one_by_one
