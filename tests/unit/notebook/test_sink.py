"""Outputs of a step: copied while it runs, shown again when it is restored."""

from __future__ import annotations

import json
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from queue import SimpleQueue
from types import SimpleNamespace
from typing import Any

import pytest
from ipykernel.iostream import IOPubThread, OutStream
from IPython.core.interactiveshell import InteractiveShell
from jupyter_client.session import Session
from traitlets.config import Config

from kitaru_nb.notebook.sink import KernelSink, TerminalSink, sink_for


@pytest.fixture
def ip() -> InteractiveShell:
    config = Config()
    config.HistoryManager.enabled = False
    return InteractiveShell(config=config)


def display(ip: InteractiveShell, text: str, **options: Any) -> None:
    ip.display_pub.publish({"text/plain": text}, **options)


def test_a_terminals_streams_and_displays_are_copied_and_still_shown(
    ip: InteractiveShell, capsys: pytest.CaptureFixture[str]
) -> None:
    sink = sink_for(ip)
    sink.begin()
    print("one")
    display(ip, "picture", metadata={"width": 3})
    print("two", file=sys.stderr)

    outputs = sink.end()

    assert isinstance(sink, TerminalSink)
    assert [output["output_type"] for output in outputs] == ["stream", "display_data", "stream"]
    assert (outputs[0]["name"], outputs[0]["text"]) == ("stdout", "one\n")
    assert outputs[1]["data"] == {"text/plain": "picture"}
    assert outputs[1]["metadata"] == {"width": 3}
    assert (outputs[2]["name"], outputs[2]["text"]) == ("stderr", "two\n")
    shown = capsys.readouterr()
    assert (shown.out, shown.err) == ("one\npicture\n", "two\n")


def test_after_the_step_the_terminal_is_as_it_was(ip: InteractiveShell) -> None:
    before = sys.stdout, sys.stderr, ip.display_pub.publish
    sink = TerminalSink(ip)
    sink.begin()
    assert sys.stdout is not before[0]

    sink.end()
    print("later")

    assert (sys.stdout, sys.stderr, ip.display_pub.publish) == before
    assert sink.end() == []


def test_a_wrapped_stream_is_a_stream_in_every_other_way(ip: InteractiveShell) -> None:
    original = sys.stdout
    sink = TerminalSink(ip)
    sink.begin()

    assert sys.stdout.encoding == original.encoding
    assert sys.stdout.write("four") == 4
    sys.stdout.flush()

    assert sink.end()[0]["text"] == "four"


def test_an_update_changes_the_display_in_the_record(ip: InteractiveShell) -> None:
    sink = TerminalSink(ip)
    sink.begin()
    display(ip, "0 %", transient={"display_id": "bar"})
    display(ip, "100 %", transient={"display_id": "bar"}, update=True)

    (output,) = sink.end()

    assert output["data"] == {"text/plain": "100 %"}


def test_what_is_no_json_is_kept_as_text(ip: InteractiveShell) -> None:
    sink = TerminalSink(ip)
    sink.begin()
    ip.display_pub.publish({"text/plain": "x", "application/x": {"path": object}})

    (output,) = sink.end()

    assert json.loads(json.dumps(output)) == output


def test_a_record_is_shown_again_in_a_terminal(
    ip: InteractiveShell, capsys: pytest.CaptureFixture[str]
) -> None:
    sink = TerminalSink(ip)
    sink.begin()
    print("one")
    print("two", file=sys.stderr)
    display(ip, "picture")
    outputs = sink.end()
    capsys.readouterr()

    sink.repeat(outputs)

    shown = capsys.readouterr()
    assert (shown.out, shown.err) == ("one\npicture\n", "two\n")


class Kernel:
    """What the sink needs of a kernel: a real Jupyter session, and a list for a socket."""

    def __init__(self) -> None:
        self.session = Session(key=b"key")
        self.sent: list[list[bytes]] = []
        self.iopub_thread: Any = SimpleNamespace(send_multipart=self._send)
        self.iopub_socket = SimpleNamespace(send_multipart=lambda message, **_: self._out(message))
        self.request = self.session.msg("execute_request")

    def _send(self, message: list[bytes]) -> None:
        self.sent.append(message)

    def _out(self, message: list[bytes]) -> None:
        self.iopub_thread.send_multipart(message)

    def get_parent(self, _channel: str) -> dict[str, Any]:
        return self.request

    def _topic(self, kind: str) -> bytes:
        return f"kernel.1.{kind}".encode()

    def say(self, kind: str, content: dict[str, Any], *, parent: Any = None) -> None:
        parts = self.session.serialize(
            self.session.msg(kind, content, parent=parent or self.request), ident=self._topic(kind)
        )
        self.iopub_thread.send_multipart(parts)

    def messages(self) -> list[tuple[str, Any, Any]]:
        """What was sent: type, id of the request it answers, content."""
        found = []
        for frames in self.sent:
            _, parts = self.session.feed_identities(frames)
            message = self.session.deserialize(parts)
            found.append((message["msg_type"], message["parent_header"].get("msg_id"), message["content"]))
        return found


@pytest.fixture
def kernel() -> Kernel:
    return Kernel()


@pytest.fixture
def sink(kernel: Kernel) -> KernelSink:
    sink = sink_for(
        SimpleNamespace(kernel=kernel, displayhook=SimpleNamespace(prompt_count=7), display_pub=None)
    )
    assert isinstance(sink, KernelSink)
    return sink


