"""Notebooks that work on files and are edited between runs leave names and files as a plain one does.

``KITARU_NB_TEST_STEPS`` sets about how many edits and runs are tried, at random; the unit ring tries a few
and always the same.
"""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from tests.sweep import ASKED, seeds
from tests.unit.engine.filed import Filed

LENGTH = 25
SEEDS = seeds(LENGTH, 8)


@pytest.mark.timeout(0 if ASKED else 300)
@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.filterwarnings("ignore")  # cells leave files open
def test_an_edited_notebook_leaves_files_as_a_plain_one_does(
    seed: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    chance = random.Random(seed)
    notebook = Filed(tmp_path, lambda among: chance.choice(list(among)))

    try:
        notebook.restart_and_run_all()
        for _ in range(LENGTH):
            notebook.do_something()
        for _ in range(3):
            notebook.restart_and_run_all()
    finally:
        print("\n".join(notebook.said))
    assert notebook.counts["restored"] > 0
