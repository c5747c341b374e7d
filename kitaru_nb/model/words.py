"""Lengths of time in words, the same wherever they are read."""

from __future__ import annotations

__all__ = ["duration"]

_MINUTE, _HOUR, _DAY = 60, 3600, 86400
_TENTH, _TENS = 0.0995, 9.95  # from here on rounding gives 0.1 and 10


def duration(seconds: float) -> str:
    """``40 ms``, ``0.4 s``, ``41 s``, ``3 min 20 s``, ``2 h 05 min``, ``1 d 03 h``."""
    if seconds < _TENTH:
        return f"{seconds * 1000:.0f} ms"
    if seconds < _TENS:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    for length, part, unit, small in (
        (_DAY, _HOUR, "d", "h"),
        (_HOUR, _MINUTE, "h", "min"),
        (_MINUTE, 1, "min", "s"),
    ):
        if whole >= length:
            return f"{whole // length} {unit} {whole % length // part:02d} {small}"
    return f"{whole} s"
