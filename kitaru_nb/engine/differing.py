"""Two namespaces held against each other, object by object, until something differs.

Objects correspond when they are reached by the same way, and each has exactly one counterpart:
so what is shared in one must be shared in the other.
"""

from __future__ import annotations

import types
from collections.abc import Callable, Container, Mapping
from typing import Any, NamedTuple

from kitaru_nb.artifacts.census import Parts, atom_parts, set_order
from kitaru_nb.artifacts.digest import digest_values
from kitaru_nb.artifacts.kinds import by_reference, is_atom_type, is_immutable_atom, kind_name
from kitaru_nb.artifacts.marker import is_marker
from kitaru_nb.artifacts.resource import is_resource
from kitaru_nb.artifacts.views import shared_blocks
from kitaru_nb.errors import UnstorableError

__all__ = ["Place", "first_difference"]


# Of an iterator over a set, what is left comes back, in the order it had.
_AS_GOOD: set[tuple[type, type]] = {(type(iter(set())), type(iter([])))}


class Place(NamedTuple):
    """Where two namespaces differ, and how.

    Attributes:
        name: The name that leads there.
        path: The way from that name.
        what: What differs, in words.
    """

    name: str
    path: str
    what: str


def first_difference(
    one: Mapping[str, object],
    other: Mapping[str, object],
    *,
    spaces: tuple[dict[str, Any], dict[str, Any]],
    excused: Container[str] = (),
) -> Place | None:
    """The first place where `one` and `other`, which have the same names, differ; else None.

    Args:
        one: Names with their values.
        other: The same names in the other namespace.
        spaces: The namespaces that functions of either side have as their globals.
        excused: Names for which `other` may hold markers, since a part could not be stored.
    """
    pairs = _Pairs(spaces)
    for name, value in one.items():
        found = pairs.walk(name, value, other[name], excused=name in excused)
        if found is not None:
            return found
    return pairs.memory()


