"""Functions that numba compiles: what they were made of is stored, and they are compiled anew.

numba pickles such a function into bytes of its own, where nothing of the notebook would be live.
Beside that, the object leads to all that the compiler knows, which is none of the notebook's.

`make_compiled` is part of the stored format: pickles refer to it.
"""

from __future__ import annotations

import uuid
import weakref
from typing import Any

from kitaru_nb.artifacts.kinds import by_reference, package_of

__all__ = ["is_compiled", "made_of", "make_compiled", "reduce_compiled"]

_OWN = "uuid"
"""What numba knows one by in this process, beside what it was made of."""

_are: weakref.WeakKeyDictionary[type, bool] = weakref.WeakKeyDictionary()


def is_compiled(cls: type) -> bool:
    """Whether objects of `cls` are such functions."""
    found = _are.get(cls)
    if found is None:
        found = _are[cls] = package_of(cls) == "numba" and hasattr(cls, "_reduce_states")
    return found


def made_of(function: Any) -> dict[str, Any]:
    """What a compiled function of the notebook was made of; nothing of one that is imported."""
    return {} if by_reference(function) else function._reduce_states()


def reduce_compiled(function: Any) -> Any:
    """How a compiled function is stored: by its name, where an import gives it."""
    if by_reference(function):
        return function.__qualname__
    states = made_of(function)
    kept = {name: value for name, value in states.items() if name != _OWN}
    return make_compiled, (function._reduce_class(), kept, _OWN in states)


def make_compiled(cls: Any, states: dict[str, Any], own: bool) -> Any:  # noqa: FBT001 - stored format
    """A compiled function again."""
    return cls._rebuild(**states, **({_OWN: str(uuid.uuid4())} if own else {}))
