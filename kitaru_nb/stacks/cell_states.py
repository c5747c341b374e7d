"""How the cells of a notebook stand, told from what is typed in them and from the record, with no kernel."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from kitaru_nb.analysis.directive import NO_CHECKPOINT, is_marked
from kitaru_nb.engine.addresses import waiting_cells
from kitaru_nb.engine.describe import time_json
from kitaru_nb.engine.earlier import earlier_executions, steps_of_executions
from kitaru_nb.engine.engine import Engine
from kitaru_nb.engine.furthest import furthest_line, left_at
from kitaru_nb.engine.live_outputs import STEP, unended_among
from kitaru_nb.engine.observe import file_holds
from kitaru_nb.engine.plan import CellPlan, Fate, PlannedCell, foresee
from kitaru_nb.engine.prefix import source_code
from kitaru_nb.errors import Suspended
from kitaru_nb.journal.journal import Journal
from kitaru_nb.journal.sql_journal import SqlJournal
from kitaru_nb.model.checkpoint import Checkpoint, CheckpointStatus, error_line
from kitaru_nb.model.event import Event
from kitaru_nb.model.execution import Execution, ExecutionStatus, current_owner

__all__ = ["TypedCell", "cell_states"]

_LOOKED_AT = 500  # of the newest events: what runs now was noted among them


@dataclass(frozen=True, slots=True)
class TypedCell:
    """A code cell as it stands in an editor, saved or not."""

    id: str
    source: str
    tags: tuple[str, ...] = ()


def cell_states(engine: Engine, notebook: str, cells: Sequence[TypedCell]) -> dict[str, Any]:
    """The state of each cell that is a checkpoint, and whether the notebook's last kernel died.

    A cell is *fresh* when its record would be restored if everything ran now, *restored* when that
    is what happened last, *stale* when it would run again, for the reason given, *running*
    once it has run for some seconds: then it is on record that it does. Of files that a kernel on
    another machine has read nothing is known here; it is taken that they have not changed.

    Args:
        engine: Where it is recorded.
        notebook: The notebook's path, as the records have it.
        cells: All its code cells, in order.

    Raises:
        UntrustedError: nobody who is trusted here has signed what is on record.
    """
    journal = engine.journal
    known = earlier_executions(journal, notebook, interactive=True)
    if not known:
        return {"execution": None, "cells": {}, "dead": None}
    current = known[0]
    recorded = steps_of_executions(engine, known)
    removed = journal.removed(frozenset().union(*(step.draft.stored for step in recorded)))
    planned = _planned(cells, recorded)
    rows = foresee(planned, recorded, holds=_holds_for(engine, current), removed=removed)
    latest = {step.draft.step: step for step in recorded if step.execution == current.id}
    waiting = waiting_cells(journal, current.id)
    running = _running(engine, current, [step for step in recorded if step.execution == current.id])
    states = {}
    for cell, row in zip(cells, rows, strict=True):
        if row.cell.is_step:
            states[cell.id] = _state(
                row, latest.get(row.cell.step), waiting.get(str(row.cell.step)), running, _origin_of(journal)
            )
    return {"execution": current.id, "cells": states, "dead": _dead(journal, current)}


def _planned(cells: Sequence[TypedCell], recorded: Sequence[Checkpoint]) -> list[PlannedCell]:
    on_record = {step.draft.step for step in recorded}
    return [
        PlannedCell(place, f"cell:{cell.id}", cell.source, _is_step(cell, on_record))
        for place, cell in enumerate(cells, 1)
    ]


def _is_step(cell: TypedCell, on_record: set[str | None]) -> bool:
    """Whether the cell is marked, or was kept by ``%checkpoint auto``."""
    if NO_CHECKPOINT in cell.tags:
        return False
    return is_marked(cell.source, cell.tags) or f"cell:{cell.id}" in on_record


def _holds_for(engine: Engine, current: Execution) -> Callable[[str, str], bool]:
    """Whether a file is as it was. Of a kernel on another machine the files are not here: they count so."""
    owner = engine.journal.attempts(current.id)[-1].owner
    return file_holds if owner.host == current_owner().host else lambda _what, _digest: True


def _running(engine: Engine, current: Execution, recorded: Sequence[Checkpoint]) -> Event | None:
    """The newest note of the step that runs now, where it is among what happened last."""
    journal = engine.journal
    if current.status is not ExecutionStatus.RUNNING or not isinstance(journal, SqlJournal):
        return None
    newest, _ = journal.newest_event()
    return unended_among(journal.events(current.id, after=max(0, newest - _LOOKED_AT)), recorded)


def _state(
    row: CellPlan, last: Checkpoint | None, stopped: Suspended | None, running: Event | None, origin_of: Any
) -> Mapping[str, Any]:
    draft = None if last is None else last.draft
    same = draft is not None and source_code(draft.source) == source_code(row.cell.source)
    name = row.name or (draft.name if draft is not None else None)
    status, why = _status(row, last if same else None, stopped)
    if stopped is None and running is not None and _is_of(running, row.cell.step, name):
        status, why = "running", "it runs now"
    restored = draft is not None and draft.status is CheckpointStatus.RESTORED
    return {
        "checkpoint": name,
        "status": status,
        "duration": draft.duration if draft is not None else row.duration,
        "cost": draft.cost if draft is not None else row.cost,
        "saved_duration": draft.duration if restored and draft is not None else None,
        "started_at": None if draft is None else time_json(draft.started_at),
        "restored_from": origin_of(last) if restored else None,
        "why": why,
        "wait": None if stopped is None else stopped.wait,
    }


def _is_of(note: Event, step: str | None, name: str | None) -> bool:
    """Whether a note is about the step with this identity, or where it names none, with this name."""
    told = note.data.get(STEP)
    return bool(told == step if told is not None else note.data["checkpoint"] == name)


def _status(row: CellPlan, last: Checkpoint | None, stopped: Suspended | None) -> tuple[str | None, str]:
    """How a cell stands and why; no status where it has never run."""
    if stopped is not None:
        return "waiting", stopped.message
    if last is not None and last.draft.error is not None:
        return "failed", error_line(
            last.draft.error.get("ename", "error"), last.draft.error.get("evalue", "")
        )
    if row.fate is Fate.RESTORED:
        was = last is not None and last.draft.status is CheckpointStatus.RESTORED
        return ("restored" if was else "fresh"), row.reason
    return ("stale" if row.duration is not None else None), row.reason


def _origin_of(journal: Journal) -> Any:
    def origin(step: Checkpoint) -> str:
        return journal.checkpoint(step.draft.origin or step.seq).execution

    return origin


def _dead(journal: Journal, current: Execution) -> dict[str, Any] | None:
    """What can be put back where the notebook's last execution did not end well and nothing runs it now."""
    if not current.status.continues or journal.attempts(current.id)[-1].ended_at is None:
        return None
    recorded = journal.checkpoints(current.id)
    commits = furthest_line(recorded, left=left_at(journal.events(current.id), recorded))
    if not commits:
        return None
    costs = [step.draft.cost for step in commits if step.draft.cost is not None]
    return {
        "execution": current.id,
        "status": current.status.value,
        "at": time_json(current.ended_at),
        "why": current.reason,
        "restorable": len(commits),
        "last": commits[-1].draft.name,
        "saved_duration": math.fsum(step.draft.duration for step in commits),
        "saved_cost": math.fsum(costs) if costs else None,
    }
