"""The decision: restored or run, and what an unnamed step is called."""

from __future__ import annotations

import ast
from datetime import UTC, datetime
from typing import Any, cast

import pytest

from kitaru_nb.engine.namespace import State
from kitaru_nb.engine.steps import Pending, Restore, Run, choose, same_step, step_name, unmet
from kitaru_nb.model.checkpoint import Checkpoint
from kitaru_nb.model.execution import ExecutionId
from kitaru_nb.testing import a_draft
from tests.unit.engine.kernel import cell_of


def pending(step: str | None = None) -> Pending:
    needs = cast("Any", None)
    return Pending(cell_of("x = 1", step=step), "x", needs, State(), {}, False, datetime.now(UTC), 0.0)


def recorded(seq: int, step: str | None = None, **conditions: str) -> Checkpoint:
    draft = a_draft(step=step, conditions={f"names:{name}": value for name, value in conditions.items()})
    return Checkpoint(seq, ExecutionId("ex_1"), 1, 1, draft)


def decide(now: Pending, *records: Checkpoint, **options: Any) -> int | None:
    """The `seq` of what is restored, None for a run."""
    decision = choose(
        now,
        records,
        holds=options.get("holds", lambda _what, _digest: True),
        allowed=options.get("allowed", lambda _checkpoint: True),
    )
    assert decision.pending is now
    match decision:
        case Restore(checkpoint=checkpoint):
            return checkpoint.seq
        case Run():
            return None


def test_nothing_on_record_runs() -> None:
    assert decide(pending()) is None


def test_the_first_record_is_restored() -> None:
    assert decide(pending(), recorded(2), recorded(1)) == 2


def test_another_cells_record_does_not_count() -> None:
    assert decide(pending("a"), recorded(2, "cell:b"), recorded(1, "cell:a")) == 1


def test_a_record_whose_conditions_do_not_hold_does_not_count() -> None:
    def holds(what: str, digest: str) -> bool:
        return (what, digest) == ("names:a", "old")

    assert decide(pending(), recorded(2, a="new"), recorded(1, a="old"), holds=holds) == 1
    assert decide(pending(), recorded(2, a="old", b="old"), holds=holds) is None


def test_a_record_that_is_not_allowed_does_not_count() -> None:
    assert decide(pending(), recorded(2), recorded(1), allowed=lambda found: found.seq == 1) == 1


def test_unmet_conditions_are_named() -> None:
    checkpoint = recorded(1, a="1", b="2")

    assert unmet(checkpoint, lambda what, _: what == "names:a") == ["names:b"]
    assert unmet(checkpoint, lambda *_: True) == []


@pytest.mark.parametrize(
    ("live", "on_record", "same"),
    [
        ("cell:a", "cell:a", True),
        ("cell:a", "cell:b", False),
        (None, "cell:b", True),
        ("cell:a", None, True),
        (None, None, True),
    ],
)
def test_ids_tell_steps_apart_where_both_have_one(
    live: str | None, on_record: str | None, same: bool
) -> None:
    assert same_step(live, on_record) is same


@pytest.mark.parametrize(
    ("source", "name"),
    [
        ("rows = load()", "rows"),
        ("load(rows)", "load"),
        ("frame.describe()", "describe"),
        ("def train():\n    rows = 1", "train"),
        ("async def train():\n    pass", "train"),
        ("class Model:\n    x = 1", "Model"),
        ("import numpy", "imports"),
        ("import numpy as np\nprint(np)", "print"),
        ("from os import path\nhere = path", "here"),
        ("import os, sys", "imports"),
        ("from os import path, sep", "imports"),
        ("_ = 1\nx = 2", "x"),
        ("_, x = 1, 2", "x"),
        ("for row in rows:\n    print(row)", "row"),
        ("print(1)\nx = 2", "x"),
        ("rows[0] = f()", "f"),
        ("", "cell"),
        ("1 + 1", "cell"),
        ("get_ipython().run_line_magic('time', 'x')", "time"),
        ("get_ipython().run_cell_magic('bash', '', 'ls')", "bash"),
        ("get_ipython().system('ls')", "shell"),
    ],
)
def test_a_step_is_called_after_what_it_binds_or_calls(source: str, name: str) -> None:
    assert step_name(ast.parse(source), ()) == name


def test_a_name_that_is_taken_gets_a_number() -> None:
    tree = ast.parse("rows = 1")

    assert [step_name(tree, taken) for taken in ([], ["rows"], ["rows", "rows-2"], ["rows-2"])] == [
        "rows",
        "rows-2",
        "rows-3",
        "rows",
    ]
