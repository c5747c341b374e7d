"""Why a model call was not served from the record: where it differs from the one that is there.

The usual cause is a time or a random id in a prompt, deep inside a long text. So a text is not shown
whole but around the first place where the two differ.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

__all__ = ["Difference", "first_difference"]

_AROUND = 20


@dataclass(frozen=True, slots=True)
class Difference:
    """The first difference between two requests.

    Attributes:
        place: Where in the body, such as ``messages[3].content``; empty for the whole of it.
        recorded: What the record has there, in short.
        asked: What is asked now.
    """

    place: str
    recorded: str
    asked: str

    def __str__(self) -> str:
        """In a sentence."""
        return f"`{self.place or 'the request'}` is `{self.asked}`, and was `{self.recorded}`"


def first_difference(recorded: bytes, asked: bytes) -> Difference | None:
    """The first place where two bodies of `ModelRequest` differ, in the order of the request.

    None when they are equal; then what differs is the method or the address.
    """
    try:
        return _between(json.loads(recorded), json.loads(asked), "")
    except ValueError:
        return None if recorded == asked else Difference("", repr(recorded[:_AROUND]), repr(asked[:_AROUND]))


def _between(recorded: Any, asked: Any, place: str) -> Difference | None:
    if isinstance(recorded, dict) and isinstance(asked, dict):
        for name in [*asked, *(name for name in recorded if name not in asked)]:
            inside = f"{place}.{name}" if place else name
            if found := _between(recorded.get(name, _MISSING), asked.get(name, _MISSING), inside):
                return found
        return None
    if isinstance(recorded, list) and isinstance(asked, list):
        for number, (one, other) in enumerate(zip(recorded, asked, strict=False)):
            if found := _between(one, other, f"{place}[{number}]"):
                return found
        if len(recorded) != len(asked):
            return Difference(place, _items(recorded), _items(asked))
        return None
    if type(recorded) is type(asked) and recorded == asked:
        return None
    if isinstance(recorded, str) and isinstance(asked, str):
        pairs = enumerate(zip(recorded, asked, strict=False))
        at = next((n for n, (one, other) in pairs if one != other), min(len(recorded), len(asked)))
        return Difference(place, _part(recorded, at), _part(asked, at))
    return Difference(place, _short(recorded), _short(asked))


_MISSING = object()


def _part(text: str, at: int) -> str:
    """The text around `at`."""
    start, end = max(0, at - _AROUND), at + _AROUND
    return ("…" if start else "") + text[start:end] + ("…" if end < len(text) else "")


def _items(values: list[Any]) -> str:
    return f"{len(values)} item{'' if len(values) == 1 else 's'}"


def _short(value: Any) -> str:
    return "not there" if value is _MISSING else _part(json.dumps(value, ensure_ascii=False), 0)
