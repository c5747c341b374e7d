"""Calls that run at once, when the stop button is pressed."""

from __future__ import annotations

import threading
from concurrent.futures import CancelledError

import pytest

from kitaru_nb import checkpoint
from kitaru_nb.engine.futures import Future
from tests.unit.engine.test_calls import attempts
from tests.unit.engine.turns import Attempts

__all__ = ["attempts"]


def test_the_stop_button_ends_a_map_though_the_map_itself_makes_the_call(attempts: Attempts) -> None:
    @checkpoint
    def stop(x: int) -> None:
        attempts.ran.append(x)
        raise KeyboardInterrupt

    with attempts.attempt(), pytest.raises(KeyboardInterrupt):
        stop.map(range(500), max_workers=1)

    assert len(attempts.ran) < 500


def test_a_dropped_call_is_never_made_and_whoever_waits_for_it_is_told() -> None:
    block, made = threading.Event(), list[int]()
    told = list[bool]()

    def stopped() -> None:
        told.append(True)

    busy = [Future(block.wait) for _ in range(40)]  # more than there are threads
    waiting = Future(lambda: made.append(1), stopped)

    try:
        waiting.drop()
    finally:
        block.set()

    assert all(future.result(10) for future in busy)
    with pytest.raises(CancelledError):
        waiting.result(10)
    assert (made, told) == ([], [True])
