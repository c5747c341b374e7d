"""Talks to a headless kernel: one request at a time, watching for all that can go wrong meanwhile."""

from __future__ import annotations

import ast
import contextlib
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import zmq
from nbclient.exceptions import CellExecutionComplete
from nbformat import NotebookNode, from_dict
from papermill.clientwrap import PapermillNotebookClient

from kitaru_nb.engine.capture import notebook_outputs
from kitaru_nb.engine.secrecy import masked_output
from kitaru_nb.errors import KernelError
from kitaru_nb.stacks.kernels import HeadlessKernel, describe_exit

__all__ = ["CellClient", "KernelDied", "Reply", "TimedOut", "reported"]

_TICK_MS = 100
_IDLE_WAIT = 4.0  # seconds for the last outputs to arrive after the reply; nbclient's own patience
_IDLE_WAIT_RECORDED = 0.5  # the same where the outputs do not matter or the kernel keeps a record of them
_IDLE_WAIT_START = 0.05  # the same for a question that is asked again where they do not come
_RESULT = "kitaru_nb"
_LAST = "__import__('kitaru_nb.notebook.headless', fromlist=['last']).last()"


class KernelDied(Exception):  # noqa: N818 - an event to be handled by the worker, never shown as it is
    """The kernel's process ended while a reply was awaited."""


class TimedOut(Exception):  # noqa: N818 - as KernelDied
    """No reply came in the time allowed."""


@dataclass(frozen=True, slots=True)
class Reply:
    """What the kernel answered to one cell.

    Attributes:
        ok: Whether it ended without an error.
        count: The execution count.
        ename: For an error its class name, and `evalue` its text.
        seq: The checkpoint the cell became, None when it is not on record.
        restored: Whether the kernel restored the cell instead of running it.
        exits: Whether the cell called IPython's ``exit()``, so that the kernel is about to end.
        said: What is not back of a cell that was restored.
    """

    ok: bool
    count: int | None = None
    ename: str = ""
    evalue: str = ""
    seq: int | None = None
    restored: bool = False
    exits: bool = False
    said: tuple[str, ...] = ()


