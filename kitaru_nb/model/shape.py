"""Whether a value has the type that a dataclass says, for nouns that are read from outside."""

from __future__ import annotations

import dataclasses
import math
import types
import typing
from collections.abc import Mapping
from enum import Enum
from functools import cache
from typing import Any

__all__ = ["require_shape"]

_LARGEST = 1 << 63
_INSIDE = {tuple, Mapping, dict}


def require_shape(value: object, kind: Any, where: str = "") -> None:
    """Raise unless `value` is of `kind`, all the way down.

    Integers must fit 64 bits and numbers be finite, since both go into columns.

    Args:
        value: A noun, or a part of one.
        kind: A class, or an annotation made of classes, unions, ``tuple[X, ...]`` and ``Mapping[X, Y]``;
            what is annotated as ``Any`` may be anything.
        where: What to call it in the error.

    Raises:
        ValueError: it is not.
    """
    if not _fits(value, kind, where):
        raise ValueError(f"`{where}` is a {type(value).__name__}" if where else "it has another form")


def _fits(value: object, kind: Any, where: str) -> bool:
    kind = getattr(kind, "__supertype__", kind)
    origin = typing.get_origin(kind)
    if kind is Any:
        return True
    if origin in (typing.Union, types.UnionType):
        return any(_fits_quietly(value, each, where) for each in typing.get_args(kind))
    if origin is tuple:
        inside = typing.get_args(kind)[0]
        return isinstance(value, tuple) and all(_inside(one, inside, where) for one in value)
    if origin in _INSIDE:
        names, values = typing.get_args(kind)
        return isinstance(value, Mapping) and all(
            _inside(key, names, where) and _inside(one, values, f"{where}[{key!r:.40}]")
            for key, one in value.items()
        )
    if dataclasses.is_dataclass(kind) and isinstance(kind, type):
        return isinstance(value, kind) and all(
            _inside(getattr(value, name), inside, f"{where}.{name}" if where else name)
            for name, inside in _fields(kind).items()
        )
    return _is_plain(value, kind)


def _inside(value: object, kind: Any, where: str) -> bool:
    require_shape(value, kind, where)
    return True


def _fits_quietly(value: object, kind: Any, where: str) -> bool:
    try:
        return _fits(value, kind, where)
    except ValueError:
        return False


def _is_plain(value: object, kind: Any) -> bool:
    if kind is type(None) or kind is None:
        return value is None
    if kind is bool or (isinstance(kind, type) and issubclass(kind, Enum)):
        return isinstance(value, kind)
    if kind is int:
        return type(value) is int and -_LARGEST <= value < _LARGEST
    if kind is float:
        return type(value) in (int, float) and math.isfinite(typing.cast("float", value))
    return isinstance(value, kind)


@cache
def _fields(kind: type) -> Mapping[str, Any]:
    hints = typing.get_type_hints(kind)
    return {field.name: hints[field.name] for field in dataclasses.fields(kind)}
