"""A real kernel for tests: cells with ids go in, folded outputs and the reply come out."""

from __future__ import annotations

import os
import shutil
import signal
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

import zmq
from jupyter_client import KernelManager

from kitaru_nb.engine.capture import fold
from tests.patience import PATIENCE, until

__all__ = ["Kernel", "Ran", "end_kernels", "wait_for"]

_ENDS_WITHIN = 20.0
"""Seconds: Jupyter gives a kernel two to end by itself, fewer than it needs on a busy machine."""

_alive: list[Kernel] = []


@dataclass(frozen=True)
class Ran:
    """What one cell gave."""

    status: str
    ename: str = ""
    evalue: str = ""
    traceback: Sequence[str] = ()
    outputs: Sequence[Mapping[str, Any]] = field(default_factory=list)
    count: int | None = None

    @property
    def ok(self) -> bool:
        return self.status == "ok"

    @property
    def stdout(self) -> str:
        return "".join(
            o["text"] for o in self.outputs if o["output_type"] == "stream" and o["name"] == "stdout"
        )

    @property
    def result(self) -> str | None:
        """The text of the last expression."""
        found = [o["data"]["text/plain"] for o in self.outputs if o["output_type"] == "execute_result"]
        return found[-1] if found else None

    @property
    def said(self) -> str:
        """What kitaru_nb said itself."""
        texts = [o["data"].get("text/plain", "") for o in self.outputs if o["output_type"] == "display_data"]
        return "\n".join(text for text in texts if text.startswith("kitaru:"))

    @property
    def own(self) -> list[Mapping[str, Any]]:
        """The cell's own outputs, without kitaru_nb's line."""
        return [
            {key: value for key, value in output.items() if key != "execution_count"}
            for output in self.outputs
            if not (
                output["output_type"] == "display_data"
                and output["data"].get("text/plain", "").startswith("kitaru:")
            )
        ]


class Kernel:
    """A kernel over IPC, in its own short-lived folder."""

    def __init__(
        self, home: Path, *, notebook: Path | None = None, cwd: Path | None = None, load: bool = True
    ) -> None:
        self._sockets = tempfile.mkdtemp(prefix="kt")
        env = {**os.environ, "KITARU_NB_HOME": str(home)}
        env.pop("KITARU_NB_NOTEBOOK", None)
        if notebook is not None:
            env["KITARU_NB_NOTEBOOK"] = str(notebook)
        self.manager = KernelManager(
            transport="ipc", ip=self._sockets + "/k", shutdown_wait_time=2 * _ENDS_WITHIN
        )
        self.manager.start_kernel(env=env, cwd=str(cwd or home.parent))
        self.client = self.manager.blocking_client()
        _alive.append(self)
        self.client.start_channels(hb=False)
        self._early: list[dict[str, Any]] = []  # messages of requests that nobody has waited for yet
        self._news = zmq.Poller()
        for channel in self._channels:
            self._news.register(channel.socket, zmq.POLLIN)
        until(self._is_ready, "the kernel")
        if load:
            self.loaded = self.run("%load_ext kitaru_nb")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def pid(self) -> int:
        return self.manager.provisioner.pid  # type: ignore[union-attr, attr-defined, return-value]

    def send(self, code: str, *, cell: str | None = None, tags: Sequence[str] = ()) -> str:
        """Send a cell without waiting for it; gives the request's id."""
        content = {
            "code": code,
            "silent": False,
            "store_history": True,
            "user_expressions": {},
            "allow_stdin": False,
            "stop_on_error": True,
        }
        message = self.client.session.msg("execute_request", content)
        message["metadata"] = {**({"cellId": cell} if cell else {}), **({"tags": list(tags)} if tags else {})}
        self.client.shell_channel.send(message)
        return str(message["header"]["msg_id"])

    def run(
        self, code: str, *, cell: str | None = None, tags: Sequence[str] = (), timeout: float = PATIENCE
    ) -> Ran:
        """Run a cell to its reply."""
        return self.wait(self.send(code, cell=cell, tags=tags), timeout=timeout)

    def wait(self, request: str, *, timeout: float = PATIENCE) -> Ran:
        """Wait for a sent cell. A kernel that dies gives status ``dead``."""
        messages: list[tuple[str, dict[str, Any]]] = []
        reply: dict[str, Any] | None = None
        idle = False
        deadline = time.monotonic() + timeout
        while reply is None or not idle:
            if time.monotonic() > deadline:
                raise TimeoutError(f"no reply within {timeout} s; so far: {messages}")
            arrived = self._arrived(request)
            if not arrived and not self.manager.is_alive():
                return Ran("dead", outputs=fold(messages))
            for message in arrived:
                kind, content = message["msg_type"], message["content"]
                if kind == "execute_reply":
                    reply = content
                elif kind == "status":
                    idle = idle or content["execution_state"] == "idle"
                elif kind != "execute_input":
                    messages.append((kind, content))
        return Ran(
            reply["status"],
            reply.get("ename", ""),
            reply.get("evalue", ""),
            reply.get("traceback", ()),
            fold(messages),
            reply.get("execution_count"),
        )

    @property
    def _channels(self) -> Sequence[Any]:
        return self.client.iopub_channel, self.client.shell_channel

    def _is_ready(self) -> bool:
        """Whether a question is answered on both channels: what was published too early nobody has heard."""
        assert self.manager.is_alive(), "the kernel died at its start"
        request, heard, replied = self.client.kernel_info(), set[str](), False
        for _ in range(50):
            heard |= {message["msg_type"] for message in self._arrived(request)}
            if heard >= {"kernel_info_reply", "status"}:
                return True
            if replied:
                break
            replied = "kernel_info_reply" in heard
        return False

    def _listen(self) -> None:
        """Take what has come, or comes within a moment."""
        self._news.poll(20)
        for channel in self._channels:
            while channel.msg_ready():
                self._early.append(channel.get_msg(timeout=0))

    def _arrived(self, request: str) -> list[dict[str, Any]]:
        """What has come of a request; what has come of others is kept for them."""
        self._listen()
        mine = [m for m in self._early if m["parent_header"].get("msg_id") == request]
        self._early = [m for m in self._early if m["parent_header"].get("msg_id") != request]
        return mine

    def wait_for_input(self, request: str) -> None:
        """Until the kernel says that it begins with a sent cell."""

        def has_begun() -> bool:
            self._listen()
            return any(
                each["msg_type"] == "execute_input" and each["parent_header"].get("msg_id") == request
                for each in self._early
            )

        until(has_begun, "the beginning of the cell")

    def interrupt(self) -> None:
        self.manager.interrupt_kernel()

    def kill(self) -> None:
        """SIGKILL, as the out-of-memory killer would."""
        os.kill(self.pid, signal.SIGKILL)
        self._end(now=True)

    def close(self) -> None:
        """A clean shutdown."""
        self._end(now=False)

    def _end(self, *, now: bool) -> None:
        if self.manager.has_kernel:
            self.manager.shutdown_kernel(now=now)
        self.client.stop_channels()
        shutil.rmtree(self._sockets, ignore_errors=True)
        if self in _alive:
            _alive.remove(self)


def end_kernels() -> None:
    """End the kernels that a test left because it failed."""
    for kernel in _alive:
        kernel._end(now=True)


def wait_for(path: Path) -> None:
    """Until the running cell has written `path`."""
    until(path.exists, str(path))
