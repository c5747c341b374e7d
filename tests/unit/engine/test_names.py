"""What steps are called, whatever was called and given up before."""

from __future__ import annotations

import ast
import random
from pathlib import Path

import pytest

from kitaru_nb.engine.names import StepNames
from kitaru_nb.engine.step_names import step_name
from tests.unit.engine.kernel import Kernel, cell_of


@pytest.mark.parametrize("seed", range(20))
def test_a_name_that_is_made_up_is_the_first_that_is_free(seed: int) -> None:
    chosen = random.Random(seed)
    names = StepNames()
    taken: dict[str, str] = {}

    for number in range(200):
        again = taken and chosen.random() < 0.2
        step = chosen.choice(sorted(taken)).removeprefix("cell:") if again else str(number)
        cell = cell_of(f"{chosen.choice('ab')} = {number}", step=step)
        if chosen.random() < 0.2 and taken:
            gone = chosen.choice(sorted(taken))
            names.forget([gone])
            del taken[gone]
        expected = taken.get(cell.step or "") or step_name(cell.tree, taken.values())
        assert names.name(cell) == expected
        taken[cell.step or ""] = expected
        if chosen.random() < 0.2:
            names.give_back(cell, expected)
            del taken[cell.step or ""]


def test_the_thousandth_cell_that_begins_alike_is_named_as_fast_as_the_first() -> None:
    tried: list[object] = []

    class Live(dict[str, str | None]):
        def __contains__(self, name: object) -> bool:
            tried.append(name)
            return super().__contains__(name)

    names = StepNames()
    names._live = Live()
    for number in range(1000):
        names.name(cell_of("said = 1", step=str(number)))

    assert len(tried) < 5000
    assert step_name(ast.parse("said = 1"), names._live) == "said-1001"


def test_where_no_ids_are_sent_a_cell_is_called_as_the_same_source_was(tmp_path: Path) -> None:
    first = Kernel(tmp_path / "home")
    first.cell("r = 1")
    first.cell("r = 2")

    again = Kernel(tmp_path / "home").take_over()
    names = []
    for source in ("r = 3", "r = 2", "r = 1"):
        again.cell(source)
        names.append(again.last.draft.name)

    assert names == ["r-3", "r-2", "r"]
