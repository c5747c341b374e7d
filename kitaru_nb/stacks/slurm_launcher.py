"""Workers as batch jobs of a Slurm cluster: the launcher ``slurm``.

It needs Slurm's own commands and nothing else: ``sbatch``, ``scontrol``, ``scancel``, and ``sacct`` where
the cluster keeps accounts. What a job prints goes to a folder that both sides reach.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

from kitaru_nb.errors import StackError, UsageError
from kitaru_nb.model.settings import Settings
from kitaru_nb.model.stack import Stack
from kitaru_nb.stacks import slurm_job
from kitaru_nb.stacks.launcher import Capabilities, Handle, JobState, JobStatus, RunSpec, option

__all__ = ["SlurmLauncher"]

_PATIENCE = 60  # seconds for an answer; Slurm's own commands try for about 20
_UNKNOWN = "Invalid job id specified"  # Slurm says in words only that it knows no such job


class SlurmLauncher:
    """Submits batch jobs. See `launcher.Launcher`.

    Raises:
        UsageError: kind ``bad-launcher-option``.
    """

    OPTIONS = slurm_job.OPTIONS
    # any exit code but 0 is a FAILED job, for whoever looks at the queue
    capabilities = Capabilities(suspend_exit=0, queues=True)

    def __init__(self, stack: Stack, settings: Settings) -> None:
        self._stack = stack
        self._python: str = option(stack, "python", str, sys.executable)
        self._logs = _log_folder(stack, settings)

    def submit(self, spec: RunSpec) -> Handle:
        """Put a job into the queue.

        Variables travel in its environment, so that no list of processes and no script shows them.
        """
        log = f"{self._logs}/{spec.execution}-".replace("%", "%%") + "%j.log"
        told = slurm_job.arguments_of(self._stack, spec.execution, log)
        script = slurm_job.script_of(self._stack, spec, self._python)
        try:
            self._logs.mkdir(mode=0o700, parents=True, exist_ok=True)
        except OSError as error:
            message = f"the folder of logs `{self._logs}` cannot be made: {error.strerror or error}"
            hint = f'log_folder = "…" in {self._stack.source}'
            raise StackError(message, kind="not-submitted", hint=hint) from error
        environment = slurm_job.environment_of(os.environ, spec)
        done = self._ask("sbatch", *told, script=script, env=environment)
        job = None if done.returncode else slurm_job.job_id(done.stdout)
        if job is None:
            raise self._refused(done)
        return slurm_job.handle_of(job, spec.execution)

    def poll(self, handle: Handle) -> JobState:
        """What the scheduler says; once it has forgotten the job, what the accounts say, if there are any."""
        job, execution = slurm_job.parsed(handle)
        done = self._ask("scontrol", "--oneliner", "show", "job", job)
        if not done.returncode:
            return slurm_job.state_of(done.stdout, execution)
        if _UNKNOWN not in done.stderr:
            raise self._unreachable(_said(done))
        try:
            kept = self._ask(
                *("sacct", "--allocations", "--noheader", "--parsable2"),
                *(f"--jobs={job}", "--format=JobName,State,ExitCode"),
            )
        except StackError:
            return slurm_job.FORGOTTEN
        return slurm_job.state_on_record(kept.stdout, execution)

    def cancel(self, handle: Handle) -> None:
        """Send the worker, and nothing else of its job, SIGTERM; a job that is not begun leaves the queue."""
        job, _ = slurm_job.parsed(handle)
        state = self.poll(handle)
        if state.over:
            return
        # Slurm repeats a signal to a job that is not begun for minutes, and then gives up
        how = [] if state.status is JobStatus.QUEUED else ["--batch", "--signal=TERM"]
        done = self._ask("scancel", *how, job)
        if done.returncode and self.poll(handle) == state:
            raise self._unreachable(_said(done))

    def logs(self, handle: Handle, *, offset: int = 0) -> bytes:
        """What the job has printed, from its file in the folder of logs."""
        job, execution = slurm_job.parsed(handle)
        try:
            with (self._logs / f"{execution}-{job}.log").open("rb") as file:
                file.seek(offset)
                return file.read()
        except FileNotFoundError:
            return b""

    def _ask(
        self, *command: str, script: str = "", env: Mapping[str, str] | None = None
    ) -> subprocess.CompletedProcess[str]:
        try:
            return subprocess.run(  # noqa: S603 - no shell; handles are checked, options are the user's own
                command,
                input=script,
                env=env,
                capture_output=True,
                check=False,
                encoding="utf-8",
                errors="replace",
                timeout=_PATIENCE,
            )
        except FileNotFoundError as error:
            message = f"Slurm's command `{command[0]}` is not on this machine's PATH"
            hint = "the same command on a machine of the cluster from which jobs are submitted"
            raise StackError(message, kind="stack-unreachable", hint=hint) from error
        except subprocess.TimeoutExpired as error:
            message = f"`{command[0]}` gave no answer in {_PATIENCE} s"
            raise self._unreachable(message) from error
        except OSError as error:
            raise self._unreachable(f"`{command[0]}`: {error.strerror or error}") from error

    def _refused(self, done: subprocess.CompletedProcess[str]) -> StackError:
        if self._ask("scontrol", "ping").returncode:
            return self._unreachable(_said(done))
        message = f"Slurm refused the job of stack `{self._stack.name}`: {_said(done)}"
        hint = f"sinfo, and mend [stacks.{self._stack.name}.launcher] in {self._stack.source}"
        return StackError(message, kind="not-submitted", hint=hint)

    def _unreachable(self, why: str) -> StackError:
        message = f"the Slurm controller of stack `{self._stack.name}` does not answer: {why}"
        return StackError(message, kind="stack-unreachable", hint="scontrol ping, until it says UP")


def _said(done: subprocess.CompletedProcess[str]) -> str:
    """The last thing that a command of Slurm said, without the command's name."""
    lines = [line for line in (done.stderr or done.stdout).splitlines() if line.strip()]
    return lines[-1].rpartition("error: ")[2].strip() if lines else f"exit code {done.returncode}"


def _log_folder(stack: Stack, settings: Settings) -> Path:
    given: str | None = option(stack, "log_folder", str)
    folder = settings.home / "logs" if given is None else Path(given).expanduser()
    # Slurm replaces nothing in a file's name that holds a backslash, so that the job's id would be missing
    if folder.is_absolute() and "\\" not in str(folder):
        return folder
    raise UsageError(
        f"`log_folder` of the launcher of stack `{stack.name}` is `{folder}`; "
        "it has to be a path from the root on, without backslashes",
        kind="bad-launcher-option",
        hint=f"mend {stack.source}",
    )
