"""One request to the fake: what was asked, and how the answer to it went."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from kitaru_nb.testing.llm.answers import Answer, count_tokens

__all__ = ["Call", "Tokens", "tokens_of", "words_asked"]

_ASKED = ("system", "instructions", "messages", "input")
_SAID = ("content", "text", "thinking", "refusal", "tool_calls", "function", "name", "arguments", "output")


@dataclass(frozen=True, slots=True)
class Tokens:
    """What was counted: `cached` and `cache_written` are part of `input`, `reasoning` of `output`."""

    input: int = 0
    output: int = 0
    cached: int = 0
    cache_written: int = 0
    reasoning: int = 0

    def __add__(self, other: Tokens) -> Tokens:
        return Tokens(
            self.input + other.input,
            self.output + other.output,
            self.cached + other.cached,
            self.cache_written + other.cache_written,
            self.reasoning + other.reasoning,
        )

    @property
    def total(self) -> int:
        """Input and output together."""
        return self.input + self.output


@dataclass(frozen=True, slots=True)
class Call:
    """One request, as a function that answers is given it and as `calls` lists it.

    Attributes:
        number: 1 for the first request since the last reset.
        api: ``chat``, ``responses``, ``embeddings`` or ``messages`` (Anthropic).
        body: The JSON that was sent.
        headers: The request's headers, their names in lower case.
        status: The HTTP status of the answer; 0 where the connection was closed without one, and
            before there is an answer.
        tokens: What the answer counts, from the moment it begins; nothing for a failure.
        ended: The answer was sent to its end. False for one that was cut or whose client had gone.
    """

    number: int
    api: str
    body: Mapping[str, Any] = field(repr=False)
    headers: Mapping[str, str] = field(repr=False)
    status: int = 0
    tokens: Tokens = Tokens()
    ended: bool = False

    @property
    def model(self) -> str:
        """The model that was asked."""
        return str(self.body.get("model", ""))

    @property
    def stream(self) -> bool:
        """Whether a stream was asked for."""
        return bool(self.body.get("stream"))

    @property
    def max_tokens(self) -> int | None:
        """How much the model may say, under whichever of its names it was sent."""
        for name in ("max_completion_tokens", "max_output_tokens", "max_tokens"):
            if isinstance(found := self.body.get(name), int):
                return found
        return None

    @property
    def prompt(self) -> str:
        """The last thing the user said."""
        asked = self.body.get("messages", self.body.get("input", ""))
        if isinstance(asked, str):
            return asked
        for message in reversed(asked if isinstance(asked, list) else []):
            if isinstance(message, dict) and message.get("role") == "user":
                text = _text(message.get("content"))
                if text:
                    return text
        return ""


def words_asked(body: Mapping[str, Any]) -> int:
    """The input tokens of a request: the words of all that was said in it.

    That is the system prompt or instructions, the messages, and the calls and results of tools.
    Roles, tool definitions and pictures count nothing.
    """
    return sum(count_tokens(text) for name in _ASKED for text in _texts(body.get(name)))


def tokens_of(call: Call, answer: Answer) -> Tokens:
    """What `answer` to `call` counts; the answer's own numbers before the counted ones."""
    said = count_tokens(answer.text)
    said += sum(count_tokens(f"{tool.name} {tool.arguments_json}") for tool in answer.tools)
    asked = words_asked(call.body) if answer.input_tokens is None else answer.input_tokens
    output = said + answer.reasoning_tokens if answer.output_tokens is None else answer.output_tokens
    cached = min(answer.cached_tokens, asked)
    written = min(answer.cache_write_tokens, asked - cached)
    return Tokens(asked, output, cached, written, min(answer.reasoning_tokens, output))


def _texts(value: object) -> Iterator[str]:
    match value:
        case str():
            yield value
        case list():
            for part in value:
                yield from _texts(part)
        case {"type": "tool_use", "name": str(name), "input": called}:
            yield f"{name} {json.dumps(called)}"
        case dict():
            for name in _SAID:
                yield from _texts(value.get(name))
        case _:
            return


def _text(content: object) -> str:
    """The text of a message's content: itself, or that of its text parts."""
    if isinstance(content, str):
        return content
    parts: Iterable[object] = content if isinstance(content, list) else ()
    return "".join(str(part["text"]) for part in parts if isinstance(part, dict) and "text" in part)
