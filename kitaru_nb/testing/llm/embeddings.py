"""OpenAI's embeddings: vectors that depend on the text and on nothing else."""

from __future__ import annotations

import base64
import struct
from collections.abc import Mapping
from hashlib import blake2b
from typing import Any

from kitaru_nb.testing.llm import openai
from kitaru_nb.testing.llm.answers import Answer, Failure, count_tokens
from kitaru_nb.testing.llm.call import Call, Tokens
from kitaru_nb.testing.llm.dialect import Dialect, Document, Event

__all__ = ["EMBEDDINGS", "embedded_tokens", "vector"]

_DIMENSIONS = 8


def vector(text: str, dimensions: int = _DIMENSIONS) -> list[float]:
    """A vector of length 1 for `text`, the same in every process."""
    found: list[float] = []
    for block in range(-(-dimensions // 16)):
        digest = blake2b(text.encode("utf-8", "surrogatepass"), salt=struct.pack("<Q", block)).digest()
        found += [number / 2**31 - 1 for number in struct.unpack("<16I", digest)]
    found = found[:dimensions]
    length = sum(number * number for number in found) ** 0.5
    return [number / length for number in found]


def embedded_tokens(body: Mapping[str, Any]) -> int:
    """The words of all texts; of texts that come as numbers of tokens, those numbers."""
    return sum(count_tokens(text) if isinstance(text, str) else len(text) for text in _inputs(body))


def _inputs(body: Mapping[str, Any]) -> list[Any]:
    asked = body["input"]
    return asked if isinstance(asked, list) and not all(isinstance(part, int) for part in asked) else [asked]


def _document(call: Call, _answer: Answer, tokens: Tokens) -> Document:
    dimensions = call.body.get("dimensions") or _DIMENSIONS
    packed = call.body.get("encoding_format") == "base64"
    vectors = [
        vector(text if isinstance(text, str) else repr(text), dimensions) for text in _inputs(call.body)
    ]
    return {
        "object": "list",
        "model": call.model,
        "data": [
            {"object": "embedding", "index": index, "embedding": _packed(found) if packed else found}
            for index, found in enumerate(vectors)
        ],
        "usage": {"prompt_tokens": tokens.input, "total_tokens": tokens.input},
    }


def _packed(found: list[float]) -> str:
    return base64.b64encode(struct.pack(f"<{len(found)}f", *found)).decode("ascii")


def _error_event(_call: Call, failure: Failure, _number: int) -> Event:
    return Event(openai.error(failure))


EMBEDDINGS = Dialect(
    api="embeddings",
    path="embeddings",
    needs={"model": str, "input": (str, list)},
    document=_document,
    events=None,
    error=openai.error,
    error_event=_error_event,
    request_id="x-request-id",
)
