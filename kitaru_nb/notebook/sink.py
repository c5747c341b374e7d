"""Outputs in IPython: copied while a step runs, sent again when it is restored.

In a kernel the copy is taken where every message leaves, below all of IPython's display
machinery, so that output of threads, subprocesses and figures is in the record too. In a
terminal the streams and the display publisher are wrapped for the time of the step.
"""

from __future__ import annotations

import base64
import io
import json
import sys
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import partial
from operator import is_
from typing import Any

from kitaru_nb.artifacts.vault import VAULT
from kitaru_nb.engine.capture import Message, Output, OutputSink, fold
from kitaru_nb.engine.secrecy import notice_names

__all__ = ["KernelSink", "TerminalSink", "sink_for"]

_DELIMITER = b"<IDS|MSG>"
_SHOWING = frozenset(
    {"stream", "display_data", "execute_result", "update_display_data", "clear_output", "error"}
)


def sink_for(shell: Any) -> OutputSink:
    """The sink that fits `shell`: a kernel's or a terminal's."""
    kernel = getattr(shell, "kernel", None)
    return KernelSink(shell, kernel) if hasattr(kernel, "iopub_thread") else TerminalSink(shell)


class KernelSink:
    """Copies the kernel's outgoing messages and sends recorded ones."""

    def __init__(self, shell: Any, kernel: Any) -> None:
        self._shell = shell
        self._kernel = kernel
        # Loaded in every kernel; a terminal goes without.
        from ipykernel.iostream import OutStream  # noqa: PLC0415
        from ipykernel.zmqshell import ZMQDisplayPublisher  # noqa: PLC0415

        self._stream, self._publisher = OutStream, ZMQDisplayPublisher
        self._frames: list[Sequence[Any]] = []
        self._request: str | None = None
        self._send: Callable[..., Any] | None = None
        self._texts: list[object] | None = None  # what the streams had not sent, as objects
        self._captured = _Captured(shell)

    def begin(self) -> None:
        """Start recording."""
        self._frames = []
        self._captured.begin()
        self._request = self._parent().get("header", {}).get("msg_id")
        self._texts = self._unsent()
        if self._send is None:
            thread = self._kernel.iopub_thread
            self._send = thread.send_multipart
            thread.send_multipart = self._tee

    def end(self) -> list[Output]:
        """Stop recording; what the running request showed, folded."""
        if not self._is_quiet():
            self._flush()
        self._texts = None
        if self._send is not None:
            self._kernel.iopub_thread.send_multipart = self._send
            self._send = None
        frames, self._frames = self._frames, []
        return [*self._folded(frames), *self._captured.end()]

    def mark(self) -> int:
        """The place in the recording that has been reached."""
        self._flush()
        return len(self._frames)

    def since(self, mark: int) -> list[Output]:
        """What the running request showed since `mark`, folded."""
        self._flush()
        return self._folded(self._frames[mark:])

    def messages(self, mark: int) -> tuple[Sequence[Message], int]:
        """What has left since `mark`, and the place reached; from any thread, and it waits for nothing."""
        frames = self._frames[mark:]
        return list(self._of_request(frames)), mark + len(frames)

    def _folded(self, frames: Iterable[Sequence[Any]]) -> list[Output]:
        return fold(self._of_request(frames))

    def _of_request(self, frames: Iterable[Sequence[Any]]) -> Iterator[Message]:
        for kind, parent, content in map(_decode, frames):
            if parent == self._request and kind in _SHOWING:
                yield kind, content

    def repeat(self, outputs: Sequence[Output]) -> None:
        """Send recorded outputs as this request's own."""
        self._flush()
        for output in outputs:
            if self._captured.repeat(output):
                continue
            content = {key: value for key, value in output.items() if key != "output_type"}
            if output["output_type"] == "execute_result":
                content["execution_count"] = self._shell.displayhook.prompt_count
            self._message(output["output_type"], content)

    def show(self, bundle: Mapping[str, str]) -> None:
        """Display `bundle` below what the cell showed, right after `end` or `repeat`."""
        publisher = self._shell.display_pub
        # What `%%capture` keeps is a value: a line that differs each time has no place in it.
        if not is_capturing(publisher) and (not isinstance(publisher, self._publisher) or publisher._hooks):  # noqa: SLF001 - as `register_hook` fills it
            publisher.publish(dict(bundle))  # somebody captures what is displayed
            return
        # The publisher would wait twice more for streams that are empty now.
        content = {"data": bundle, "metadata": {}, "transient": {}}
        self._message("display_data", content, by=_Unhurried(self._kernel.iopub_thread))

    def _message(self, kind: str, content: Mapping[str, Any], *, by: Any = None) -> None:
        self._kernel.session.send(
            self._kernel.iopub_socket if by is None else by,
            kind,
            content,
            parent=self._parent(),
            ident=self._kernel._topic(kind),  # noqa: SLF001 - the kernel's own spelling of it
        )

    def _flush(self) -> None:
        """Return when everything written to the streams has become messages."""
        streams = [s for s in (sys.stdout, sys.stderr) if isinstance(s, self._stream)]
        if len({id(s.pub_thread) for s in streams}) != 1 or len(streams) != 2:
            sys.stdout.flush()
            sys.stderr.flush()
            return
        # The streams' own way, with one turn of the sending thread for both.
        stdout, stderr = streams
        stdout.pub_thread.schedule(stdout._flush)  # noqa: SLF001
        stderr.flush()  # type: ignore[no-untyped-call] # ipykernel is half typed

    def _unsent(self) -> list[object] | None:
        """What will hold the streams' next text; None where text is waiting, or it cannot be told."""
        streams = (sys.stdout, sys.stderr)
        held = [vars(stream).get("_buffers") for stream in streams if isinstance(stream, self._stream)]
        return held if len(held) == len(streams) and not any(text is None or text for text in held) else None

    def _is_quiet(self) -> bool:
        """Whether nothing was written since `begin`.

        A stream that sends takes another object for what comes next. So where both still have the
        empty ones that they had, no text has gone through them, and no turn of the sending thread
        has to be waited for.
        """
        now = self._unsent()
        return self._texts is not None and now is not None and all(map(is_, now, self._texts))

    def _parent(self) -> Mapping[str, Any]:
        parent: Mapping[str, Any] = self._kernel.get_parent("shell")
        return parent

    def _tee(self, message: Sequence[Any], *args: Any, **kwargs: Any) -> Any:
        message = self._masked(message)
        self._frames.append(message)
        assert self._send is not None
        return self._send(message, *args, **kwargs)

    def _masked(self, message: Sequence[Any]) -> Sequence[Any]:
        """The message with labels in the place of secrets, signed anew."""
        frames = [bytes(getattr(frame, "bytes", frame)) for frame in message]
        if _DELIMITER not in frames:
            return message
        place = frames.index(_DELIMITER) + 5
        if len(frames) <= place:
            return message
        notice_names(getattr(self._shell, "user_ns", {}))
        text = frames[place].decode("utf-8", "surrogatepass")
        masked = VAULT.mask(text)
        if masked == text:
            return message
        frames[place] = masked.encode("utf-8", "surrogatepass")
        frames[place - 4] = self._kernel.session.sign(frames[place - 3 : place + 1])
        return frames


