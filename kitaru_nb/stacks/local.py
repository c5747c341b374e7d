"""Runs notebooks here, in this process and a kernel of its own: the launcher called ``local``."""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from shlex import quote
from typing import Any

from nbformat import NotebookNode
from papermill.engines import papermill_engines
from papermill.exceptions import PapermillException, PapermillExecutionError
from papermill.execute import execute_notebook, remove_error_markers
from papermill.iorw import load_notebook_node, write_ipynb
from papermill.log import logger as papermill_logger
from papermill.parameterize import add_builtin_parameters, parameterize_notebook, parameterize_path

from kitaru_nb.analysis.directive import is_marked
from kitaru_nb.artifacts.vault import VAULT
from kitaru_nb.engine.earlier import earlier_executions, steps_of_executions
from kitaru_nb.engine.engine import Engine
from kitaru_nb.engine.moved_files import MovedFiles
from kitaru_nb.engine.observe import file_holds
from kitaru_nb.engine.plan import CellPlan, PlannedCell, foresee
from kitaru_nb.engine.renamed import as_recorded
from kitaru_nb.errors import KitaruError, NotFoundError, UsageError
from kitaru_nb.model.checkpoint import Checkpoint
from kitaru_nb.model.execution import (
    Attempt,
    Execution,
    ExecutionId,
    ExecutionStatus,
    Identity,
    default_output,
)
from kitaru_nb.model.settings import Settings
from kitaru_nb.model.wait import OnWait
from kitaru_nb.stacks.edits import OnChange, refuse_edited, settled
from kitaru_nb.stacks.kernels import python_kernel
from kitaru_nb.stacks.notebooks import (
    Step,
    check_output,
    give_stable_ids,
    is_remote,
    local_path,
    read_notebook,
    recorded_ids,
    steps_of,
)
from kitaru_nb.stacks.open import open_engine
from kitaru_nb.stacks.outcome import Outcome
from kitaru_nb.stacks.papermill_engine import KitaruEngine
from kitaru_nb.stacks.parameters import quiet_papermill
from kitaru_nb.stacks.taken import unlike_here
from kitaru_nb.stacks.worker import ExecutionStopped, RunOptions, identity_of, restorable, standing

__all__ = [
    "Job",
    "Plan",
    "check",
    "formatted",
    "interactive_cells",
    "job_of",
    "literal",
    "parameterized",
    "plan",
    "plan_interactive",
    "run",
]

_ENGINE = "kitaru"


@dataclass(frozen=True, slots=True)
class Job:
    """A notebook to be run.

    Attributes:
        notebook: Absolute path, or a URL papermill reads.
        output: Absolute path or URL of the output notebook; ``{name}`` stands for a parameter.
        parameters: What papermill is to put into the notebook.
        tags: Tags for a new execution.
        new: Begin a new execution even where one could be continued.
        execution: Continue this one, whatever its status.
        attempt: Work in this one, which was begun for this process.
        timeout: Seconds one attempt may take, or None.
        log_output: Log what cells print while they run.
        report_mode: Hide the code in the output notebook.
        progress: Show papermill's progress bar.
        trust: Put back what anybody signed, this once.
        budget: What the execution may cost in US dollars, earlier attempts included.
        on_wait: What to do at a wait without an answer; None for what the code says.
        retried: Another attempt follows by itself if this one fails, so that nobody is told yet.
        reuse: Take for marked cells also what touched the outside in other executions.
        on_change: What to do where a cell was edited since it completed.
    """

    notebook: str
    output: str
    parameters: Mapping[str, Any] = field(default_factory=dict)
    tags: tuple[str, ...] = ()
    new: bool = False
    execution: ExecutionId | None = None
    attempt: Attempt | None = None
    timeout: float | None = None
    log_output: bool = False
    report_mode: bool = False
    progress: bool = True
    trust: bool = False
    budget: float | None = None
    on_wait: OnWait | None = None
    retried: bool = False
    reuse: bool = False
    on_change: OnChange = OnChange.RERUN


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


def job_of(notebook: str, output: str | None = None, **options: Any) -> Job:
    """A job from what a user typed: paths made absolute, ``<stem>.out.ipynb`` as default output."""
    source = notebook if is_remote(notebook) else os.path.abspath(notebook)
    if output is None:
        if is_remote(source):
            raise UsageError(
                f"`{notebook}` is not a local file, so it needs an output",
                kind="no-output",
                hint="-o OUTPUT.ipynb",
            )
        target = literal(default_output(source))
    else:
        target = output if is_remote(output) else os.path.abspath(output)
    return Job(source, target, **options)


