"""The tap on `httpx` and `httpx2`, two libraries with one shape; neither is imported here.

It sits on `Client.send`, below every SDK and above redirects, authentication and transports, so
it meets each attempt of a call once. Without a meter, or for a request that is no model call, it
hands straight on.
"""

from __future__ import annotations

import contextlib
import functools
import json
from collections.abc import AsyncIterator, Callable, Iterator
from datetime import timedelta
from types import ModuleType
from typing import Any

from kitaru_nb.llm.answers import Reader
from kitaru_nb.llm.meter import Meter, ModelAnswer, ModelRequest
from kitaru_nb.llm.recording import READ_HEADERS, Recording, begin, begin_async
from kitaru_nb.llm.wire import is_candidate, model_request

__all__ = ["REPLAYED", "patch"]

REPLAYED = "kitaru_replayed"
"""Name of the extension that a response served from the record carries."""

MeterOf = Callable[[], Meter | None]


def patch(module: ModuleType, meter_of: MeterOf) -> Callable[[], None]:
    """Put the tap on the clients of `module`, and give the function that takes it off again."""
    library = _Library(module)
    undo = [
        _replace(module.Client, "send", _send(library, module.Client.send, meter_of)),
        _replace(module.AsyncClient, "send", _asend(library, module.AsyncClient.send, meter_of)),
    ]

    def unpatch() -> None:
        for step in undo:
            step()

    return unpatch


def _replace(owner: type, name: str, new: Callable[..., Any]) -> Callable[[], None]:
    old = getattr(owner, name)
    setattr(owner, name, new)

    def undo() -> None:
        # Somebody who patched it after us keeps a reference to ours; theirs must stay.
        if getattr(owner, name) is new:
            setattr(owner, name, old)

    return undo


def _send(library: _Library, send: Callable[..., Any], meter_of: MeterOf) -> Callable[..., Any]:
    @functools.wraps(send)
    def metered(self: Any, request: Any, *, stream: bool = False, **options: Any) -> Any:
        call = library.model_call(request, meter_of)
        if call is None:
            return send(self, request, stream=stream, **options)
        begun = begin(*call)
        if isinstance(begun, ModelAnswer):
            for hook in self.event_hooks["request"]:
                hook(request)
            response = library.replayed(begun, request)
            for hook in self.event_hooks["response"]:
                hook(response)
            if not stream:
                response.read()
            return response
        asking = library.asking_for_usage(begun, request)
        try:
            response = send(self, asking or request, stream=stream, **options)
            if asking is not None and library.refused(asking, response):
                response.close()
                begun.hide_usage = False
                response = send(self, request, stream=stream, **options)
                library.learn(request, response)
        except BaseException as error:
            begun.broke(error)
            raise
        return library.watched(response, begun, request, _SyncTee if stream else None)

    return metered


def _asend(library: _Library, send: Callable[..., Any], meter_of: MeterOf) -> Callable[..., Any]:
    @functools.wraps(send)
    async def metered(self: Any, request: Any, *, stream: bool = False, **options: Any) -> Any:
        call = library.model_call(request, meter_of)
        if call is None:
            return await send(self, request, stream=stream, **options)
        begun = await begin_async(*call)
        if isinstance(begun, ModelAnswer):
            for hook in self.event_hooks["request"]:
                await hook(request)
            response = library.replayed(begun, request)
            for hook in self.event_hooks["response"]:
                await hook(response)
            if not stream:
                await response.aread()
            return response
        asking = library.asking_for_usage(begun, request)
        try:
            response = await send(self, asking or request, stream=stream, **options)
            if asking is not None and library.refused(asking, response):
                await response.aclose()
                begun.hide_usage = False
                response = await send(self, request, stream=stream, **options)
                library.learn(request, response)
        except BaseException as error:
            begun.broke(error)
            raise
        return library.watched(response, begun, request, _AsyncTee if stream else None)

    return metered


