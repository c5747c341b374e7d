"""Reading an answer while it passes through: where it ends, whether it is whole, what it used.

A reader is fed what comes from the network and says what may be handed on. It holds back the end
of an answer, so that whoever keeps the record can make it durable before the user sees that the
answer is complete. In a stream the end begins with the event that says why the model stopped, not
with the very last one: clients stop reading at either. Nothing here reads or writes anything.
"""

from __future__ import annotations

import base64
import json
import re
import struct
from collections.abc import Iterable
from typing import Any, Protocol

from kitaru_nb.llm.meter import ModelRequest
from kitaru_nb.llm.signs import Sign, Signs, signs_of
from kitaru_nb.llm.usage import Tally

__all__ = ["Reader", "reader_of"]


_decode = json.JSONDecoder().decode  # kept: `json.loads` looks for the encoding of bytes first


class Reader(Protocol):
    """Reads one answer."""

    over: bool
    """The answer is complete and sound: it may be recorded."""
    problem: str
    """Why it will never be, where that is known."""
    tally: Tally

    def feed(self, chunk: bytes) -> bytes:
        """Take the next bytes and give those that may be handed on."""
        ...

    def end(self) -> bytes:
        """There are no more bytes: give the rest."""
        ...

    def held(self) -> bytes:
        """It broke off: give what was held back."""
        ...

    @property
    def body(self) -> bytes:
        """All that was or may be handed on, up to the end of the answer."""
        ...


def reader_of(request: ModelRequest, content_type: str, *, hide_usage: bool = False) -> Reader:
    """The reader for an answer to `request` of this content type.

    Args:
        request: What was asked.
        content_type: What the server says it is.
        hide_usage: Leave out the event that only tells the usage: the tap asked for it, the
            user did not, and code that expects a choice in each event would break on it.
    """
    framing = _framing(request, content_type)
    if framing is None:
        return Whole(content_type)
    return Stream(framing, signs_of(request.api, request.answers), hide_usage=hide_usage)


class Whole:
    """An answer in one piece; its last chunk is held back until it is known to be the last."""

    def __init__(self, content_type: str) -> None:
        self.over = False
        self.problem = ""
        self.tally = Tally()
        self._content_type = content_type
        self._chunks: list[bytes] = []

    def feed(self, chunk: bytes) -> bytes:
        """Give the chunk before this one."""
        self._chunks.append(chunk)
        return self._chunks[-2] if len(self._chunks) > 1 else b""

    def end(self) -> bytes:
        """Judge the answer, and give its last chunk."""
        self.problem = self._judge()
        self.over = not self.problem
        return self.held()

    def held(self) -> bytes:
        """Give the last chunk."""
        return self._chunks[-1] if self._chunks else b""

    @property
    def body(self) -> bytes:
        """All of it."""
        return b"".join(self._chunks)

    def _judge(self) -> str:
        if "json" not in self._content_type:
            # A proxy's page that says "sign in" with status 200 is no answer of a model.
            return "it is a web page" if "html" in self._content_type else ""
        try:
            document = _decode(self.body.decode())
        except ValueError:
            return "it is not JSON"
        self.tally.add(document)
        return problem_in(document)


def problem_in(document: Any) -> str:
    """What an answer that came with status 200 says went wrong, or an empty string."""
    if isinstance(document, list):
        return next(filter(None, map(problem_in, document)), "")
    if not isinstance(document, dict):
        return ""
    if document.get("error"):
        return f"it says {_short(document['error'])}"
    if document.get("status") in ("failed", "cancelled"):
        return f"its status is {document['status']}"
    return ""


class Stream:
    """An answer in frames: events, lines or binary messages."""

    def __init__(self, framing: Framing, signs: Signs, *, hide_usage: bool) -> None:
        self.over = False
        self.problem = ""
        self.tally = Tally()
        self._framing = framing
        self._signs = signs
        self._hide_usage = hide_usage
        self._rest = b""
        self._handed: list[bytes] = []
        self._held: list[bytes] = []
        self._stopped = False
        self._named = False

    def feed(self, chunk: bytes) -> bytes:
        """Give the frames that are complete, up to where the answer ends."""
        if self._rest:
            chunk, self._rest = self._rest + chunk, b""
        if self.over:
            return chunk
        frames, self._rest = self._framing.split(chunk)
        return b"".join([self._take(frame) for frame in frames])

    def end(self) -> bytes:
        """Give the rest. Without its end the answer is only complete if the model had stopped."""
        rest, self._rest = self._rest, b""
        given = self._take(rest) if rest else b""
        if not self._stopped and not self.over and not self.problem:
            self.problem = "the stream was cut off"
        self.over = not self.problem
        return given + self._release()

    def held(self) -> bytes:
        """Give what was held back, and the beginning of a frame that never was completed."""
        held, self._held = [*self._held, self._rest], []
        self._rest = b""
        return b"".join(held)

    @property
    def body(self) -> bytes:
        """The frames that were handed on."""
        return b"".join([*self._handed, *self._held])

    def _take(self, frame: bytes) -> bytes:
        """Read one frame and give what may be handed on now."""
        if self.over:
            return frame
        if not self._named or self._signs.worth_reading(frame):
            sign = self._read(frame)
            if sign is Sign.USAGE and self._hide_usage:
                return b""
            if sign in (Sign.OVER, Sign.FAILED):
                self.over = not self.problem
                self._held.append(frame)
                return self._release()
            self._stopped = self._stopped or sign is Sign.STOPPED
        if self._stopped:
            self._held.append(frame)
            return b""
        self._handed.append(frame)
        return frame

    def _read(self, frame: bytes) -> Sign:
        sign = Sign.NONE
        for name, document in self._framing.documents(frame):
            self.tally.add(document)
            self._named = self._named or self.tally.model is not None
            found = self._signs.read(name, document)
            if found is Sign.FAILED and not self.problem:
                self.problem = problem_in(document) or f"it says {_short(document)}"
            sign = max(sign, found)
        return sign

    def _release(self) -> bytes:
        released = b"".join(self._held)
        self._handed.extend(self._held)
        self._held = []
        return released


