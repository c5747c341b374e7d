"""The stand-in for a value that could not be stored, or not be put back.

A marker takes the place of one object: the rest of what was saved with it is intact. It can
be shown, pickled, bound and compared by identity; anything that would use it as the value it
replaces raises `UnstorableError` and names the value and the ways on.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable
from types import FrameType, FunctionType, ModuleType, TracebackType
from typing import Any, NoReturn, TypeGuard

from kitaru_nb.errors import UnstorableError
from kitaru_nb.model.referents import referents

__all__ = ["Marker", "any_marker", "is_marker", "marker_details", "marker_hint", "marker_in"]

_OTHERS = (type, FunctionType, ModuleType, FrameType, TracebackType)
_MOST = 300_000


class Marker:
    """Stands for a value that could not be stored.

    Args:
        name: The notebook name that leads to the value.
        kind: Its type, as the user knows it, such as ``sqlite3.Connection``. Empty where the
            value was stored and something else keeps it away.
        reason: Why it could not be stored; without a kind what keeps it away, as the end of a
            sentence that begins with the name: ``could not be restored: ...``.
        hint: What to type to have it, where that is not to run its cell again.

    Safe on a marker: ``repr``, ``str``, ``type``, ``isinstance``, ``is``, ``hash``, pickling,
    copying, and the probes a display makes (attributes starting with an underscore raise
    `AttributeError`). Everything else raises `UnstorableError`.
    """

    __slots__ = ("__weakref__", "_details", "_hint")
    _details: tuple[str, str, str]
    _hint: str

    def __init__(self, name: str, kind: str, reason: str, hint: str = "") -> None:
        object.__setattr__(self, "_details", (name, kind, reason))
        object.__setattr__(self, "_hint", hint)
        _THERE.add(self)

    def __repr__(self) -> str:
        name, kind, reason = self._details
        return f"<{name}: {kind} could not be stored>" if kind else f"<{name}: {reason.partition(': ')[0]}>"

    def __reduce__(self) -> tuple[Any, ...]:
        return Marker, (*self._details, self._hint) if self._hint else self._details

    def __hash__(self) -> int:
        return object.__hash__(self)

    def __getattr__(self, attribute: str) -> NoReturn:
        # Displays, copy, numpy and inspect probe for hooks; to them "not there" is the truth.
        if attribute.startswith("_"):
            message = f"'Marker' object has no attribute {attribute!r}"
            raise AttributeError(message, name=attribute, obj=self)
        _refuse(self)


_THERE: weakref.WeakSet[Marker] = weakref.WeakSet()


def any_marker() -> bool:
    """Whether this process holds a marker at all: else no value need be searched for one."""
    return bool(_THERE)


def is_marker(value: object) -> TypeGuard[Marker]:
    """Whether `value` stands for something that could not be stored."""
    return type(value) is Marker


def marker_details(marker: Marker) -> tuple[str, str, str]:
    """The name, the type and the reason a marker was made with."""
    return marker._details


def marker_hint(marker: Marker) -> str:
    """What to type to have the value, where that is not to run its cell again; else nothing."""
    return marker._hint


def marker_in(value: object, *, apart: object = None) -> Marker | None:
    """A marker that `value` is or leads to, the nearest; None where there is none.

    What functions, classes, modules and the frames of a kept exception reach is theirs, and so is
    what `apart` holds. After some hundred thousand objects it is taken for none.
    """
    seen: set[int] = set()
    level = [value]
    while level and len(seen) < _MOST:
        fresh = [obj for obj in level if id(obj) not in seen and obj is not apart]
        for obj in fresh:
            if type(obj) is Marker:
                return obj
        seen.update(map(id, fresh))
        level = referents(*(obj for obj in fresh if not issubclass(type(obj), _OTHERS)))
    return None


def _refuse(marker: Marker) -> NoReturn:
    name, kind, reason = marker._details
    root = name.split(".")[0].split("[")[0]
    raise UnstorableError(
        f"`{name}` was a {kind}, which could not be stored: {reason}" if kind else f"`{name}` {reason}",
        kind="unstorable-value",
        hint=marker._hint
        or (f"%resume --remake {root}, or " if kind else "")
        + f"run the cell that makes `{root}` again, with --fresh if it is a checkpoint",
    )


def _refusal(method: str) -> Callable[..., NoReturn]:
    def refuse(self: Marker, *_: object, **__: object) -> NoReturn:
        _refuse(self)

    refuse.__name__ = method
    refuse.__qualname__ = f"Marker.{method}"
    return refuse


_BINARY = "add sub mul matmul truediv floordiv mod divmod pow lshift rshift and xor or".split()
_REFUSED = (
    "setattr delattr call iter next aiter anext await len length_hint bool eq ne lt le gt ge "
    "getitem setitem delitem contains reversed enter exit aenter aexit neg pos abs invert int float "
    "complex index round trunc floor ceil bytes fspath array"
).split()
for _name in (*_REFUSED, *_BINARY, *("r" + b for b in _BINARY), *("i" + b for b in _BINARY if b != "divmod")):
    setattr(Marker, f"__{_name}__", _refusal(f"__{_name}__"))
