"""What all connections to a fake share: its script, its count, how slow it is."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict, replace
from typing import Any

from kitaru_nb.testing.llm.answers import Answer, Failure, Reply
from kitaru_nb.testing.llm.call import Call, Tokens
from kitaru_nb.testing.llm.embeddings import EMBEDDINGS, embedded_tokens
from kitaru_nb.testing.llm.script import Answers, Script

__all__ = ["Fake"]


class Fake:
    """The state of one fake model; any number of threads may use it at once.

    Args:
        answers: What it says.
        latency: Seconds before each answer.
        chunk_latency: Seconds before each piece of a streamed answer.
        gzip: Compress answers for clients that take it.
    """

    def __init__(self, answers: Answers, *, latency: float, chunk_latency: float, gzip: bool) -> None:
        self.latency = latency
        self.chunk_latency = chunk_latency
        self.gzip = gzip
        self.closing = threading.Event()
        self._script = Script(answers)
        self._calls: list[Call] = []
        self._lock = threading.Lock()

    @property
    def calls(self) -> list[Call]:
        """The requests so far, in the order they came; a copy."""
        with self._lock:
            return list(self._calls)

    def begin(self, api: str, body: Mapping[str, Any], headers: Mapping[str, str]) -> Call:
        """Count one more request."""
        with self._lock:
            call = Call(len(self._calls) + 1, api, body, headers)
            self._calls.append(call)
        return call

    def note(self, call: Call, **outcome: Any) -> Call:
        """Record how the answer to `call` went; nothing where the count was reset meanwhile."""
        noted = replace(call, **outcome)
        with self._lock:
            place = call.number - 1
            # Each request has a body of its own: the object says whether this still is that request.
            if place < len(self._calls) and self._calls[place].body is call.body:
                self._calls[place] = noted
        return noted

    def reply_to(self, call: Call) -> Reply:
        """What the script answers to `call`; a function that raises is a failure that says so."""
        if call.api == EMBEDDINGS.api:
            return Answer(input_tokens=embedded_tokens(call.body))
        try:
            return self._script.next(call)
        except Exception as error:  # noqa: BLE001 - the user's function; a status the SDKs do not try again
            return Failure(400, f"the answer function raised {type(error).__name__}: {error}")

    def script(self, answers: Answers) -> None:
        """Answer with these from now on."""
        self._script = Script(answers)

    def reset(self) -> None:
        """Forget the requests so far, and begin again with the first answer of a list."""
        with self._lock:
            self._calls.clear()
            self._script.rewind()

    def count(self) -> dict[str, Any]:
        """Requests and tokens: together, by endpoint and by model."""
        calls = self.calls
        asked: dict[str, list[Call]] = {}
        for call in calls:
            asked.setdefault(call.model, []).append(call)
        return {
            "requests": len(calls),
            "answered": sum(call.status == 200 for call in calls),
            "failed": sum(call.status != 200 for call in calls),
            "tokens": _tokens(calls),
            "apis": dict(Counter(call.api for call in calls)),
            "models": {
                model: {"requests": len(of_it), "tokens": _tokens(of_it)} for model, of_it in asked.items()
            },
        }


def _tokens(calls: list[Call]) -> dict[str, int]:
    return asdict(sum((call.tokens for call in calls), Tokens()))