class _Unhurried:
    """Sends by the sending thread, with whatever is sent next: what ends a request always follows.

    The thread works off all that waits when it is woken, and each time costs more than a message.
    """

    def __init__(self, thread: Any) -> None:
        self._thread = thread

    def send_multipart(self, message: Sequence[Any], *args: Any, **kwargs: Any) -> None:
        thread, waiting = self._thread, getattr(self._thread, "_events", None)
        send = getattr(thread, "_really_send", None)
        if type(waiting) is deque and send is not None and thread.thread.is_alive():
            waiting.append(partial(send, message, *args, **kwargs))
        else:
            thread.send_multipart(message, *args, **kwargs)


class TerminalSink:
    """Copies what a terminal IPython shows."""

    def __init__(self, shell: Any) -> None:
        self._shell = shell
        self._messages: list[tuple[str, dict[str, Any]]] = []
        self._undo: list[Callable[[], None]] = []

    def begin(self) -> None:
        """Start recording."""
        self._messages = []
        for name in ("stdout", "stderr"):
            original = getattr(sys, name)
            setattr(sys, name, _Tee(original, name, self._messages))
            self._undo.append(partial(setattr, sys, name, original))
        publisher = self._shell.display_pub
        publish = publisher.publish

        def copy(
            data: Any,
            metadata: Any = None,
            *args: Any,
            transient: Any = None,
            update: bool = False,
            **kw: Any,
        ) -> None:
            kind = "update_display_data" if update else "display_data"
            content = {
                "data": _as_json(data),
                "metadata": _as_json(metadata or {}),
                "transient": transient or {},
            }
            self._messages.append((kind, content))
            noted = len(self._messages)
            publish(data, metadata, *args, transient=transient, update=update, **kw)
            del self._messages[noted:]  # what a terminal prints for it is no output of its own

        publisher.publish = copy
        self._undo.append(lambda: delattr(publisher, "publish"))

    def end(self) -> list[Output]:
        """Stop recording; what was shown, folded."""
        while self._undo:
            self._undo.pop()()
        messages, self._messages = self._messages, []
        return fold(messages)

    def mark(self) -> int:
        """The place in the recording that has been reached."""
        return len(self._messages)

    def since(self, mark: int) -> list[Output]:
        """What was shown since `mark`, folded."""
        return fold(self._messages[mark:])

    def messages(self, mark: int) -> tuple[Sequence[Message], int]:
        """What was shown since `mark`, and the place reached."""
        found = self._messages[mark:]
        return found, mark + len(found)

    def repeat(self, outputs: Sequence[Output]) -> None:
        """Write recorded streams again and publish recorded displays."""
        for output in outputs:
            if output["output_type"] == "stream":
                getattr(sys, output["name"]).write(output["text"])
            elif output["output_type"] in ("display_data", "execute_result"):
                self._shell.display_pub.publish(output["data"], output.get("metadata"))

    def show(self, bundle: Mapping[str, str]) -> None:
        """Display `bundle`, unless all that is displayed is kept as a value."""
        if not is_capturing(self._shell.display_pub):
            self._shell.display_pub.publish(dict(bundle))