def run(job: Job, *, settings: Settings | None = None) -> Outcome:
    """Run `job` to its end, going on where its last execution stopped.

    Every way an attempt can end gives an outcome, also an error that is no cell's; only
    what keeps it from beginning is raised.

    Raises:
        KitaruError: the notebook, kernel, output or home cannot be used; or another process
            runs this job.
    """
    kernel = check(job)
    ended: list[Outcome] = []
    options = RunOptions(
        settings,
        job.tags,
        job.new,
        job.execution,
        job.attempt,
        job.timeout,
        ended.append,
        job.trust,
        job.budget,
        job.on_wait,
        job.retried,
        job.reuse,
        job.on_change,
    )
    if job.log_output:
        logging.basicConfig(level=logging.INFO, format="%(message)s")
    quiet_papermill(papermill_logger)
    papermill_engines.register(
        _ENGINE, KitaruEngine
    )  # also where the package's entry points are not installed
    try:
        _execute(job, options, kernel, ended)
    except PapermillExecutionError as error:
        if ended[0].status is ExecutionStatus.COMPLETED:
            _take_back_banner(formatted(job.output, job.parameters))
        else:
            ended[0] = replace(ended[0], traceback=VAULT.mask_shown(str(error).strip()))
    except ExecutionStopped:
        if not ended:
            raise
    except KitaruError as error:
        if not ended:
            raise
        ended[0] = replace(ended[0], error=error)
    except PapermillException as error:
        raise UsageError(
            f"`{job.notebook}` cannot be run: {error}", kind="bad-parameters", hint="-p NAME VALUE"
        ) from error
    return ended[0]


def _execute(job: Job, options: RunOptions, kernel: str, ended: Sequence[Outcome]) -> None:
    """Have papermill run it; `ended` has how that ended as soon as the engine has said so."""
    try:
        execute_notebook(
            literal(job.notebook),
            job.output,
            parameters=dict(job.parameters),
            engine_name=_ENGINE,
            kernel_name=kernel,
            language="python",
            progress_bar=job.progress,
            log_output=job.log_output,
            report_mode=job.report_mode,
            cwd=None if is_remote(job.notebook) else str(Path(job.notebook).parent),
            kitaru=options,
        )
    except OSError as error:
        # papermill saves once more what the engine has saved, and said if it could not: how the run has
        # ended is on record, and a disk that is full by now changes nothing in that. A damaged value is
        # an OSError as well, and what ended the run
        if not ended or isinstance(error, KitaruError):
            raise
        logging.getLogger("kitaru_nb").warning(
            "the output notebook could not be saved again, what was saved before stands: %s", error
        )


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


def again(job: Job) -> Job:
    """`job` for a further attempt at the execution it began."""
    return replace(job, new=False)


def check(job: Job) -> str:
    """Refuse what cannot be run, before papermill makes a traceback of it; the kernel's name.

    Raises:
        KitaruError: the notebook, its kernel or its output cannot be used, and why.
    """
    nb = _notebook_of(job)
    check_output(job.notebook, formatted(job.output, job.parameters))
    kernel = KitaruEngine.nb_kernel_name(nb)
    python_kernel(kernel)
    return kernel


def _notebook_of(job: Job) -> NotebookNode:
    try:
        return read_notebook(job.notebook)
    except UsageError as error:
        if job.execution is None or error.kind != "no-notebook":
            raise
        raise UsageError(
            f"the notebook of `{job.execution}`, `{job.notebook}`, is no longer there",
            kind=error.kind,
            hint=f"mv NEWNAME {quote(str(job.notebook))}, where it was renamed or moved, and resume again; "
            f"or kitaru-nb cancel {job.execution}, which ends it for good",
        ) from error


def parameterized(job: Job) -> tuple[NotebookNode, str]:
    """The notebook as papermill would hand it to the engine, and its output path."""
    nb = load_notebook_node(job.notebook)
    if job.parameters:
        kernel = KitaruEngine.nb_kernel_name(nb)
        nb = parameterize_notebook(
            nb, dict(job.parameters), kernel_name=kernel, language="python", engine_name=None
        )
    return nb, formatted(job.output, job.parameters)


def _continued(engine: Engine, job: Job, identity: Identity) -> Execution | None:
    """The execution a run would go on with."""
    if job.execution is not None:
        return engine.journal.execution(job.execution)
    known = engine.journal.executions(identity=identity, limit=1)
    unfinished = bool(known) and (known[0].status.continues or known[0].status is ExecutionStatus.RUNNING)
    return known[0] if unfinished and not job.new else None


def formatted(output: str, parameters: Mapping[str, Any]) -> str:
    """`output` with papermill's placeholders filled in.

    Raises:
        UsageError: kind ``bad-output-name``.
    """
    try:
        path: str = parameterize_path(output, add_builtin_parameters(dict(parameters)))
    except (PapermillException, ValueError, LookupError) as error:
        raise UsageError(
            f"the output `{output}` names something that is not a parameter: {error}",
            kind="bad-output-name",
            hint="-p NAME VALUE for each {NAME} in -o",
        ) from error
    return path


def _take_back_banner(output: str) -> None:
    """Remove papermill's error banner: it counts cells that are tagged to raise as failures, too."""
    write_ipynb(remove_error_markers(load_notebook_node(output)), output)


def literal(path: str) -> str:
    """`path` with papermill's placeholder braces escaped."""
    return path.replace("{", "{{").replace("}", "}}")
