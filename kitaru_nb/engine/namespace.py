"""The live namespace of a kernel, looked at by content.

It stays the plain dict that IPython made: nothing is traced or replaced. It is looked at
before and after a step: names that share mutable objects form a group, and each group has a
canonical digest that is equal across kernels.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterable, Mapping
from collections.abc import Set as AbstractSet
from typing import Any

from kitaru_nb.analysis.reach import OF_MODULES
from kitaru_nb.artifacts.digest import digest_values, opaque_in, part_digest
from kitaru_nb.artifacts.groups import alias_groups
from kitaru_nb.artifacts.unseen import unseen
from kitaru_nb.artifacts.views import is_array, is_raw
from kitaru_nb.engine.look import Look
from kitaru_nb.engine.sealed import Seals
from kitaru_nb.engine.state import Change, Names, State, changes
from kitaru_nb.model.artifact import Digest
from kitaru_nb.model.checkpoint import Group

__all__ = ["Change", "Names", "Namespace", "State", "changes"]

_INTERPRETER = re.compile(r"_+|_i{1,3}|_i?\d+|_[iod]h|In|Out|exit|quit|get_ipython")
_FIXED = frozenset({"In", "Out", "exit", "quit", "get_ipython"})
_KEPT = re.compile(r"_{1,3}|_\d+|_[io]h|_i{1,3}|_i\d+|In|Out")


class Namespace:
    """The live namespace of a kernel, looked at by content.

    Args:
        live: The dict cells run in.
        hidden: Says of a name and its value whether the interpreter put it there.

    Attributes:
        seals: Values that were put back and not touched since.
        recorded_whole: The stored groups that the names are in, as far as they are on record.
        parts_read: Tells as what steps on record have read parts of a group that held a value.
    """

    def __init__(
        self, live: dict[str, Any], hidden: Callable[[str, object], bool] = lambda _name, _value: False
    ) -> None:
        self.live = live
        self.hidden = hidden
        self.recorded_whole: Mapping[Names, Group] = {}
        self.parts_read: Callable[[Names, Digest], Mapping[str, Digest]] = lambda _names, _value: {}
        self._otherwise: set[Digest] = set()  # what came back as something else
        self._apart: dict[tuple[Names, Digest], dict[Names, Digest]] = {}
        self._same: dict[Digest, Digest] = {}
        self._aside: dict[str, tuple[object, object]] = {}
        self.seals = Seals(live)
        self._look = Look(live, self.is_users, self._digest, self._seen)

    def visible(self) -> dict[str, object]:
        """The user's own names and values."""
        return {name: value for name, value in list(self.live.items()) if self.is_users(name, value)}

    def is_users(self, name: str, value: object) -> bool:
        """Whether a name that holds `value` is the user's own: `_` is the interpreter's."""
        if (name[:1] == "_" or name in _FIXED) and (name in OF_MODULES or _INTERPRETER.fullmatch(name)):
            return False
        return not self.hidden(name, value)

    def observe(self) -> State:
        """The state now. Costs twice a pickle of what was touched since the last look.

        A value that raises when it is looked at (a class may do anything on an attribute) counts
        as one that cannot be stored.
        """
        try:
            return self._look.state()
        except BaseException as error:
            self._look.forget()  # cut short by the stop button or a foreign object: half of it is of the past
            if not isinstance(error, Exception) or not self._set_aside():
                raise
        return self._look.state()

    def is_data(self, name: str, state: State) -> bool:
        """Whether `name` is known to hold nothing but numbers and text in plain containers.

        False where it is not known, and where `state` is not the last one observed.
        """
        return self._look.is_data(name, state)

    def held(self, name: str) -> object:
        """What is stored for `name`: its value, or what stands for one that cannot be looked at."""
        value = self.live[name]
        aside = self._aside.get(name)
        return aside[1] if aside is not None and aside[0] is value else value

    def _seen(self) -> dict[str, object]:
        found = dict(self.live)
        for name, (value, stands) in list(self._aside.items()):
            if found.get(name) is value:
                found[name] = stands
            else:
                del self._aside[name]
        return found

    def _set_aside(self) -> bool:
        """Let something stand for each value that raises when it is looked at; whether there is one."""
        found = False
        for name, value in self._seen().items():
            alone = {name: value}
            try:
                Look(self.live, self.is_users, self.digest, alone.copy).state()
            except Exception as error:  # noqa: BLE001 - whatever the value's class raises
                self._aside[name] = value, unseen(value, error)
                found = True
        return found

    def let_go(self, touched: AbstractSet[str] | None = None, bound: AbstractSet[str] = frozenset()) -> None:
        """A cell is about to run: hold nothing that it may give up. See `Look.let_go`."""
        try:
            self._look.let_go(touched, bound)
        except BaseException:
            self._look.forget()
            raise

    def _digest(self, values: Mapping[str, object]) -> Digest:
        return self.seals.digest(values) or self.digest(values)

    def open(self, *, needed: AbstractSet[str] | None = None) -> None:
        """Code of the user is about to run, and depends on `needed` (None: any). See `Seals.open`."""
        for group, values in self.seals.open(needed=needed) if self.seals else ():
            if not _is_plain_array(values):  # which has the digest it had, by its bytes
                self.learn(self.own_digest(values), group.value)

    def digest(self, values: Mapping[str, object]) -> Digest:
        """The canonical digest of `values` as one object graph."""
        digest = self.own_digest(values)
        return self._same.get(digest, digest)

    def own_digest(self, values: Mapping[str, object]) -> Digest:
        """Like `digest`, whatever `values` were learned to stand for: what `learn` wants."""
        return digest_values(values, namespace=self.live)

    def learn(self, came_as: Digest, recorded: Digest) -> None:
        """Remember that what came back with the digest `came_as` is what `recorded` stands for.

        Some types do not come back with the digest they had (a cache inside them fills
        differently); without this, everything below such a value would run again.
        """
        if self._same.get(came_as, came_as) != recorded:
            self._same[came_as] = recorded
            self._otherwise.add(recorded)
            self._look.forget()

    def _come_back_otherwise(self, group: Names, digest: Digest) -> Collection[str]:
        """The names of a group that a restore does not bind to what they hold now.

        What such a name holds is told by what the whole group held, which is on record.
        """
        known = self.recorded_whole.get(group)
        return known.unstorable if known is not None else group if opaque_in(digest) else ()

    def learn_apart(self, groups: Iterable[Group]) -> None:
        """Remember what the parts stand for of groups that fell apart where a marker is in them now."""
        state = self.observe()
        for group in groups:
            if group.names in state.groups or not state.group_of.keys() >= set(group.names):
                continue
            parts = {state.group_of[name] for name in group.names}
            for part in parts:
                if not group.unstorable.keys().isdisjoint(part):
                    stands = group.value if len(part) > 1 else part_digest(group.value, part[0])
                    self.learn(self.own_digest({name: self.live[name] for name in part}), stands)
            now = self.observe().groups
            self._apart[group.names, group.value] = {part: now[part] for part in parts}

    def holds(self, names: Names, digest: Digest, state: State) -> bool:
        """Whether the group `names` holds what has that digest, or what is left of it."""
        if names in state.groups:
            return state.groups[names] == digest
        parts = self._apart.get((names, digest))
        return parts is not None and parts.items() <= state.groups.items()

    def read(self, names: Iterable[str], state: State) -> dict[str, Digest]:
        """What `names` hold, as ``{"a,b": digest}`` by groups among these names alone."""
        wanted = set(names)
        found: dict[str, Digest] = {}
        for group in {state.group_of[name] for name in wanted & state.group_of.keys()}:
            digest = state.groups[group]
            part = [name for name in group if name in wanted]
            otherwise = self._come_back_otherwise(group, digest) if len(group) > 1 else ()
            found |= {name: part_digest(digest, name) for name in part if name in otherwise}
            whole: Iterable[AbstractSet[str]] = [frozenset(group)]
            if otherwise:  # without these the rest may share nothing any more
                left = {name: self.live[name] for name in group if name not in otherwise}
                whole = alias_groups(left, namespace=self.live)
            for apart in whole:
                rest = tuple(name for name in part if name in apart)
                if rest == group:
                    found[",".join(rest)] = digest
                elif rest:
                    found[",".join(rest)] = self._part(rest, group, digest)
        for name in wanted - state.ids.keys():
            if name in self.live and _KEPT.fullmatch(name):
                found[name] = self.digest({name: self.live[name]})
        return dict(sorted(found.items()))

    def _part(self, names: Names, group: Names, digest: Digest) -> Digest:
        """What a part of a group holds: as it was read before, where the group came back otherwise."""
        known = self.recorded_whole.get(group)
        if known is not None and known.value == digest:
            recorded = None
            if digest in self._otherwise or group in self.seals.names:
                recorded = self.parts_read(group, digest).get(",".join(names))
            if recorded is not None:
                return recorded
        return self.digest({name: self.live[name] for name in names})


def _is_plain_array(values: Mapping[str, object]) -> bool:
    return len(values) == 1 and all(is_array(value) and is_raw(value) for value in values.values())
