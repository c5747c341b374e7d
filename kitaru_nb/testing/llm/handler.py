"""What the fake does with one request: answer as a model would, or tell and change its own state."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import asdict, replace
from typing import Any

from kitaru_nb.errors import UsageError
from kitaru_nb.testing.llm.answers import Answer, Failure
from kitaru_nb.testing.llm.call import Call, Tokens, tokens_of
from kitaru_nb.testing.llm.chat import CHAT
from kitaru_nb.testing.llm.dialect import Dialect, Event, cut_short
from kitaru_nb.testing.llm.embeddings import EMBEDDINGS
from kitaru_nb.testing.llm.exchange import BadRequestError, Exchange
from kitaru_nb.testing.llm.fake import Fake
from kitaru_nb.testing.llm.files import answers_from_json
from kitaru_nb.testing.llm.messages import MESSAGES
from kitaru_nb.testing.llm.responses import RESPONSES

__all__ = ["handler_for"]

_DIALECTS = (CHAT, RESPONSES, MESSAGES, EMBEDDINGS)
_PATHS = ", ".join(f"/v1/{dialect.path}" for dialect in _DIALECTS)
_OK = 200
_MIDWAY = Failure(message="the fake was told to fail in the middle of its answer")


class ClosingError(ConnectionError):
    """The server is closed while an answer is on its way."""


class Handler(Exchange):
    """One connection to a fake."""

    fake: Fake

    def do_GET(self) -> None:  # noqa: N802 - the name in the standard library
        """Tell what was counted."""
        match self._path():
            case "_count":
                self.send_document(self.fake.count())
            case "_calls":
                self.send_document([_told(call) for call in self.fake.calls])
            case path:
                self._no_such(path)

    def do_POST(self) -> None:  # noqa: N802 - as above
        """Answer as a model, reset the count, or take new answers."""
        path = self._path()
        dialect = next((some for some in _DIALECTS if f"/{path}".endswith(f"/{some.path}")), None)
        try:
            body = self.read_json()
            if dialect is not None:
                self._model(dialect, body)
            elif path == "_reset":
                self.fake.reset()
                self.send_document(self.fake.count())
            elif path == "_script":
                self.fake.script(answers_from_json(body))
                self.send_document(self.fake.count())
            else:
                self._no_such(path)
        except (BadRequestError, UsageError) as error:
            self.send_document((dialect or CHAT).error(Failure(400, str(error))), status=400)

    def _path(self) -> str:
        return self.path.partition("?")[0].strip("/")

    def _no_such(self, path: str) -> None:
        message = f"the fake model has no `/{path}`; it has {_PATHS}, /_count, /_calls, /_reset, /_script"
        self.send_document(CHAT.error(Failure(404, message)), status=404)

    def _model(self, dialect: Dialect, body: Any) -> None:
        headers = {name.lower(): value for name, value in self.headers.items()}
        call = self.fake.begin(dialect.api, body if isinstance(body, dict) else {}, headers)
        self.zipped = self.fake.gzip
        reply = _refusal(dialect, body) or self.fake.reply_to(call)
        self._pause(self.fake.latency if reply.latency is None else reply.latency)
        if isinstance(reply, Failure):
            self._fail(dialect, call, reply)
            return
        answer = reply.at_most(call.max_tokens)
        tokens = tokens_of(call, answer)
        # Counted before the first byte: whoever has read any of the answer finds it counted.
        noted = self.fake.note(call, status=_OK, tokens=tokens)
        try:
            if call.stream and dialect.events is not None:
                events = list(dialect.events(noted, answer, tokens))
                self._stream(dialect, noted, answer, events)
            else:
                self._whole(dialect, noted, answer)
        except ConnectionError:
            self.fake.note(noted, ended=False)
            raise

    def _whole(self, dialect: Dialect, call: Call, answer: Answer) -> None:
        body = json.dumps(dialect.document(call, answer, call.tokens)).encode()
        match answer.cut and answer.cut.how:
            case None:
                self.fake.note(call, ended=True)
                self.send_json(body, headers=_headers(dialect, call))
            case "drop":
                self.send_json(body, headers=_headers(dialect, call), drop=True)
            case "malformed":
                self.send_json(body[: len(body) // 2], headers=_headers(dialect, call))
            case "error":
                self._fail(dialect, replace(call, tokens=Tokens()), _MIDWAY)

    def _stream(self, dialect: Dialect, call: Call, answer: Answer, events: list[Event]) -> None:
        latency = self.fake.chunk_latency if answer.chunk_latency is None else answer.chunk_latency

        def paced() -> Iterator[bytes]:
            for event in cut_short(events, answer.cut, lambda at: dialect.error_event(call, _MIDWAY, at)):
                if event.piece:
                    self._pause(latency)
                if event is events[-1]:
                    self.fake.note(call, ended=True)
                yield event.encode()

        drop = answer.cut is not None and answer.cut.how == "drop"
        self.send_stream(paced(), headers=_headers(dialect, call), drop=drop)

    def _fail(self, dialect: Dialect, call: Call, failure: Failure) -> None:
        self.fake.note(call, status=failure.status, ended=failure.status != 0)
        if failure.status == 0:
            self.close_connection = True
            return
        headers = _headers(dialect, call)
        if failure.retry_after is not None:
            headers["Retry-After"] = f"{failure.retry_after:g}"
        self.send_document(dialect.error(failure), status=failure.status, headers=headers)

    def _pause(self, seconds: float) -> None:
        """Wait, but not for longer than the server lives."""
        if seconds > 0 and self.fake.closing.wait(seconds):
            raise ClosingError


def handler_for(fake: Fake) -> type[Handler]:
    """The handler of the connections to `fake`."""
    return type("Handler", (Handler,), {"fake": fake})


def _refusal(dialect: Dialect, body: Any) -> Failure | None:
    """What the real endpoint refuses is refused here too: no test should pass with it."""
    if not isinstance(body, dict):
        return Failure(400, "the body is JSON, but not an object")
    for name, kind in dialect.needs.items():
        if not isinstance(body.get(name), kind):
            return Failure(400, f"`{name}` is missing, or is not of its type")
    return None


def _headers(dialect: Dialect, call: Call) -> dict[str, str]:
    return {dialect.request_id: f"req_{call.number}"}


def _told(call: Call) -> dict[str, Any]:
    """A call for ``GET /_calls``: without its headers, which hold a key."""
    told = asdict(call) | {"model": call.model, "stream": call.stream}
    del told["headers"]
    return told
