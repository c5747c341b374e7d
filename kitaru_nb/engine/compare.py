"""In words: how the value that a name held before differs from the one it holds now."""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Sized
from types import FunctionType

from kitaru_nb.analysis.diff import first_difference
from kitaru_nb.artifacts.marker import is_marker
from kitaru_nb.errors import KitaruError
from kitaru_nb.model.checkpoint import Checkpoint

__all__ = ["StoredValue", "value_difference"]

StoredValue = Callable[[Checkpoint, str], object]
"""Gives what a name held as of a commit, from the store.

Raises:
    KeyError: the commit has no such name.
    KitaruError: it cannot be loaded.
"""


def value_difference(stored: StoredValue, before: Checkpoint, now: Checkpoint, name: str) -> str | None:
    """What is different about `name`: the first line of a definition, or kind, type and size of a value.

    Returns:
        Such as ``"`f` changed: line 2: `return 1` became `return 2`"``; None where no more can be
        told than that the digests differ. Text is never shown: it may be a secret.
    """
    try:
        old, new = stored(before, name), stored(now, name)
    except (KeyError, KitaruError):
        return None
    if isinstance(old, FunctionType | type) and isinstance(new, FunctionType | type):
        line = _definition(old, new)
        return None if line is None else f"`{name}` changed: {line}"
    was, holds = _brief(old), _brief(new)
    if was is None or holds is None or was == holds:
        return None
    return f"`{name}` holds another value: {holds} now, {was} before"


def _in_class(old: type, new: type) -> str | None:
    """The first member of a class that differs; its own source is not kept where IPython has none."""
    was, holds = vars(old), vars(new)
    for name in dict.fromkeys([*holds, *was]):
        if name in _OF_NO_INTEREST:
            continue
        if name not in was or name not in holds:
            return f"`{name}` is {'new' if name in holds else 'gone'}"
        one, other = was[name], holds[name]
        if isinstance(one, FunctionType) and isinstance(other, FunctionType):
            line = _definition(one, other)
            if line is not None:
                return f"in `{name}`, {line}"
        elif _brief(one) != _brief(other):
            return f"`{name}` is {_brief(other)} now and was {_brief(one)}"
    return None


_OF_NO_INTEREST = frozenset({"__dict__", "__weakref__", "__doc__", "__module__", "__slotnames__"})


def _definition(old: FunctionType | type, new: FunctionType | type) -> str | None:
    try:
        line = first_difference(inspect.getsource(old), inspect.getsource(new))
    except (OSError, TypeError):
        if isinstance(old, type) and isinstance(new, type):
            return _in_class(old, new)
        return None  # made without source, by `exec` say
    if line is None and isinstance(old, FunctionType) and isinstance(new, FunctionType):
        for what, attribute in (("its defaults", "__defaults__"), ("its defaults", "__kwdefaults__")):
            if repr(getattr(old, attribute)) != repr(getattr(new, attribute)):
                return f"{what} have other values"
        if old.__closure__ or new.__closure__:
            return "its code is the same, and a value it encloses is another"
    return line


def _brief(value: object) -> str | None:
    if is_marker(value):
        return "a value that could not be stored"
    if value is None or isinstance(value, bool | int) or (isinstance(value, float) and math.isfinite(value)):
        text = f"`{value!r}`"
        return text if len(text) <= 30 else f"a {type(value).__name__}"
    kind = type(value).__qualname__
    shape, dtype = (getattr(value, attribute, None) for attribute in ("shape", "dtype"))
    if isinstance(shape, tuple):
        return f"a {kind}{f' of {dtype}' if dtype is not None else ''} with shape {shape}"
    if isinstance(value, Sized) and type(value).__module__ == "builtins":
        return f"a {kind} of length {len(value)}"
    return f"a {kind}"
