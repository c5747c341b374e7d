"""How far an execution is: steps that are done, and of how many where that is known.

It is told from events alone, which are read once: a step's own record is long, and a list asks for
all that run whenever one of them has done something.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from kitaru_nb.journal.journal import Journal
from kitaru_nb.model.event import Event
from kitaru_nb.model.execution import Execution, ExecutionId, ExecutionStatus

__all__ = ["PLANNED", "Progress", "ProgressList", "progress_of"]

PLANNED = "attempt.planned"
"""The event by which a headless attempt says how many cells it goes through."""

_DONE = ("checkpoint.completed", "checkpoint.restored")
_FAILED = "checkpoint.failed"
_CALLED = "call.completed"
_LIVE = (ExecutionStatus.RUNNING, ExecutionStatus.WAITING)
_EARLIER, _COMPLETED = 20, 3  # executions that are looked at for a full run, and full runs that count


@dataclass(frozen=True, slots=True)
class Progress:
    """How far an execution is.

    Attributes:
        done: Cells that are done; of a flow, calls.
        total: How many there will be, as far as anybody knows; None where that is not known.
    """

    done: int
    total: int | None

    def to_json(self) -> dict[str, Any]:
        """Its fields as JSON values."""
        return {"done": self.done, "total": self.total}


def progress_of(journal: Journal, execution: Execution) -> Progress | None:
    """How far one execution is; None for one that has ended, which is as far as it got."""
    return ProgressList().of(journal, execution)


class ProgressList:
    """How far executions of one journal are; may be asked from any thread.

    The first look at one reads its events, a later one those that have come since.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._tallies: dict[ExecutionId, _Tally] = {}

    def of(self, journal: Journal, execution: Execution) -> Progress | None:
        """How far an execution is; None for one that has ended."""
        with self._lock:
            if execution.status not in _LIVE:
                self._tallies.pop(execution.id, None)
                return None
            known = self._tallies.get(execution.id)
            if known is None:
                known = _Tally(is_flow=execution.identity.flow is not None, usual=_usual(journal, execution))
                self._tallies[execution.id] = known
            known.take(journal.events(execution.id, after=known.seq))
            return known.progress


@dataclass(slots=True)
class _Tally:
    """What the events of one execution have told so far.

    Attributes:
        is_flow: Whether its steps are calls, all of which count, and not cells.
        usual: How many steps it has when it comes to its end, by earlier ones like it.
        seq: The newest event that was read.
        cells: The cells that are done in the newest attempt, each with its step's number.
        before: The same for attempts before.
        calls: How many calls have completed.
        planned: How many cells the newest attempt goes through, where it has said so.
    """

    is_flow: bool
    usual: int | None = None
    seq: int = 0
    cells: dict[str, int] = field(default_factory=dict)
    before: list[dict[str, int]] = field(default_factory=list)
    calls: int = 0
    planned: int | None = None

    def take(self, events: Iterable[Event]) -> None:
        """Take note of events; those of an imported execution may hold anything."""
        for event in events:
            self.seq = event.seq
            data: object = event.data
            if isinstance(data, Mapping):
                self._take(event.kind, data)

    def _take(self, kind: str, data: Mapping[str, Any]) -> None:
        match kind, data:
            case "attempt.started", _:
                if self.cells:
                    self.before.append(self.cells)
                self.cells, self.planned = {}, None
            case _, {"cells": int(count)} if kind == PLANNED:
                self.planned = count
            case "resumed", {"seq": int(seq)}:
                self._put_back(seq)
            case _, {"name": str(name), "seq": int(seq)} if kind in _DONE:
                self.cells[name] = seq
            case _, {"name": str(name)} if kind == _FAILED:
                self.cells.pop(name, None)
            case _ if kind == _CALLED:
                self.calls += 1

    def _put_back(self, seq: int) -> None:
        """What was done up to that step in the attempt that did it is there again."""
        for cells in (self.cells, *reversed(self.before)):
            if seq in cells.values():
                self.cells = {name: at for name, at in cells.items() if at <= seq}
                return

    @property
    def done(self) -> int:
        """How many steps are done."""
        return self.calls if self.is_flow else len(self.cells)

    @property
    def progress(self) -> Progress:
        """How far it is. More steps than there were to be say that the number is wrong."""
        total = self.usual if self.planned is None else self.planned
        return Progress(self.done, total if total is not None and total >= max(self.done, 1) else None)


def _usual(journal: Journal, execution: Execution) -> int | None:
    """How many steps the fullest of the last completed executions like this one had."""
    earlier = journal.executions(identity=execution.identity, before=execution.id, limit=_EARLIER)
    completed = [each for each in earlier if each.status is ExecutionStatus.COMPLETED][:_COMPLETED]
    counts = []
    for each in completed:
        tally = _Tally(is_flow=each.identity.flow is not None)
        tally.take(journal.events(each.id))
        counts.append(tally.done)
    return max(counts, default=0) or None
