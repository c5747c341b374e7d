"""Cells that were edited since they completed, in an execution that goes on."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import StrEnum

from nbformat import NotebookNode
from papermill.log import logger

from kitaru_nb.artifacts.vault import VAULT
from kitaru_nb.engine.engine import Engine
from kitaru_nb.engine.prefix import is_same_source
from kitaru_nb.errors import DivergenceError
from kitaru_nb.model.checkpoint import Checkpoint, CheckpointStatus
from kitaru_nb.model.execution import ExecutionId
from kitaru_nb.stacks.notebooks import PARAMETERS, Step, steps_of

__all__ = ["Edited", "OnChange", "edited_cells", "refuse_edited", "settled"]

_NAMED = 5  # cells that an error names


class OnChange(StrEnum):
    """What becomes of them."""

    RERUN = "rerun"
    KEEP = "keep"
    FAIL = "fail"


@dataclass(frozen=True, slots=True)
class Edited:
    """A cell that was edited, and what it did when it ran last."""

    cell: Step
    ran: Checkpoint

    def __str__(self) -> str:
        """As it is named to a person."""
        return f"cell {self.cell.index + 1} (`{self.ran.draft.name}`)"


def edited_cells(steps: Sequence[Step], recorded: Sequence[Checkpoint]) -> list[Edited]:
    """Those of `steps` that came to their end as something else than what they are now, and never as that.

    Comments and formatting do not count. A cell is known by its id.
    """
    found = []
    for step in steps:
        mine = [
            each
            for each in recorded
            if each.draft.status is not CheckpointStatus.FAILED and each.draft.step == step.step
        ]
        source = VAULT.mask_source(step.source)  # as it is on record
        if mine and step.step != PARAMETERS and not any(is_same_source(each.draft, source) for each in mine):
            found.append(Edited(step, mine[-1]))
    return found


def refuse_edited(
    engine: Engine, execution: ExecutionId | None, nb: NotebookNode, on_change: OnChange
) -> None:
    """Refuse to go on with an execution whose cells were edited, where that is asked for.

    Raises:
        DivergenceError: kind ``cells-changed``; it names them.
    """
    if on_change != OnChange.FAIL or execution is None:
        return
    found = edited_cells(steps_of(nb), engine.journal.checkpoints(execution))
    if not found:
        return
    named = ", ".join(map(str, found[:_NAMED])) + (f" and {len(found) - _NAMED} more" * (len(found) > _NAMED))
    were = "was" if len(found) == 1 else "were"
    raise DivergenceError(
        f"{named} {were} edited since `{execution}` ran it; nothing was run",
        kind="cells-changed",
        hint="--on-change rerun or keep, or --new to begin anew",
    )


def settled(
    engine: Engine,
    execution: ExecutionId,
    nb: NotebookNode,
    on_change: OnChange,
    restorable: Callable[[Engine, ExecutionId, Sequence[Step]], Sequence[Checkpoint]],
) -> list[Step]:
    """The code cells of `nb`, once it is settled which of those that were edited stand as they ran.

    With `KEEP` a cell that can be restored as it ran has in `nb` the code that it ran with, so that
    what the notebook shows is what happened. One that comes after something that has to run anew
    cannot stand, and runs as it is now.

    Args:
        engine: Journal and store.
        execution: What goes on.
        nb: The notebook; changed.
        on_change: What is asked for.
        restorable: Which records the first cells are.

    Raises:
        DivergenceError: kind ``cells-changed``, with `FAIL`.
    """
    refuse_edited(engine, execution, nb, on_change)
    steps = steps_of(nb)
    if on_change != OnChange.KEEP:
        return steps
    found = edited_cells(steps, engine.journal.checkpoints(execution))
    if not found:
        return steps
    written = {each.cell.index: each.cell.source for each in found}
    for each in found:
        nb.cells[each.cell.index].source = each.ran.draft.source
    steps = steps_of(nb)
    standing = {step.index for step, _ in zip(steps, restorable(engine, execution, steps), strict=False)}
    for index, source in written.items():
        if index not in standing:
            nb.cells[index].source = source
    for each in found:
        what = (
            "is kept as it ran, without your edit"
            if each.cell.index in standing
            else "runs as it is now: something before it runs anew, so what is on record cannot stand"
        )
        logger.warning("%s %s", each, what)
    return steps_of(nb)
