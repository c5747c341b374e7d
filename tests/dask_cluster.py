"""A real Dask cluster on loopback: one scheduler and two workers, each a process that can be killed."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import psutil

from tests.patience import PATIENCE
from tests.ports import free_ports

WORKERS = 2
SIGNING = {"TEAM_SIGNING_KEY": "a-key-that-only-these-tests-sign-with"}
"""What the workers' environment holds: what they record is signed so that whoever follows trusts it."""


class DaskCluster:
    """The cluster. A worker is a process that a nanny watches, as ``dask worker`` starts them."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        (self.port,) = free_ports(1)
        self._scheduler: subprocess.Popen[bytes] | None = None
        self._nannies: list[subprocess.Popen[bytes]] = []
        self._begun = 0

    @property
    def address(self) -> str:
        return f"tcp://127.0.0.1:{self.port}"

    def start(self) -> None:
        """Have the scheduler and both workers run; what runs already is left alone.

        Workers of a scheduler that is gone are no workers of the next one: they are about to end.
        """
        if self._scheduler is None or self._scheduler.poll() is not None:
            for nanny in self._nannies:
                _end(nanny)
            command = ("scheduler", "--host", "127.0.0.1", "--port", str(self.port), "--no-dashboard")
            self._scheduler = self._run("scheduler", *command)
            self._until("scheduler", r"Scheduler at:")
        self._nannies = [each for each in self._nannies if each.poll() is None]
        while len(self._nannies) < WORKERS:
            name = f"w{self._begun}"
            self._begun += 1
            command = ("worker", self.address, "--nthreads", "2", "--no-dashboard", "--name", name)
            resources = ("--resources", f"{name}=1 THING=1", "--local-directory", str(self.folder))
            self._nannies.append(self._run(name, *command, *resources))
            self._until(name, r"Registered to:")

    def kill_scheduler(self) -> None:
        """SIGKILL it; its workers end when they notice."""
        assert self._scheduler is not None
        self._scheduler.send_signal(signal.SIGKILL)
        self._scheduler.wait()

    def worker_of(self, pid: int) -> psutil.Process:
        """The Dask worker that has started process `pid`."""
        parent = psutil.Process(pid).parent()
        assert parent is not None
        return parent

    def kill_worker(self, worker: psutil.Process) -> None:
        """SIGKILL a Dask worker and the nanny that would start it again, the nanny first."""
        mine = {nanny.pid for nanny in self._nannies}
        nanny = next(each for each in worker.parents() if each.pid in mine)
        for process in (nanny, worker):
            process.kill()

    def stop(self) -> None:
        for process in (*self._nannies, self._scheduler):
            if process is not None:
                _end(process)

    def _run(self, name: str, *command: str) -> subprocess.Popen[bytes]:
        with (self.folder / f"{name}.log").open("wb") as log:
            return subprocess.Popen(
                [sys.executable, "-m", "dask", *command],
                stdout=log,
                stderr=log,
                cwd=self.folder,
                env={**os.environ, **SIGNING, "KITARU_NB_CONFIG": str(self.folder / "config")},
                start_new_session=True,
            )

    def _until(self, name: str, pattern: str) -> None:
        log, limit = self.folder / f"{name}.log", time.monotonic() + PATIENCE
        while not re.search(pattern, log.read_text()):
            if time.monotonic() > limit:
                raise RuntimeError(f"the Dask {name} did not start:\n{log.read_text()[-3000:]}")
            time.sleep(0.05)


def _end(process: subprocess.Popen[bytes]) -> None:
    """It and what it has started, at once."""
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


@contextmanager
def started(folder: Path) -> Iterator[DaskCluster]:
    cluster = DaskCluster(folder)
    try:
        cluster.start()
        yield cluster
    finally:
        cluster.stop()