class CellClient(PapermillNotebookClient):  # type: ignore[misc] # papermill has no types
    """Sends cells to a kernel and keeps what they show in the notebook.

    It needs no kernel until `attach`: records can be shown without one.

    Args:
        nb_man: papermill's manager of the output notebook.
        tick: Called about ten times a second while waiting; what it raises ends the wait.
        options: As for `papermill.clientwrap.PapermillNotebookClient`.
    """

    kernel: HeadlessKernel

    def __init__(self, nb_man: Any, *, tick: Callable[[], None], **options: Any) -> None:
        super().__init__(nb_man, **options)
        self._tick = tick
        self._poller = zmq.Poller()
        self._awaited: tuple[str, NotebookNode | None, int] | None = None
        self._idle_seen = False

    def attach(self, kernel: HeadlessKernel, *, timeout: float) -> None:
        """Talk to `kernel` from now on; returns when it answers and its outputs arrive here.

        Raises:
            KernelDied: something killed it.
            KernelError: kind ``kernel-start``: it ended by itself or did not answer within `timeout`
                seconds.
        """
        self.kernel, self.km, self.kc = kernel, kernel.manager, kernel.client
        self._poller.register(self.kc.shell_channel.socket, zmq.POLLIN)
        self._poller.register(self.kc.iopub_channel.socket, zmq.POLLIN)
        deadline = time.monotonic() + timeout
        self._idle_seen = False
        try:
            while not self._idle_seen:  # the first answers may come before the outputs are subscribed to
                reply = self._exchange(
                    "kernel_info_request", {}, deadline=deadline, patience=_IDLE_WAIT_START
                )
        except TimedOut:
            raise self._start_error(f"it did not answer within {timeout:g} s") from None
        except KernelDied:
            if kernel.was_killed:
                raise
            raise self._start_error(describe_exit(kernel.exit_code)) from None
        self.nb.metadata["language_info"] = from_dict(reply["content"].get("language_info", {}))

    def run_silently(self, code: str, *, report: str) -> Mapping[str, Any]:
        """Run `code` in the kernel without a trace in its history; gives the reply's content.

        `reported` finds in it the value of the expression `report`, looked at afterwards.

        Raises:
            KernelDied: the kernel ended.
        """
        content = {
            "code": code,
            "silent": True,
            "store_history": False,
            "user_expressions": {_RESULT: report},
            "allow_stdin": False,
            "stop_on_error": True,
        }
        reply = self._exchange("execute_request", content)
        answer: Mapping[str, Any] = reply["content"]
        return answer

    def run_cell(self, cell: NotebookNode, index: int, *, timeout: float | None) -> Reply:
        """Run one cell; its outputs are put in the notebook as they come.

        Raises:
            KernelDied: the kernel ended; what the cell showed until then is in the notebook.
            TimedOut: no reply within `timeout` seconds; the cell is still running.
        """
        cell.outputs = []
        cell.metadata["execution"] = {}
        self.clear_before_next_output = False
        content = {
            "code": cell.source,
            "silent": False,
            "store_history": True,
            "user_expressions": {_RESULT: _LAST},
            "allow_stdin": False,
            "stop_on_error": False,
        }
        metadata = {"cellId": cell["id"], "tags": list(cell.metadata.get("tags", ()))}
        deadline = None if timeout is None else time.monotonic() + timeout
        return _as_reply(
            self._exchange(
                "execute_request", content, metadata=metadata, cell=cell, index=index, deadline=deadline
            )
        )

    def settle(self, *, patience: float) -> Reply | None:
        """Interrupt the running cell and give it `patience` seconds to end; its reply if it did."""
        if self._awaited is None or self._awaited[1] is None:  # a kernel not ready yet has no cell to end
            return None
        self.kernel.interrupt()
        self._tick = _no_tick
        with contextlib.suppress(KernelDied, TimedOut):
            return _as_reply(self._receive(*self._awaited, deadline=time.monotonic() + patience))
        return None

    def show_record(
        self, cell: NotebookNode, index: int, outputs: Sequence[Mapping[str, Any]], count: int | None
    ) -> None:
        """Put the outputs on record in place of what was seen on the wire, which may drop some."""
        self.clear_display_id_mapping(index)
        cell.execution_count = count
        shown = [output for output in outputs if output["output_type"] != "update_display_data"]
        cell.outputs = [from_dict(output) for output in notebook_outputs(shown, count)]
        for output in outputs:
            display = output.get("transient", {}).get("display_id")
            if display and output["output_type"] == "update_display_data":
                self._show_update(display, output)
        for place, output in enumerate(shown):
            display = output.get("transient", {}).get("display_id")
            if display:
                self._display_id_map.setdefault(display, {}).setdefault(index, []).append(place)

    def log_output_message(self, output: NotebookNode) -> None:
        """Log, and write to the files that papermill was given, what a cell shows; without secrets."""
        super().log_output_message(from_dict(dict(masked_output(output))))

    def _show_update(self, display: str, output: Mapping[str, Any]) -> None:
        for index, places in self._display_id_map.get(display, {}).items():
            for place in places:
                shown = self.nb.cells[index].outputs[place]
                shown["data"] = from_dict(output["data"])
                shown["metadata"] = from_dict(output.get("metadata", {}))

    def _exchange(
        self,
        kind: str,
        content: Mapping[str, Any],
        *,
        metadata: Mapping[str, Any] | None = None,
        cell: NotebookNode | None = None,
        index: int = -1,
        deadline: float | None = None,
        patience: float | None = None,
    ) -> dict[str, Any]:
        """Send a request and wait for its reply and the end of its outputs."""
        message = self.kc.session.msg(kind, content, metadata=metadata)
        self._awaited = (message["header"]["msg_id"], cell, index)
        self.kc.shell_channel.send(message)
        reply = self._receive(*self._awaited, deadline=deadline, patience=patience)
        self._awaited = None
        return reply

    def _receive(
        self,
        request: str,
        cell: NotebookNode | None,
        index: int,
        *,
        deadline: float | None,
        patience: float | None = None,
    ) -> dict[str, Any]:
        reply: dict[str, Any] | None = None
        self._idle_seen = False
        heard = time.monotonic()
        while reply is None or not self._idle_seen:
            ready = dict(self._poller.poll(_TICK_MS))
            if self.kc.iopub_channel.socket in ready:
                heard = time.monotonic()
                self._take_outputs(request, cell, index)
            if self.kc.shell_channel.socket in ready:
                message = self.kc.shell_channel.get_msg(timeout=0)
                if message["parent_header"].get("msg_id") == request:
                    reply = message
                    heard = time.monotonic()
            self._tick()
            if reply is not None and time.monotonic() - heard > (patience or _patience(reply, cell)):
                break
            if reply is None:
                self._check(ready=bool(ready), deadline=deadline)
        return reply

    def _check(self, *, ready: bool, deadline: float | None) -> None:
        if not ready and not self.kernel.is_alive() and not self._poller.poll(0):
            raise KernelDied
        if deadline is not None and time.monotonic() > deadline:
            raise TimedOut

    def _take_outputs(self, request: str, cell: NotebookNode | None, index: int) -> None:
        """Take every output message that has arrived, and note when the kernel is idle again."""
        socket = self.kc.iopub_channel.socket
        while socket.poll(0):
            message = self.kc.iopub_channel.get_msg(timeout=0)
            if message["parent_header"].get("msg_id") != request:
                continue
            if cell is None:
                self._idle_seen |= message["content"].get("execution_state") == "idle"
                continue
            try:
                self.process_message(message, cell, index)
            except CellExecutionComplete:
                self._idle_seen = True

    def _start_error(self, why: str) -> KernelError:
        tail = self.kernel.log_tail()
        return KernelError(
            f"the kernel `{self.kernel.name}` could not be started: {why}" + (f"\n{tail}" if tail else ""),
            kind="kernel-start",
            hint=f"jupyter run --kernel {self.kernel.name}, to see it fail alone",
        )


