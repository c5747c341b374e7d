"""Jobs of jupyter-scheduler that were run before: what one of them left off, the same job goes on with.

jupyter-scheduler copies the notebook into a folder of each job's own. An earlier job was the same one
where its name, parameters and all that was copied are equal; its run then goes on in its own folder,
where every path is what it was.
"""

from __future__ import annotations

import filecmp
import os
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jupyter_scheduler.models import Status  # type: ignore[import-not-found, import-untyped, unused-ignore] # an extra, without types
from jupyter_scheduler.orm import Job as Record  # type: ignore[import-not-found, import-untyped, unused-ignore] # as above
from jupyter_scheduler.utils import create_output_filename  # type: ignore[import-not-found, import-untyped, unused-ignore] # as above

from kitaru_nb.engine.engine import Engine
from kitaru_nb.model.execution import Execution, is_alive, owner_of
from kitaru_nb.stacks.begun import is_vouched_for
from kitaru_nb.stacks.notebooks import local_path
from kitaru_nb.stacks.resuming import job_again
from kitaru_nb.stacks.submitting import submitted_before

__all__ = ["LeftOff", "bring", "left_off"]


@dataclass(frozen=True, slots=True)
class LeftOff:
    """A run that an earlier job began and did not bring to its end.

    Attributes:
        source: That job's copy of the notebook.
        execution: The run.
        pages: The names of the files that jupyter-scheduler made of its output.
    """

    source: Path
    execution: Execution
    pages: tuple[str, ...]


def left_off(engine: Engine, session: Callable[[], Any], job: Any, source: Path) -> LeftOff | None:
    """What goes on in a job that is about to begin; None where a new run begins.

    Args:
        engine: Where runs are recorded.
        session: Opens jupyter-scheduler's database.
        job: The job.
        source: Its copy of the notebook.
    """
    if source.parent.name != job.job_id:  # a scheduler that keeps its files in another way
        return None
    with session() as opened:
        same = opened.query(Record).filter(
            Record.name == job.name, Record.input_filename == job.input_filename, Record.job_id != job.job_id
        )
        for record in same.order_by(Record.create_time.desc()):
            copy = source.parent.parent / record.job_id / source.name
            known = engine.journal.executions(notebook=local_path(str(copy)), limit=1)
            if not known or (record.parameters or {}) != (job.parameters or {}):
                continue  # it went on with the run of a job before it, or is another one
            if _lives(record) or not _goes_on(engine, known[0]) or not _is_copied_alike(source, copy):
                return None
            if record.status == Status.IN_PROGRESS:
                told = f"{known[0].status}: its process died; {known[0].id} goes on in a later job"
                record.status, record.status_message = Status.FAILED, told
                opened.commit()
            pages = [
                create_output_filename(source.name, record.create_time, f) for f in record.output_formats
            ]
            return LeftOff(copy, known[0], tuple(pages))
    return None


def bring(left: LeftOff, folder: Path) -> None:
    """Copy what a run has made in the folder of an earlier job into that of the job that went on with it."""
    shutil.copytree(left.source.parent, folder, dirs_exist_ok=True, ignore=lambda *_: left.pages)


def _lives(record: Any) -> bool:
    open_ = record.status == Status.IN_PROGRESS and record.pid is not None
    return open_ and is_alive(owner_of(record.pid)) is True


def _goes_on(engine: Engine, found: Execution) -> bool:
    """Whether it stopped, or is on a stack and nobody was told of its end, perhaps since it still runs."""
    if submitted_before(engine, job_again(found)) is not None:
        return True
    return found.status.continues and is_vouched_for(engine, found)


def _is_copied_alike(source: Path, copy: Path) -> bool:
    """Whether all that was copied for a job is what was copied for the earlier one."""
    for folder, _, names in os.walk(source.parent):
        for name in names:
            new = Path(folder, name)
            old = copy.parent / new.relative_to(source.parent)
            if not old.is_file() or not filecmp.cmp(new, old, shallow=False):
                return False
    return True
