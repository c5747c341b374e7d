"""Attributes of libraries that lead to the very objects which notebook names are bound to.

Such an object is stored once, with its names. What is stored for the attribute refers to it
there, so that after a restore both lead to one object again.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from kitaru_nb.artifacts.pickle_codec import Reference
from kitaru_nb.engine.namespace import Namespace, State
from kitaru_nb.engine.process import Held
from kitaru_nb.model.artifact import Anchor
from kitaru_nb.model.checkpoint import Group

__all__ = ["refer", "shared_names"]


def shared_names(attributes: Mapping[str, Held], state: State) -> set[str]:
    """Names bound to objects that attributes hold, themselves or inside plain containers."""
    if not attributes:
        return set()
    names = {key: name for name, key in state.ids.items() if key is not None and key not in state.definitions}
    return {
        names[id(value)]
        for held in attributes.values()
        for value in _inside(held.value)
        if id(value) in names
    }


def _inside(root: object) -> Iterator[object]:
    seen: set[int] = set()
    waiting = [root]
    while waiting:
        value = waiting.pop()
        if id(value) in seen:
            continue
        seen.add(id(value))
        yield value
        if type(value) is dict:
            waiting += value.values()
        elif type(value) is list or type(value) is tuple:
            waiting += value


def refer(
    attributes: Mapping[str, Held], names: set[str], groups: Mapping[str, Group], namespace: Namespace
) -> dict[str, Held]:
    """`attributes` as they are stored: what `names` are bound to is referred to in their groups."""
    anchors = {}
    for name in names:
        group = groups.get(name)
        if group is None or group.recipe is not None or name in group.unstorable:
            continue
        value = namespace.live[name]
        anchors[id(value)] = Anchor(name, namespace.digest({name: value}), group.artifact)
    # Copies only where they are needed, and one of each: what two attributes share they go on sharing.
    known: dict[int, Any] = {}
    return {
        path: held.holding(_referring(held.value, anchors, known))
        if any(id(value) in anchors for value in _inside(held.value))
        else held
        for path, held in attributes.items()
    }


def _referring(value: Any, anchors: Mapping[int, Anchor], known: dict[int, Any]) -> Any:
    """A copy of plain containers that refers to what has an anchor; all else is itself."""
    if id(value) in anchors:
        return Reference(anchors[id(value)])
    if id(value) in known:
        return known[id(value)]
    if type(value) is dict:
        copy: Any = known.setdefault(id(value), {})
        copy.update((key, _referring(held, anchors, known)) for key, held in value.items())
        return copy
    if type(value) is list:
        copy = known.setdefault(id(value), [])
        copy.extend(_referring(held, anchors, known) for held in value)
        return copy
    return tuple(_referring(held, anchors, known) for held in value) if type(value) is tuple else value
