"""What ties results to what was there before a call."""

from __future__ import annotations

import io
import sqlite3
import types
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from kitaru_nb import checkpoint
from kitaru_nb.errors import UnstorableError
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


class Agent:
    """Holds what cannot be stored beside what it does."""

    def __init__(self, tag: str) -> None:
        self.connection = sqlite3.connect(":memory:")
        self.tag = tag
        self.done: list[str] = []

    @checkpoint
    def step(self) -> str:
        self.done.append(self.tag)
        return self.tag


def test_what_a_method_does_to_an_object_with_a_connection_comes_back(attempts: Attempts) -> None:
    def body() -> tuple[list[str], list[str]]:
        agent = Agent("a")
        return [agent.step(), agent.step()], agent.done

    assert attempts.twice(body)[:2] == ((["a", "a"], ["a", "a"]),) * 2


def test_beside_a_connection_everything_else_in_an_argument_counts(attempts: Attempts) -> None:
    @checkpoint
    def shown(inputs: dict[str, object]) -> object:
        return inputs["x"]

    found = []
    for x in (1, 2):
        with attempts.attempt():
            found.append((Agent(str(x)).step(), shown({"connection": sqlite3.connect(":memory:"), "x": x})))

    assert found == [("1", 1), ("2", 2)]


def test_a_file_in_memory_is_written_again(attempts: Attempts) -> None:
    @checkpoint
    def write(file: io.StringIO, text: str) -> None:
        file.write(text)

    def body() -> list[object]:
        file, inside = io.StringIO(), {"file": io.StringIO("before")}
        write(file, "a")
        write(file, "b")
        write(inside["file"], "c")
        return [file.getvalue(), file.tell(), inside["file"].getvalue()]

    assert attempts.twice(body)[:2] == (["ab", 2, "cefore"],) * 2


def test_a_call_that_reads_on_in_an_open_file_is_an_error(attempts: Attempts, tmp_path: Path) -> None:
    (tmp_path / "lines.txt").write_text("a\nb\n")

    @checkpoint
    def line(file: Any) -> Any:
        return next(file)

    with (
        attempts.attempt(),
        (tmp_path / "lines.txt").open() as file,
        pytest.raises(UnstorableError) as caught,
    ):
        line(file)

    assert caught.value.kind == "not-put-back"


@pytest.mark.parametrize(
    "flowing", [lambda: (i for i in range(3)), lambda: map(str, (i for i in range(3)))], ids=["plain", "map"]
)
def test_a_generator_is_no_argument(attempts: Attempts, flowing: Callable[[], Any]) -> None:
    @checkpoint
    def first(numbers: Any) -> Any:
        attempts.ran.append(1)
        return next(numbers)

    with attempts.attempt(), pytest.raises(UnstorableError) as caught:
        first(flowing())

    assert caught.value.kind == "unstorable-argument"
    assert caught.value.hint == "first(list(numbers))"
    assert attempts.ran == []
