"""Random object graphs for property tests: sharing, cycles, sets, instances."""

from __future__ import annotations

import random
from collections.abc import Iterator
from typing import Any

__all__ = ["Node", "Slotted", "mutations", "random_graph", "reachable", "shape"]


class Node:
    """An instance with attributes."""


class Slotted:
    """An instance with slots."""

    __slots__ = ("one", "two")


ATOMS: list[Any] = [0, 1, True, 1.0, -0.0, "a", "abc", b"x", None, (1, "a"), 10**30, frozenset({"p", "q"})]


def random_graph(seed: int, names: int = 3, size: int = 14) -> dict[str, Any]:
    """Some names over `size` containers that refer to each other at random."""
    rng = random.Random(seed)
    made: list[Any] = [_container(rng) for _ in range(size)]
    for container in made:
        for number in range(rng.randrange(4)):
            kind = rng.random()
            child = rng.choice(made) if kind < 0.5 else rng.choice(ATOMS)
            if kind > 0.9:
                child = (rng.choice(made), rng.choice(ATOMS))
            _put(container, child, number)
    return {f"n{i}": rng.choice(made) for i in range(names)}


def _container(rng: random.Random) -> Any:
    kind = rng.choice([list, dict, Node, Slotted, set, list, dict, bytearray])
    return kind()


def _put(container: Any, child: Any, number: int) -> None:
    if isinstance(container, list):
        container.append(child)
    elif isinstance(container, dict):
        container[f"k{number}"] = child
    elif isinstance(container, Node):
        setattr(container, f"a{number}", child)
    elif isinstance(container, Slotted):
        setattr(container, ("one", "two")[number % 2], child)
    elif isinstance(container, set):
        if isinstance(child, (str, int, tuple, Node, frozenset)) and _hashable(child):
            container.add(child)
    elif isinstance(container, bytearray):
        container.append(65 + number)


def _hashable(value: Any) -> bool:
    try:
        hash(value)
    except TypeError:
        return False
    return True


def children(obj: Any) -> list[Any]:
    """What an object of a random graph holds, in order; sets in no particular one."""
    if isinstance(obj, dict):
        return list(obj.values())
    if isinstance(obj, (list, tuple, set, frozenset)):
        return list(obj)
    if isinstance(obj, Node):
        return list(vars(obj).values())
    if isinstance(obj, Slotted):
        return [getattr(obj, s) for s in obj.__slots__ if hasattr(obj, s)]
    return []


def reachable(root: Any) -> dict[int, Any]:
    """Every container `root` leads to, by id."""
    found: dict[int, Any] = {}
    stack = [root]
    while stack:
        obj = stack.pop()
        if id(obj) not in found and isinstance(
            obj, (list, dict, tuple, set, frozenset, Node, Slotted, bytearray)
        ):
            found[id(obj)] = obj
            stack += children(obj)
    return found


def shape(values: dict[str, Any]) -> list[Any]:
    """The graph as a list of numbered nodes; equal only for equal graphs without mutable things in sets."""
    numbers: dict[int, int] = {}
    lines: list[Any] = []
    stack = [values[name] for name in sorted(values, reverse=True)]
    while stack:
        obj = stack.pop()
        cls = type(obj)
        if not isinstance(obj, (list, dict, tuple, set, frozenset, Node, Slotted, bytearray)):
            lines.append((cls.__name__, repr(obj)))
            continue
        if cls is not tuple and id(obj) in numbers:
            lines.append(("again", numbers[id(obj)]))
            continue
        if cls is not tuple:
            numbers[id(obj)] = len(numbers)
        below = children(obj)
        if cls in (set, frozenset):
            lines.append(
                (cls.__name__, sorted(repr(type(b)) + (_text(b) if not _deep(b) else "") for b in below))
            )
            continue
        keys = list(obj) if cls is dict else list(vars(obj)) if cls is Node else len(below)
        lines.append((cls.__name__, keys, bytes(obj) if cls is bytearray else None))
        stack += reversed(below)
    return lines


def _text(obj: Any) -> str:
    """Like `repr`, without the order of sets, which a round trip need not keep."""
    if isinstance(obj, tuple):
        return f"({', '.join(map(_text, obj))})"
    if isinstance(obj, (set, frozenset)):
        return f"{type(obj).__name__}({', '.join(sorted(map(_text, obj)))})"
    return repr(obj)


def _deep(obj: Any) -> bool:
    return any(isinstance(o, (Node, Slotted)) for o in reachable(obj).values()) or isinstance(obj, Node)


def mutations(values: dict[str, Any]) -> Iterator[str]:
    """Change one reachable thing at a time and undo it; yields while it is changed."""
    found: dict[int, Any] = {}
    for value in values.values():
        found.update(reachable(value))
    for obj in list(found.values()):
        if isinstance(obj, list):
            obj.append(5)
            yield "append"
            obj.pop()
            for index, item in enumerate(list(obj)):
                obj[index] = ("other", item)
                yield "replace"
                obj[index] = item
        elif isinstance(obj, dict):
            obj["new"] = 5
            yield "key"
            del obj["new"]
        elif isinstance(obj, Node):
            obj.new = 5  # type: ignore[attr-defined] # any attribute will do
            yield "attribute"
            del obj.new  # type: ignore[attr-defined] # as above
        elif isinstance(obj, set):
            obj.add("new")
            yield "element"
            obj.remove("new")
        elif isinstance(obj, bytearray):
            obj.append(1)
            yield "byte"
            obj.pop()
