"""Results of other executions, each given once."""

from __future__ import annotations

import os
import random
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest

from kitaru_nb import checkpoint, once
from kitaru_nb.engine.book import Book
from kitaru_nb.engine.context import inside
from kitaru_nb.engine.lease import Lease
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


def test_what_is_left_of_a_call_that_did_not_come_to_its_end_is_given_to_one_call(attempts: Attempts) -> None:
    failing = {"now": True}

    @checkpoint
    def sample() -> float:
        attempts.ran.append(1)
        return random.random()

    def answers() -> list[float]:
        @checkpoint
        def answer(item: int) -> float:
            if attempts.ran == [] and item == 1:
                raise ValueError("before its sample")
            found = sample()
            if failing.get("now"):
                raise ValueError("after its sample")
            return found

        found = []
        for item in (1, 2):
            with suppress(ValueError):
                found.append(answer(item))
        return found

    with attempts.attempt():
        assert answers() == []
    failing.clear()
    with attempts.attempt():
        found = answers()

    assert len(set(found)) == 2
    assert len(attempts.ran) == 2


def test_who_takes_over_from_a_call_is_given_all_that_happened_in_it(attempts: Attempts) -> None:
    @checkpoint
    def sample(number: int) -> float:
        attempts.ran.append(number)
        return random.random()

    with attempts.attempt() as scope, inside(scope.inner("f", "old")):
        first = [sample(1), sample(2)]
    with attempts.attempt() as scope:
        taking, late = scope.inner("f", "new"), None
        with inside(taking):
            found = [sample(1)]
        late = scope.inner("f", "old")  # in a thread it may begin only now
        with inside(taking):
            found.append(sample(2))
        with inside(late):
            anew = [sample(1), sample(2)]

    assert found == first
    assert not set(anew) & set(first)


def test_a_cell_that_is_run_again_in_the_same_kernel_finds_what_an_edited_call_had_done(
    attempts: Attempts,
) -> None:
    @checkpoint
    def sample() -> float:
        attempts.ran.append(1)
        return random.random()

    lease = Lease(attempts.engine, Identity(flow="tests:flow"))
    book = Book(attempts.engine, lease.take)
    for arguments in ("before the edit", "after it"):
        with inside(book.scope("cell:a").inner("f", arguments)):
            sample()
    book.close()
    lease.give_back(ExecutionStatus.INTERRUPTED)

    assert attempts.ran == [1]


def test_what_happened_in_one_effect_is_not_given_to_another(attempts: Attempts) -> None:
    @checkpoint
    def sample() -> float:
        return random.random()

    with attempts.attempt():
        first = once("a", sample)
    with attempts.attempt():
        again, other = once("a", sample), once("b", sample)

    assert again == first != other


def test_a_loop_that_is_entered_again_counts_the_calls_that_failed_before(attempts: Attempts) -> None:
    @checkpoint
    def sample() -> float:
        return random.random()

    with attempts.attempt() as scope:
        with inside(scope.inner("f", "x")):  # it fails
            first = sample()
        met = scope.met()
    with attempts.attempt() as scope:
        scope.go_on_from(met)
        with inside(scope.inner("f", "x")):
            second = sample()

    assert first != second


@pytest.mark.skipif(not hasattr(os, "fork"), reason="nothing forks here")
def test_equal_calls_in_forked_processes_have_a_result_each_again(attempts: Attempts) -> None:
    @checkpoint
    def sample() -> str:
        return os.urandom(8).hex()

    def ask(into: Path) -> None:
        child = os.fork()
        if child == 0:
            try:
                into.write_text(sample())
            finally:
                os._exit(0)
        os.waitpid(child, 0)

    home = attempts.engine.settings.home

    def body() -> list[str]:
        for number in range(2):
            ask(home / f"{number}.txt")
        return [*((home / f"{number}.txt").read_text() for number in range(2)), sample()]

    first, second, _ = attempts.twice(body)

    assert len(set(first)) == 3
    assert sorted(second) == sorted(first)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="nothing forks here")
def test_a_cell_that_is_run_again_is_given_its_results_each_time_though_something_has_forked(
    attempts: Attempts,
) -> None:
    @checkpoint
    def sample() -> str:
        return os.urandom(8).hex()

    found = []
    with attempts.attempt() as scope:
        child = os.fork()
        if child == 0:
            os._exit(0)
        os.waitpid(child, 0)
        for _ in range(3):
            with inside(scope.book.scope("cell:a")):
                found.append(sample())

    assert len(set(found)) == 1
