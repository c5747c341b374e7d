"""Calls that run at once, when the stop button is pressed."""

from __future__ import annotations

import pytest

from kitaru_nb import checkpoint
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
