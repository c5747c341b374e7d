"""What ties results to what was there before a call."""

from __future__ import annotations

import types
from typing import Any

import numpy as np

from kitaru_nb import checkpoint
from tests.unit.engine.test_calls import attempts
from tests.unit.engine.turns import Attempts

__all__ = ["attempts"]


def test_a_result_that_is_its_argument_is_that_again(attempts: Attempts) -> None:
    @checkpoint
    def same(x: Any) -> Any:
        attempts.ran.append(1)
        return x

    def body() -> list[bool]:
        listed, instance = [1], types.SimpleNamespace(x=[1])
        return [same(listed) is listed, same(instance) is instance]

    assert attempts.twice(body) == ([True, True], [True, True], [])


def test_a_part_of_an_argument_in_a_result_is_that_part_again(attempts: Attempts) -> None:
    @checkpoint
    def part(x: dict[str, Any]) -> dict[str, Any]:
        return {"part": x["a"], "new": [1]}

    def body() -> bool:
        given = {"a": [1]}
        return part(given)["part"] is given["a"]

    assert attempts.twice(body)[:2] == (True, True)


def test_a_view_of_an_argument_shares_its_memory_again(attempts: Attempts) -> None:
    @checkpoint
    def view(a: Any) -> Any:
        return a[1:]

    @checkpoint
    def changed(a: Any) -> Any:
        a += 1
        return a[::2]

    def body() -> list[Any]:
        one, other = np.zeros(4), np.zeros(4)
        view(one)[0] = 5
        changed(other)[1] = 7
        return [one.tolist(), other.tolist()]

    expected = [[0, 5, 0, 0], [1, 1, 7, 1]]
    assert attempts.twice(body)[:2] == (expected, expected)
