"""What names hold at one moment, and what changed between two."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field, replace
from itertools import compress
from operator import ne
from typing import TypeVar

from kitaru_nb.model.artifact import Digest

__all__ = [
    "Change",
    "Names",
    "State",
    "carried_along",
    "changed_groups",
    "changes",
    "differing",
    "gone_names",
    "grown_groups",
    "leading_to",
    "with_carried",
]

Names = tuple[str, ...]
"""The names of one group, sorted."""

_Key = TypeVar("_Key")


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
        refers: For each group that leads to definitions of others: which, by their ids.
        group_of: For each name, the group it is in.
        look: Stands for this one look at the namespace.
        previous: The look before it. `changed` are the groups that differ from that one's, `dissolved`
            its groups that are no more, `gone` the names that it had and this one does not have.
    """

    groups: Mapping[Names, Digest] = field(default_factory=dict)
    ids: Mapping[str, int | None] = field(default_factory=dict)
    definitions: Mapping[int, str] = field(default_factory=dict)
    refers: Mapping[Names, frozenset[int]] = field(default_factory=dict)
    group_of: Mapping[str, Names] = field(default_factory=dict)
    look: object = field(default=None, compare=False)
    previous: object = field(default=None, compare=False)
    changed: AbstractSet[Names] = field(default=frozenset(), compare=False)
    dissolved: AbstractSet[Names] = field(default=frozenset(), compare=False)
    gone: AbstractSet[str] = field(default=frozenset(), compare=False)

    def follows(self, before: State) -> bool:
        """Whether `before` was the look before this one, so that the fields on that one say what differs."""
        return before.look is not None and self.previous is before.look


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
    changed = changed_groups(before, after)
    changed |= {after.group_of[name] for name in rebound & after.group_of.keys()}
    kept = {name for names in changed for name in names} - rebound
    dissolved = after.dissolved if after.follows(before) else before.groups.keys() - after.groups.keys()
    in_place = {
        names
        for names in dissolved | (before.groups.keys() & changed)
        if any(
            name in kept and before.ids[name] is not None and after.ids.get(name) == before.ids[name]
            for name in names
        )
    }
    return Change(frozenset(changed), gone_names(before, after), frozenset(in_place))


def gone_names(before: State, after: State) -> frozenset[str]:
    """The names of `before` that `after` does not have."""
    return frozenset(after.gone if after.follows(before) else before.ids.keys() - after.ids.keys())


def changed_groups(before: State, after: State) -> set[Names]:
    """The groups of `after` that are not in `before` or held something else there, or lead to more."""
    changed = set(after.changed) if after.follows(before) else set(differing(before.groups, after.groups))
    if after.refers is not before.refers:
        same = (names for names in after.refers if before.groups.get(names) == after.groups[names])
        changed |= grown_groups(after, {names: before.refers.get(names, frozenset()) for names in same})
    return changed


def grown_groups(
    after: State, known: Mapping[Names, frozenset[int]], more: Iterable[Names] = ()
) -> set[Names]:
    """The groups of `after` that lead to definitions which they did not lead to as `known`, and `more`.

    What only a group held has got a name: it is stored by itself from now on, so the group has to
    be stored anew, or each of the two would come back with one of its own. The same holds for
    whoever leads to a definition among these.
    """
    found = {names for names, keys in known.items() if not after.refers.get(names, frozenset()) <= keys}
    found.update(more)
    return found | leading_to(found, after)


def carried_along(groups: AbstractSet[Names], after: State) -> set[Names]:
    """The groups of `after` that lead to definitions which are stored again with others in `groups`.

    Of functions and classes that share objects one may be changed and another not. What is stored
    gives new ones for all of them, so whoever leads to one that is not changed has to come along,
    or it would be left with the one of the past.
    """
    return leading_to({names for names in groups if len({after.ids[name] for name in names}) > 1}, after)


def with_carried(step: Change, before: State, after: State) -> Change:
    """`step`, with what a record of it has to carry along, which only fits where that is as it was."""
    along = carried_along(step.groups, after) - step.groups
    return replace(step, groups=step.groups | along, in_place=step.in_place | (along & before.groups.keys()))


def leading_to(groups: set[Names], state: State) -> set[Names]:
    """The other groups of `state` that lead to definitions in `groups`, directly or not."""
    found, waiting = set(groups), groups
    while waiting:
        moved = {key for key, name in state.definitions.items() if state.group_of[name] in waiting}
        waiting = {
            names for names, keys in state.refers.items() if names not in found and not keys.isdisjoint(moved)
        }
        found |= waiting
    return found - groups


def differing(before: Mapping[_Key, object], after: Mapping[_Key, object]) -> list[_Key]:
    """The keys of `after` that `before` does not have or has with another value.

    In C where `after` has the keys of `before` in their order and then its own, as it is from
    one step to the next.
    """
    known, keys = list(before), list(after)
    if keys[: len(known)] == known:
        return [*compress(keys, map(ne, after.values(), before.values())), *keys[len(known) :]]
    return [key for key, value in after.items() if key not in before or before[key] != value]
