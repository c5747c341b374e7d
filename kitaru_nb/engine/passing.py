"""What a step took from a name that it then bound anew or unbound, and changed or passed on.

``d = d.reshape(-1)`` looks like a new array, but is one more view of the memory that `d` had. A
record of such a step gives a copy of that memory, so it only counts where nothing else shares it.
``d = d.pop()`` changes the list that `d` had, which is on record nowhere: likewise.
"""

from __future__ import annotations

from collections.abc import Mapping

from kitaru_nb.artifacts.groups import group_names
from kitaru_nb.engine.namespace import Change, Names, State
from kitaru_nb.engine.steps import Pending

__all__ = ["passed_on"]


def passed_on(pending: Pending, step: Change, after: State, live: dict[str, object]) -> frozenset[Names]:
    """The groups from before the step of names bound anew or gone, whose objects it changed or left.

    Where the old objects are not at hand any more, every such name that the step read counts.
    """
    before, shadow = pending.before, pending.shadow
    found: set[str] = set()
    doubtful: dict[str, object] = {}
    for name in _read_and_replaced(pending, after):
        if after.ids.get(name) == before.ids[name] or shadow is None or not shadow.holds(name):
            found.add(name)
        else:
            doubtful[f"{name} before"] = shadow.before(name)
    if doubtful and shadow is not None:
        left = {name: live[name] for names in step.groups for name in names}
        left["changed in place"] = shadow.changed()
        found |= {name.partition(" ")[0] for name in _sharing(doubtful, left, live, after)}
    return frozenset(before.group_of[name] for name in found)


def _read_and_replaced(pending: Pending, after: State) -> list[str]:
    """Names of mutable values that the step may have read and that it bound anew or unbound."""
    names, before = pending.needs.names, pending.before
    own = names.writes | names.deletes
    return [
        name
        for name in pending.needs.touched & before.ids.keys()
        if before.ids[name] is not None
        and (names.dynamic or name in names.reads or name not in own)
        and (name in names.certain or after.ids.get(name) != before.ids[name])
    ]


def _sharing(
    old: Mapping[str, object], left: Mapping[str, object], live: dict[str, object], after: State
) -> set[str]:
    """Those of `old` that share objects with what is `left`; all of them where that cannot be told."""
    others = [live[name] for name in after.definitions.values() if name not in left]
    try:
        whole = {**old, **left}
        groups = group_names(whole, namespace=live, anchors=after.definitions, outside=others).groups
    except Exception:  # noqa: BLE001 - whatever a foreign object raises when it is looked at
        return set(old)
    return {name for group in groups if not group.isdisjoint(left) for name in group if name in old}
