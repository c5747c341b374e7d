"""From what changed to a draft: encode the groups, name the conditions.

Bytes first, then the journal: everything here is written to the store and made durable
before the caller records the draft.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field, replace
from itertools import compress
from shlex import quote
from types import ModuleType
from typing import Any

from kitaru_nb.artifacts.groups import group_names
from kitaru_nb.artifacts.kinds import is_immutable_atom
from kitaru_nb.artifacts.marker import Marker
from kitaru_nb.artifacts.values import Stored
from kitaru_nb.engine.definitions import Definitions
from kitaru_nb.engine.engine import Engine
from kitaru_nb.engine.namespace import Names, Namespace, State
from kitaru_nb.errors import UnstorableError
from kitaru_nb.model.artifact import Anchor, Artifact, Digest, Location
from kitaru_nb.model.checkpoint import Group

__all__ = ["Written", "refuse_unstorable", "write_groups", "write_value"]


@dataclass(slots=True)
class Written:
    """What a commit has to tell the journal about stored bytes.

    `anchors` are the functions and classes that are stored now, by id; `needs` the artifacts that
    must be on record besides those stored now; `fresh` the bytes that were in no value of the same names
    before.
    """

    groups: list[Group] = field(default_factory=list)
    artifacts: list[Artifact] = field(default_factory=list)
    locations: list[Location] = field(default_factory=list)
    anchors: dict[int, Anchor] = field(default_factory=dict)
    needs: set[Digest] = field(default_factory=set)
    fresh: int = 0

    def add(self, stored: Stored) -> Digest:
        """Take note of a stored artifact; gives its digest."""
        self.artifacts.append(stored.artifact)
        self.locations.extend(stored.locations)
        self.needs |= stored.needs
        self.fresh += stored.fresh
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
    stored: Definitions | None = None,
    anew: AbstractSet[Names] = frozenset(),
) -> Written:
    """Store each changed group, functions and classes first, since others refer to them.

    `on_record` is what this line of commits has stored so far; a group that is already
    there with the same value keeps its artifact and costs nothing.

    A function or class is referred to where it was stored first, as long as it is unchanged, so
    that all who refer to it get one object: `stored` says where objects are whose names have moved
    on or are grouped anew. Groups in `anew` are stored again though
    they are on record: what they refer to is stored by itself now (see `grown_groups`).
    """
    on_record = (
        {names: group for names, group in on_record.items() if names not in anew} if anew else on_record
    )
    stored = stored or Definitions()
    writer = _Writer(engine, namespace, state, on_record, exclude=exclude, stored=stored)
    writer.anchor_known(stored, anew)
    for names in writer.in_order(list(changed)):
        writer.write(names, by_step=names in by_step)
    return writer.written


def write_value(
    engine: Engine, namespace: Namespace, name: str, value: object, written: Written
) -> Digest | None:
    """Store one value by itself; None when a part of it cannot be stored."""
    stored = engine.put({name: value}, namespace=namespace.live, anchors=written.anchors)
    return None if stored.unstorable else written.add(stored)


def refuse_unstorable(written: Written, checkpoint: str) -> None:
    """For `--strict`.

    Raises:
        UnstorableError: a value, or a part of it, could not be stored.
    """
    for group in written.groups:
        for name, reason in group.unstorable.items():
            message = f"checkpoint `{checkpoint}` wrote `{name}`, which could not be stored: {reason}"
            hint = f"%%checkpoint {quote(checkpoint)} --exclude {name}"
            raise UnstorableError(message, kind="unstorable-value", hint=hint)


class _Writer:
    """Writes the groups of one commit, in an order in which each can refer to those before it."""

    def __init__(
        self,
        engine: Engine,
        namespace: Namespace,
        state: State,
        on_record: Mapping[Names, Group],
        *,
        exclude: frozenset[str],
        stored: Definitions,
    ) -> None:
        self.written = Written()
        self._engine = engine
        self._namespace = namespace
        self._live = namespace.live
        self._state = state
        self._on_record = on_record
        self._exclude = exclude
        self._anchors = self.written.anchors
        self._order: dict[str, int] = {}
        for names in {state.group_of[name] for name in state.definitions.values()} & on_record.keys():
            if state.groups[names] == on_record[names].value:
                self._anchor(on_record[names], stored)

    def anchor_known(self, stored: Definitions, anew: AbstractSet[Names]) -> None:
        """Refer to definitions where they are on record, though their names are grouped anew."""
        for key, name in self._state.definitions.items():
            if key in self._anchors or self._state.group_of[name] in anew:
                continue
            definition = self._live[name]
            if any(self._live[other] is not definition for other in self._state.group_of[name]):
                continue  # what it shares with these would come back twice
            refers = self._state.refers.get(self._state.group_of[name], frozenset())
            anchor = stored.find(definition, refers)
            if anchor is None or stored.is_doubled(key, self._state, self._namespace):
                continue
            if self._namespace.digest({anchor.name: definition}) == anchor.value:
                self._anchors[key] = anchor

    def in_order(self, groups: list[Names]) -> list[Names]:
        """Definitions, each after those it refers to, then modules and plain values, then the others.

        So what runs when one of the others is loaded finds what it reads. Else in order of binding.
        """
        names = {name for names in groups for name in names}
        self._order = {
            name: n for n, name in enumerate(compress(self._live, map(names.__contains__, self._live)))
        }
        if len(groups) < 2:
            return groups
        groups = sorted(groups, key=lambda names: min(self._order[name] for name in names))
        definitions = [names for names in groups if self._defines(names)]
        values = [names for names in groups if not self._defines(names)]
        values.sort(key=lambda names: not all(_is_plain(self._live[name]) for name in names))
        return [*(self._dependent(definitions) if len(definitions) > 1 else definitions), *values]

    def _defines(self, names: Names) -> bool:
        return all(id(self._live[name]) in self._state.definitions for name in names)

    def _dependent(self, groups: list[Names]) -> list[Names]:
        """`groups` of definitions, each after those it refers to; no two refer to each other."""
        own = {name: self._live[name] for names in groups for name in names}
        refers = group_names(own, namespace=self._live, anchors=self._state.definitions).refers
        group_of = {object.__hash__(self._live[name]): names for names in groups for name in names}
        ordered: dict[Names, None] = {}
        stack = [(names, False) for names in reversed(groups)]
        while stack:
            names, ready = stack.pop()
            if ready or names in ordered:
                ordered.setdefault(names)
                continue
            stack.append((names, True))
            aims = {group_of[key] for name in names for key in refers.get(name, ()) if key in group_of}
            stack += [(aim, False) for aim in aims if aim not in ordered and aim != names]
        return list(ordered)

    def write(self, names: Names, *, by_step: bool) -> None:
        """Store one group, unless it is on record as it is."""
        value = self._state.groups[names]
        known = self._on_record.get(names)
        kept = known is not None and known.value == value
        group = known if kept and known is not None else self._store(names, value, by_step=by_step)
        self.written.groups.append(group if group.written is by_step else replace(group, written=by_step))
        self._anchor(group)

    def _store(self, names: Names, value: Digest, *, by_step: bool) -> Group:
        # Oldest name first: what grows stands before what is bound anew in each step.
        ordered = sorted(names, key=self._order.__getitem__) if len(names) > 1 else names
        values: dict[str, Any] = {name: self._namespace.held(name) for name in ordered}
        left_out = {name: "left out by --exclude" for name in names if name in self._exclude}
        for name, reason in left_out.items():
            values[name] = Marker(name, type(values[name]).__qualname__, reason)
        known = self._on_record.get(names)
        stored = self._engine.put(
            values,
            namespace=self._live,
            anchors=self._anchors,
            before=known.artifact if known is not None else None,
        )
        lost = {**stored.unstorable, **left_out}
        return Group(names, self.written.add(stored), value, written=by_step, unstorable=lost)

    def _anchor(self, group: Group, stored: Definitions | None = None) -> None:
        """Let later groups refer to the functions and classes of this one, where they were `stored` first."""
        for name in group.names:
            definition = self._live[name]
            own = self._state.definitions.get(id(definition)) == name and name not in group.unstorable
            refers = self._state.refers.get(group.names, frozenset())
            known = stored.find(definition, refers) if stored is not None else None
            alone = group.value if len(group.names) == 1 else None
            if own and known is not None and known.value == self._value(known.name, definition, name, alone):
                self._anchors[id(definition)] = known
            elif own and id(definition) not in self._anchors:
                value = self._value(name, definition, name, alone)
                self._anchors[id(definition)] = Anchor(name, value, group.artifact)

    def _value(self, name: str, definition: object, own: str, alone: Digest | None) -> Digest:
        """The digest of a definition as `name`; `alone` is the one it has by itself as its `own` name."""
        return alone if alone is not None and name == own else self._namespace.digest({name: definition})


def _is_plain(value: object) -> bool:
    return type(value) is ModuleType or is_immutable_atom(value)