def is_capturing(publisher: object) -> bool:
    """Whether that is the publisher of `%%capture`."""
    return type(publisher).__name__ == "CapturingDisplayPublisher"


class _Captured:
    """What `%%capture` above a step keeps of it, which reaches no front end; given back on a restore."""

    def __init__(self, shell: Any) -> None:
        self._shell = shell
        self._begun: tuple[dict[str, int], int] | None = None  # lengths of the texts, and number of displays

    def begin(self) -> None:
        """Note what has been captured so far."""
        publisher = self._shell.display_pub
        texts = {name: len(stream.getvalue()) for name, stream in _texts().items()}
        self._begun = (texts, len(publisher.outputs)) if is_capturing(publisher) else None

    def end(self) -> list[Output]:
        """What was captured since, as outputs."""
        begun, self._begun = self._begun, None
        publisher = self._shell.display_pub
        if begun is None or not is_capturing(publisher):
            return []
        lengths, count = begun
        texts = {name: stream.getvalue()[lengths.get(name, 0) :] for name, stream in _texts().items()}
        streams = [
            {"output_type": "stream", "name": name, "text": text} for name, text in texts.items() if text
        ]
        return [*streams, *map(self._shown, publisher.outputs[count:])]

    def repeat(self, output: Output) -> bool:
        """Give a recorded output to the capture, if there is one."""
        publisher = self._shell.display_pub
        if not is_capturing(publisher):
            return False
        if output["output_type"] == "stream":
            getattr(sys, output["name"]).write(output["text"])
        elif output["output_type"] == "display_data":
            publisher.publish(output["data"], output.get("metadata"))
        elif output["output_type"] == "execute_result":
            publisher.outputs.append({"data": output["data"], "metadata": output.get("metadata") or {}})
        return True

    def _shown(self, captured: Mapping[str, Any]) -> Output:
        shown = {
            "data": _as_json({mime: _as_text(data) for mime, data in captured["data"].items()}),
            "metadata": _as_json(captured.get("metadata") or {}),
        }
        if "transient" in captured:
            return {"output_type": "display_data", **shown}
        # The value of the last expression: IPython's hook keeps no more of it.
        count = self._shell.displayhook.prompt_count
        return {"output_type": "execute_result", "execution_count": count, **shown}


def _texts() -> dict[str, io.StringIO]:
    streams = {"stdout": sys.stdout, "stderr": sys.stderr}
    return {name: stream for name, stream in streams.items() if isinstance(stream, io.StringIO)}


def _as_text(data: Any) -> Any:
    return base64.b64encode(data).decode("ascii") if isinstance(data, bytes) else data


class _Tee:
    """A stream that also notes what is written to it."""

    def __init__(self, stream: Any, name: str, messages: list[tuple[str, dict[str, Any]]]) -> None:
        self._stream, self._name, self._messages = stream, name, messages

    def write(self, text: str) -> Any:
        self._messages.append(("stream", {"name": self._name, "text": text}))
        return self._stream.write(text)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


def _decode(message: Sequence[Any]) -> tuple[str, str | None, dict[str, Any]]:
    """(message type, id of the request it answers, content) of a message's raw frames."""
    frames = [bytes(getattr(frame, "bytes", frame)) for frame in message]
    try:
        start = frames.index(_DELIMITER) + 2
        header, parent, _metadata, content = (json.loads(frame) for frame in frames[start : start + 4])
    except ValueError:
        return "", None, {}
    return header["msg_type"], parent.get("msg_id"), content


def _as_json(value: Any) -> Any:
    return json.loads(json.dumps(value, default=str))
