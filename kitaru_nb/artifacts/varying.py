"""Objects that say something else about themselves each time they are asked.

Taking their state advances a counter in it, say. Without this no two looks at an unchanged
object would agree: it would count as changed by every cell, and every reader would run again.
What differs between two questions in a row is no part of what the object is.
"""

from __future__ import annotations

import itertools
import sys
import weakref
from collections.abc import Callable, Mapping
from typing import Any

from kitaru_nb.artifacts.kinds import is_immutable_atom, package_of

__all__ = ["settled", "without_varying"]

_known: dict[int, tuple[weakref.ref[type], frozenset[str]]] = {}
_NOTHING: frozenset[str] = frozenset()
_WORKERS = sys.stdlib_module_names | {"numpy", "pandas", "kitaru_nb"}


def without_varying(obj: object, value: Any, again: Callable[[Any], Any]) -> Any:
    """`value` without the numbers and texts in its state that differ when it is asked for once more.

    Args:
        obj: The object; its class is asked about once in a process.
        value: A reduce value of it.
        again: Gives another one.
    """
    cls = type(obj)
    if str(cls.__module__).startswith("pandas.") and isinstance(value, tuple) and len(value) > 2:
        value = (*value[:2], _without_cache(value[2]), *value[3:])
    if not (isinstance(value, tuple) and len(value) > 2 and type(value[2]) is dict):
        return value
    if value[2].get("_readonly") is False and str(cls.__module__).startswith("pandas."):
        # A view of an array of pandas says so once more in the instance; the class does so anyway.
        state = {name: held for name, held in value[2].items() if name != "_readonly"}
        value = (*value[:2], state, *value[3:])
    if "_parents" in value[2] and cls.__module__ == "matplotlib.transforms":
        # Which others are to be told of a change: by address, and as many as the collector has left.
        value = (
            *value[:2],
            {name: held for name, held in value[2].items() if name != "_parents"},
            *value[3:],
        )
    if package_of(cls) in _WORKERS or not _answers_itself(cls):
        return value
    found = _known.get(id(cls))
    if found is None or found[0]() is not cls:
        names = _differing(value[2], again(obj))
        found = _known[id(cls)] = weakref.ref(cls), names
    if not found[1]:
        return value
    return (*value[:2], {name: held for name, held in value[2].items() if name not in found[1]}, *value[3:])


def settled(obj: Any) -> Any:
    """`obj`, with what its class fills in once pickle asks any of its kin: xarray's empty attributes."""
    if str(type(obj).__module__).startswith("xarray.") and hasattr(type(obj), "_attrs"):
        _ = obj.attrs
    return obj


def _without_cache(state: Any) -> Any:
    """The state of an object of pandas without what it has worked out about itself, as when it is shown."""
    if type(state) is tuple:
        return tuple(part for part in map(_without_cache, state) if type(part) is not dict or part)
    if type(state) is dict and state.get("_cache"):
        return {name: held for name, held in state.items() if name != "_cache"}
    return state


def _answers_itself(cls: type) -> bool:
    names = ("__reduce_ex__", "__reduce__", "__getstate__")
    return any(getattr(cls, name, None) is not getattr(object, name, None) for name in names)


def _differing(state: Mapping[str, Any], value: Any) -> frozenset[str]:
    other = value[2] if isinstance(value, tuple) and len(value) > 2 else None
    if type(other) is not dict or other is state:
        return _NOTHING
    return frozenset(
        name
        for name, held in state.items()
        if name in other and held is not other[name] and _is_counter(held) and repr(held) != repr(other[name])
    )


def _is_counter(held: object) -> bool:
    return type(held) is itertools.count or is_immutable_atom(held)
