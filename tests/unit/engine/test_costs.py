"""What model calls have cost and what the record has saved: the right numbers under the right names."""

from __future__ import annotations

from pathlib import Path

import pytest

from kitaru_nb import checkpoint, record_usage
from kitaru_nb.engine.costs import By, CostRow, costs
from tests.unit.engine.turns import Attempts


@pytest.fixture
def attempts(tmp_path: Path) -> Attempts:
    return Attempts(tmp_path / "home")


def asked(attempts: Attempts) -> None:
    """One attempt: a call that asks two models, another that asks one, and the flow itself one."""

    @checkpoint
    def draft() -> str:
        record_usage("one", input_tokens=100, output_tokens=20, cost=0.5)
        record_usage("two", input_tokens=10, output_tokens=2, cost=0.25)
        return "draft"

    @checkpoint
    def check() -> str:
        record_usage("unknown to any price list", input_tokens=7, output_tokens=1)
        return "checked"

    with attempts.attempt():
        draft()
        check()
        record_usage("one", input_tokens=1, output_tokens=1, cost=0.125)


def rows(attempts: Attempts, by: By) -> dict[str, CostRow]:
    return {row.label: row for row in costs(attempts.engine.journal, by=by)}


def test_each_call_counts_once_under_its_model(attempts: Attempts) -> None:
    asked(attempts)

    assert rows(attempts, By.MODEL) == {
        "one": CostRow("one", 2, 101, 21, 0.625),
        "two": CostRow("two", 1, 10, 2, 0.25),
        "unknown to any price list": CostRow("unknown to any price list", 1, 7, 1, None, unpriced=1),
    }


def test_what_is_served_is_saved_and_not_paid_again(attempts: Attempts) -> None:
    asked(attempts)
    asked(attempts)

    found = rows(attempts, By.CHECKPOINT)

    assert found == {
        "draft": CostRow("draft", 2, 110, 22, 0.75, saved=0.75, served=2),
        "flow": CostRow("flow", 1, 1, 1, 0.125, saved=0.125, served=1),
        "check": CostRow("check", 1, 7, 1, None, unpriced=1),
    }


def test_the_sum_of_an_execution_is_what_the_execution_says(attempts: Attempts) -> None:
    asked(attempts)

    (row,) = costs(attempts.engine.journal, by=By.EXECUTION)

    assert row.label == attempts.execution.id
    assert row.cost == attempts.execution.cost == 0.875
    assert row.input_tokens + row.output_tokens == attempts.execution.tokens == 142
    assert row.to_json(By.EXECUTION)["tokens"] == 142