class _Library:
    """What sync and async have in common, for one of the two libraries."""

    def __init__(self, module: ModuleType) -> None:
        self._module = module
        self._tees: dict[_TeeClass, Any] = {
            tee: type(tee.__name__, (tee, getattr(module, stream)), {})
            for tee, stream in ((_SyncTee, "SyncByteStream"), (_AsyncTee, "AsyncByteStream"))
        }
        self._unwilling: set[tuple[str, str, int | None]] = set()

    def model_call(self, request: Any, meter_of: MeterOf) -> tuple[Meter, ModelRequest] | None:
        """The call that a request makes and who meters it, or None when it is to be let through."""
        if request.method != "POST":
            return None
        meter = meter_of()
        if meter is None or not is_candidate(request.method, request.url.path):
            return None
        try:
            body = request.content
        except self._module.RequestNotRead:
            return None  # an upload from an iterator can be read only once, and no model call is one
        call = model_request(request.method, str(request.url), body)
        return None if call is None else (meter, call)

    def replayed(self, answer: ModelAnswer, request: Any) -> Any:
        """A recorded answer as a response that has not been read yet."""
        response = self._module.Response(
            answer.status,
            headers=dict(answer.headers),
            stream=self._module.ByteStream(answer.body),
            request=request,
            extensions={REPLAYED: True},
        )
        response.elapsed = timedelta(seconds=answer.duration)
        return response

    def asking_for_usage(self, recording: Recording, request: Any) -> Any | None:
        """The same request, but asking for the usage at the end of a stream; None where needless.

        OpenAI's chat completions say nothing about usage in a stream unless asked.
        """
        call = recording.request
        if not call.streamed or call.api not in ("openai-chat", "openai-text"):
            return None
        if self._place(request) in self._unwilling:
            return None
        body = json.loads(request.content)
        options = body.get("stream_options") or {}
        if options.get("include_usage"):
            return None
        recording.hide_usage = True
        body["stream_options"] = {**options, "include_usage": True}
        headers = self._module.Headers(request.headers)
        headers.pop("content-length", None)
        return self._module.Request(
            request.method,
            request.url,
            headers=headers,
            content=json.dumps(body, ensure_ascii=False).encode("utf-8", "surrogatepass"),
            extensions=request.extensions,
        )

    def refused(self, asking: Any, response: Any) -> bool:
        """Whether a server may have refused the request because it was asked for the usage."""
        return asking is not None and response.status_code in (400, 422)

    def learn(self, request: Any, response: Any) -> None:
        """Remember a server that takes the request only as the user made it."""
        if response.is_success:
            self._unwilling.add(self._place(request))

    @staticmethod
    def _place(request: Any) -> tuple[str, str, int | None]:
        return request.url.scheme, request.url.host, request.url.port

    def watched(self, response: Any, recording: Recording, request: Any, tee: _TeeClass | None) -> Any:
        """The response as the user gets it, with its answer on the way to the record."""
        if recording.hide_usage and not response.history:
            response.request = request
        if tee is None or response.is_stream_consumed:
            # Read already: not asked for as a stream, or from a transport that had it all.
            content = recording.whole(response.status_code, _headers(response), response.content)
            return self._with(response, content) if recording.hide_usage else response
        reader = recording.answered(response.status_code, _headers(response))
        if reader is not None:
            response.stream = self._tees[tee](self._decoded(response), response.stream, reader, recording)
        return response

    def _decoded(self, response: Any) -> Any:
        """The stream without its compression, which the user's response then knows nothing of."""
        encoding = response.headers.get("content-encoding")
        if encoding is None:
            return response.stream
        for name in ("content-encoding", "content-length"):
            response.headers.pop(name, None)
        inner = self._module.Response(200, headers={"content-encoding": encoding}, stream=response.stream)
        is_async = isinstance(response.stream, self._module.AsyncByteStream)
        return inner.aiter_bytes() if is_async else inner.iter_bytes()

    def _with(self, response: Any, content: bytes) -> Any:
        """The same response with other content."""
        dropped = ("content-length", "content-encoding", "transfer-encoding")
        changed = self._module.Response(
            response.status_code,
            headers=[pair for pair in response.headers.multi_items() if pair[0].lower() not in dropped],
            content=content,
            request=response.request,
            extensions=response.extensions,
            history=response.history,
            default_encoding=response.default_encoding,
        )
        with contextlib.suppress(RuntimeError):  # not known where a transport had the answer ready
            changed.elapsed = response.elapsed
        return changed


def _headers(response: Any) -> dict[str, str]:
    """The headers that matter, without the library's own mapping, which decodes them all each time."""
    found = [(low, value) for name, value in response.headers.raw if (low := name.lower()) in _READ]
    return {name.decode(): value.decode("latin-1") for name, value in found}


_READ = frozenset(name.encode() for name in READ_HEADERS)


class _Tee:
    """The stream of a response, read by a reader on its way to the user."""

    def __init__(self, source: Any, stream: Any, reader: Reader, recording: Recording) -> None:
        self._source = source
        self._stream = stream
        self._reader = reader
        self._recording = recording

    @property
    def elapsed(self) -> timedelta | None:
        """As the stream underneath has it; newer libraries look for it here."""
        return getattr(self._stream, "elapsed", None)

    def _next(self, chunk: bytes) -> bytes:
        given = self._reader.feed(chunk)
        if self._reader.over or self._reader.problem:
            self._recording.settle()
        return given

    def _held(self) -> bytes:
        """What the network gave before it failed; of an answer that could not be recorded nothing."""
        return b"" if self._reader.over else self._reader.held()

    def _rest(self) -> bytes:
        given = self._reader.end()
        self._recording.settle()
        return given


class _SyncTee(_Tee):
    def __iter__(self) -> Iterator[bytes]:
        try:
            for chunk in self._source:
                if given := self._next(chunk):
                    yield given
            if given := self._rest():
                yield given
        except Exception as error:
            self._recording.broke(error)
            if given := self._held():
                yield given
            raise
        except GeneratorExit:
            raise  # `close` follows and says so
        except BaseException as error:
            self._recording.broke(error)  # a cancelled task must not be given another chunk first
            raise

    def close(self) -> None:
        """Close the connection. A stream that had not come to its end is not recorded."""
        self._recording.failed("closed before its end")
        if self._source is not self._stream:
            self._source.close()
        self._stream.close()


class _AsyncTee(_Tee):
    async def __aiter__(self) -> AsyncIterator[bytes]:
        try:
            async for chunk in self._source:
                if given := self._next(chunk):
                    yield given
            if given := self._rest():
                yield given
        except Exception as error:
            self._recording.broke(error)
            if given := self._held():
                yield given
            raise
        except GeneratorExit:
            raise  # `close` follows and says so
        except BaseException as error:
            self._recording.broke(error)  # a cancelled task must not be given another chunk first
            raise

    async def aclose(self) -> None:
        """Close the connection. A stream that had not come to its end is not recorded."""
        self._recording.failed("closed before its end")
        if self._source is not self._stream:
            await self._source.aclose()
        await self._stream.aclose()


_TeeClass = type[_SyncTee | _AsyncTee]
