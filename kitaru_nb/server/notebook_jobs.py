"""Runs for jupyter-scheduler: what its form "Notebook Jobs" starts is an execution like any other.

jupyter-scheduler starts a process for each job and hands it a copy of the notebook. Here that process
runs the copy on the current stack, or submits it and follows it. A job that waits for a person stays in
progress there, with a message that says what for: its process lives, the kernel does not.
"""

from __future__ import annotations

import ast
import sys
import time
from collections.abc import Mapping
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import nbformat
from jupyter_scheduler.executors import (  # type: ignore[import-not-found, import-untyped, unused-ignore] # an extra, without types
    DefaultExecutionManager,
)
from jupyter_scheduler.models import Status  # type: ignore[import-not-found, import-untyped, unused-ignore] # as above
from jupyter_scheduler.orm import Job as Record  # type: ignore[import-not-found, import-untyped, unused-ignore] # as above

from kitaru_nb.engine.addresses import held_up_by
from kitaru_nb.errors import ConflictError, KitaruError, StoreError
from kitaru_nb.model.execution import Execution, ExecutionId, ExecutionStatus
from kitaru_nb.model.settings import Settings
from kitaru_nb.server.earlier_jobs import bring, left_off
from kitaru_nb.server.job_watch import watch
from kitaru_nb.stacks.elsewhere import run_there
from kitaru_nb.stacks.local import Job, job_of, run
from kitaru_nb.stacks.open import open_engine
from kitaru_nb.stacks.outcome import Outcome
from kitaru_nb.stacks.settings import resolve
from kitaru_nb.stacks.whereabouts import is_elsewhere

__all__ = ["KitaruExecutionManager"]

_LOOK = 1.0  # seconds between two looks at what goes on without this process


class KitaruExecutionManager(DefaultExecutionManager):  # type: ignore[misc] # jupyter-scheduler has no types
    """What jupyter-scheduler's setting ``Scheduler.execution_manager_class`` may name.

    Stopping a job kills its process, and with it the kernel: the execution is `interrupted`, and
    `kitaru-nb resume`, or the same job again, goes on with it.
    """

    def execute(self) -> None:
        """Run the job's copy of the notebook to its end.

        Raises:
            KitaruError: it did not complete; jupyter-scheduler shows the message.
        """
        told, own = self.model, Path(self.staging_paths["input"])
        settings = resolve(cwd=Path(self.root_dir))
        with closing(open_engine(settings)) as engine:
            left = left_off(engine, self.db_session, told, own)
        source = str(own if left is None else left.source)
        watch(self.job_id, self.db_url, notebook=source, root=self.root_dir)
        output = str(Path(source).with_suffix(".out.ipynb"))
        job = job_of(
            source,
            output.replace("{", "{{").replace("}", "}}"),
            parameters=_values(told.parameters or {}),
            tags=tuple(told.tags or ()),
            progress=False,
        )
        if left is not None:
            job = replace(job, execution=left.execution.id)
        try:
            found = self._carry(job, settings)
        finally:
            if left is not None:
                bring(left, own.parent)
            self._keep_outputs(str(own.with_suffix(".out.ipynb")))
        if found.status is not ExecutionStatus.COMPLETED:
            raise KitaruError(
                f"{found.status}: {found.reason or 'it did not come to its end'}",
                kind="job-ended",
                hint=f"kitaru-nb resume {found.id}",
            )

    def _carry(self, job: Job, settings: Settings) -> Execution:
        """Run it, and again when what it waited for is there, whoever lets it go on."""
        outcome = _attempt(job, settings)
        job = replace(job, execution=outcome.execution)
        with closing(open_engine(settings)) as engine:
            said = ""
            while True:
                found = engine.journal.execution(outcome.execution)
                if found.status is ExecutionStatus.WAITING and _is_answered(engine.journal, found.id):
                    try:
                        outcome = _attempt(job, settings)
                    except ConflictError:  # somebody else was first
                        time.sleep(_LOOK)
                    continue
                if found.status not in (ExecutionStatus.WAITING, ExecutionStatus.RUNNING):
                    return found
                news = f"{found.status}: {found.reason or outcome.reason}"
                if news != said:
                    said = news
                    self._say(news)
                time.sleep(_LOOK)

    def _say(self, text: str) -> None:
        """Show a message beside a job that is in progress."""
        with self.db_session() as session:
            session.query(Record).filter(Record.job_id == self.job_id).update(
                {"status": Status.IN_PROGRESS, "status_message": text}
            )
            session.commit()

    def _keep_outputs(self, output: str) -> None:
        """Put what ran where jupyter-scheduler looks for it, also after a failure."""
        try:
            nb = nbformat.read(output, as_version=4)
        except FileNotFoundError:  # it ended before its first cell, which is told otherwise
            return
        except OSError as error:
            raise StoreError(
                f"`{output}` could not be read: {error.strerror}", kind="output-not-saved"
            ) from error
        self.add_side_effects_files(str(Path(output).parent))
        self.create_output_files(self.model, nb)


def _attempt(job: Job, settings: Settings) -> Outcome:
    """One attempt, here or by the stack's launcher."""
    if not is_elsewhere(settings):
        return run(job, settings=settings)
    return run_there(job, settings, warn=lambda line: print(line, file=sys.stderr))  # noqa: T201 - the server's log


def _is_answered(journal: Any, execution: ExecutionId) -> bool:
    """Whether it waited for a person, who has answered; more money is given with `resume --budget`."""
    stopped = journal.suspended(execution)
    return stopped is not None and bool(stopped.data["wait"]) and held_up_by(journal, execution) is None


def _values(parameters: Mapping[str, str]) -> dict[str, Any]:
    """Parameters as they were typed: Python's literals, else text."""
    values: dict[str, Any] = {}
    for name, text in parameters.items():
        try:
            values[name] = ast.literal_eval(text)
        except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError):
            values[name] = text
    return values
