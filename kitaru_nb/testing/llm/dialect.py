"""What the fake needs to know of a provider's way to speak."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias, assert_never

from kitaru_nb.testing.llm.answers import Answer, Cut, Failure, ToolCall
from kitaru_nb.testing.llm.call import Call, Tokens

__all__ = ["Dialect", "Document", "Event", "created", "cut_short", "tool_id"]

Document: TypeAlias = dict[str, Any]

_EPOCH = 1_700_000_000


@dataclass(frozen=True, slots=True)
class Event:
    """One event of a stream; `piece` where it carries a piece of the answer."""

    data: Document | str
    name: str = ""
    piece: bool = False

    def encode(self) -> bytes:
        """The event as it is sent."""
        data = self.data if isinstance(self.data, str) else json.dumps(self.data)
        return (f"event: {self.name}\n" if self.name else "").encode() + f"data: {data}\n\n".encode()


@dataclass(frozen=True, slots=True)
class Dialect:
    """How one provider's endpoint is spoken.

    Attributes:
        api: Its name in `Call.api`.
        path: The end of its path.
        needs: What a request must hold, with the type of each.
        document: The whole answer.
        events: The same answer as a stream; None where there are no streams.
        error: The body of an error.
        error_event: The event that says in mid-stream that something failed; the number is its place.
        request_id: The name of the header that numbers answers.
    """

    api: str
    path: str
    needs: Mapping[str, type | tuple[type, ...]]
    document: Callable[[Call, Answer, Tokens], Document]
    events: Callable[[Call, Answer, Tokens], Iterator[Event]] | None
    error: Callable[[Failure], Document]
    error_event: Callable[[Call, Failure, int], Event]
    request_id: str


def created(call: Call) -> int:
    """When the answer to `call` was made: a moment that is the same in each run."""
    return _EPOCH + call.number


def tool_id(call: Call, index: int, tool: ToolCall, prefix: str) -> str:
    """The id of the answer's tool call number `index`."""
    return tool.id or f"{prefix}_{call.number}_{index}"


def cut_short(events: Sequence[Event], cut: Cut | None, error: Callable[[int], Event]) -> list[Event]:
    """What is sent of `events` when the answer is cut.

    That is all up to the last piece the cut lets through, and then what it puts in place of the
    rest; `error` makes the event of a failure for its place.
    """
    if cut is None:
        return list(events)
    places = [place for place, event in enumerate(events) if event.piece]
    if not places:
        end = 1  # it has begun, and that is all
    elif cut.after == 0:
        end = places[0]
    else:
        end = places[min(cut.after, len(places)) - 1] + 1
    match cut.how:
        case "drop":
            return list(events[:end])
        case "error":
            return [*events[:end], error(end)]
        case "malformed":
            half = events[end].encode().decode().partition("data: ")[2]
            return [*events[:end], Event(half[: len(half) // 2], events[end].name)]
        case other:
            assert_never(other)
