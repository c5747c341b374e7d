"""What the paths share: what is asked, what a client saw, and the register of paths."""

from __future__ import annotations

import functools
import ssl
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

GPT, CLAUDE, EMBEDDING = "gpt-4o", "claude-opus-4-1", "text-embedding-3-small"
QUESTION = "how is the weather in Utrecht"
ASKED = [{"role": "user", "content": QUESTION}]
PARAMETERS = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
OPENAI_TOOLS = [{"type": "function", "function": {"name": "weather", "parameters": PARAMETERS}}]
SUNNY = "sunny and mild"

# Each client makes one, which reads every authority's certificate; no path here speaks TLS.
ssl.create_default_context = functools.cache(ssl.create_default_context)


@dataclass
class Seen:
    """What a client saw of the answers to one path's requests."""

    text: str = ""
    input: int | None = None
    output: int | None = None
    tools: list[str] = field(default_factory=list)


Path = Callable[[], Any]
PATHS: dict[str, Path] = {}


def path(function: Path) -> Path:
    """Register a path under the name of its function."""
    PATHS[function.__name__] = function
    return function


def weather(city: str) -> str:
    """The weather in a city."""
    return f"{SUNNY} in {city}"


def together(first: Seen, second: Seen) -> Seen:
    """Two answers in a row as one."""
    assert first.input is not None
    assert second.input is not None
    assert first.output is not None
    assert second.output is not None
    return Seen(
        second.text, first.input + second.input, first.output + second.output, [*first.tools, *second.tools]
    )


def of_completion(answer: Any) -> Seen:
    """What is in a chat completion, whoever made the object."""
    message = answer.choices[0].message
    called = [f"{call.function.name} {call.function.arguments}" for call in message.tool_calls or []]
    return Seen(message.content or "", answer.usage.prompt_tokens, answer.usage.completion_tokens, called)


def of_chunks(chunks: list[Any]) -> Seen:
    """What is in the chunks of a streamed one."""
    seen = Seen("".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices))
    if usage := getattr(chunks[-1], "usage", None):
        seen.input, seen.output = usage.prompt_tokens, usage.completion_tokens
    return seen
