"""Objects whose content only they themselves can tell: what they held before a step, and giving it back.

The collector sees nothing of how far a generator of random numbers is, or what an iterator or a
buffer in memory holds. Many types that are not written in Python give it as the state in their
pickle and take it back (``__setstate__``), in the very same object.
"""

from __future__ import annotations

import math
import sys
import weakref
from contextlib import suppress
from types import FunctionType
from typing import Any

from kitaru_nb.artifacts.kinds import package_of
from kitaru_nb.artifacts.views import is_array

__all__ = ["has_state", "put_back", "same_state", "size_of", "state_of"]

_UNKNOWN = object()
_WAY = "__setstate__"
_ELSEWHERE = frozenset({"itertools", "pandas", "polars", "pyarrow", "torch"})
"""Packages whose objects are put back in other ways, or whose iterators warn when they are pickled."""

_have: weakref.WeakKeyDictionary[type, bool] = weakref.WeakKeyDictionary()


def has_state(cls: type) -> bool:
    """Whether objects of `cls` are asked for their state."""
    found = _have.get(cls)
    if found is None:
        found = _have[cls] = _takes_state(cls)
    return found


def _takes_state(cls: type) -> bool:
    """Whether a type that is not written in Python says how its objects take their state back.

    A class written in Python holds what is seen, and its `__setstate__` may do anything: where it
    makes a new inner object, others may hold the old one.
    """
    if issubclass(cls, BaseException) or package_of(cls) in _ELSEWHERE:
        return False
    way = next((vars(base)[_WAY] for base in cls.__mro__ if _WAY in vars(base)), None)
    return way is not None and type(way) is not FunctionType


def size_of(obj: Any) -> int:
    """How many bytes its type says that it takes; some say less, and tell much when they are asked."""
    return sys.getsizeof(obj)


def state_of(obj: Any) -> Any:
    """Its state, which does not change with it; `_UNKNOWN` where it cannot be told."""
    try:
        value = obj.__reduce_ex__(4)
    except Exception:  # noqa: BLE001 - a type may refuse to be pickled as it likes
        return _UNKNOWN
    state = value[2] if type(value) is tuple and len(value) > 2 else None
    return _UNKNOWN if state is None or _looks_into(state) else state


def _looks_into(state: Any) -> bool:
    """Whether a part of a state is memory of the object itself."""
    if type(state) in (tuple, list):
        return any(map(_looks_into, state))
    if type(state) is dict:
        return any(map(_looks_into, state.values()))
    return isinstance(state, memoryview) or (is_array(state) and not state.flags.owndata)


def same_state(obj: Any, before: Any) -> bool:
    """Whether it holds what it held."""
    return before is _UNKNOWN or _alike(state_of(obj), before)


def _alike(one: Any, other: Any) -> bool:
    if one is other:
        return True
    if type(one) is not type(other):
        return False
    if type(one) in (tuple, list):
        return len(one) == len(other) and all(map(_alike, one, other))
    if type(one) is dict:
        return [*one] == [*other] and all(map(_alike, one.values(), other.values()))
    if is_array(one):
        return bool(
            one.dtype == other.dtype and one.shape == other.shape and one.tobytes() == other.tobytes()
        )
    if type(one) is float and math.isnan(one):
        return math.isnan(other)
    return type(one) in (int, float, complex, str, bytes, bytearray) and bool(one == other)


def put_back(obj: Any, before: Any) -> None:
    """Give it the state that it had; whether it has it then is seen by digest."""
    if before is not _UNKNOWN:
        with suppress(Exception):  # an iterator that came to its end, say, stays there
            obj.__setstate__(before)
