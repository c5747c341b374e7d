"""What the fake answers: text, tool calls, failures, and answers that are cut."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal, TypeAlias

from kitaru_nb.errors import UsageError

__all__ = [
    "Answer",
    "Cut",
    "Failure",
    "Finish",
    "How",
    "Reply",
    "ToolCall",
    "as_reply",
    "count_tokens",
    "pieces",
]

Finish: TypeAlias = Literal["stop", "length", "tools", "filtered"]
How: TypeAlias = Literal["drop", "error", "malformed"]


@dataclass(frozen=True, slots=True)
class ToolCall:
    """A call of one of the user's tools, as part of an `Answer`.

    Args:
        name: The tool.
        arguments: What it is called with; a string is sent as it is, valid JSON or not.
        id: Made from the number of the request where it is not given.
    """

    name: str
    arguments: Mapping[str, Any] | str = "{}"
    id: str | None = None

    @property
    def arguments_json(self) -> str:
        """The arguments as they are sent."""
        return self.arguments if isinstance(self.arguments, str) else json.dumps(self.arguments)


@dataclass(frozen=True, slots=True)
class Cut:
    """How an answer ends before its end.

    Args:
        after: How many pieces of a streamed answer (words) are sent before.
        how: ``drop`` closes the connection; ``error`` sends the error that the provider sends in
            the middle of a stream; ``malformed`` sends half of a JSON document. An answer that is
            not streamed is dropped half-way, is a status 500, or is half of its document.
    """

    after: int = 0
    how: How = "drop"


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """One answer. Whatever is left out is counted, or as small as can be.

    Args:
        text: What the model says.
        tools: Which tools it calls.
        input_tokens: All input tokens, cached ones among them; counted where not given.
        output_tokens: All output tokens, reasoning ones among them; counted where not given.
        cached_tokens: How many input tokens were read from the provider's cache.
        cache_write_tokens: How many input tokens were written to it (Anthropic).
        reasoning_tokens: How many output tokens were spent on thinking (OpenAI).
        latency: Seconds before the first byte; the server's own where not given.
        chunk_latency: Seconds before each piece of a stream; the server's own where not given.
        finish: Why it ended; from what it holds where not given.
        cut: How it ends early, if it does.
    """

    text: str = ""
    tools: Sequence[ToolCall] = ()
    input_tokens: int | None = None
    output_tokens: int | None = None
    cached_tokens: int = 0
    cache_write_tokens: int = 0
    reasoning_tokens: int = 0
    latency: float | None = None
    chunk_latency: float | None = None
    finish: Finish | None = None
    cut: Cut | None = None

    @property
    def finished(self) -> Finish:
        """Why the answer ended."""
        return self.finish or ("tools" if self.tools else "stop")

    def at_most(self, tokens: int | None) -> Answer:
        """This answer as a model gives it that may say no more than `tokens`."""
        said = pieces(self.text)
        if tokens is None or self.tools or len(said) <= tokens:
            return self
        return replace(self, text="".join(said[:tokens]), finish="length")


@dataclass(frozen=True, slots=True)
class Failure:
    """An error instead of an answer, in the provider's own shape.

    Args:
        status: The HTTP status. 0 closes the connection without a word.
        message: What the error says.
        type: The provider's word for it; the usual one of the status where not given.
        retry_after: Seconds in the header ``retry-after``, which the SDKs wait before they try again.
        latency: Seconds before it; the server's own where not given.
    """

    status: int = 500
    message: str = "the fake was told to fail"
    type: str | None = None
    retry_after: float | None = None
    latency: float | None = None


Reply: TypeAlias = Answer | Failure


def pieces(text: str) -> list[str]:
    """`text` word by word, each with the white space after it; joined they are `text` again."""
    return re.findall(r"\s*\S+\s*", text) or ([text] if text else [])


def count_tokens(text: str) -> int:
    """How many tokens the fake counts for `text`: its words, whatever stands between white space."""
    return len(text.split())


def as_reply(value: object) -> Reply:
    """What a user gave as one answer: text, an `Answer`, a `ToolCall` or several, a `Failure`.

    Raises:
        UsageError: It is none of these.
    """
    match value:
        case Answer() | Failure():
            return value
        case str():
            return Answer(text=value)
        case ToolCall():
            return Answer(tools=(value,))
        case list() if value and all(isinstance(tool, ToolCall) for tool in value):
            return Answer(tools=tuple(value))
        case _:
            raise UsageError(
                f"`{value!r:.80}` is no answer of the fake model",
                kind="bad-answer",
                hint="give text, Answer(...), ToolCall(...) or Failure(...)",
            )
