"""Results of other executions, each given once."""

from __future__ import annotations

import random

from kitaru_nb import checkpoint
from kitaru_nb.engine.context import inside
from kitaru_nb.engine.lease import Lease
from kitaru_nb.engine.scope import Book
from kitaru_nb.model.execution import ExecutionStatus, Identity
from tests.unit.engine.test_calls import attempts
from tests.unit.engine.turns import Attempts

__all__ = ["attempts"]


def test_equal_calls_that_are_reused_have_several_results_in_their_order(attempts: Attempts) -> None:
    @checkpoint(reuse=True)
    def roll() -> float:
        attempts.ran.append(1)
        return random.random()

    def other(name: str, count: int) -> list[float]:
        lease = Lease(attempts.engine, Identity(flow=name))
        book = Book(attempts.engine, lease.take)
        with inside(book.scope("flow")):
            found = [roll() for _ in range(count)]
        book.close()
        lease.give_back(ExecutionStatus.INTERRUPTED)
        return found

    with attempts.attempt():
        first = [roll() for _ in range(3)]
    second, third = other("tests:second", 3), other("tests:third", 5)

    assert second == first == third[:3]
    assert len(set(third)) == 5
    assert len(attempts.ran) == 5
