"""What an answer of a model says, put together: in a stream, a word may stand in several events."""

from __future__ import annotations

import json
import re

__all__ = ["said_in"]

_PIECE = re.compile(
    r'"(?:content|text|delta|arguments|partial_json|thinking|reasoning_content|response)"'
    r'\s*:\s*"((?:[^"\\]|\\.)*)"'
)


def said_in(body: bytes) -> str:
    """The texts of an answer one after the other, for who looks for something in them, and no more."""
    written = "".join(_PIECE.findall(body.decode("utf-8", "replace")))
    try:
        return str(json.loads(f'"{written}"', strict=False))
    except ValueError:
        return written
