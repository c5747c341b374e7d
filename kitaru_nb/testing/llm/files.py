"""Answers as JSON: what a file, or ``POST /_script``, may hold."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, TypeAlias, TypeVar, get_args

from kitaru_nb.errors import UsageError
from kitaru_nb.testing.llm.answers import Answer, Cut, Failure, Finish, How, Reply, ToolCall, as_reply
from kitaru_nb.testing.llm.script import Answers

__all__ = ["FIELDS", "answers_from_json"]

Fits: TypeAlias = Callable[[object], bool]
T = TypeVar("T", Answer, Cut, Failure, ToolCall)


def answers_from_json(document: object) -> Answers:
    """The answers of a file: null, one answer, or a list of them in order.

    An answer is a string, or an object with the fields of `Answer` or, where it has a ``status``, of
    `Failure`.

    Raises:
        UsageError: A field is not known or is not of its type, or something else stands for an answer.
    """
    if document is None:
        return None
    if isinstance(document, list):
        return [_reply(one) for one in document]
    return _reply(document)


def _reply(value: object) -> Reply:
    if not isinstance(value, dict):
        return as_reply(value)
    if "status" in value:
        return _made(Failure, value)
    made = dict(value)
    if isinstance(tools := made.get("tools"), list):
        made["tools"] = [_made(ToolCall, tool) for tool in tools]
    if isinstance(cut := made.get("cut"), dict):
        made["cut"] = _made(Cut, cut)
    return _made(Answer, made)


def _made(kind: type[T], values: object) -> T:
    shape = FIELDS[kind]
    if not isinstance(values, dict):
        raise _unreadable(kind, f"{values!r:.80}")
    for name, value in values.items():
        if name not in shape or not shape[name](value):
            raise _unreadable(kind, f"{name}: {value!r:.80}")
    if kind is ToolCall and "name" not in values:
        raise _unreadable(kind, f"{values!r:.80} without a name")
    return kind(**values)


def _unreadable(kind: type, what: str) -> UsageError:
    return UsageError(
        f"`{what}` cannot be read as part of {kind.__name__} for the fake model",
        kind="bad-answer",
        hint=f"write an object with some of: {', '.join(FIELDS[kind])}",
    )


def _text(value: object) -> bool:
    return isinstance(value, str)


def _count(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0


def _seconds(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and value >= 0


def _one_of(literal: Any) -> Fits:
    return lambda value: value in get_args(literal)


def _a(*kinds: type) -> Fits:
    return lambda value: isinstance(value, kinds)


FIELDS: Mapping[type, Mapping[str, Fits]] = {
    ToolCall: {"name": _text, "arguments": _a(str, dict), "id": _text},
    Cut: {"after": _count, "how": _one_of(How)},
    Answer: {
        "text": _text,
        "tools": _a(list),
        "input_tokens": _count,
        "output_tokens": _count,
        "cached_tokens": _count,
        "cache_write_tokens": _count,
        "reasoning_tokens": _count,
        "latency": _seconds,
        "chunk_latency": _seconds,
        "finish": _one_of(Finish),
        "cut": _a(Cut),
    },
    Failure: {
        "status": _count,
        "message": _text,
        "type": _text,
        "retry_after": _seconds,
        "latency": _seconds,
    },
}
"""What each part may hold, and what is right there."""
