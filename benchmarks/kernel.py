"""A real ipykernel that runs cells, and how much CPU it used for them."""

from __future__ import annotations

import ast
import queue
import shutil
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from jupyter_client.blocking.client import BlockingKernelClient
from jupyter_client.kernelspec import KernelSpec, KernelSpecManager
from jupyter_client.manager import KernelManager

from benchmarks.measure import cpu_of, environment, peak_memory_of

__all__ = ["Kernel", "started"]

PATIENCE = 600


class Kernel:
    """One running kernel; see `started`."""

    def __init__(self, manager: KernelManager, client: BlockingKernelClient) -> None:
        self._manager = manager
        self._client = client
        self._cells = 0

    @property
    def pid(self) -> int:
        """Its process."""
        return int(getattr(self._manager.provisioner, "pid"))  # noqa: B009 - the local provisioner's own

    @property
    def cpu(self) -> float:
        """CPU seconds it has used so far."""
        return cpu_of(self.pid)

    @property
    def peak_memory(self) -> int:
        """The most memory it has had, in bytes."""
        return peak_memory_of(self.pid)

    def run(self, code: str) -> float:
        """Run a cell as a notebook does, and give the CPU seconds it took until the kernel is idle.

        Raises:
            RuntimeError: the cell failed or the kernel died.
        """
        before = self.cpu
        self._cells += 1
        message = self._client.session.msg(
            "execute_request",
            {
                "code": code,
                "silent": False,
                "store_history": True,
                "user_expressions": {},
                "allow_stdin": False,
                "stop_on_error": True,
            },
        )
        message["metadata"] = {"cellId": f"cell-{self._cells}"}
        self._client.shell_channel.send(message)
        request = str(message["header"]["msg_id"])
        reply = self._until(self._client.shell_channel, request, {"execute_reply"})
        while self._until(self._client.iopub_channel, request, {"status"})["execution_state"] != "idle":
            pass
        if reply["status"] != "ok":
            raise RuntimeError(f"{reply.get('ename')}: {reply.get('evalue')}, in the cell\n{code}")
        return self.cpu - before

    def ask(self, expression: str) -> Any:
        """The value of an expression in the kernel, brought over as a literal."""
        found = self._client.execute_interactive(
            "", silent=True, user_expressions={"asked": expression}, timeout=PATIENCE
        )["content"]["user_expressions"]["asked"]
        if found["status"] != "ok":
            raise RuntimeError(f"{expression}: {found}")
        return ast.literal_eval(found["data"]["text/plain"])

    def end(self) -> None:
        """Ask it to shut down, as a front end does, and wait until it has."""
        self._manager.shutdown_kernel()

    def _until(self, channel: Any, request: str, kinds: set[str]) -> dict[str, Any]:
        deadline = time.monotonic() + PATIENCE
        while time.monotonic() < deadline:
            try:
                message = channel.get_msg(timeout=1)
            except queue.Empty:
                if not self._manager.is_alive():
                    raise RuntimeError("the kernel died") from None
                continue
            if message["parent_header"].get("msg_id") == request and message["msg_type"] in kinds:
                return dict(message["content"])
        raise RuntimeError(f"no answer within {PATIENCE} s")


@contextmanager
def started(
    folder: Path, *, python: str = sys.executable, env: Mapping[str, str] | None = None
) -> Iterator[Kernel]:
    """A kernel of `python` that works in `folder`, with its own IPython settings and store."""
    sockets = tempfile.mkdtemp(prefix="kb")
    manager = KernelManager(transport="ipc", ip=f"{sockets}/k", kernel_spec_manager=_Specs(python))
    manager.start_kernel(
        cwd=str(folder),
        env={
            **environment(),
            "IPYTHONDIR": f"{sockets}/ipython",
            "KITARU_NB_HOME": str(folder / "home"),
            "KITARU_NB_NOTEBOOK": str(folder / "bench.ipynb"),
            **(env or {}),
        },
    )
    client = manager.blocking_client()
    client.start_channels()
    try:
        client.wait_for_ready(timeout=120)
        yield Kernel(manager, client)
    finally:
        client.stop_channels()
        manager.shutdown_kernel(now=True)
        shutil.rmtree(sockets, ignore_errors=True)


class _Specs(KernelSpecManager):
    """The kernel of one Python, whatever kernels are installed."""

    def __init__(self, python: str) -> None:
        super().__init__()
        self._python = python

    def get_kernel_spec(self, kernel_name: str) -> KernelSpec:  # noqa: ARG002 - there is one
        return KernelSpec(
            argv=[self._python, "-m", "ipykernel_launcher", "-f", "{connection_file}"],
            display_name="Python",
            language="python",
        )
