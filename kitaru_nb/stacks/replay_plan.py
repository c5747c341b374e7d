"""What a replay would reuse and what would run, told from the record; nothing is begun."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from kitaru_nb.engine.engine import Engine
from kitaru_nb.engine.plan import CellPlan, Fate, PlannedCell
from kitaru_nb.engine.refs import checkpoint_names, steps
from kitaru_nb.engine.replay import Replay, lent
from kitaru_nb.engine.replay_cells import scope_of_cell
from kitaru_nb.model.checkpoint import Checkpoint, CheckpointStatus, StepKind
from kitaru_nb.model.execution import Execution
from kitaru_nb.stacks.replay_notebook import Ready, Wanted, ready_notebook
from kitaru_nb.stacks.replays import ready_flow

__all__ = ["Foreseen", "as_json", "foresee_replay"]


@dataclass(frozen=True, slots=True)
class Foreseen:
    """What would become of a replay.

    Attributes:
        original: What is replayed.
        plan: What was asked for.
        rows: What would become of each cell, or of each call on record.
        output: For a notebook, where the executed one would go.
        notes: Sentences about cells that differ from the record.
    """

    original: Execution
    plan: Replay
    rows: Sequence[CellPlan]
    output: str | None = None
    notes: Sequence[str] = ()

    def told(self) -> str:
        """What would be done, in words."""
        return f"would replay {self.original.id} {self.plan.told()}"


def foresee_replay(
    engine: Engine,
    original: Execution,
    from_: str,
    *,
    typed: Mapping[str, Any],
    output: str | None = None,
) -> Foreseen:
    """What a replay would do, refused where it could not be begun.

    To know a flow's inputs the file that defines it is read and run up to its first call of a flow.

    Raises:
        KitaruError: it could not be begun, and why.
    """
    if original.identity.flow is None:
        found = ready_notebook(engine, original, Wanted(from_, typed=typed, output=output), namespace={})
        return Foreseen(original, found.plan, _cells(engine, original, found), found.output, found.notes)
    plan = ready_flow(engine, original, from_, typed=typed).plan
    return Foreseen(original, plan, _calls(engine, original, plan))


def as_json(found: Foreseen) -> dict[str, Any]:
    """What was asked for, as JSON values."""
    return {
        "replays": found.original.id,
        "from": found.plan.label,
        "changes": found.plan.changes(),
        "notebook": found.original.identity.notebook,
        "flow": found.original.identity.flow,
        "output": found.output,
        "notes": list(found.notes),
    }


def _cells(engine: Engine, original: Execution, found: Ready) -> list[CellPlan]:
    recorded = steps(engine.journal, original.id)
    ran = {scope_of_cell(each): each for each in recorded if each.draft.kind is StepKind.CELL}
    given = {each.step for each in found.plan.overrides if each.step is not None}
    rows = []
    for cell in found.where.cells:
        before = ran.get(cell.step)
        if cell.step in given:
            fate, why = Fate.RESTORED, "what it gives is set"
        elif cell.index < found.where.first.index:
            fate, why = Fate.RESTORED, f"it is above `{found.plan.label}`"
        elif cell is found.where.named:
            fate, why = Fate.RUN, "the replay begins here"
        elif cell.index < found.where.named.index:
            fate, why = Fate.RUN, f"not all that `{found.plan.label}` began with is on record"
        else:
            fate, why = Fate.RUN, f"it is below `{found.plan.label}`"
        planned = PlannedCell(cell.index + 1, cell.step, cell.source, not cell.plain)
        rows.append(CellPlan(planned, fate, why, *_took(before)))
    return rows


def _calls(engine: Engine, original: Execution, plan: Replay) -> list[CellPlan]:
    """Of calls that code chooses itself only those on record are known; others may be made."""
    recorded = steps(engine.journal, original.id)
    reused = {each.seq for each in lent(plan, engine.journal.steps_within(original.id))}
    rows = []
    for name, step in zip(checkpoint_names(recorded), recorded, strict=True):
        place = str(step.draft.data.get("place", ""))
        if plan.override(step.draft.name, place) is not None:
            fate, why = Fate.RESTORED, "what it gives is set"
        elif step.seq in reused and plan.inputs:
            fate, why = Fate.MAYBE, f"runs if {', '.join(f'`{each}`' for each in plan.inputs)} reaches it"
        elif step.seq in reused:
            fate, why = Fate.RESTORED, f"it was before `{plan.label}`"
        elif plan.is_named(place):
            fate, why = Fate.RUN, "the replay begins here"
        else:
            fate, why = Fate.RUN, f"it was not over when `{plan.label}` began"
        called = PlannedCell(step.ordinal, None, name, is_step=True)
        rows.append(CellPlan(called, fate, why, name, step.draft.duration, step.draft.cost))
    return rows


def _took(step: Checkpoint | None) -> tuple[str | None, float | None, float | None]:
    """What a cell is called, how long it took and what it cost when it ran last."""
    if step is None:
        return None, None, None
    failed = step.draft.status is CheckpointStatus.FAILED
    return step.draft.name, None if failed else step.draft.duration, step.draft.cost
