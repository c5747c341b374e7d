"""The seam between the tap on the wire and whoever keeps the record of model calls.

The tap recognises a model call, asks a `Meter` about it and then either serves the recorded
answer it is given or makes the call under the `Ticket` it is given. It knows nothing of
executions, steps or the journal; the meter knows nothing of HTTP clients.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum, auto
from typing import NewType, Protocol

from kitaru_nb.model.cost import Usage

__all__ = ["Busy", "Meter", "ModelAnswer", "ModelRequest", "RequestKey", "Ticket", "Waits"]

RequestKey = NewType("RequestKey", str)
"""Digest of what a call asks, 64 hexadecimal characters; equal across processes and clients."""


@dataclass(frozen=True, slots=True)
class ModelRequest:
    """A model call that is about to be made. It never carries request headers.

    Attributes:
        key: Equal for equal requests: digest of the method, the URL without its query and
            credentials, and the canonical body. Calls that sample one prompt several times
            have one key; whoever records them numbers them.
        method: The HTTP method.
        url: Where it goes, without query and credentials.
        api: Which wire format it speaks, such as ``"openai-chat"`` or ``"anthropic"``.
        model: The model it asks for, as the request spells it.
        provider: Who is known to bill for it, such as ``"openai"``; None behind a proxy or on
            a server of one's own.
        streamed: Whether the answer is asked for piece by piece.
        body: The request's body: JSON in canonical form, anything else as it is.
        max_tokens: The most output tokens it may be answered with, over all the answers it asks
            for; None where the request sets no limit.
        input_tokens: Estimate of its input tokens, see `kitaru_nb.llm.estimate`.
        answers: How many answers it asks for.
    """

    key: RequestKey
    method: str
    url: str
    api: str
    model: str | None
    provider: str | None
    streamed: bool
    body: bytes
    max_tokens: int | None
    input_tokens: int
    answers: int = 1


@dataclass(frozen=True, slots=True)
class ModelAnswer:
    """A complete, successful answer, as it came or as it is to be served again.

    Attributes:
        status: The HTTP status, 2xx.
        headers: Of the response headers only the content type and the provider's request id.
        body: The answer's bytes as the user's client is given them, of a stream all events up to
            the terminal one. The transfer's compression is undone, so they can be searched,
            redacted and served without a decoder.
        usage: What the provider says it used; None when it does not say.
        model: The model that answered, as the answer spells it, else the one asked for.
        duration: Seconds from the request to the last byte of the answer.
    """

    status: int
    headers: Mapping[str, str]
    body: bytes
    usage: Usage | None
    model: str | None
    duration: float


class Waits(Enum):
    """What stands still while a call waits for others to end."""

    NOTHING = auto()
    """It does not wait: it is refused at once."""
    THREAD = auto()
    """The thread that makes it, with all that an event loop has under way there."""
    TASK = auto()
    """The task that makes it."""


@dataclass(frozen=True, slots=True)
class Busy:
    """There is no room for a call before others that are under way have ended: ask again.

    Attributes:
        ended: How many calls have ended so far; where it stands still, so do they.
    """

    ended: int


class Ticket(Protocol):
    """Leave to make one call. It ends with exactly one `done` or `failed`.

    Both may be called from another thread than `Meter.begin` was, and `failed` also while an
    abandoned stream is garbage-collected: a lock that they take must be re-entrant.
    """

    def done(self, answer: ModelAnswer) -> None:
        """Record the answer. It is durable when this returns.

        The user has not seen the answer yet: of a stream, its terminal event is still held
        back. What this raises reaches the user in place of the answer.
        """
        ...

    def failed(self, reason: str, usage: Usage | None = None) -> None:
        """Take note that no complete answer came: refused, dropped, or a stream that was cut.

        Nothing is recorded as a result, and what was reserved for the call is given back;
        `usage` is what the provider said it had used until then, where it said so.
        """
        ...


class Meter(Protocol):
    """Keeps the record of the model calls of one step. Safe to call from any thread."""

    def begin(self, request: ModelRequest, *, waits: Waits = Waits.NOTHING) -> ModelAnswer | Ticket | Busy:
        """Say what becomes of a call: a recorded answer to serve, or leave to make it.

        `Busy` only where the caller `waits`. It may raise `Suspended` or a `KitaruError`; then the
        call is not made, and the user's code sees what was raised.
        """
        ...
