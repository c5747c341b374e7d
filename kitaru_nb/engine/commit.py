"""From what changed to a draft: encode the groups, name the conditions.

Bytes first, then the journal: everything here is written to the store and made durable
before the caller records the draft.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from kitaru_nb.artifacts.marker import Marker
from kitaru_nb.artifacts.values import Stored
from kitaru_nb.engine.engine import Engine
from kitaru_nb.engine.namespace import Names, Namespace, State
from kitaru_nb.errors import UnstorableError
from kitaru_nb.model.artifact import Anchor, Artifact, Digest, Location
from kitaru_nb.model.checkpoint import Group

__all__ = ["Written", "refuse_unstorable", "write_groups", "write_value"]


@dataclass(slots=True)
class Written:
    """What a commit has to tell the journal about stored bytes."""

    groups: list[Group] = field(default_factory=list)
    artifacts: list[Artifact] = field(default_factory=list)
    locations: list[Location] = field(default_factory=list)

    def add(self, stored: Stored) -> Digest:
        """Take note of a stored artifact; gives its digest."""
        self.artifacts.append(stored.artifact)
        self.locations.extend(stored.locations)
        return stored.artifact.digest


def write_groups(
    engine: Engine,
    namespace: Namespace,
    state: State,
    *,
    changed: Iterable[Names],
    by_step: frozenset[Names],
    on_record: Mapping[Names, Group],
    exclude: frozenset[str] = frozenset(),
) -> Written:
    """Store each changed group, functions and classes first, since others refer to them.

    `on_record` is what this line of commits has stored so far; a group that is already
    there with the same value keeps its artifact and costs nothing.
    """
    written = Written()
    definitions = state.definitions
    order = {name: position for position, name in enumerate(namespace.live)}
    anchors = _anchors(definitions, on_record, state)
    for names in sorted(changed, key=lambda group: _rank(group, definitions, namespace, order)):
        group = on_record.get(names)
        if group is None or group.value != state.groups[names]:
            group = _write_group(engine, namespace, names, state.groups[names], anchors, exclude, written)
        group = Group(group.names, group.artifact, group.value, names in by_step, group.unstorable)
        written.groups.append(group)
        for name in names:
            _anchor(anchors, definitions, namespace, name, group)
    return written


def write_value(
    engine: Engine, namespace: Namespace, name: str, value: object, written: Written
) -> Digest | None:
    """Store one value by itself; None when a part of it cannot be stored."""
    stored = engine.put({name: value}, namespace=namespace.live)
    return None if stored.unstorable else written.add(stored)


def refuse_unstorable(written: Written, checkpoint: str) -> None:
    """For `--strict`.

    Raises:
        UnstorableError: a value, or a part of it, could not be stored.
    """
    for group in written.groups:
        for name, reason in group.unstorable.items():
            message = f"checkpoint `{checkpoint}` wrote `{name}`, which could not be stored: {reason}"
            hint = f"%%checkpoint {checkpoint} --exclude {name}"
            raise UnstorableError(message, kind="unstorable-value", hint=hint)


def _write_group(
    engine: Engine,
    namespace: Namespace,
    names: Names,
    digest: Digest,
    anchors: Mapping[int, Anchor],
    exclude: frozenset[str],
    written: Written,
) -> Group:
    values: dict[str, Any] = {name: namespace.live[name] for name in names}
    unstorable = {name: "left out by --exclude" for name in names if name in exclude}
    for name, reason in unstorable.items():
        values[name] = Marker(name, type(values[name]).__qualname__, reason)
    others = {key: anchor for key, anchor in anchors.items() if anchor.name not in names}
    stored = engine.put(values, namespace=namespace.live, anchors=others)
    return Group(names, written.add(stored), digest, unstorable={**stored.unstorable, **unstorable})


def _anchors(
    definitions: Mapping[int, str], on_record: Mapping[Names, Group], state: State
) -> dict[int, Anchor]:
    """Functions and classes that are stored already and unchanged, by id."""
    holder = {
        name: group
        for names, group in on_record.items()
        if state.groups.get(names) == group.value
        for name in names
    }
    return {
        identity: Anchor(name, holder[name].value, holder[name].artifact)
        for identity, name in definitions.items()
        if name in holder and name not in holder[name].unstorable
    }


def _anchor(
    anchors: dict[int, Anchor], definitions: Mapping[int, str], namespace: Namespace, name: str, group: Group
) -> None:
    identity = id(namespace.live[name])
    if definitions.get(identity) == name and name not in group.unstorable:
        anchors[identity] = Anchor(name, group.value, group.artifact)


def _rank(
    names: Names, definitions: Mapping[int, str], namespace: Namespace, order: Mapping[str, int]
) -> tuple[int, int, int]:
    """Definitions before values, bases before subclasses, then in order of binding."""
    values = [namespace.live[name] for name in names]
    if not all(id(value) in definitions for value in values):
        return (1, 0, min(order[name] for name in names))
    depth = max(len(value.__mro__) if isinstance(value, type) else 0 for value in values)
    return (0, depth, min(order[name] for name in names))
