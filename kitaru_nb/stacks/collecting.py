"""The output notebook of a run that ended elsewhere while nobody followed it, fetched when somebody asks.

A worker that ran out of a bundle wrote its output where nobody looks. It is made here from the record by
the command that follows a run; of a detached run, or one whose follower died, by whoever asks for it first.
A file that is newer than the run is never written over: it is the output of a later one.
"""

from __future__ import annotations

from pathlib import Path

from kitaru_nb.engine.engine import Engine
from kitaru_nb.errors import KitaruError, StoreError
from kitaru_nb.model.execution import Execution, ExecutionStatus
from kitaru_nb.stacks.remote import is_remote
from kitaru_nb.stacks.submissions import submission_of, was_unpacked

__all__ = ["collect", "owes_output"]


def owes_output(engine: Engine, execution: Execution) -> bool:
    """Whether the output of a run that is not going on was never written on this machine."""
    output = execution.identity.output
    if execution.status is ExecutionStatus.RUNNING or output is None or is_remote(output):
        return False
    path = Path(output)
    if not path.parent.is_dir() or not was_unpacked(engine, execution):
        return False
    return not path.exists() or path.stat().st_mtime < execution.started_at.timestamp()


def collect(engine: Engine, execution: Execution) -> Path | None:
    """Write the output of a run where it belongs, if that was never done; where it is now.

    Raises:
        StoreError: kind ``output-not-saved``: it could not be written. Everything is on record, and the
            same command does it later.
    """
    if not owes_output(engine, execution):
        return None
    from kitaru_nb.stacks.rebuilding import rebuild_output  # noqa: PLC0415 - it loads papermill
    from kitaru_nb.stacks.resuming import job_again  # noqa: PLC0415 - as above

    try:
        path = rebuild_output(engine, job_again(execution), execution.id)
    except (OSError, KitaruError) as error:
        why = error.message if isinstance(error, KitaruError) else str(error)
        raise StoreError(
            f"the output of `{execution.id}` could not be written here: {why}",
            kind="output-not-saved",
            hint=f"kitaru-nb logs {execution.id}, which shows what its cells showed; all of it is on record",
        ) from error
    submission = submission_of(engine, execution)
    if path is not None and submission is not None and submission.options.get("html"):
        from kitaru_nb.stacks.html_page import write_html  # noqa: PLC0415 - few ask for a page

        write_html(str(path))  # where that is impossible the output is here all the same
    return path
