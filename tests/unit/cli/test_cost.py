"""`cost`: a table with a bar for each sum, and the same numbers as JSON."""

from __future__ import annotations

import json
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from kitaru_nb import checkpoint, record_usage
from kitaru_nb.cli.cost import bar
from kitaru_nb.cli.main import main
from kitaru_nb.engine.book import Book
from kitaru_nb.engine.context import inside
from kitaru_nb.engine.lease import Lease
from kitaru_nb.model.execution import ExecutionStatus, Identity
from kitaru_nb.model.settings import Settings
from kitaru_nb.stacks.open import open_engine

FULL = "█" * 20


@pytest.fixture
def ids(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """One execution with two tags that paid 3 dollars, one without that paid 1 and asked an unknown model."""
    monkeypatch.setenv("KITARU_NB_HOME", str(tmp_path / "home"))
    engine = open_engine(Settings(home=tmp_path / "home"))

    @checkpoint
    def ask(model: str, dollars: float | None) -> str:
        record_usage(model, input_tokens=1000, output_tokens=200, cost=dollars)
        return model

    found = []
    asked: list[tuple[list[str], list[tuple[str, float | None]]]] = [
        (["nightly", "big"], [("large", 2.0), ("small", 1.0)]),
        ([], [("small", 1.0), ("in no price list", None)]),
    ]
    for number, (tags, calls) in enumerate(asked):
        lease = Lease(engine, Identity(flow=f"tests:{number}"))
        book = Book(engine, partial(lease.take, tags=tags))
        with inside(book.scope("flow")):
            for model, dollars in calls:
                ask(model, dollars)
        found.append(book.execution)
        book.close()
        lease.give_back(ExecutionStatus.COMPLETED)
    engine.close()
    return found


def typed(capsys: pytest.CaptureFixture[str], *words: str) -> Any:
    assert main(["cost", *words, "--json"]) == 0
    return json.loads(capsys.readouterr().out)


def test_the_table_has_a_bar_as_long_as_each_part_and_names_what_has_no_price(
    ids: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["cost"]) == 0

    lines = capsys.readouterr().out.splitlines()
    dear, cheap, total, missing = lines[1:]
    assert dear.split()[:5] == [ids[0], "2", "2,000", "400", "$3.00"]
    assert dear.endswith(FULL)
    assert cheap.split()[:6] == [ids[1], "2", "2,000", "400", "$1.00", "+"]
    assert cheap.split()[-1] == "█" * 6 + "▋"
    assert total.split() == ["total", "4", "4,000", "800", "$4.00", "+"]
    assert missing.startswith("1 call has no price and is missing in the cost. Try: [tool.kitaru_nb.prices]")


@pytest.mark.parametrize(
    ("by", "sums"),
    [
        ("model", {"large": 2.0, "small": 2.0, "in no price list": None}),
        ("tag", {"nightly": 3.0, "big": 3.0, "(no tag)": 1.0}),
        ("checkpoint", {"ask": 4.0}),
    ],
)
def test_sums_are_by_what_is_asked_for(
    ids: list[str], capsys: pytest.CaptureFixture[str], by: str, sums: dict[str, float | None]
) -> None:
    assert ids
    assert {row[by]: row["cost"] for row in typed(capsys, "--by", by)} == sums


def test_days_are_those_of_the_calls(ids: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    rows = typed(capsys, "--by", "day")

    assert sum(row["cost"] for row in rows) == 4.0
    assert all(len(row["day"]) == len("2026-01-01") for row in rows)
    assert [row["day"] for row in rows] == sorted(row["day"] for row in rows)
    assert ids


def test_one_execution_one_tag_or_a_time_alone_can_be_asked_for(
    ids: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert [row["execution"] for row in typed(capsys, ids[1])] == [ids[1]]
    assert [row["execution"] for row in typed(capsys, "--tag", "big")] == [ids[0]]
    assert len(typed(capsys, "--since", "1h")) == 2
    assert typed(capsys, "--since", "2999-01-01") == []


def test_a_tag_has_no_total_since_an_execution_may_have_two(
    ids: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert ids
    main(["cost", "--by", "tag"])

    assert "total" not in capsys.readouterr().out


def test_without_a_call_it_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("KITARU_NB_HOME", str(tmp_path / "home"))
    open_engine(Settings(home=tmp_path / "home")).close()

    assert main(["cost"]) == 0
    assert capsys.readouterr().out == "no model call is on record\n"


@pytest.mark.parametrize(
    ("part", "whole", "drawn"),
    [(0, 5, ""), (5, 5, FULL), (2.5, 5, "█" * 10), (0.0001, 5, "▏"), (1, 0, "")],
)
def test_a_bar_is_as_long_as_its_part_of_the_whole(part: float, whole: float, drawn: str) -> None:
    assert bar(part, whole) == drawn