TEXT = {"name": "stdout", "text": "one"}


def test_a_kernels_messages_are_copied_and_still_sent(kernel: Kernel, sink: KernelSink) -> None:
    sink.begin()
    kernel.say("stream", TEXT)
    kernel.say("status", {"execution_state": "busy"})

    outputs = sink.end()

    assert outputs == [{"output_type": "stream", **TEXT}]
    assert [kind for kind, _, _ in kernel.messages()] == ["stream", "status"]


def test_other_requests_messages_are_not_the_steps(kernel: Kernel, sink: KernelSink) -> None:
    other = kernel.session.msg("execute_request")
    sink.begin()
    kernel.say("stream", TEXT, parent=other)

    assert sink.end() == []


def test_what_a_thread_shows_is_in_the_record(kernel: Kernel, sink: KernelSink) -> None:
    sink.begin()
    thread = threading.Thread(target=kernel.say, args=("stream", TEXT))
    thread.start()
    thread.join()

    assert sink.end() == [{"output_type": "stream", **TEXT}]


def test_what_is_no_message_does_no_harm(kernel: Kernel, sink: KernelSink) -> None:
    sink.begin()
    kernel.iopub_thread.send_multipart([b"noise"])
    kernel.say("stream", TEXT)

    assert len(sink.end()) == 1
    assert kernel.sent[0] == [b"noise"]


def test_after_the_step_nothing_is_copied(kernel: Kernel, sink: KernelSink) -> None:
    before = kernel.iopub_thread.send_multipart
    sink.begin()
    sink.begin()
    sink.end()

    kernel.say("stream", TEXT)

    assert kernel.iopub_thread.send_multipart == before
    assert sink.end() == []


def test_a_record_is_sent_again_as_this_requests_own(kernel: Kernel, sink: KernelSink) -> None:
    result = {"data": {"text/plain": "1"}, "metadata": {}, "execution_count": 2}
    outputs = [{"output_type": "stream", **TEXT}, {"output_type": "execute_result", **result}]

    sink.repeat(outputs)

    request = kernel.request["header"]["msg_id"]
    assert kernel.messages() == [
        ("stream", request, TEXT),
        ("execute_result", request, {**result, "execution_count": 7}),
    ]
    assert outputs[1]["execution_count"] == 2


class Sender(IOPubThread):
    """A sending thread as the kernel's streams want it, without a timer: they send when they are told to."""

    def __init__(self, kernel: Kernel) -> None:
        self.kernel = kernel
        self.io_loop = SimpleNamespace(call_later=lambda *_: None)
        self.jobs: SimpleQueue[Callable[[], object] | None] = SimpleQueue()
        self.schedule: Callable[[Callable[[], object]], None] = self.jobs.put
        self.thread = threading.Thread(target=self._work)
        self.thread.start()

    def send_multipart(self, message: list[bytes], **_: Any) -> None:
        self.kernel.sent.append(message)

    def stop(self) -> None:
        self.jobs.put(None)
        self.thread.join()

    def _work(self) -> None:
        for job in iter(self.jobs.get, None):
            job()


@contextmanager
def streams_of(kernel: Kernel) -> Iterator[Sender]:
    """The streams of a kernel in place, and the thread that sends for them."""
    sender = kernel.iopub_thread = Sender(kernel)
    streams = {name: OutStream(kernel.session, sender, name, watchfd=False) for name in ("stdout", "stderr")}
    for stream in streams.values():
        stream.set_parent(kernel.request)
    try:
        with redirect_stdout(streams["stdout"]), redirect_stderr(streams["stderr"]):
            yield sender
    finally:
        sender.stop()


@pytest.mark.parametrize("sending", [False, True], ids=["waiting", "sending"])
@pytest.mark.parametrize("name", ["stdout", "stderr"])
def test_text_that_the_sending_thread_still_has_is_in_the_record(
    kernel: Kernel, sink: KernelSink, monkeypatch: pytest.MonkeyPatch, name: str, sending: bool
) -> None:
    free, begun = threading.Event(), threading.Event()
    with streams_of(kernel) as sender:
        sink.begin()
        getattr(sys, name).write("one")
        if sending:
            make = kernel.session.msg
            monkeypatch.setattr(
                kernel.session, "msg", lambda *a, **k: (begun.set(), free.wait(), make(*a, **k))[2]
            )
            sender.schedule(getattr(sys, name)._flush)
            begun.wait()
        threading.Timer(0.05, free.set).start()

        outputs = sink.end()

    assert outputs == [{"output_type": "stream", "name": name, "text": "one"}]


def test_what_was_waiting_before_the_step_is_sent_before_its_end(kernel: Kernel, sink: KernelSink) -> None:
    with streams_of(kernel):
        sys.stdout.write("one")
        sink.begin()

        outputs = sink.end()

    assert [output["text"] for output in outputs] == ["one"]


def test_a_step_that_shows_nothing_waits_for_no_other_thread(kernel: Kernel, sink: KernelSink) -> None:
    scheduled: list[object] = []
    with streams_of(kernel) as sender:
        sys.stdout.flush()
        sink.begin()
        schedule, sender.schedule = sender.schedule, scheduled.append

        outputs = sink.end()

        sender.schedule = schedule
    assert outputs == []
    assert scheduled == []
