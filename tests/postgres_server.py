"""A real PostgreSQL server on this machine, in a folder of its own, that can be killed and started again."""

from __future__ import annotations

import os
import pwd
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from tests.patience import PATIENCE
from tests.ports import free_ports

USER = "kitaru"


def postgres_programs() -> Path | None:
    """The folder with ``initdb`` and ``postgres``; Debian keeps it off the PATH."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"), reverse=True)
    if found:
        return found[0].parent
    initdb = shutil.which("initdb")
    return Path(initdb).resolve().parent if initdb else None


class PostgresServer:
    """One server. It refuses to run as root, so a test run as root lends it another user."""

    def __init__(self, folder: Path, programs: Path) -> None:
        self._programs = programs
        self.data = folder / "data"
        self._log = folder / "log"
        self._as: list[str] = []
        if os.geteuid() == 0:
            user = pwd.getpwnam("nobody")
            os.chown(folder, user.pw_uid, user.pw_gid)
            self._as = ["setpriv", f"--reuid={user.pw_uid}", f"--regid={user.pw_gid}", "--clear-groups"]
        self.folder = folder
        self._process: subprocess.Popen[bytes] | None = None
        (self.port,) = free_ports(1)
        subprocess.run(
            [
                *self._as,
                programs / "initdb",
                *("-D", self.data, "-U", USER, "--auth=trust", "--no-sync", "--no-locale", "-E", "UTF8"),
            ],
            check=True,
            capture_output=True,
            cwd=folder,
        )
        self.start()

    @property
    def url(self) -> str:
        return f"postgresql://{USER}@/postgres?host={self.folder}&port={self.port}"

    def schema(self, name: str) -> str:
        """The URL of a journal of its own."""
        return f"{self.url}&schema={name}"

    def start(self, *options: str) -> None:
        command = [*self._as, self._programs / "postgres", "-D", self.data, "-k", self.folder]
        command += ["-p", str(self.port), "-c", "listen_addresses=127.0.0.1", "-c", "max_connections=40"]
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                [*command, *options], stdout=log, stderr=log, cwd=self.folder, start_new_session=True
            )
        until = time.monotonic() + PATIENCE
        ready = [self._programs / "pg_isready", "-q", "-h", self.folder, "-p", str(self.port)]
        while subprocess.run(ready, check=False).returncode:
            if self._process.poll() is not None or time.monotonic() > until:
                raise RuntimeError(f"PostgreSQL did not start:\n{self._log.read_text()[-3000:]}")
            time.sleep(0.02)

    def kill(self) -> None:
        """Every process of the server, at once, as a power cut would.

        One that is left, if only for a moment, has its memory: no server would start beside it.
        """
        assert self._process is not None
        self._process.send_signal(signal.SIGSTOP)  # it begins no more while those that it has are looked for
        backends = self._backends()
        self._process.kill()
        for backend in backends:
            with suppress(ProcessLookupError):
                os.kill(backend, signal.SIGKILL)
        self._process.wait()
        until = time.monotonic() + PATIENCE
        while any(map(_runs, backends)):
            assert time.monotonic() < until, backends
            time.sleep(0.01)
        (self.data / "postmaster.pid").unlink(missing_ok=True)

    def stop(self) -> None:
        """A quick, orderly end."""
        if self._process is not None and self._process.poll() is None:
            self._process.send_signal(signal.SIGINT)
            self._process.wait()

    def _backends(self) -> list[int]:
        """Each backend leads a session of its own, so the group does not hold them."""
        assert self._process is not None
        found = []
        for stat in Path("/proc").glob("[0-9]*/stat"):
            with suppress(OSError):
                if int(stat.read_text().rpartition(")")[2].split()[1]) == self._process.pid:
                    found.append(int(stat.parent.name))
        return found


def _runs(pid: int) -> bool:
    """Whether a process has anything yet: one that nobody has waited for has nothing."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except OSError:
        return False


@contextmanager
def started() -> Iterator[PostgresServer]:
    """A server for the block; skips the test where PostgreSQL is not installed."""
    programs = postgres_programs()
    if programs is None:
        pytest.skip("needs PostgreSQL (apt-get install postgresql)")
    # A short path that others may enter: a socket's path has about 100 characters at most.
    folder = Path(tempfile.mkdtemp(prefix="kt-pg-"))
    server = None
    try:
        server = PostgresServer(folder, programs)
        yield server
    finally:
        if server is not None:
            server.stop()
        shutil.rmtree(folder, ignore_errors=True)
