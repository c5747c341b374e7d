"""What a namespace holds at one moment, and what changed between two.

The namespace stays the plain dict that IPython made: nothing is traced or replaced. It is
looked at before and after a step, by content: names that share mutable objects form a
group, and each group has a canonical digest that is equal across kernels.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from types import FunctionType
from typing import Any

from kitaru_nb.artifacts.digest import digest_values, is_immutable_atom
from kitaru_nb.artifacts.groups import alias_groups
from kitaru_nb.model.artifact import Digest

__all__ = ["Change", "Names", "Namespace", "State", "changes"]

Names = tuple[str, ...]
"""The names of one group, sorted."""

_INTERPRETER = re.compile(r"_+|_i{1,3}|_i?\d+|_[iod]h|In|Out|__\w+__|exit|quit|get_ipython")
_FIXED = frozenset({"In", "Out", "exit", "quit", "get_ipython"})
_RESULTS = re.compile(r"_{1,3}|_\d+|Out")


@dataclass(frozen=True, slots=True)
class State:
    """The user's names at one moment.

    Attributes:
        groups: Each group of names with the digest of what it holds.
        ids: For each name, the id of the object it was bound to, None for an immutable one.
            Two equal ids say that a name was not bound anew (a reused id only makes us look
            closer).
        definitions: Ids of the functions and classes of the notebook that names are bound
            to, with that name.
    """

    groups: Mapping[Names, Digest]
    ids: Mapping[str, int | None]
    definitions: Mapping[int, str]

    def group_of(self) -> dict[str, Names]:
        """For each name, the group it is in."""
        return {name: names for names in self.groups for name in names}


@dataclass(frozen=True, slots=True)
class Change:
    """What differs between two states.

    Attributes:
        groups: Groups of the later state that hold something else, or are grouped anew.
        deleted: Names that are gone.
        in_place: Groups of the earlier state whose objects were changed where they are.
    """

    groups: frozenset[Names]
    deleted: frozenset[str]
    in_place: frozenset[Names]


def changes(before: State, after: State, *, rebound: frozenset[str] = frozenset()) -> Change:
    """What changed from `before` to `after`.

    Names in `rebound` were bound in between for certain: they count as changed even where
    they hold an equal value, since before another run they may hold something else.
    """
    changed = frozenset(
        names
        for names, digest in after.groups.items()
        if before.groups.get(names) != digest or not rebound.isdisjoint(names)
    )
    kept = {name for names in changed for name in names} - rebound
    in_place = frozenset(
        names
        for names in before.groups.keys() - after.groups.keys() | (before.groups.keys() & changed)
        if any(
            name in kept and before.ids[name] is not None and after.ids.get(name) == before.ids[name]
            for name in names
        )
    )
    return Change(changed, frozenset(before.ids.keys() - after.ids.keys()), in_place)


class Namespace:
    """The live namespace of a kernel, looked at by content.

    Args:
        live: The dict cells run in.
        hidden: Says of a name and its value whether the interpreter put it there.
    """

    def __init__(
        self, live: dict[str, Any], hidden: Callable[[str, object], bool] = lambda _name, _value: False
    ) -> None:
        self.live = live
        self._hidden = hidden
        self._atoms: dict[str, tuple[object, Names, Digest]] = {}
        self._same: dict[Digest, Digest] = {}

    def visible(self) -> dict[str, object]:
        """The user's own names and values."""
        hidden = self._hidden
        return {
            name: value
            for name, value in list(self.live.items())
            if not ((name[:1] == "_" or name in _FIXED) and _INTERPRETER.fullmatch(name))
            and not hidden(name, value)
        }

    def observe(self) -> State:
        """The state now. Costs about twice a pickle of what is not an immutable atom."""
        values = self.visible()
        groups: dict[Names, Digest] = {}
        ids: dict[str, int | None] = {}
        rest: dict[str, object] = {}
        for name, value in values.items():
            known = self._atoms.get(name)
            if known is None or known[0] is not value:
                if not is_immutable_atom(value):
                    rest[name], ids[name] = value, id(value)
                    continue
                known = self._atoms[name] = (value, (name,), self.digest({name: value}))
            ids[name] = None
            groups[known[1]] = known[2]
        definitions, grouped = self._grouped(rest)
        for members in grouped:
            names = tuple(sorted(members))
            groups[names] = self.digest({name: rest[name] for name in names})
        for gone in self._atoms.keys() - (values.keys() - rest.keys()):
            del self._atoms[gone]
        return State(groups, ids, definitions)

    def digest(self, values: Mapping[str, object]) -> Digest:
        """The canonical digest of `values` as one object graph."""
        digest = digest_values(values, namespace=self.live)
        return self._same.get(digest, digest)

    def learn(self, values: Mapping[str, object], recorded: Digest) -> None:
        """Remember that `values`, just restored, are what `recorded` stands for.

        Some types do not come back with the digest they had (a cache inside them fills
        differently); without this, everything below such a value would run again.
        """
        digest = digest_values(values, namespace=self.live)
        if digest != recorded:
            self._same[digest] = recorded

    def read(self, names: Iterable[str], state: State) -> dict[str, Digest]:
        """What `names` hold, as ``{"a,b": digest}`` by groups among these names alone."""
        wanted = set(names)
        found: dict[str, Digest] = {}
        for group, digest in state.groups.items():
            part = tuple(name for name in group if name in wanted)
            if part == group:
                found[",".join(part)] = digest
            elif part:
                found[",".join(part)] = self.digest({name: self.live[name] for name in part})
        for name in sorted(wanted - state.ids.keys()):
            if name in self.live and _RESULTS.fullmatch(name):
                found[name] = self.digest({name: self.live[name]})
        return found

    def _grouped(self, values: Mapping[str, object]) -> tuple[dict[int, str], list[frozenset[str]]]:
        """The definitions that are stored by themselves, and the groups of names.

        A definition that shares objects with other names than its own is stored with them, and
        so is whatever refers to it: else a restore of these names would leave the others with
        a definition of the past.
        """
        definitions = self._definitions(values)
        while True:
            groups = alias_groups(values, namespace=self.live, anchors=definitions)
            shared = {
                id(values[name])
                for members in groups
                if any(id(values[name]) not in definitions for name in members)
                for name in members
            }
            if definitions.keys().isdisjoint(shared):
                return definitions, groups
            definitions = {key: name for key, name in definitions.items() if key not in shared}

    def _definitions(self, values: Mapping[str, object]) -> dict[int, str]:
        found: dict[int, str] = {}
        for name, value in values.items():
            if isinstance(value, FunctionType | type) and _is_defined_here(value, self.live):
                own = getattr(value, "__name__", None) == name
                if own or id(value) not in found:
                    found[id(value)] = name
        return found


def _is_defined_here(value: FunctionType | type, live: Mapping[str, Any]) -> bool:
    if isinstance(value, FunctionType):
        return value.__globals__ is live
    return value.__module__ in ("__main__", live.get("__name__"))