def reported(content: Mapping[str, Any]) -> Any:
    """The value a reply's expression has; None when it has none."""
    text = content.get("user_expressions", {}).get(_RESULT, {}).get("data", {}).get("text/plain")
    return None if text is None else ast.literal_eval(text)


def _as_reply(message: Mapping[str, Any]) -> Reply:
    content = message["content"]
    if content["status"] != "ok":
        # "aborted" carries neither: the kernel dropped the request after an earlier error
        return Reply(
            ok=False,
            count=content.get("execution_count"),
            ename=content.get("ename", "Aborted"),
            evalue=content.get("evalue", ""),
        )
    record = _record(content)
    restored = record.get("status") == "restored"
    exits = any(item.get("source") == "ask_exit" for item in content.get("payload", ()))
    return Reply(
        ok=True,
        count=content["execution_count"],
        seq=record.get("seq"),
        restored=restored,
        exits=exits,
        said=tuple(record.get("said", ())),
    )


def _record(content: Mapping[str, Any]) -> Mapping[str, Any]:
    """What the kernel says of the cell just run; empty when it says nothing."""
    value = reported(content)
    return value if isinstance(value, dict) else {}


def _patience(reply: Mapping[str, Any], cell: NotebookNode | None) -> float:
    if cell is None:
        return _IDLE_WAIT_RECORDED
    recorded = _record(reply["content"]).get("seq")
    return _IDLE_WAIT if recorded is None else _IDLE_WAIT_RECORDED


def _no_tick() -> None:
    """Nothing may end the wait but its deadline."""
