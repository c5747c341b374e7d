from __future__ import annotations

import ast

import pytest

from kitaru_nb.engine.step_names import same_step, step_name


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
