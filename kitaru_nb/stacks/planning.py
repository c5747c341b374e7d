"""What a run would do, said before anything runs: what ``--dry-run``, `plan` and ``%kitaru plan`` show."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass
from functools import partial

from kitaru_nb.analysis.directive import is_marked
from kitaru_nb.engine.earlier import earlier_executions, steps_of_executions
from kitaru_nb.engine.engine import Engine
from kitaru_nb.engine.moved_files import MovedFiles
from kitaru_nb.engine.observe import file_holds
from kitaru_nb.engine.plan import CellPlan, PlannedCell, foresee
from kitaru_nb.engine.renamed import as_recorded
from kitaru_nb.errors import NotFoundError
from kitaru_nb.model.checkpoint import Checkpoint
from kitaru_nb.model.execution import Execution, ExecutionStatus, Identity
from kitaru_nb.model.settings import Settings
from kitaru_nb.stacks.edits import refuse_edited, settled
from kitaru_nb.stacks.local import Job, check, parameterized
from kitaru_nb.stacks.notebooks import (
    Step,
    give_stable_ids,
    local_path,
    read_notebook,
    recorded_ids,
    steps_of,
)
from kitaru_nb.stacks.open import open_engine
from kitaru_nb.stacks.taken import unlike_here
from kitaru_nb.stacks.worker import identity_of, restorable, standing

__all__ = ["Plan", "interactive_cells", "plan", "plan_interactive"]


@dataclass(frozen=True, slots=True)
class Plan:
    """What a run would do now.

    Attributes:
        execution: The execution it would continue, or None when it would begin a new one.
        steps: The cells that would be looked at, in order.
        restored: For the first of them, what is on record and would be put back.
        rows: What would become of each cell, and why.
    """

    execution: Execution | None
    steps: Sequence[Step]
    restored: Sequence[Checkpoint]
    rows: Sequence[CellPlan] = ()


def plan(job: Job, *, settings: Settings) -> Plan:
    """What `run` would restore and run; nothing is started and nothing is written."""
    check(job)
    nb, output = parameterized(job)
    give_stable_ids(nb, recorded_ids(job.notebook))
    steps = steps_of(nb)
    try:
        engine = open_engine(settings, read_only=True)
    except NotFoundError:
        return Plan(None, steps, (), foresee(_headless(steps), (), holds=file_holds))
    with closing(engine), engine.trust.accepting(job.trust):
        identity = identity_of(nb, job.notebook, output, stack=settings.stack)
        identity = as_recorded(engine.journal, identity)
        execution = _continued(engine, job, identity)
        path = local_path(job.notebook)
        moved = MovedFiles.of(engine.journal, identity.notebook, now=path)
        if execution is not None:
            refuse_edited(engine, execution.id, nb, job.on_change)
            steps = settled(engine, execution.id, nb, job.on_change, partial(standing, notebook=path))
        line = restorable(engine, execution.id, steps, notebook=path) if execution is not None else []
        unlike = unlike_here(line)
        restored = line[: min(unlike, default=len(line))]
        recorded = engine.journal.checkpoints(execution.id) if execution is not None else []
        earlier = earlier_executions(engine.journal, identity.notebook, interactive=False)
        known = steps_of_executions(engine, earlier)
        rows = foresee(
            _headless(steps),
            recorded,
            holds=moved.holding(file_holds),
            prefix=len(restored),
            known=known,
            removed=engine.journal.removed(frozenset().union(*(step.draft.stored for step in known))),
            reuse=job.reuse,
            unlike=unlike,
        )
        return Plan(execution, steps, restored, rows)


def plan_interactive(notebook: str, *, settings: Settings) -> tuple[Execution | None, Sequence[CellPlan]]:
    """What Run All in a new kernel would do with a notebook that is run by hand.

    Returns:
        The notebook's newest execution by hand, or None; and the plan of each code cell.
    """
    cells = interactive_cells(notebook)
    try:
        engine = open_engine(settings, read_only=True)
    except NotFoundError:
        return None, foresee(cells, (), holds=file_holds)
    with closing(engine):
        recorded_as = as_recorded(engine.journal, Identity(notebook=notebook)).notebook
        known = earlier_executions(engine.journal, recorded_as, interactive=True)
        recorded = steps_of_executions(engine, known)
        removed = engine.journal.removed(frozenset().union(*(step.draft.stored for step in recorded)))
        holds = MovedFiles.of(engine.journal, recorded_as, now=notebook).holding(file_holds)
        return next(iter(known), None), foresee(cells, recorded, holds=holds, removed=removed)


def interactive_cells(notebook: str) -> list[PlannedCell]:
    """The code cells of a notebook file; those that are marked are steps.

    Raises:
        UsageError: there is no such file, or it is not a notebook.
    """
    nb = read_notebook(notebook)
    give_stable_ids(nb, recorded_ids(notebook))
    return [
        PlannedCell(
            step.index + 1, step.step, step.source, not step.plain and is_marked(step.source, step.tags)
        )
        for step in steps_of(nb)
    ]


def _headless(steps: Sequence[Step]) -> list[PlannedCell]:
    return [
        PlannedCell(step.index + 1, step.step, step.source, not step.plain, is_marked(step.source, step.tags))
        for step in steps
    ]


def _continued(engine: Engine, job: Job, identity: Identity) -> Execution | None:
    """The execution a run would go on with."""
    if job.execution is not None:
        return engine.journal.execution(job.execution)
    known = engine.journal.executions(identity=identity, limit=1)
    unfinished = bool(known) and (known[0].status.continues or known[0].status is ExecutionStatus.RUNNING)
    return known[0] if unfinished and not job.new else None
