"""One model call on its way: from the ticket to the record, once, whatever happens."""

from __future__ import annotations

import asyncio
import threading
import time
from collections import defaultdict
from collections.abc import Mapping

from kitaru_nb.llm.answers import Reader, reader_of
from kitaru_nb.llm.meter import Busy, Meter, ModelAnswer, ModelRequest, RequestKey, Ticket, Waits
from kitaru_nb.llm.usage import TOKEN_HEADERS, from_headers

__all__ = ["KEPT_HEADERS", "READ_HEADERS", "Recording", "begin", "begin_async"]

KEPT_HEADERS = {
    "content-type",
    "apim-request-id",
    "request-id",
    "x-amzn-requestid",
    "x-goog-request-id",
    "x-ms-request-id",
    "x-request-id",
}
"""Of an answer's headers those that are recorded: its type and the provider's request id."""


READ_HEADERS = {*KEPT_HEADERS, *TOKEN_HEADERS}
"""Of an answer's headers those that are looked at."""


def begin(meter: Meter, request: ModelRequest) -> ModelAnswer | Recording:
    """What becomes of a call: an answer to serve, or leave to make it.

    An answer that was paid and could not be recorded (the disk was full) is recorded and served
    now. SDKs make a call again when anything raises, and each time would be paid.

    Where a budget has no room for it before calls under way elsewhere have ended, it waits for them.
    """
    begun = meter.begin(request, waits=Waits.THREAD)
    if isinstance(begun, Busy):
        patience = _Patience(Waits.THREAD)
        while isinstance(begun, Busy):
            time.sleep(patience.pause(begun))
            begun = meter.begin(request, waits=patience.waits)
    return _recording(request, begun)


async def begin_async(meter: Meter, request: ModelRequest) -> ModelAnswer | Recording:
    """As `begin`, in a task."""
    begun = meter.begin(request, waits=Waits.TASK)
    if isinstance(begun, Busy):
        patience = _Patience(Waits.TASK)
        while isinstance(begun, Busy):
            if _is_asyncio():
                await asyncio.sleep(patience.pause(begun))
            else:  # another library's loop
                patience.waits = Waits.NOTHING
            begun = meter.begin(request, waits=patience.waits)
    return _recording(request, begun)


def _is_asyncio() -> bool:
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return False
    return True


class _Patience:
    """How a call waits for others: no longer once none of them has ended for a while."""

    def __init__(self, waits: Waits) -> None:
        self.waits = waits
        self._pause = _SHORTEST
        self._ended = -1
        self._until = 0.0

    def pause(self, busy: Busy) -> float:
        """Seconds before it is asked again."""
        now = time.monotonic()
        if busy.ended != self._ended:
            self._ended, self._until = busy.ended, now + _LONGEST_CALL
        elif now >= self._until:
            self.waits = Waits.NOTHING  # one of them may wait for this call
        pause, self._pause = self._pause, min(self._pause * 2, _LONGEST)
        return pause


_SHORTEST, _LONGEST = 0.01, 0.2
_LONGEST_CALL = 600.0  # seconds; what OpenAI's and Anthropic's clients give a call


def _recording(request: ModelRequest, begun: ModelAnswer | Ticket) -> ModelAnswer | Recording:
    if isinstance(begun, ModelAnswer):
        return begun
    recording = Recording(request, begun)
    if not _unrecorded:
        return recording
    with _lock:
        paid = _unrecorded.pop(request.key, [])
        answer = paid.pop(0) if paid else None
        if paid:
            _unrecorded[request.key] = paid
    if answer is None:
        return recording
    recording.put(answer)
    return answer


_lock = threading.Lock()
_unrecorded: defaultdict[RequestKey, list[ModelAnswer]] = defaultdict(list)


class Recording:
    """Ends the ticket of one call exactly once.

    It is made before the call, so that a call that never gets an answer gives back what was
    reserved for it as well.
    """

    def __init__(self, request: ModelRequest, ticket: Ticket) -> None:
        self.request = request
        self.hide_usage = False
        self._ticket: Ticket | None = ticket
        self._started = time.perf_counter()
        self._status = 0
        self._headers: Mapping[str, str] = {}
        self._reader: Reader | None = None

    @property
    def settled(self) -> bool:
        """Whether the ticket has ended."""
        return self._ticket is None

    def answered(self, status: int, headers: Mapping[str, str]) -> Reader | None:
        """Take note of the head of an answer; None, and the end of the ticket, unless it is 2xx.

        Of the headers those in `READ_HEADERS` count, their names in lower case.
        """
        if not 200 <= status < 300:
            self.failed(f"status {status}")
            return None
        self._status, self._headers = status, headers
        content_type = headers.get("content-type") or ""
        self._reader = reader_of(self.request, content_type, hide_usage=self.hide_usage)
        return self._reader

    def whole(self, status: int, headers: Mapping[str, str], content: bytes) -> bytes:
        """Settle an answer that is already there, and give what the user is to see of it."""
        reader = self.answered(status, headers)
        if reader is None:
            return content
        given = reader.feed(content)
        given += reader.end()
        self.settle()
        return given

    def settle(self) -> None:
        """Record the answer if it is complete and say why not otherwise; only the first time."""
        reader = self._reader
        if reader is None or self._ticket is None:
            return
        if not reader.over:
            self.failed(reader.problem or "the answer is incomplete")
            return
        self.put(
            ModelAnswer(
                status=self._status,
                headers={name: self._headers[name] for name in KEPT_HEADERS & self._headers.keys()},
                body=reader.body,
                usage=reader.tally.usage or from_headers(self._headers),
                model=reader.tally.model or self.request.model,
                duration=time.perf_counter() - self._started,
            )
        )

    def put(self, answer: ModelAnswer) -> None:
        """Record `answer`, which is paid. Where that fails it is kept for the next equal call."""
        ticket, self._ticket = self._ticket, None
        if ticket is None:
            return
        try:
            ticket.done(answer)
        except Exception:
            with _lock:
                _unrecorded[self.request.key].append(answer)
            raise

    def failed(self, reason: str) -> None:
        """End the ticket without a record, unless it has ended."""
        ticket, self._ticket = self._ticket, None
        if ticket is not None:
            ticket.failed(reason, self._reader.tally.usage if self._reader else None)

    def broke(self, error: BaseException) -> None:
        """End the ticket because `error` came instead of an answer, or in the midst of one."""
        self.failed(f"{type(error).__name__}: {error}" if str(error) else type(error).__name__)

    def __del__(self) -> None:
        """A stream that is neither read to its end nor closed still gives back what was reserved."""
        self.failed("dropped before its end")
