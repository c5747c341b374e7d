"""What runs inside a Dask worker: it starts our worker as a process, watches it and says what it says.

This module travels to the Dask worker by value, so nothing of kitaru_nb is needed in the Python that the
worker itself runs; it imports the standard library and `distributed` only. All that a later client asks
is told to the scheduler as events, so it outlives the Dask worker.
"""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import IO, Any

from distributed import Event, get_worker

__all__ = ["PARENT", "work"]

PARENT = "KITARU_NB_PARENT"
"""As `submitted.PARENT`, which is not to be had here: our worker ends with the Dask worker."""

_LOOK = 0.5  # seconds between looks at the process, at what it prints and at whether it is to end
_GRACE = 10.0  # seconds after SIGTERM: five for closing the journal, and as many for a slow machine
_CHUNK = 16_384
_TERMINATED = 143
_NOT_STARTED = 127


def work(
    job: str, words: Sequence[str], env: Mapping[str, str], python: str | None, folder: str | None
) -> None:
    """Run one of our workers to its end. Dask may do this again elsewhere, when a Dask worker dies.

    Args:
        job: The name of the task, of the event that ends it, and of the topic that it reports to.
        words: Arguments of the Python.
        env: Variables to set beside the Dask worker's own.
        python: Which Python; None for the Dask worker's.
        folder: Where to begin, when there is such a folder.
    """
    dask_worker = get_worker()

    def note(**told: Any) -> None:
        dask_worker.log_event(job, told)

    end = Event(job)
    with tempfile.TemporaryFile() as said:
        note(begun=socket.gethostname())
        if _is_set(end):
            note(exit=_TERMINATED)
            return
        try:
            process = subprocess.Popen(  # noqa: S603 - our own worker
                [python or sys.executable, *words],
                stdin=subprocess.DEVNULL,
                stdout=said,
                stderr=said,
                cwd=folder if folder and Path(folder).is_dir() else None,
                env={**os.environ, **env, PARENT: str(os.getpid())},
                start_new_session=True,
            )
        except OSError as error:
            note(said=f"{python or sys.executable} could not be started: {error.strerror}\n".encode(), at=0)
            note(exit=_NOT_STARTED)
            return
        try:
            code = _watched(process, said, end, note)
        finally:
            if process.poll() is None:
                process.terminate()
        note(exit=code if code >= 0 else 128 - code)


def _watched(process: subprocess.Popen[bytes], said: IO[bytes], end: Event, note: Callable[..., None]) -> int:
    """Wait for the process, say what it prints, and end it when that is wanted; its return code."""
    told, asked = 0, 0.0
    while True:
        try:
            code = process.wait(_LOOK)
        except subprocess.TimeoutExpired:
            told = _tell(said, told, note)
        else:
            _tell(said, told, note)
            return code
        if asked:
            if time.monotonic() - asked > _GRACE:
                process.kill()
        elif _is_set(end):
            process.terminate()
            asked = time.monotonic()


def _tell(said: IO[bytes], told: int, note: Callable[..., None]) -> int:
    """Pass on what was printed from byte `told` on; how many bytes that makes."""
    # the position of the file is the process's, so it is read without moving it
    while part := os.pread(said.fileno(), _CHUNK, told):
        note(said=part, at=told)
        told += len(part)
    return told


def _is_set(event: Event) -> bool:
    try:
        return bool(event.is_set())
    except (OSError, RuntimeError, TimeoutError):
        # no scheduler: the Dask worker ends for that, and our process with it
        return False
