"""Runs notebooks here, in this process and a kernel of its own: the launcher called ``local``."""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
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

from kitaru_nb.artifacts.vault import VAULT
from kitaru_nb.errors import KitaruError, UsageError
from kitaru_nb.model.execution import (
    Attempt,
    ExecutionId,
    ExecutionStatus,
    default_output,
)
from kitaru_nb.model.settings import Settings
from kitaru_nb.model.wait import OnWait
from kitaru_nb.stacks.edits import OnChange
from kitaru_nb.stacks.kernels import python_kernel
from kitaru_nb.stacks.notebooks import check_output, is_remote, read_notebook
from kitaru_nb.stacks.outcome import Outcome
from kitaru_nb.stacks.papermill_engine import KitaruEngine
from kitaru_nb.stacks.parameters import quiet_papermill
from kitaru_nb.stacks.worker import ExecutionStopped, RunOptions

__all__ = [
    "Job",
    "check",
    "formatted",
    "job_of",
    "literal",
    "parameterized",
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
