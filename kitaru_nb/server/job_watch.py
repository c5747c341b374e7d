"""Sees to it that a job of jupyter-scheduler does not stay in progress when its process is killed.

jupyter-scheduler waits for no job. So each of ours has a process beside it that learns of its end, and
says then, where nobody has said it, what became of the run.
"""

from __future__ import annotations

import json
import subprocess
import sys
from contextlib import closing
from pathlib import Path

from kitaru_nb.errors import KitaruError

__all__ = ["main", "watch"]

_watching: list[subprocess.Popen[str]] = []  # a pipe that nobody holds would be closed


def watch(job: str, database: str, *, notebook: str, root: str) -> None:
    """Have a process wait for the end of this one.

    Args:
        job: The id of the job that this process runs.
        database: The address of jupyter-scheduler's database.
        notebook: What it runs.
        root: Whose settings hold.
    """
    process = subprocess.Popen(  # noqa: S603 - our own program
        [sys.executable, "-m", __name__],
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        text=True,
        start_new_session=True,  # what ends this process and its group does not end that one
    )
    assert process.stdin is not None
    told = {"job": job, "database": database, "notebook": notebook, "root": root}
    process.stdin.write(json.dumps(told) + "\n")
    process.stdin.flush()
    _watching.append(process)


def main() -> int:
    """Wait until standard input ends, which is when the job's process does; the exit code."""
    told = json.loads(sys.stdin.readline())
    sys.stdin.read()

    from jupyter_scheduler.models import Status  # type: ignore[import-not-found, import-untyped, unused-ignore] # noqa: PLC0415 - it only waits until now
    from jupyter_scheduler.orm import Job, create_session  # type: ignore[import-not-found, import-untyped, unused-ignore] # noqa: PLC0415 - as above

    with create_session(told["database"])() as session:
        # a job that was stopped is `STOPPING`, and one that has ended says how
        open_ = session.query(Job).filter(Job.job_id == told["job"], Job.status == Status.IN_PROGRESS)
        if open_.first() is not None:
            said = _became(told["notebook"], Path(told["root"]))
            open_.update({"status": Status.FAILED, "status_message": said})
            session.commit()
    return 0


def _became(notebook: str, root: Path) -> str:
    """What to say of a run whose job was killed."""
    from kitaru_nb.model.execution import ExecutionStatus  # noqa: PLC0415 - as above
    from kitaru_nb.stacks.notebooks import local_path  # noqa: PLC0415 - as above
    from kitaru_nb.stacks.open import open_engine  # noqa: PLC0415 - as above
    from kitaru_nb.stacks.settings import resolve  # noqa: PLC0415 - as above

    try:
        with closing(open_engine(resolve(cwd=root), read_only=True)) as engine:
            known = engine.journal.executions(notebook=local_path(notebook), limit=1)
    except KitaruError:
        known = []
    if not known:
        return "its process died before its run was on record; the same job again begins it"
    found = known[0]
    if found.status is ExecutionStatus.RUNNING:
        return f"its process died, and the run goes on without it: kitaru-nb logs {found.id} -f"
    return f"{found.status}: its process died; the same job again goes on, or kitaru-nb resume {found.id}"


if __name__ == "__main__":
    sys.exit(main())