# -- framings


class Framing(Protocol):
    """How a stream is cut into frames."""

    def split(self, data: bytes) -> tuple[list[bytes], bytes]:
        """The complete frames, and what is left of an incomplete one."""
        ...

    def documents(self, frame: bytes) -> Iterable[tuple[str, Any]]:
        """What a frame carries, each with the name of its kind where frames have one."""
        ...


class Events:
    """Server-sent events, each ended by a blank line."""

    _EVENT = re.compile(rb".*?(?:\r\n\r\n|\n\n|\r\r)", re.DOTALL)
    _DATA = re.compile(rb"^data: ?(.*?)\r?$", re.MULTILINE)
    _NAME = re.compile(rb"^event: ?(.*?)\r?$", re.MULTILINE)

    def split(self, data: bytes) -> tuple[list[bytes], bytes]:
        """Cut after each blank line."""
        if 0 <= data.find(b"\n\n") == len(data) - 2:  # nearly always: one event, whole
            return [data], b""
        frames = self._EVENT.findall(data)
        return frames, data[sum(map(len, frames)) :]

    def documents(self, frame: bytes) -> Iterable[tuple[str, Any]]:
        """The event's data as JSON; ``[DONE]`` counts as a name without data."""
        data = b"\n".join(self._DATA.findall(frame))
        if data.strip() == b"[DONE]":
            return [("[DONE]", None)]
        name = self._NAME.search(frame)
        return [(name[1].decode(errors="replace") if name else "", document) for document in _json(data)]


class Lines:
    """One JSON document a line."""

    def split(self, data: bytes) -> tuple[list[bytes], bytes]:
        """Cut after each line."""
        lines = data.splitlines(keepends=True)
        whole = not lines or lines[-1].endswith(b"\n")
        return (lines, b"") if whole else (lines[:-1], lines[-1])

    def documents(self, frame: bytes) -> Iterable[tuple[str, Any]]:
        """The line's document."""
        return [("", document) for document in _json(frame)]


class Messages:
    """The binary messages of Amazon's event streams."""

    _PRELUDE = struct.Struct(">II")

    def split(self, data: bytes) -> tuple[list[bytes], bytes]:
        """Cut by the length that each message begins with."""
        frames = []
        while len(data) >= self._PRELUDE.size:
            (length, _) = self._PRELUDE.unpack_from(data)
            if len(data) < length:
                break
            frames.append(data[:length])
            data = data[length:]
        return frames, data

    def documents(self, frame: bytes) -> Iterable[tuple[str, Any]]:
        """The message's JSON, and of a chunk the document of the model inside it."""
        if len(frame) < self._PRELUDE.size:
            return []
        (_, head) = self._PRELUDE.unpack_from(frame)
        headers = _amazon_headers(frame[12 : 12 + head])
        name = headers.get(":event-type") or headers.get(":exception-type") or headers.get(":error-code", "")
        if headers.get(":message-type", "event") != "event":
            name = f"!{name}"
        found = []
        for document in _json(frame[12 + head : -4]):
            inner = document.get("bytes") if isinstance(document, dict) else None
            found += (
                [(name, inside) for inside in _json(base64.b64decode(inner))] if inner else [(name, document)]
            )
        return found


_AMAZON_TEXT = 7


def _amazon_headers(data: bytes) -> dict[str, str]:
    """The text headers of a message; headers of other types do not occur in answers."""
    found, at = {}, 0
    while at < len(data):
        size = data[at]
        name, kind = data[at + 1 : at + 1 + size].decode(), data[at + 1 + size]
        at += size + 2
        if kind != _AMAZON_TEXT:
            break
        (length,) = struct.unpack_from(">H", data, at)
        found[name] = data[at + 2 : at + 2 + length].decode()
        at += 2 + length
    return found


def _json(data: bytes) -> list[Any]:
    """The document in `data`, or none: a comment, a ping, or no JSON."""
    try:
        return [_decode(data.decode())] if data.strip() else []
    except ValueError:
        return []


def _framing(request: ModelRequest, content_type: str) -> Framing | None:
    kind = content_type.partition(";")[0].strip().lower()
    if kind == "text/event-stream":
        return Events()
    if kind == "application/vnd.amazon.eventstream":
        return Messages()
    if not request.streamed:
        return None
    if request.api == "ollama":
        return Lines()
    # Some servers of one's own do not say that they send events.
    return Events() if kind in ("", "text/plain", "application/octet-stream") else None


def _short(said: Any) -> str:
    text = said if isinstance(said, str) else json.dumps(said, ensure_ascii=False, default=str)
    return text if len(text) <= 200 else text[:200] + "…"
