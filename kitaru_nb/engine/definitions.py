"""Where the notebook's functions and classes are on record, object by object.

Each is stored once and referred to from all else that is stored, so that what is one object comes
back as one. A name may move on meanwhile: then the object is still known by where it is held.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable, Collection, Iterable, Mapping
from types import FunctionType
from typing import Any, NamedTuple

from kitaru_nb.engine.namespace import Namespace, State
from kitaru_nb.model.artifact import Anchor, Digest
from kitaru_nb.model.checkpoint import Group

__all__ = ["Definitions", "References", "is_definition"]

References = dict[int, tuple[object, Anchor]]
"""Definitions that an artifact refers to, by id, with where they are held."""


def is_definition(value: object) -> bool:
    """Whether `value` is a function or a class, asked of its real type."""
    return issubclass(type(value), (FunctionType, type))


class Definitions:
    """Where functions and classes of the notebook are on record, by object."""

    def __init__(self) -> None:
        self._known: dict[int, _Known] = {}
        self._keys: dict[Anchor, int] = {}
        # Of artifacts: objects that they refer to where these are not held here, though alike there.
        self._elsewhere: dict[Digest, list[tuple[weakref.ref[Any], str]]] = {}
        self._torn: set[Digest] = set()  # of these: whose object has left its name, so that it is not met

    def add(
        self,
        live: Mapping[str, object],
        groups: Iterable[Group],
        anchors: Mapping[int, Anchor],
        state: State,
        *,
        stored: Collection[Digest],
    ) -> None:
        """`groups`, with the definitions in `anchors`, are on record; some artifacts were just `stored`."""
        for group in groups:
            if group.artifact in stored:  # what shares objects was stored whole: it is held there now
                for key in {id(live[name]) for name in group.names} - anchors.keys():
                    self._known.pop(key, None)
        for key, anchor in anchors.items():
            definition = live.get(anchor.name)
            known = self._known.get(key)
            if id(definition) == key and (known is None or known.anchor != anchor):
                self._learn(definition, anchor, state.refers.get(state.group_of[anchor.name], frozenset()))

    def put_back(
        self, namespace: Namespace, groups: Iterable[Group], references: Callable[[Group], References]
    ) -> None:
        """Take note of what was just restored; `references` gives the definitions that a group leads to."""
        for group in groups:
            values = {name: namespace.live.get(name) for name in group.names}
            for name, value in values.items():
                if name not in group.unstorable and is_definition(value):
                    elsewhere = references(group)
                    _, anchor = elsewhere.get(id(value), (value, None))
                    if anchor is None:
                        digest = group.value if len(values) == 1 else namespace.digest({name: value})
                        anchor = Anchor(name, digest, group.artifact)
                    self._learn(value, anchor, frozenset(elsewhere))

    def met(self, group: Group, elsewhere: References) -> None:
        """Take note that a restored group refers to what is held `elsewhere`, and a live object was taken.

        While that has its name, it will be taken again; after that the group has to be stored anew.
        """
        for key, (definition, anchor) in elsewhere.items():
            known = self._known.get(key)
            if known is None or known.anchor != anchor:
                self._elsewhere.setdefault(group.artifact, []).append((weakref.ref(definition), anchor.name))

    def _learn(self, definition: object, anchor: Anchor, refers: frozenset[int]) -> None:
        self._known.pop(self._keys.get(anchor, 0), None)  # another one that was alike
        self._known[id(definition)] = _Known(weakref.ref(definition), anchor, refers)
        self._keys[anchor] = id(definition)

    def of(self, anchor: Anchor) -> object | None:
        """The living object that is on record there; it may have changed since."""
        known = self._known.get(self._keys.get(anchor, 0))
        return known.ref() if known is not None and known.anchor == anchor else None

    def refers(self, key: int) -> frozenset[int]:
        """The definitions that the artifact of one on record refers to, all by their ids."""
        known = self._known.get(key)
        return known.refers if known is not None else frozenset()

    def find(self, definition: object, refers: frozenset[int]) -> Anchor | None:
        """Where an object was stored that leads to no more definitions now; it may have changed since."""
        known = self._known.get(id(definition))
        if known is None or known.ref() is not definition or not refers <= known.refers:
            return None
        return None if known.anchor.artifact in self._torn else known.anchor

    def stored_as(self, key: int) -> str:
        """The name that the definition on record `key` (its id) is stored as."""
        return self._known[key].anchor.name

    def look(self, live: Mapping[str, object]) -> None:
        """Take note of which names have moved on."""
        self._torn = {
            artifact
            for artifact, elsewhere in self._elsewhere.items()
            if any(live.get(name) is not ref() for ref, name in elsewhere)
        }

    def is_torn(self, group: Group, live: Mapping[str, object]) -> bool:
        """Whether a restore of the group would give another object than before for what it leads to."""
        if not self._torn:
            return False
        held = (self._known.get(id(live.get(name))) for name in group.names)
        return group.artifact in self._torn or any(
            known is not None and known.anchor.artifact in self._torn for known in held
        )

    def is_doubled(self, key: int, state: State, namespace: Namespace) -> bool:
        """Whether the name that a definition (by its id) is stored as holds another one that is alike."""
        known = self._known.get(key)
        if known is None or state.ids.get(known.anchor.name, key) == key:
            return False
        name = known.anchor.name
        other = namespace.live[name]  # also where it is stored with what it shares objects with
        return is_definition(other) and namespace.digest({name: other}) == known.anchor.value


class _Known(NamedTuple):
    """A definition on record: it, where it is stored, and the definitions that its artifact refers to."""

    ref: weakref.ref[Any]
    anchor: Anchor
    refers: frozenset[int]
