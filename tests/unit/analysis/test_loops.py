from __future__ import annotations

import ast

import pytest

from kitaru_nb.analysis.loops import gathers_steps


@pytest.mark.parametrize(
    "cell",
    [
        "for x in steps(range(3)):\n    done.append(x)",
        "for i, x in kt.steps(enumerate(items)):\n    done.append([y for y in x])",
        "for x in tqdm(steps(list(items))):\n    done.append(x)",
        "with model:\n    for x in steps(zip(a, b)):\n        done.append(sum(x))",
    ],
)
def test_a_loop_at_the_top_of_a_cell_keeps_all_that_it_makes(cell: str) -> None:
    assert not gathers_steps(ast.parse(cell))


@pytest.mark.parametrize(
    "cell",
    [
        "done = [train(x) for x in kt.steps(range(3))]",
        "done = sum(x for x in steps(range(3)))",
        "done = list(steps(range(3)))",
        "for i, x in enumerate(kt.steps(items)):\n    done[i] = x",
        "for x, batch in zip(steps(range(3)), loader):\n    train(batch)",
    ],
)
def test_what_is_gathered_under_no_name_would_be_lacking(cell: str) -> None:
    assert gathers_steps(ast.parse(cell))
