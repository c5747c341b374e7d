"""When something runs, as people write it for cron, and the same for systemd."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby

from kitaru_nb.errors import UsageError

__all__ = ["NIGHTLY", "When"]

NIGHTLY = "0 2 * * *"
"""When a notebook runs unless somebody says otherwise."""

_MACROS = {
    "@yearly": "0 0 1 1 *",
    "@annually": "0 0 1 1 *",
    "@monthly": "0 0 1 * *",
    "@weekly": "0 0 * * 0",
    "@daily": "0 0 * * *",
    "@midnight": "0 0 * * *",
    "@hourly": "0 * * * *",
}
_FIELDS = (("minute", 0, 59), ("hour", 0, 23), ("day of the month", 1, 31), ("month", 1, 12))
_DAY = ("day of the week", 0, 7)
_MONTHS = "jan feb mar apr may jun jul aug sep oct nov dec".split()
_DAYS = "sun mon tue wed thu fri sat".split()
_WEEK = len(_DAYS)  # day 7 is day 0
_NAMES = {name: number for number, name in enumerate(_MONTHS, 1)}
_DAY_NAMES = {name: number for number, name in enumerate(_DAYS)}


@dataclass(frozen=True, slots=True)
class When:
    """Five fields of numbers: what cron, Kubernetes and Slurm all read in the same way.

    Attributes:
        fields: Minute, hour, day of the month, month, day of the week, each the numbers that fit;
            None for all of them.
        either: Whether a day fits by one of its two fields alone, as where both are narrowed.
    """

    fields: tuple[Sequence[int] | None, ...]
    either: bool

    @classmethod
    def parse(cls, text: str) -> When:
        """What cron would make of `text`.

        Raises:
            UsageError: kind ``bad-schedule``.
        """
        words = _MACROS.get(text.strip().lower(), text).lower().split()
        if len(words) != len(_FIELDS) + 1:
            raise _bad(text, "it has not five fields: minute, hour, day, month, day of the week")
        fields: list[Sequence[int] | None] = []
        for word, (what, first, last) in zip(words, (*_FIELDS, _DAY), strict=True):
            names = _NAMES if what == "month" else _DAY_NAMES if what == _DAY[0] else {}
            try:
                found = _numbers(word, first, last, names)
            except ValueError as error:
                raise _bad(text, f"`{word}` is no {what}: {error}") from None
            if what == _DAY[0]:
                found = sorted({number % _WEEK for number in found})
            fields.append(None if len(found) == (_WEEK if what == _DAY[0] else last - first + 1) else found)
        days, weekdays = words[2], words[4]
        starred = days.startswith("*") or weekdays.startswith("*")
        if starred and fields[2] is not None and fields[4] is not None:
            raise _bad(
                text, "with a step in one of two narrowed days, cron and Kubernetes read it differently"
            )
        return cls(tuple(fields), not starred)

    def cron(self) -> str:
        """The five fields, in numbers that every reader of them takes."""
        days, weekdays = self.fields[2], self.fields[4]
        shown = [_listed(field, "-") for field in self.fields]
        if self.either and days is None:
            shown[2] = "1-31"  # `*` would make the other day count alone
        if self.either and weekdays is None:
            shown[4] = "0-6"
        return " ".join(shown)

    def calendars(self) -> list[str]:
        """The same as expressions of systemd; one that fits is enough."""
        minute, hour, day, month, weekday = self.fields
        time = f"{_padded(hour)}:{_padded(minute)}:00"
        names = "" if weekday is None else ",".join(_DAYS[number].capitalize() for number in weekday) + " "
        if self.either:
            by_day = f"*-{_padded(month)}-{_padded(day)} {time}"
            by_weekday = f"{names}*-{_padded(month)}-* {time}"
            return list(dict.fromkeys([by_day, by_weekday]))
        return [f"{names}*-{_padded(month)}-{_padded(day)} {time}"]


def _numbers(text: str, first: int, last: int, names: dict[str, int]) -> list[int]:
    """The numbers that one field allows.

    Raises:
        ValueError: it is no field.
    """
    found: set[int] = set()
    for part in text.split(","):
        span, slash, step = part.partition("/")
        begin, dash, end = span.partition("-")
        if span == "*":
            low, high = first, last
        else:
            low = _number(begin, names)
            high = _number(end, names) if dash else last if slash else low
        every = int(step) if slash and step.isdecimal() else 1
        if slash and (not step.isdecimal() or every == 0):
            raise ValueError(f"`{step}` is no step")
        if not first <= low <= high <= last:
            raise ValueError(f"from {first} to {last}")
        found.update(range(low, high + 1, every))
    return sorted(found)


def _number(text: str, names: dict[str, int]) -> int:
    if text in names:
        return names[text]
    if not (text.isascii() and text.isdecimal()):
        raise ValueError("a number, a range 1-5, a step */15, or a list of them")
    return int(text)


def _runs(numbers: Sequence[int]) -> list[tuple[int, int]]:
    """`numbers` as ranges from one to the next gap."""
    found = []
    for _, group in groupby(enumerate(numbers), lambda pair: pair[1] - pair[0]):
        run = [number for _, number in group]
        found.append((run[0], run[-1]))
    return found


def _listed(numbers: Sequence[int] | None, dash: str) -> str:
    if numbers is None:
        return "*"
    shown = []
    for low, high in _runs(numbers):
        shown += [str(low)] if low == high else [f"{low}{dash}{high}"]
    return ",".join(shown)


def _padded(numbers: Sequence[int] | None) -> str:
    if numbers is None:
        return "*"
    return ",".join(f"{low:02}" if low == high else f"{low:02}..{high:02}" for low, high in _runs(numbers))


def _bad(text: str, why: str) -> UsageError:
    return UsageError(
        f"--at is `{text}`, which is no time for cron: {why}", kind="bad-schedule", hint=f'--at "{NIGHTLY}"'
    )
