"""A real kernel for tests: cells with ids go in, folded outputs and the reply come out."""

from __future__ import annotations

import os
import queue
import shutil
import signal
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

from jupyter_client import KernelManager

from kitaru_nb.engine.capture import fold

__all__ = ["Kernel", "Ran", "wait_for"]


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
        self.manager = KernelManager(transport="ipc", ip=self._sockets + "/k")
        self.manager.start_kernel(env=env, cwd=str(cwd or home.parent))
        self.client = self.manager.blocking_client()
        self.client.start_channels()
        self.client.wait_for_ready(timeout=60)
        self._early: list[dict[str, Any]] = []  # messages of requests that nobody has waited for yet
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
        self, code: str, *, cell: str | None = None, tags: Sequence[str] = (), timeout: float = 60
    ) -> Ran:
        """Run a cell to its reply."""
        return self.wait(self.send(code, cell=cell, tags=tags), timeout=timeout)

    def wait(self, request: str, *, timeout: float = 60) -> Ran:
        """Wait for a sent cell. A kernel that dies gives status ``dead``."""
        messages: list[tuple[str, dict[str, Any]]] = []
        reply: dict[str, Any] | None = None
        idle = False
        deadline = time.monotonic() + timeout
        while reply is None or not idle:
            if time.monotonic() > deadline:
                raise TimeoutError(f"no reply within {timeout} s; so far: {messages}")
            if not self.manager.is_alive():
                return Ran("dead", outputs=fold(messages))
            for message in self._arrived(request):
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

    def _arrived(self, request: str) -> list[dict[str, Any]]:
        """What has come of a request; what has come of others is kept for them."""
        for channel in (self.client.iopub_channel, self.client.shell_channel):
            try:
                self._early.append(channel.get_msg(timeout=0.02))
            except queue.Empty:
                continue
        mine = [m for m in self._early if m["parent_header"].get("msg_id") == request]
        self._early = [m for m in self._early if m["parent_header"].get("msg_id") != request]
        return mine

    def wait_for_input(self, request: str) -> None:
        """Until the kernel says that it begins with a sent cell."""
        while True:
            message = self.client.iopub_channel.get_msg(timeout=20)
            if message["msg_type"] == "execute_input" and message["parent_header"].get("msg_id") == request:
                return

    def interrupt(self) -> None:
        self.manager.interrupt_kernel()

    def kill(self) -> None:
        """SIGKILL, as the out-of-memory killer would."""
        os.kill(self.pid, signal.SIGKILL)
        self.client.stop_channels()
        self.manager.shutdown_kernel(now=True)
        shutil.rmtree(self._sockets, ignore_errors=True)

    def close(self) -> None:
        """A clean shutdown."""
        if self.manager.has_kernel:
            self.manager.shutdown_kernel()
        self.client.stop_channels()
        shutil.rmtree(self._sockets, ignore_errors=True)


def wait_for(path: Path) -> None:
    """Until the running cell has written `path`."""
    deadline = time.monotonic() + 20
    while not path.exists():
        assert time.monotonic() < deadline, f"{path} never came"
        time.sleep(0.01)  # polls, bounded by the deadline
