"""The tap on `botocore`, for Amazon Bedrock; it is not imported here.

It sits on `Endpoint._send`, which hands one signed request to the network and gets one answer, so
that retries are made above it and each attempt is met once.
"""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable, Iterator
from io import BytesIO
from types import ModuleType
from typing import Any

from kitaru_nb.llm.answers import Reader
from kitaru_nb.llm.meter import Meter, ModelAnswer
from kitaru_nb.llm.recording import Recording, begin
from kitaru_nb.llm.wire import model_request

__all__ = ["patch"]

MeterOf = Callable[[], Meter | None]


def patch(module: ModuleType, meter_of: MeterOf) -> Callable[[], None]:
    """Put the tap on the endpoints of `module`, and give the function that takes it off again."""
    endpoint = module.Endpoint
    send = endpoint._send

    @functools.wraps(send)
    def metered(self: Any, request: Any) -> Any:
        meter = meter_of()
        if meter is None or "/model/" not in request.url:
            return send(self, request)
        body = request.body if isinstance(request.body, bytes) else (request.body or "").encode()
        call = model_request(request.method, request.url, body)
        if call is None:
            return send(self, request)
        begun = begin(meter, call)
        if isinstance(begun, ModelAnswer):
            return _response(request.url, begun.status, begun.headers, begun.body)
        try:
            response = send(self, request)
            return _watched(response, begun)
        except BaseException as error:
            begun.broke(error)
            raise

    endpoint._send = metered

    def unpatch() -> None:
        if endpoint._send is metered:
            endpoint._send = send

    return unpatch


def _watched(response: Any, recording: Recording) -> Any:
    headers = {name.lower(): value for name, value in response.headers.items()}
    if recording.request.streamed:
        reader = recording.answered(response.status_code, headers)
        if reader is not None:
            response.raw = _Tee(response.raw, reader, recording)
        return response
    content = response.content
    recording.whole(response.status_code, headers, content)
    response.raw = _Raw(content)  # operations that hand out their body read it from here
    return response


def _response(url: str, status: int, headers: Any, body: bytes) -> Any:
    # Whoever sends through an endpoint has imported this already.
    make = sys.modules["botocore.awsrequest"].AWSResponse
    return make(url, status, {"content-length": str(len(body)), **headers}, _Raw(body))


class _Raw(BytesIO):
    """Bytes with the face of an unread response of urllib3."""

    def stream(self, amt: int = 1 << 16, **_: Any) -> Iterator[bytes]:
        """The rest, in pieces."""
        while chunk := self.read(amt):
            yield chunk

    def release_conn(self) -> None:
        """There is no connection."""


class _Tee:
    """A raw response, read by a reader on its way to the event stream that parses it."""

    def __init__(self, raw: Any, reader: Reader, recording: Recording) -> None:
        self._raw = raw
        self._reader = reader
        self._recording = recording

    def __getattr__(self, name: str) -> Any:
        return getattr(self._raw, name)

    def stream(self, *args: Any, **options: Any) -> Iterator[bytes]:
        """The stream, its end held back until it is on record."""
        try:
            for chunk in self._raw.stream(*args, **options):
                given = self._reader.feed(chunk)
                if self._reader.over or self._reader.problem:
                    self._recording.settle()
                if given:
                    yield given
            given = self._reader.end()
            self._recording.settle()
            if given:
                yield given
        except Exception as error:
            self._recording.broke(error)
            if not self._reader.over and (given := self._reader.held()):
                yield given
            raise

    def close(self) -> None:
        """Close the connection. A stream that had not come to its end is not recorded."""
        self._recording.failed("closed before its end")
        self._raw.close()
