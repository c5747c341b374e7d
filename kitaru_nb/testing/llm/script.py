"""Which answer comes next."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator
from typing import Any, TypeAlias

from kitaru_nb.testing.llm.answers import Answer, Failure, Reply, ToolCall, as_reply
from kitaru_nb.testing.llm.call import Call

__all__ = ["Answers", "Script"]

One: TypeAlias = str | Answer | ToolCall | Failure
Answers: TypeAlias = One | Iterable[One | list[ToolCall]] | Callable[[Call], One | list[ToolCall]] | None

_EXHAUSTED = (
    "the fake model has no answer left: {given} were given, and this is request {number}; "
    "give more, or one text or a function for any number of requests"
)


class Script:
    """The answers a fake was given, dealt out to whichever thread asks.

    Args:
        answers: None for numbered ones; one answer for every request; several in the order of the
            requests; a function of the request.

    Raises:
        UsageError: Something among them is no answer.
    """

    def __init__(self, answers: Answers = None) -> None:
        self._lock = threading.Lock()
        self._answer: Callable[[Call], Any] = _numbered
        self._list: list[Reply] = []
        self._left: Iterator[Any] | None = None
        if isinstance(answers, str | Answer | ToolCall | Failure):
            reply = as_reply(answers)
            self._answer = lambda _call: reply
        elif callable(answers):
            self._answer = answers
        elif isinstance(answers, Iterator):
            self._left = answers
        elif answers is not None:
            self._list = [as_reply(answer) for answer in answers]
            self._left = iter(self._list)

    def next(self, call: Call) -> Reply:
        """The answer to `call`."""
        if self._left is None:
            return as_reply(self._answer(call))
        with self._lock:
            found = next(self._left, None)
        if found is not None:
            return as_reply(found)
        # A status that the SDKs do not try again: the test fails at once, and says why.
        message = _EXHAUSTED.format(given=len(self._list), number=call.number)
        return Failure(400, message, type="no_answer_left")

    def rewind(self) -> None:
        """Begin again with the first answer of a list."""
        with self._lock:
            if self._list:
                self._left = iter(self._list)


def _numbered(call: Call) -> str:
    return f"answer {call.number} to {call.prompt}".rstrip()