class _Pairs:
    def __init__(self, spaces: tuple[dict[str, Any], dict[str, Any]]) -> None:
        self.spaces = spaces
        self.parts = tuple(Parts(space, _alone(space)) for space in spaces)
        self.counterpart: tuple[dict[int, int], dict[int, int]] = ({}, {})
        self.kept: list[Any] = []
        self.names: list[tuple[str, str]] = []  # of the arrays, in the order they were met

    def walk(self, name: str, one: object, other: object, *, excused: bool) -> Place | None:
        """Go through everything that a name leads to on both sides."""
        stack: list[tuple[str, Any, Any]] = [(name, one, other)]
        while stack:
            path, a, b = stack.pop()
            what = self._step(path, a, b, stack, excused=excused)
            if what:
                return Place(name, path, what)
            arrays = len(self.parts[0].arrays)
            self.names += [(name, path)] * (arrays - len(self.names))
        return None

    def memory(self) -> Place | None:
        """Which arrays look into the same memory, and where."""
        one, other = (_memory(parts) for parts in self.parts)
        for number, (here, there) in enumerate(zip(one, other, strict=False)):
            if here != there:
                name, path = self.names[number]
                return Place(name, path, f"shares memory {here}, and would {there}")
        return None

    def _step(
        self, path: str, a: Any, b: Any, stack: list[tuple[str, Any, Any]], *, excused: bool
    ) -> str | None:
        if a is self.spaces[0] or b is self.spaces[1]:
            return None if a is self.spaces[0] and b is self.spaces[1] else "has other globals"
        stands_in = type(b) is UnstorableError and isinstance(a, BaseException)  # in a chain of errors
        if (is_marker(b) or stands_in) and type(a) is not type(b):
            return None if excused or is_resource(a) else "could not be stored, which nobody was told"
        if not self._same_type(path, type(a), type(b), stack):
            return f"is a {kind_name(a)}, and would be a {kind_name(b)}"
        if is_atom_type(type(a)):
            return None if _same_atom(a, b) else f"is {_short(a)}, and would be {_short(b)}"
        if isinstance(a, type | types.FunctionType | types.BuiltinFunctionType) and by_reference(a):
            return None if a is b else f"is {_short(a)}, and would be {_short(b)}"
        if not is_immutable_atom(a):
            met = self._met(a, b)
            if met is not None:
                return met or None
        return self._inside(path, a, b, stack)

    def _same_type(self, path: str, a: type, b: type, stack: list[tuple[str, Any, Any]]) -> bool:
        if a is b or (a, b) in _AS_GOOD:
            return True
        if by_reference(a) or by_reference(b) or a.__qualname__ != b.__qualname__:
            return False
        stack.append((f"type({path})", a, b))
        return True

    def _met(self, a: Any, b: Any) -> str | None:
        """None when both are met for the first time, nothing when they are counterparts already."""
        forth, back = self.counterpart
        if id(a) not in forth and id(b) not in back:
            forth[id(a)], back[id(b)] = id(b), id(a)
            self.kept += (a, b)
            return None
        if forth.get(id(a)) == id(b):
            return ""
        if id(a) in forth:
            return "is one object with another place, and would be one by itself"
        return "is an object by itself, and would be one with another place"

    def _inside(self, path: str, a: Any, b: Any, stack: list[tuple[str, Any, Any]]) -> str | None:
        kind = type(a)
        if kind is list or kind is tuple:
            return _push(path, a, b, stack)
        if kind is dict:
            if len(a) != len(b):
                return f"has {len(a)} keys, and would have {len(b)}"
            for (key, item), (other_key, other) in reversed(list(zip(a.items(), b.items(), strict=True))):
                stack += ((f"{path}[{_short(key)}]", item, other), (f"a key of {path}", key, other_key))
            return None
        if kind is set or kind is frozenset:
            if len(a) != len(b):
                return f"has {len(a)} elements, and would have {len(b)}"
            return _push(path, set_order(a, self._key(0)), set_order(b, self._key(1)), stack)
        if kind is bytearray:
            return None if a == b else "holds other bytes"
        return self._apart(path, a, b, stack)

    def _key(self, side: int) -> Callable[[Any], Any]:
        alone = _alone(self.spaces[side])
        return lambda item: alone([item])

    def _apart(self, path: str, a: Any, b: Any, stack: list[tuple[str, Any, Any]]) -> str | None:
        one, other = self.parts[0].of(a), self.parts[1].of(b)
        if "opaque" in (one[0], other[0]):
            return None if one[:2] == other[:2] else "could be stored on one side only"
        self.kept += (one, other)
        return _push(path, list(one), list(other), stack)


def _push(path: str, a: Any, b: Any, stack: list[tuple[str, Any, Any]]) -> str | None:
    if len(a) != len(b):
        return f"has {len(a)} parts, and would have {len(b)}"
    pairs = list(enumerate(zip(a, b, strict=True)))
    stack += ((f"{path}[{place}]", item, other) for place, (item, other) in reversed(pairs))
    return None


def _alone(space: dict[str, Any]) -> Callable[[Any], bytes]:
    return lambda value: digest_values({"": value}, namespace=space).encode()


def _same_atom(a: Any, b: Any) -> bool:
    found = atom_parts(a)
    if found is not None:
        return found == atom_parts(b)
    if isinstance(a, float | complex):
        return repr(a) == repr(b)  # tells -0.0 from 0.0, and a NaN is one
    try:
        return bool(a == b) or repr(a) == repr(b)
    except Exception:  # noqa: BLE001 - a foreign comparison may raise anything
        return repr(a) == repr(b)


def _memory(parts: Parts) -> list[list[int]]:
    """For each array, in order, the numbers of the arrays it shares memory with."""
    unique = list({id(array): array for array in parts.arrays}.values())
    blocks = shared_blocks(unique, parts.framed)
    number: dict[int, int] = {}
    found: list[list[int]] = []
    for array in unique:
        block = blocks.get(id(array))
        if block is None:
            found.append([])
        else:
            mine = number.setdefault(id(block), len(number))
            found.append([mine, array.__array_interface__["data"][0] - block.low])
    return found


def _short(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 40 else text[:37] + "..."
