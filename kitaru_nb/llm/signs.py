"""What a document of a streamed answer says about where the answer stands, per wire format."""

from __future__ import annotations

import re
from collections.abc import Callable
from enum import IntEnum
from typing import Any

__all__ = ["Sign", "Signs", "signs_of"]


class Sign(IntEnum):
    """What one document says; the greater one counts where a frame has several."""

    NONE = 0
    """The answer goes on."""
    USAGE = 1
    """Nothing but the usage."""
    STOPPED = 2
    """The model has stopped; what still follows is about the answer, not part of it."""
    OVER = 3
    """Nothing follows."""
    FAILED = 4
    """The answer was given up."""


class Signs:
    """Reads the documents of one stream in order.

    Attributes:
        worth_reading: Whether a frame has to be read at all. It may be wrong in that direction:
            most frames carry a piece of text and nothing else, and are not parsed.
    """

    def __init__(self, words: bytes, read: Callable[[str, Any], Sign]) -> None:
        self.worth_reading: Callable[[bytes], object] = re.compile(words).search
        self._read = read

    def read(self, name: str, document: Any) -> Sign:
        """What this document, of the kind `name`, says."""
        if isinstance(document, dict) and document.get("error"):
            return Sign.FAILED
        return self._read(name, document)


def signs_of(api: str, answers: int) -> Signs:
    """The signs of one wire format, for a request that asks for that many answers."""
    match api:
        case "anthropic":
            return Signs(rb"message_|rror", _anthropic)
        case "openai-responses":
            return Signs(rb"response\.[cfi]|rror", _responses)
        case "gemini":
            return Signs(rb"finishReason|usage|blockReason|rror", _Choices(answers).gemini)
        case "ollama":
            return Signs(rb'"done": ?true|rror', _ollama)
        case "bedrock-converse":
            return Signs(rb"messageStop|metadata|xception|rror", _converse)
        case "bedrock-invoke":
            return Signs(rb"", _invoke)  # the model's own document is inside, in base64
        case _:
            return Signs(rb'"finish_reason": ?"|"usage": ?\{|\[DONE\]|"error"', _Choices(answers).openai)


class _Choices:
    """Counts which of the answers that were asked for have come to an end."""

    def __init__(self, answers: int) -> None:
        self._open = max(1, answers)
        self._finished: set[int] = set()

    def openai(self, name: str, document: Any) -> Sign:
        if name == "[DONE]":
            return Sign.OVER
        choices = _list(document, "choices")
        if not choices and _get(document, "usage"):
            return Sign.USAGE
        return self._count(choices, "finish_reason")

    def gemini(self, _: str, document: Any) -> Sign:
        if _get(_get(document, "promptFeedback"), "blockReason"):
            return Sign.STOPPED
        return self._count(_list(document, "candidates"), "finishReason")

    def _count(self, choices: list[Any], reason: str) -> Sign:
        self._finished.update(_get(choice, "index") or 0 for choice in choices if _get(choice, reason))
        return Sign.STOPPED if len(self._finished) >= self._open else Sign.NONE


def _anthropic(_: str, document: Any) -> Sign:
    match _get(document, "type"):
        case "message_stop":
            return Sign.OVER
        case "message_delta" if _get(_get(document, "delta"), "stop_reason"):
            return Sign.STOPPED
        case "error":
            return Sign.FAILED
        case _:
            return Sign.NONE


def _responses(_: str, document: Any) -> Sign:
    match _get(document, "type"):
        case "response.completed" | "response.incomplete":
            return Sign.OVER
        case "response.failed" | "response.cancelled" | "error":
            return Sign.FAILED
        case _:
            return Sign.NONE


def _ollama(_: str, document: Any) -> Sign:
    return Sign.OVER if _get(document, "done") is True else Sign.NONE


def _converse(name: str, _: Any) -> Sign:
    if name.startswith("!"):
        return Sign.FAILED
    return {"messageStop": Sign.STOPPED, "metadata": Sign.OVER}.get(name, Sign.NONE)


def _invoke(name: str, document: Any) -> Sign:
    if name.startswith("!"):
        return Sign.FAILED
    if _get(document, "amazon-bedrock-invocationMetrics"):
        return Sign.OVER
    return max(_anthropic(name, document), Sign.NONE)


def _get(document: Any, name: str) -> Any:
    return document.get(name) if isinstance(document, dict) else None


def _list(document: Any, name: str) -> list[Any]:
    found = _get(document, name)
    return found if isinstance(found, list) else []
