"""A meter that keeps its record in memory, for tests of the tap with any client.

Also imported by programs that run in Pythons of their own, so it needs nothing but kitaru_nb.
"""

from __future__ import annotations

import threading
from collections import defaultdict
from dataclasses import dataclass, field

from kitaru_nb.llm.meter import ModelAnswer, ModelRequest, RequestKey, Waits
from kitaru_nb.model.cost import Usage


@dataclass
class MemoryMeter:
    """Numbers equal calls in the order they begin; a failed one gives its number back."""

    answers: dict[tuple[RequestKey, int], ModelAnswer] = field(default_factory=dict)
    requests: list[ModelRequest] = field(default_factory=list)
    failures: list[tuple[str, Usage | None]] = field(default_factory=list)
    served: list[ModelAnswer] = field(default_factory=list)
    refuse: BaseException | None = None

    def __post_init__(self) -> None:
        self.lock = threading.RLock()
        self.next_attempt()

    def next_attempt(self) -> None:
        """Begin again with the first number, as a new kernel does."""
        self._taken: dict[RequestKey, set[int]] = defaultdict(set)
        self.open = 0

    def begin(
        self,
        request: ModelRequest,
        *,
        waits: Waits = Waits.NOTHING,
    ) -> ModelAnswer | MemoryTicket:
        with self.lock:
            if self.refuse is not None:
                raise self.refuse
            taken = self._taken[request.key]
            number = next(n for n in range(len(taken) + 1) if n not in taken)
            taken.add(number)
            if (answer := self.answers.get((request.key, number))) is not None:
                self.served.append(answer)
                return answer
            self.requests.append(request)
            self.open += 1
            return MemoryTicket(self, request, number)

    @property
    def recorded(self) -> list[ModelAnswer]:
        """The answers on record."""
        return list(self.answers.values())

    def give_back(self, key: RequestKey, number: int) -> None:
        self._taken[key].discard(number)


@dataclass
class MemoryTicket:
    meter: MemoryMeter
    request: ModelRequest
    number: int

    def done(self, answer: ModelAnswer) -> None:
        with self.meter.lock:
            assert (self.request.key, self.number) not in self.meter.answers, "recorded twice"
            self.meter.answers[self.request.key, self.number] = answer
            self.meter.open -= 1

    def failed(self, reason: str, usage: Usage | None = None) -> None:
        with self.meter.lock:
            self.meter.failures.append((reason, usage))
            self.meter.give_back(self.request.key, self.number)
            self.meter.open -= 1
