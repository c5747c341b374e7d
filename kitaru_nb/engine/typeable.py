"""What a person can type when a step is replayed: which of its inputs are plain data, and what they held.

A step reads modules, functions and classes as well as values; nobody types those. They are told
apart by what is on record, and nothing of it is unpickled, so a server may do it for anybody.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from kitaru_nb.artifacts.plain_stream import Opaque
from kitaru_nb.engine.engine import Engine
from kitaru_nb.engine.preview import plain_value
from kitaru_nb.engine.refs import Found, steps
from kitaru_nb.errors import StoreError
from kitaru_nb.model.artifact import Artifact, Digest
from kitaru_nb.model.checkpoint import Checkpoint, Group
from kitaru_nb.model.execution import Execution

__all__ = ["Typeable", "Typed"]

_PLAIN = (bool, int, float, str, bytes, type(None))
_MOST = 2000  # items that are looked at: what so many of a list are, the rest is taken for
_DEPTH = 20
_LONGEST = 200  # characters of a value that is shown as it was


@dataclass(frozen=True, slots=True)
class Typed:
    """An input that a person can type.

    Attributes:
        name: What the step reads it by.
        type: What it held: ``float``, ``list`` and so on.
        literal: What it held as Python writes it; None where that is long, or not known to be that.
    """

    name: str
    type: str
    literal: str | None

    def to_json(self) -> dict[str, Any]:
        """The fields as the server answers with them."""
        return {"name": self.name, "type": self.type, "literal": self.literal}


class Typeable:
    """Tells of the steps of one execution which inputs can be typed.

    Of a flow these are what it was called with, whichever step is asked about. Of a notebook they are
    the names that the step reads: each that held plain data. What cannot be read is left out.

    Args:
        engine: Where it is on record.
        execution: Which one.
    """

    def __init__(self, engine: Engine, execution: Execution) -> None:
        self._engine = engine
        self._flow = execution.identity.flow is not None
        self._given = _given(execution.identity.parameters) if self._flow else []
        self._exact: dict[tuple[str, Digest], Group] = {}
        self._last: dict[str, Group] = {}
        self._seen: dict[tuple[Digest, str], Typed | None] = {}
        if self._flow:
            return
        for step in steps(engine.journal, execution.id):
            for group in step.draft.groups:
                self._exact[",".join(group.names), group.value] = group
                self._last |= dict.fromkeys(group.names, group)
        wanted = {group.artifact for group in self._exact.values()}
        self._artifacts: Mapping[Digest, Artifact] = engine.journal.artifacts(wanted)

    def of(self, step: Checkpoint) -> list[Typed]:
        """The inputs of `step` that can be typed, sorted by name."""
        if self._flow:
            return self._given
        found: list[Typed] = []
        for names, digest in step.draft.reads.items():
            held = self._exact.get((names, digest))
            for name in names.split(","):
                group = held or self._last.get(name)
                typed = None if group is None else self._typed(group, name)
                if typed is not None:
                    # Of another moment's value only the type is likely to be this one's.
                    found.append(typed if held else Typed(name, typed.type, None))
        return sorted(found, key=lambda each: each.name)

    def _typed(self, group: Group, name: str) -> Typed | None:
        place = (group.artifact, name)
        if place not in self._seen:
            self._seen[place] = self._looked_at(group, name)
        return self._seen[place]

    def _looked_at(self, group: Group, name: str) -> Typed | None:
        artifact = self._artifacts.get(group.artifact)
        if artifact is None or group.recipe is not None or name in group.unstorable:
            return None
        try:
            return _typed(name, plain_value(self._engine, Found(artifact, group.names, name)))
        except StoreError:  # damaged or away: the replay itself says so, if it needs it
            return None


def _given(parameters: Mapping[str, Any]) -> list[Typed]:
    """What a flow was called with, without what is on record by its digest alone."""
    return [
        typed
        for name, value in sorted(parameters.items())
        if not _has_digest(value) and (typed := _typed(name, value)) is not None
    ]


def _has_digest(value: object) -> bool:
    if isinstance(value, dict):
        return value.keys() == {"type", "digest"} or any(map(_has_digest, value.values()))
    return isinstance(value, list) and any(map(_has_digest, value))


def _typed(name: str, value: object) -> Typed | None:
    left = [_MOST]
    if not _is_plain([value], left, 0):
        return None
    literal = repr(value) if left[0] > 0 else ""
    return Typed(name, type(value).__name__, literal if 0 < len(literal) <= _LONGEST else None)


def _is_plain(items: Iterable[object], left: list[int], depth: int) -> bool:
    for item in items:
        left[0] -= 1
        if left[0] <= 0:
            return True
        if isinstance(item, Opaque) or depth > _DEPTH:  # so deep is one that holds itself
            return False
        inner: Sequence[object] = ()
        if isinstance(item, dict):
            inner = [*item, *item.values()]
        elif isinstance(item, list | tuple | set | frozenset):
            inner = [*item]
        elif not isinstance(item, _PLAIN):
            return False
        if not _is_plain(inner, left, depth + 1):
            return False
    return True
