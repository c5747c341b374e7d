"""Notebooks whose cells are edited between runs hold what a plain kernel gives.

``KITARU_NB_TEST_STEPS`` sets about how many steps are tried, at random; the unit ring tries a few and
always the same.
"""

from __future__ import annotations

import random

import pytest

from tests.sweep import ASKED, seeds
from tests.unit.notebook.edited import Edited

LENGTH = 25
SEEDS = seeds(LENGTH, 2)


@pytest.mark.timeout(0 if ASKED else 300)
@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.filterwarnings("ignore")
def test_an_edited_notebook_holds_what_a_plain_kernel_gives(seed: int) -> None:
    chance = random.Random(seed)
    notebook = Edited(lambda among: chance.choice(list(among)))

    try:
        for _ in range(LENGTH):
            notebook.do_something()
        notebook.restart_and_run_all()
        notebook.restart_and_run_all()
    finally:
        print("\n".join(notebook.said))
        notebook.close()
