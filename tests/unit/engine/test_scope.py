"""Results of other executions, each given once."""

from __future__ import annotations

import random
from collections.abc import Callable
from contextlib import suppress

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


def test_what_happened_in_a_call_belongs_to_its_result_alone(attempts: Attempts) -> None:
    @checkpoint
    def inner() -> float:
        return random.random()

    @checkpoint
    def outer() -> float:
        found = inner()
        if len(attempts.ran) == 2:
            attempts.ran.append(2)
            raise ValueError("stopped after what is in it was recorded")
        attempts.ran.append(1)
        return found

    with attempts.attempt(), suppress(ValueError):
        _ = [outer() for _ in range(3)]
    with attempts.attempt():
        again = [outer() for _ in range(3)]

    assert len(set(again)) == 3


def test_what_a_call_has_done_is_found_after_an_edit_of_it_where_equal_ones_were_made(
    attempts: Attempts,
) -> None:
    @checkpoint
    def inner() -> float:
        attempts.ran.append(1)
        return random.random()

    def outer_of(add: int) -> Callable[[], float]:
        if add:

            @checkpoint(name="outer")
            def edited() -> float:
                return 1 + inner()

            return edited

        @checkpoint(name="outer")
        def outer() -> float:
            return inner()

        return outer

    with attempts.attempt():
        first = [outer_of(0)() for _ in range(3)]
    with attempts.attempt():
        edited = [outer_of(1)() for _ in range(3)]

    assert edited == [1 + each for each in first]
    assert len(attempts.ran) == 3
