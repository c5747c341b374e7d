"""`%kitaru plan`: what each checkpoint of the notebook would do if its cell were run now.

The saved file says which cells there are; the live values of this kernel decide.
"""

from __future__ import annotations

import ast
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from kitaru_nb.analysis.directive import directive_of
from kitaru_nb.engine.cell import Cell
from kitaru_nb.engine.conditions import holds, untold
from kitaru_nb.engine.plan import CellPlan, Fate, PlannedCell
from kitaru_nb.engine.session import Session
from kitaru_nb.engine.steps import Pending, Restore, unmet
from kitaru_nb.engine.why import differences
from kitaru_nb.errors import KitaruError, UsageError
from kitaru_nb.model.checkpoint import Checkpoint
from kitaru_nb.notebook import display
from kitaru_nb.notebook.hooks import Hooks

__all__ = ["live_plan"]


def live_plan(hooks: Hooks) -> str:
    """One line for each checkpoint, and the sums.

    Raises:
        UsageError: the notebook's file is not known or was never saved.
    """
    session = hooks.open_session()
    path = session.identity.notebook
    if path is None or not Path(path).is_file():
        message = "the notebook's file is not known here, so its cells are not"
        raise UsageError(message, kind="no-notebook", hint="save the notebook, or set KITARU_NB_NOTEBOOK")
    from kitaru_nb.stacks.planning import interactive_cells  # noqa: PLC0415 - it loads papermill

    steps = [cell for cell in interactive_cells(path) if cell.is_step or hooks.auto is not None]
    return _words([_foreseen(hooks.shell, session, cell) for cell in steps])


def _foreseen(shell: Any, session: Session, planned: PlannedCell) -> CellPlan:
    try:
        directive, tree = directive_of(ast.parse(shell.transform_cell(planned.source)))
        cell = Cell(planned.source, tree, directive, planned.step)
        decided, before = session.foresee(cell)
    except SyntaxError as error:
        return CellPlan(planned, Fate.RUN, f"it would fail: {error.msg}")
    except KitaruError as error:
        return CellPlan(planned, Fate.RUN, f"it would be refused: {error.message}")
    name = directive.name if directive is not None else None
    if isinstance(decided, Restore):
        draft = decided.checkpoint.draft
        reason = "its code and what it reads are as they were"
        return CellPlan(planned, Fate.RESTORED, reason, name or draft.name, draft.duration, draft.cost)
    if not before:
        return CellPlan(planned, Fate.RUN, "nothing is on record for it", name)
    draft = before[0].draft
    fresh = directive is not None and directive.fresh
    reason = "it is to run each time (--fresh)" if fresh else _reason(before[0], decided.pending)
    return CellPlan(planned, Fate.RUN, reason, name or draft.name, draft.duration, draft.cost)


def _reason(before: Checkpoint, pending: Pending) -> str:
    broken = unmet(before, lambda what, digest: holds(pending, what, digest))
    now = replace(
        before.draft,
        source=pending.cell.source,
        code=pending.needs.code,
        reads=pending.needs.reads,
        unmet=(*broken, *untold(before, pending)),
        conditions={what: known for what, known in before.draft.conditions.items() if what not in broken},
    )
    found = differences(before.draft, now)
    return "; ".join(reason.text for reason in found) or "its record cannot be used"


def _words(rows: Sequence[CellPlan]) -> str:
    lines = []
    for row in rows:
        took = f" · {display.duration(row.duration)} last time" if row.duration is not None else ""
        cost = f" · ${row.cost:.2f}" if row.cost is not None else ""
        name = f"`{row.name}`" if row.name else "cell"
        verb = "would be restored" if row.fate is Fate.RESTORED else "would run"
        lines.append(f"  [{row.cell.place}] {name} {verb}: {row.reason}{took}{cost}")
    runs = [row for row in rows if row.fate is not Fate.RESTORED]
    known = sum(row.duration or 0.0 for row in runs)
    new = sum(row.duration is None for row in runs)
    head = f"kitaru: run now, {len(runs)} of {len(rows)} checkpoints would run"
    if runs:
        head += f" (about {display.duration(known)}" + (f", {new} never timed)" if new else ")")
    return "\n".join([head, *lines])
