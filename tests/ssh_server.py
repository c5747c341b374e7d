"""A real OpenSSH server on this machine, with keys and a configuration of its own, that can be killed."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from tests.patience import PATIENCE
from tests.ports import free_ports

_PLACES = os.pathsep.join([os.environ.get("PATH", ""), "/usr/sbin", "/usr/local/sbin"])
_SEPARATED = Path("/run/sshd")  # an empty folder that sshd wants where it runs as root

_CONF = """
Port {port}
ListenAddress 127.0.0.1
HostKey {folder}/host_key
AuthorizedKeysFile {folder}/user_key.pub
PidFile {folder}/sshd.pid
PermitRootLogin prohibit-password
PasswordAuthentication no
KbdInteractiveAuthentication no
StrictModes no
UsePAM no
"""


class SshServer:
    """One server, which lets in whoever has the key that was made for it.

    Attributes:
        port: Where on loopback.
        identity: The file of that key.
        known_hosts: A file of host keys in which its own stands.
    """

    def __init__(self, folder: Path, program: str) -> None:
        self._folder = folder
        self._program = program
        self._process: subprocess.Popen[bytes] | None = None
        (self.port,) = free_ports(1)
        self.identity = folder / "user_key"
        self.known_hosts = folder / "known_hosts"
        for name in ("host_key", "user_key"):
            self.make_key(folder / name)
        self.known_hosts.write_text(self.line(folder / "host_key"))
        (folder / "sshd_config").write_text(_CONF.format(port=self.port, folder=folder))
        self.start()

    def make_key(self, path: Path) -> None:
        """A new key and, beside it, its public half."""
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", path], check=True)

    def line(self, key: Path) -> str:
        """The line of a `known_hosts` that gives this server a key."""
        return f"[127.0.0.1]:{self.port} {key.with_suffix('.pub').read_text()}"

    def start(self) -> None:
        """Also after it was killed; one that runs is left alone."""
        if self._process is not None and self._process.poll() is None:
            return
        log = self._folder / "log"
        command = [self._program, "-D", "-f", self._folder / "sshd_config", "-E", log]
        self._process = subprocess.Popen(command, stdin=subprocess.DEVNULL, start_new_session=True)
        limit = time.monotonic() + PATIENCE
        while True:
            with suppress(OSError), socket.create_connection(("127.0.0.1", self.port)):
                return
            if self._process.poll() is not None or time.monotonic() > limit:
                raise RuntimeError(f"sshd did not start:\n{log.read_text()[-3000:]}")
            time.sleep(0.02)

    def kill(self) -> None:
        """The server and all its connections, at once; what was started through them is left."""
        assert self._process is not None
        for pid in [self._process.pid, *self.connections()]:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        self._process.wait()

    def connections(self) -> list[int]:
        """The processes that each look after one connection."""
        assert self._process is not None
        found, left = [], [self._process.pid]
        while left:
            parent = left.pop()
            for stat in Path("/proc").glob("[0-9]*/stat"):
                with suppress(OSError):
                    name, _, rest = stat.read_text().rpartition(")")
                    if int(rest.split()[1]) == parent and "(sshd" in name:  # newer ones are sshd-session
                        found.append(int(stat.parent.name))
                        left.append(int(stat.parent.name))
        return found


@contextmanager
def started() -> Iterator[SshServer]:
    """A server for the block; skips the test where OpenSSH's is not installed."""
    program = shutil.which("sshd", path=_PLACES)
    if program is None or shutil.which("ssh-keygen") is None:
        pytest.skip("needs an SSH server (apt-get install openssh-server)")
    made = os.geteuid() == 0 and not _SEPARATED.exists()
    if made:
        _SEPARATED.mkdir(mode=0o755)
    folder = Path(tempfile.mkdtemp(prefix="kt-ssh-"))
    server = None
    try:
        server = SshServer(folder, program)
        yield server
    finally:
        if server is not None:
            server.kill()
        shutil.rmtree(folder, ignore_errors=True)
        if made:
            _SEPARATED.rmdir()
