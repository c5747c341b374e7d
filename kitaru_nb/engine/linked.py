"""Which values that a step reads lead to which functions and classes that it reads.

A function or class that is defined again exactly as it was has the digest that it had, but what was
made with the one before knows that one only: `isinstance` says no, a dict with it as a key finds
nothing. Digests of single values do not show that.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from collections.abc import Set as AbstractSet
from types import BuiltinFunctionType, FunctionType, ModuleType

from kitaru_nb.artifacts.kinds import by_reference
from kitaru_nb.engine.state import Names, State

__all__ = ["linked", "links_of"]


def links_of(
    reads: Iterable[str], state: State, live: Mapping[str, object], *, is_data: Callable[[str], bool]
) -> dict[str, str]:
    """The functions and classes read, ``{"f,g": "a,b"}``: to these two lead `a` and `b` of what is read.

    Empty where nothing that is read can lead to one of them.

    Args:
        reads: The names that are read, in groups.
        state: The namespace.
        live: Its names and values.
        is_data: Whether a name holds nothing but numbers and text.
    """
    if not state.definitions:
        return {}
    names = frozenset(name for group in reads for name in group.split(","))
    found = linked(names, state)
    if not any(found.values()) and not _may_lead(names, found.keys(), state, live, is_data):
        return {}
    together: dict[str, list[str]] = {}
    for name, leading in found.items():
        together.setdefault(leading, []).append(name)
    return {",".join(those): leading for leading, those in together.items()}


def linked(names: AbstractSet[str], state: State) -> dict[str, str]:
    """For each function and class of the notebook among `names`: which of them lead to it."""
    own = {name: state.ids[name] for name in sorted(names) if state.ids.get(name) in state.definitions}
    leading: dict[str, set[str]] = {name: set() for name in own}
    groups = {state.group_of[name] for name in names & state.group_of.keys()} if own else set()
    for group in groups & state.refers.keys():
        reached = _reached(group, state)
        for name, key in own.items():
            if key in reached and name not in group:
                leading[name] |= names & frozenset(group)
    return {name: ",".join(sorted(found)) for name, found in leading.items()}


def _reached(group: Names, state: State) -> set[int | None]:
    """The functions and classes of others that a group leads to, by their ids."""
    found: set[int | None] = set()
    waiting = [group]
    while waiting:
        new = state.refers.get(waiting.pop(), frozenset()) - found
        found |= new
        waiting += [state.group_of[state.definitions[key]] for key in new]
    return found


def _may_lead(
    names: AbstractSet[str],
    definitions: Collection[str],
    state: State,
    live: Mapping[str, object],
    is_data: Callable[[str], bool],
) -> bool:
    """Whether one of `names` may hold what was made with one of the `definitions`, or with one before it."""
    others = 0
    for name in names if definitions else ():
        if state.ids.get(name) is not None and not is_data(name):
            value = live.get(name)
            kind = type(value)
            if issubclass(kind, type):
                others += not by_reference(value)
            elif kind is not FunctionType and kind is not BuiltinFunctionType and kind is not ModuleType:
                return True
    return others > 1  # a class is made with the classes that it is derived from
