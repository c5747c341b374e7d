"""Naming what did not fit: a store knows bytes, and whoever has to make room thinks in names."""

from __future__ import annotations

from typing import NoReturn

from kitaru_nb.errors import StoreError

__all__ = ["raise_named"]

_NO_ROOM = ("disk-limit", "disk-full")
_KILO = 1000


def raise_named(error: StoreError, what: str, size: int, *, instead: str = "") -> NoReturn:
    """Raise `error`; where it is for want of room, with what had none.

    Args:
        error: Why nothing could be written.
        what: What was to be, as its user knows it: names in backticks, a file.
        size: Its bytes, as far as they have to be written.
        instead: Another way on, for the hint.

    Raises:
        StoreError: always.
    """
    if error.kind not in _NO_ROOM:
        raise error
    hint = f"{error.hint}; {instead}" if instead else error.hint
    told = f"{what} ({_size(size)}) does not fit: {error.message}"
    named = StoreError(told, kind=error.kind, hint=hint)
    named.lacking = error.lacking
    raise named from error


def _size(count: float) -> str:
    for unit in ("B", "kB", "MB", "GB"):
        if count < _KILO:
            return f"{count:.0f} {unit}" if unit == "B" else f"{count:.1f} {unit}"
        count /= _KILO
    return f"{count:.1f} TB"
