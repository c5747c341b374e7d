"""Workers on this machine, each a process that outlives whoever started it: the launcher ``local``."""

from __future__ import annotations

import json
import os
import signal
import subprocess
from contextlib import suppress
from dataclasses import astuple
from pathlib import Path

from kitaru_nb.errors import StackError
from kitaru_nb.model.execution import ExecutionId, Owner, is_alive, owner_of
from kitaru_nb.model.settings import Settings
from kitaru_nb.model.stack import Stack
from kitaru_nb.stacks.background import leave, log_of
from kitaru_nb.stacks.launcher import Capabilities, Handle, JobState, JobStatus, RunSpec

__all__ = ["LocalLauncher"]


class LocalLauncher:
    """Starts processes here. See `launcher.Launcher`."""

    OPTIONS = ()
    capabilities = Capabilities(same_files=True)

    def __init__(self, stack: Stack, settings: Settings) -> None:
        self._stack = stack
        self._home = settings.home

    def submit(self, spec: RunSpec) -> Handle:
        """Start a process in a session of its own; what it prints goes to a log in the home."""
        log = log_of(self._home, spec.execution)
        folder = spec.folder if spec.folder and Path(spec.folder).is_dir() else None
        try:
            log.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            with os.fdopen(os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600), "ab") as file:
                process = subprocess.Popen(  # noqa: S603 - our own worker
                    spec.argv(),
                    stdin=subprocess.DEVNULL,
                    stdout=file,
                    stderr=file,
                    cwd=folder,
                    env={**os.environ, **spec.env},
                    start_new_session=True,
                )
        except OSError as error:
            message = f"no process could be started on this machine: {error.strerror or error}"
            hint = "free some memory or processes, then the same command again"
            raise StackError(message, kind="not-submitted", hint=hint) from error
        leave(process)
        return Handle(json.dumps([*astuple(owner_of(process.pid)), spec.execution]))

    def poll(self, handle: Handle) -> JobState:
        """Whether the process runs; how one has ended only its attempt says."""
        owner, _ = _parsed(handle)
        alive = is_alive(owner)
        if alive is None:
            raise StackError(
                f"its worker is process {owner.pid} of `{owner.host}`, which cannot be seen from here",
                kind="stack-unreachable",
                hint=f"the same command on {owner.host}",
            )
        return JobState(JobStatus.RUNNING if alive else JobStatus.LOST)

    def cancel(self, handle: Handle) -> None:
        """Send the process SIGTERM."""
        owner, _ = _parsed(handle)
        if is_alive(owner):
            with suppress(ProcessLookupError):
                os.kill(owner.pid, signal.SIGTERM)

    def logs(self, handle: Handle, *, offset: int = 0) -> bytes:
        """What workers of the execution have printed."""
        try:
            with log_of(self._home, _parsed(handle)[1]).open("rb") as file:
                file.seek(offset)
                return file.read()
        except FileNotFoundError:
            return b""


def _parsed(handle: Handle) -> tuple[Owner, ExecutionId]:
    host, boot_id, pid, start, execution = json.loads(handle)
    return Owner(str(host), str(boot_id), int(pid), int(start)), ExecutionId(str(execution))
