"""Workers on one machine behind SSH: the launcher ``ssh``, with the extra of that name.

A connection lives for one question. The worker has a process of its own there, which a dropped
connection does not end, and a folder that tells any later connection how it stands: see `ssh_job`.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import asyncssh

from kitaru_nb.errors import StackError
from kitaru_nb.model.settings import Settings
from kitaru_nb.model.stack import Stack
from kitaru_nb.stacks import ssh_job
from kitaru_nb.stacks.launcher import Capabilities, Handle, JobState, RunSpec, option, texts

__all__ = ["SshLauncher"]

_PATIENCE = 30  # seconds for a question: to connect, log in and be answered
_FOLDER = ".kitaru-nb/jobs"
_EVERYBODYS = "/etc/ssh/ssh_known_hosts"


class SshLauncher:
    """Starts processes on the machine that the stack's file names. See `launcher.Launcher`.

    Raises:
        UsageError: kind ``bad-launcher-option``.
    """

    OPTIONS = ("host", "python", "folder", "known_hosts", "identity_file", "setup")
    capabilities = Capabilities()

    def __init__(self, stack: Stack, settings: Settings) -> None:
        del settings
        self._stack = stack
        self._host = ssh_job.host_of(stack)
        self._python: str = option(stack, "python", str, "python3")
        self._folder: str = option(stack, "folder", str, _FOLDER)
        self._known: str | None = option(stack, "known_hosts", str)
        self._identity: str | None = option(stack, "identity_file", str)
        self._setup = texts(stack, "setup")

    def submit(self, spec: RunSpec) -> Handle:
        """Start a worker.

        The lines travel on the connection, so no list of processes there shows what is in them.
        """
        handle = ssh_job.new_handle(spec.execution)
        script = ssh_job.submit_script(
            handle, spec, folder=self._folder, python=self._python, setup=self._setup
        )
        self._ask(script)
        return handle

    def poll(self, handle: Handle) -> JobState:
        """What its folder there says."""
        return ssh_job.state_of(self._ask(ssh_job.poll_script(handle, folder=self._folder)).decode())

    def cancel(self, handle: Handle) -> None:
        """Send the worker SIGTERM, if the process is still the one that was started."""
        self._ask(ssh_job.cancel_script(handle, folder=self._folder))

    def logs(self, handle: Handle, *, offset: int = 0) -> bytes:
        """What it has printed, setup lines included."""
        return self._ask(ssh_job.log_script(handle, folder=self._folder, offset=offset))

    def _ask(self, script: str) -> bytes:
        """What lines of shell print there.

        Raises:
            StackError: kind ``stack-unreachable`` or ``unknown-host-key``; ``not-submitted`` where a
                line of them failed.
        """
        told = self._connection()
        # a notebook's own loop runs in this thread, perhaps
        with ThreadPoolExecutor(1) as thread:
            try:
                return thread.submit(asyncio.run, self._talk(script, told)).result()
            except asyncssh.HostKeyNotVerifiable as error:
                raise self._unknown() from error
            except (asyncssh.PermissionDenied, asyncssh.KeyImportError) as error:
                hint = f"ssh-add, or identity_file in {self._stack.source}, until it is"
                raise self._away(f"does not let `ssh {self._host.words}` in: {error}", hint) from error
            except (OSError, asyncssh.Error, asyncssh.ConfigParseError) as error:
                why = "gave no answer" if isinstance(error, TimeoutError) else f"cannot be reached: {error}"
                raise self._away(why, f"ssh {self._host.words}, until it answers") from error

    async def _talk(self, script: str, told: Mapping[str, Any]) -> bytes:
        # whatever the login prints comes before this line
        mark = secrets.token_hex(16)
        async with asyncio.timeout(_PATIENCE), asyncssh.connect(self._host.name, **told) as connection:
            done = await connection.run("sh -s", input=f"echo {mark}\n{script}".encode(), encoding=None)
        output, errors = done.stdout or b"", done.stderr or b""
        assert isinstance(output, bytes)
        assert isinstance(errors, bytes)
        before, found, answer = output.partition(f"{mark}\n".encode())
        if done.exit_status is None:
            raise ConnectionError("the connection was dropped")
        if not found or done.exit_status:
            said = (errors or before).decode("utf-8", "replace").strip() or f"exit code {done.exit_status}"
            message = f"the shell of `{self._host.name}` (stack `{self._stack.name}`) refused: {said}"
            hint = f"ssh {self._host.words}, and mend what it says"
            raise StackError(message, kind="not-submitted", hint=hint)
        return answer

    def _connection(self) -> dict[str, Any]:
        told: dict[str, Any] = {
            "username": self._host.user,
            "port": self._host.port,
            "client_keys": None if self._identity is None else [self._file("identity_file", self._identity)],
        }
        given = {name: value for name, value in told.items() if value is not None}
        return {**given, "known_hosts": self._known_hosts(), "login_timeout": _PATIENCE}

    def _known_hosts(self) -> list[str]:
        """Files of host keys. Always given: left to itself, a configuration could switch the check off."""
        if self._known is not None:
            return [self._file("known_hosts", self._known)]
        usual = (Path("~/.ssh/known_hosts").expanduser(), Path(_EVERYBODYS))
        return [str(path) for path in usual if path.is_file()]

    def _file(self, name: str, given: str) -> str:
        path = Path(given).expanduser()
        if not path.is_file():
            raise self._away(f"has `{name}` {path}, which is not there", f"mend {self._stack.source}")
        return str(path)

    def _unknown(self) -> StackError:
        place = self._known or "~/.ssh/known_hosts"
        message = f"the key of `{self._host.name}` (stack `{self._stack.name}`) is not the one in {place}"
        also = "" if self._known is None else f"-o UserKnownHostsFile={self._known} "
        hint = f"ssh {also}{self._host.words}, once its fingerprint has been compared"
        return StackError(message, kind="unknown-host-key", hint=hint)

    def _away(self, why: str, hint: str) -> StackError:
        message = f"`{self._host.name}` (stack `{self._stack.name}`) {why}"
        return StackError(message, kind="stack-unreachable", hint=hint)
