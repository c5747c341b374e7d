"""What an attempt was given from the record instead of doing it again."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

__all__ = ["Served", "ranges", "unranged"]


@dataclass(frozen=True, slots=True)
class Served:
    """Recorded calls that were served inside cells and flows that ran.

    Attributes:
        steps: The `seq` of each.
        duration: Seconds that they took when they ran.
        cost: What they cost then in US dollars; None when nothing of it has a price.
        tokens: Tokens they used then.
    """

    steps: tuple[int, ...] = ()
    duration: float = 0.0
    cost: float | None = None
    tokens: int | None = None

    def to_json(self) -> dict[str, Any]:
        """As an event keeps it: the steps as ranges, since there may be thousands."""
        return {
            "steps": ranges(self.steps),
            "duration": self.duration,
            "cost": self.cost,
            "tokens": self.tokens,
        }


def ranges(numbers: Iterable[int]) -> list[list[int]]:
    """Numbers as ``[first, last]`` of each run without gaps, ascending."""
    found: list[list[int]] = []
    for number in sorted(set(numbers)):
        if found and number == found[-1][1] + 1:
            found[-1][1] = number
        else:
            found.append([number, number])
    return found


def unranged(pairs: Iterable[Iterable[int]]) -> set[int]:
    """The inverse of `ranges`."""
    return {number for first, last in pairs for number in range(first, last + 1)}
