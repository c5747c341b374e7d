"""Lengths of time in words, the same wherever they are read."""

from __future__ import annotations

from datetime import timedelta

from kitaru_nb.errors import UsageError

__all__ = ["duration", "seconds_of"]

_MINUTE, _HOUR, _DAY = 60, 3600, 86400
_TENTH, _TENS = 0.0995, 9.95  # from here on rounding gives 0.1 and 10
_LONGEST = 1e11  # seconds: the calendar ends before three such lengths have passed


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


def seconds_of(given: float | str | timedelta | None, called: str, *, what: str = "timeout") -> float | None:
    """A length of time in seconds: the `what` of something that is called so.

    Raises:
        UsageError: kind ``bad-duration``.
    """
    if given is None:
        return None
    if isinstance(given, timedelta):
        given = given.total_seconds()
    units = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
    text = str(given).strip().lower()
    number = text.rstrip("smhd")
    try:
        seconds = float(number) * units[text[len(number) :] or "s"]
    except (ValueError, KeyError):
        seconds = 0.0
    if not 0 < seconds <= _LONGEST:
        message = f"the {what} of `{called}` is `{given}`, which is not a length of time above zero"
        raise UsageError(message, kind="bad-duration", hint="seconds, or text such as 30s, 10m, 2h")
    return seconds
