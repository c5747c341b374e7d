"""A transcript: what is on record about executions, apart from the journal that recorded it."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from kitaru_nb.model.artifact import Artifact, Location, Tombstone
from kitaru_nb.model.checkpoint import Checkpoint
from kitaru_nb.model.event import Event
from kitaru_nb.model.execution import Attempt, Execution
from kitaru_nb.model.served import ranges

__all__ = ["Run", "Transcript", "renumbered"]

_NUMBERS, _RANGES = ("seq", "left"), "steps"


@dataclass(frozen=True, slots=True)
class Run:
    """An execution that nobody holds, with its attempts, oldest first; all of them have ended."""

    execution: Execution
    attempts: Sequence[Attempt]


@dataclass(frozen=True, slots=True)
class Transcript:
    """What one journal hands to another, with numbers of its own.

    Everything is gone through once, so it may be read from a file meanwhile.

    Attributes:
        runs: The executions.
        checkpoints: Their steps, each after its parent.
        events: Their history, oldest first.
        artifacts: Values that the steps hold, and the values that these refer to.
        locations: Where their extents are in the store that goes with the journal they go to.
        removed: Values that the steps hold and that do not come along, all for the same reason.
        known: For steps of other executions that `checkpoints` build on and that are on record
            there already: their number here, and their number there.
    """

    runs: Sequence[Run]
    checkpoints: Iterable[Checkpoint]
    events: Iterable[Event] = ()
    artifacts: Iterable[Artifact] = ()
    locations: Iterable[Location] = ()
    removed: Sequence[Tombstone] = ()
    known: Mapping[int, int] = field(default_factory=dict)


def renumbered(data: Mapping[str, Any], numbers: Mapping[int, int]) -> dict[str, Any]:
    """An event's data where steps have other numbers.

    By their convention ``seq`` and ``left`` are the numbers of steps, and ``steps`` is many of them
    as `served.ranges` writes them. One that is not in `numbers` names nothing there, and goes.
    """
    found: dict[str, Any] = {}
    for name, value in data.items():
        if name in _NUMBERS and type(value) is int:
            if value in numbers:
                found[name] = numbers[value]
        elif name == _RANGES:
            found[name] = ranges(_inside(value, numbers))
        else:
            found[name] = value
    return found


def _inside(pairs: Any, numbers: Mapping[int, int]) -> Iterator[int]:
    """The numbers there of what is in the ranges; these may have been written by anybody."""
    known = sorted(numbers)
    for pair in pairs if isinstance(pairs, list) else ():
        match pair:
            case [int(first), int(last)]:
                yield from map(
                    numbers.__getitem__, known[bisect_left(known, first) : bisect_right(known, last)]
                )
