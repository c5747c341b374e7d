"""Looking at a namespace again and again, at the cost of what was touched in between.

A name counts as untouched where it is bound to the object it was bound to at the last look,
and that is immutable or its `Trace` holds. Only the others are grouped and digested anew,
with whatever they share objects with now.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from collections.abc import Set as AbstractSet
from itertools import compress
from types import FunctionType
from typing import Any

from kitaru_nb.artifacts.digest import is_immutable_atom
from kitaru_nb.artifacts.groups import Grouping, group_names
from kitaru_nb.artifacts.trace import Trace
from kitaru_nb.engine.bound import Bound
from kitaru_nb.engine.spans import Spans
from kitaru_nb.engine.state import Names, State
from kitaru_nb.model.artifact import Digest

__all__ = ["Look"]

_identity = object.__hash__
_SPARE = 1000


class Look:
    """The last look at a namespace, and the next one.

    Args:
        live: The dict cells run in.
        is_users: Says of a name and its value whether they are the user's own.
        digest: Gives the canonical digest of values as one object graph.
        seen: Gives the names with what they count as.
    """

    def __init__(
        self,
        live: dict[str, Any],
        is_users: Callable[[str, object], bool],
        digest: Callable[[Mapping[str, object]], Digest],
        seen: Callable[[], dict[str, object]] | None = None,
    ) -> None:
        self._live = live
        self._is_users = is_users
        self._digest = digest
        self._seen_as = seen or (lambda: dict(live))
        self.forget()

    def forget(self) -> None:
        """Look at everything anew next time."""
        self._bound = Bound({})
        self._atoms: dict[str, object] = {}  # held, so that their identities stay their own
        self._groups: dict[Names, Digest] = {}
        self._ids: dict[str, int | None] = {}
        self._definitions: dict[int, str] = {}
        self._refers: Mapping[Names, frozenset[int]] = {}  # never changed, only replaced
        self._group_of: dict[str, Names] = {}
        self._mutable: set[Names] = set()
        self._traces: dict[Names, Trace] = {}
        self._whole: Trace | None = None  # all of them in one
        self._owners: dict[int, Names] = {}  # of the objects in traced groups, and some of the past
        self._most_owners = _SPARE
        self._spans: Spans[Names] = Spans()  # of the arrays in traced groups
        self._untraceable: dict[Names, Digest] = {}
        self._before: object = None  # the last look
        self._shown: State | None = None  # what it gave
        self._changed: dict[Names, Digest | None] = {}  # what groups held then, where that may differ now

    def state(self) -> State:
        """The state now."""
        live = self._seen_as()
        last, self._bound = self._bound, Bound(live)
        gone, rebound = self._bound.moved_since(last)
        definitions = self._definitions.keys()
        moved = gone.union(rebound)
        had = self._ids.keys() & moved
        loose = self._left(moved, gone)
        loose |= self._bind(live, rebound)
        loose |= self._touched()
        if moved or loose:
            self._shown = None
        if loose:
            self._regroup(live, loose)
        if definitions - self._definitions.keys():
            # Who refers to a definition that was stored by itself and is not any more may share it now.
            self._traces.clear()
            self._spans.clear()
            self._whole = None
            self._regroup(live, {name for names in self._mutable for name in names})
        return self._seen(had)

    def _seen(self, had: AbstractSet[str]) -> State:
        """The state, given the names that moved of those that were the user's at the last look."""
        groups = self._groups
        changed = {names for names, digest in self._changed.items() if groups.get(names, digest) != digest}
        dissolved = {
            names for names, digest in self._changed.items() if digest is not None and names not in groups
        }
        self._changed.clear()
        if not self._refers.keys() <= self._mutable:
            self._refers = {names: keys for names, keys in self._refers.items() if names in self._mutable}
        previous, self._before = self._before, object()
        same = self._shown
        self._shown = State(
            groups=dict(groups) if same is None else same.groups,
            ids=dict(self._ids) if same is None else same.ids,
            definitions=dict(self._definitions) if same is None else same.definitions,
            refers=self._refers,
            group_of=dict(self._group_of) if same is None else same.group_of,
            look=self._before,
            previous=previous,
            changed=changed,
            dissolved=dissolved,
            gone=had - self._ids.keys(),
        )
        return self._shown

    def is_data(self, name: str, state: State) -> bool:
        """Whether `name` is known to hold only numbers and text in containers; `state` is the last look's."""
        trace = self._traces.get(self._group_of.get(name, ()))
        return trace is not None and trace.data and state.look is self._before

    def let_go(self, touched: AbstractSet[str] | None, bound: AbstractSet[str]) -> None:
        """Hold nothing that a step which is about to run may give up, or it would live too long.

        Args:
            touched: Names the step can reach, None for all. Objects in them that weak
                references may point to are let go.
            bound: Names the step binds or deletes.
        """
        for names, trace in list(self._traces.items()):
            seen = trace.weak and (touched is None or not touched.isdisjoint(names))
            if seen or not bound.isdisjoint(names):
                self._drop_trace(names)

    # What changed

    def _left(self, names: AbstractSet[str], gone: AbstractSet[str]) -> set[str]:
        """Names that are unbound (`gone`) or bound anew leave their groups; gives who stays behind."""
        behind: set[str] = set()
        if names and self._definitions:
            kept = {key: name for key, name in self._definitions.items() if name not in names}
            self._definitions = kept
        for name in names:
            self._atoms.pop(name, None)
            group = self._group_of.pop(name, None)
            if group is None:
                continue
            del self._ids[name]
            if group in self._mutable or name in gone:
                behind.update(group)
                self._dissolve(group)
        return behind - names

    def _bind(self, live: Mapping[str, object], names: Iterable[str]) -> set[str]:
        """Take in what `names` are bound to now; gives those that hold something mutable."""
        mutable: set[str] = set()
        for name in names:
            value = live[name]
            if not self._is_users(name, value):
                self._remove((name,))
            elif is_immutable_atom(value):
                self._atoms[name], self._ids[name] = value, None
                self._group_of[name] = (name,)
                self._put((name,), self._digest({name: value}))
            else:
                mutable.add(name)
        return mutable

    def _touched(self) -> set[str]:
        """Names whose objects were changed in place, or may have been."""
        if self._whole is None:
            if len(self._owners) > self._most_owners:  # those of the past only make a look see too much
                self._owners = {key: names for key, names in self._owners.items() if names in self._traces}
                self._most_owners = 2 * len(self._owners) + _SPARE
            self._whole = Trace.merged(self._traces.values())
        if not self._whole.holds():
            for names in [names for names, trace in self._traces.items() if not trace.holds()]:
                self._drop_trace(names)
        return {name for names in self._mutable - self._traces.keys() for name in names}

    # Grouping

    def _regroup(self, live: Mapping[str, object], loose: set[str]) -> None:
        """Group and digest `loose` names anew, with the traced groups that they share objects with."""
        still: set[Names] = set()
        while True:
            values = {name: live[name] for name in compress(live, map(loose.__contains__, live))}
            definitions, grouping = self._grouped(values, live)
            met = {*map(self._owners.__getitem__, self._owners.keys() & grouping.owned.keys())}
            met |= self._referred(grouping, live)  # they may lead back
            met |= self._spans.met_by((low, high) for low, high, _ in grouping.spans)
            met = (met & self._traces.keys()) - still
            if not met:
                break
            still |= met
            loose = loose.union(*met)
        before = {names: self._groups[names] for names in self._mutable if not loose.isdisjoint(names)}
        for names in before:
            if names not in still:
                self._mutable.discard(names)
        self._settle(values, definitions, grouping, before, still)
        self._refer(grouping, live)

    def _referred(self, grouping: Grouping, live: Mapping[str, object]) -> set[Names]:
        """The groups of the definitions that the definitions among the names grouped lead to."""
        if not grouping.refers:
            return set()
        names = {_identity(live[name]): name for name in self._definitions.values() if name in self._group_of}
        keys = {key for keys in grouping.refers.values() for key in keys} & names.keys()
        return {self._group_of[names[key]] for key in keys}

    def _settle(
        self,
        values: Mapping[str, object],
        definitions: dict[int, str],
        grouping: Grouping,
        before: Mapping[Names, Digest],
        still: AbstractSet[Names],
    ) -> None:
        """Put the groups found in the place of those that `values` were in."""
        found = {tuple(sorted(members)) for members in grouping.groups}
        for names in {*before, *((name,) for name in values)} - found:
            self._dissolve(names)
        self._definitions = {
            key: name for key, name in self._definitions.items() if name not in values
        } | definitions
        traced: set[Names] = set()
        for names in found:
            if names in still:
                continue
            # The trace first: what another thread changes while the digest is made then shows in it.
            known = self._untraceable.get(names)
            trace = Trace.of([values[name] for name in names], self._live) if known is None else None
            digest = self._digest({name: values[name] for name in names})
            self._put(names, digest)
            self._mutable.add(names)
            for name in names:
                self._group_of[name], self._ids[name] = names, id(values[name])
            if trace is not None:
                traced.add(names)
                self._keep(names, trace)
            elif known is None:
                self._untraceable[names] = digest
            elif known != digest:  # what kept it from having one may be gone: asked at the next look
                del self._untraceable[names]
        self._own(traced, values, grouping)

    def _refer(self, grouping: Grouping, live: Mapping[str, object]) -> None:
        """Take in which definitions that are stored by themselves the groups found lead to."""
        met: dict[Names, set[int]] = {self._group_of[min(names)]: set() for names in grouping.groups}
        if grouping.refers or grouping.meets:
            ids = {_identity(live[name]): key for key, name in self._definitions.items()}
            for name, keys in (*grouping.refers.items(), *grouping.meets.items()):
                met[self._group_of[name]].update(ids[key] for key in keys & ids.keys())
        refers = {
            names: frozenset(key for key in keys if self._definitions[key] not in names)
            for names, keys in met.items()
        }
        if any(self._refers.get(names, frozenset()) != keys for names, keys in refers.items()):
            whole = {**self._refers, **refers}
            self._refers = {names: keys for names, keys in whole.items() if keys}

    def _keep(self, names: Names, trace: Trace) -> None:
        """From now on tell by its trace whether a group was touched."""
        self._traces[names] = trace
        if self._whole is not None:
            self._whole.absorb(trace)

    def _own(self, traced: set[Names], values: Mapping[str, object], grouping: Grouping) -> None:
        """Take note of the objects in groups that have a trace: one pass, however many groups there are."""
        if traced and grouping.spans:
            of = [*values]
            spans: dict[Names, list[tuple[int, int]]] = {}
            for low, high, number in grouping.spans:
                spans.setdefault(self._group_of[of[number]], []).append((low, high))
            for names in traced & spans.keys():
                self._spans.put(names, spans[names])
        if len(traced) == 1 and len(names := next(iter(traced))) == len(values):
            self._owners.update(dict.fromkeys(grouping.owned, names))
        elif traced:
            owner = [self._group_of[name] for name in values]
            self._owners.update(
                (key, owner[number]) for key, number in grouping.owned.items() if owner[number] in traced
            )

    def _drop_trace(self, names: Names) -> None:
        if self._traces.pop(names, None) is not None:
            self._spans.drop(names)
            self._whole = None

    def _put(self, names: Names, digest: Digest) -> None:
        self._changed.setdefault(names, self._groups.get(names))
        self._groups[names] = digest

    def _remove(self, names: Names) -> None:
        if names in self._groups:
            self._changed.setdefault(names, self._groups.pop(names))

    def _dissolve(self, names: Names) -> None:
        self._remove(names)
        self._mutable.discard(names)
        self._untraceable.pop(names, None)
        self._drop_trace(names)

    def _grouped(
        self, values: Mapping[str, object], live: Mapping[str, object]
    ) -> tuple[dict[int, str], Grouping]:
        """The definitions that are stored by themselves, and the groups of names.

        A definition that shares objects with other names than its own is stored with them, and
        so is whatever refers to it: else a restore of these names would leave the others with
        a definition of the past.
        """
        definitions = self._defined(values)
        others = [live[name] for name in self._definitions.values() if name not in values]
        while True:
            grouping = group_names(values, namespace=self._live, anchors=definitions, outside=others)
            shared = {
                id(values[name])
                for members in grouping.groups
                if any(id(values[name]) not in definitions for name in members)
                for name in members
            }
            if definitions.keys().isdisjoint(shared):
                return definitions, grouping
            definitions = {key: name for key, name in definitions.items() if key not in shared}

    def _defined(self, values: Mapping[str, object]) -> dict[int, str]:
        found: dict[int, str] = {}
        for name, value in values.items():
            kind = type(value)  # asked for its `__class__` it may say anything
            if (kind is FunctionType or issubclass(kind, type)) and self._is_defined_here(value):  # type: ignore[arg-type] # by that test
                own = getattr(value, "__name__", None) == name
                if own or id(value) not in found:
                    found[id(value)] = name
        return found

    def _is_defined_here(self, value: FunctionType | type) -> bool:
        if isinstance(value, FunctionType):
            return value.__globals__ is self._live
        return value.__module__ in ("__main__", self._live.get("__name__"))
