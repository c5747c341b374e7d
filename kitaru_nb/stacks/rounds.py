"""Which executions on record are the points of a grid, and what is to be done about each.

A grid is begun again and again by the same command: each time is a round. A round goes on until each
of its points has completed and a command has said so; then the same command begins the next one. So
whoever comes back to a grid that was detached, or whose command died at the end, is told how it ended
and does not pay for it again. The tags that an execution
gets with its first row say which point of which round it is, so that no crash comes between the two.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from kitaru_nb.journal.journal import Journal
from kitaru_nb.model.execution import Execution, ExecutionId, ExecutionStatus, Identity

__all__ = [
    "Begin",
    "Decision",
    "GoOn",
    "Keep",
    "Round",
    "decide",
    "find_round",
    "join",
    "joined",
    "note_told",
    "was_told",
]

_GRID = "grid:"
_POINT = "point:"
_JOINED = "grid.joined"
_TOLD = "grid.told"


@dataclass(frozen=True, slots=True)
class Round:
    """A grid, from the command that began it until all its points have completed.

    Attributes:
        tag: What all its executions are tagged with.
        executions: The newest execution of each point that has one, by the point's number.
        tags: The tags of this round and of those before it.
    """

    tag: str
    executions: Mapping[int, Execution]
    tags: frozenset[str]

    def tags_of(self, number: int) -> tuple[str, str]:
        """The tags of a point's execution."""
        return self.tag, f"{_POINT}{number}"


@dataclass(frozen=True, slots=True)
class Keep:
    """The point has completed in this round: it is not run."""

    execution: Execution


@dataclass(frozen=True, slots=True)
class GoOn:
    """The point's execution did not complete: it goes on."""

    execution: Execution


@dataclass(frozen=True, slots=True)
class Begin:
    """The point has no execution that could go on: a new one begins."""


Decision = Keep | GoOn | Begin


def find_round(
    recorded: Iterable[Execution],
    digest: str,
    *,
    count: int,
    new: bool = False,
    others: Callable[[Round], Mapping[int, Execution]] = lambda _round: {},
    told: Callable[[Round], bool] = lambda _round: True,
) -> Round:
    """The round that the command goes on with, or the next one.

    Args:
        recorded: Executions that may belong to the grid, newest first.
        digest: The grid's, see `grid.digest_of`.
        count: How many points it has.
        new: Begin the next round, whatever became of the last one.
        others: Executions of points that have none with the round's tags, see `joined`.
        told: Whether somebody was told that a round has completed, see `was_told`.
    """
    pattern = re.compile(rf"{_GRID}{re.escape(digest)}(?:-([1-9][0-9]*))?\Z")
    rounds: dict[int, dict[int, Execution]] = {}
    for execution in recorded:
        number, point = _round_of(execution, pattern), _point_of(execution)
        if number is not None and point is not None:
            rounds.setdefault(number, {}).setdefault(point, execution)
    last = max(rounds, default=1)
    if not new:
        found = _numbered(digest, last, rounds.get(last, {}))
        found = replace(found, executions={**others(found), **found.executions})
        if _unfinished(found.executions, count=count) or not told(found):
            return found
        following = _numbered(digest, last + 1, {})
        return replace(following, executions=others(following))
    return _numbered(digest, last + 1 if rounds else 1, {})


def _numbered(digest: str, number: int, executions: Mapping[int, Execution]) -> Round:
    tags = frozenset(_tag(digest, each) for each in range(1, number + 1))
    return Round(_tag(digest, number), executions, tags)


def _unfinished(found: Mapping[int, Execution], *, count: int) -> bool:
    """Whether a point is left that has not completed."""
    done = [each for each in found.values() if each.status is ExecutionStatus.COMPLETED]
    return len(done) < count


def decide(execution: Execution | None) -> Decision:
    """What is to be done about a point, by its newest execution in this round."""
    if execution is None or execution.status is ExecutionStatus.CANCELLED:
        return Begin()
    return Keep(execution) if execution.status is ExecutionStatus.COMPLETED else GoOn(execution)


def joined(journal: Journal, round_: Round, identity: Identity, number: int) -> Execution | None:
    """The execution without this grid's tags that a point goes on with, or went on with in this round.

    A run that was begun by itself, or by a grid with other points, is the same run as the point when
    notebook, output, parameters and stack are the same. Where it did not complete it goes on.
    """
    newest = next(iter(journal.executions(identity=identity, limit=1)), None)
    if newest is None or round_.tags & set(newest.tags):
        return None
    if newest.status.continues or newest.status is ExecutionStatus.RUNNING:
        return newest
    told = {"tag": round_.tag, "point": number}
    noted = (event.data for event in journal.events(newest.id) if event.kind == _JOINED)
    return newest if any(dict(data) == told for data in noted) else None


def join(journal: Journal, round_: Round, execution: ExecutionId, number: int) -> None:
    """Put on record that an execution without its tags is a point of the round."""
    told = {"tag": round_.tag, "point": number}
    if not any(event.kind == _JOINED and dict(event.data) == told for event in journal.events(execution)):
        journal.record_event(execution, _JOINED, told)


def note_told(journal: Journal, tag: str, first: ExecutionId) -> None:
    """Put on record that a command has said that a round has completed; `first` is its first point's run."""
    journal.record_event(first, _TOLD, {"tag": tag})


def was_told(journal: Journal, round_: Round) -> bool:
    """Whether a command has said that a round has completed."""
    events = journal.events(round_.executions[min(round_.executions)].id)
    return any(event.kind == _TOLD and event.data.get("tag") == round_.tag for event in events)


def _tag(digest: str, number: int) -> str:
    return f"{_GRID}{digest}" if number == 1 else f"{_GRID}{digest}-{number}"


def _round_of(execution: Execution, pattern: re.Pattern[str]) -> int | None:
    found = next(filter(None, map(pattern.match, execution.tags)), None)
    return None if found is None else int(found[1] or 1)


def _point_of(execution: Execution) -> int | None:
    texts: Sequence[str] = [tag.removeprefix(_POINT) for tag in execution.tags if tag.startswith(_POINT)]
    return next((int(text) for text in texts if text.isascii() and text.isdigit()), None)
