"""Notebooks that run headless, die, are edited, go on and are replayed end as in a plain kernel.

``KITARU_NB_TEST_STEPS`` sets about how many cells are tried, at random, killed at any moment; without it
a few are, always the same, and killed where a cell begins or ends.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.further import further
from tests.integration.forked import Forks
from tests.integration.headless_machine import Headless
from tests.sweep import ASKED, seeds

LENGTH = 50  # cells that a session runs, more or less
SEEDS = seeds(LENGTH, 1)


@pytest.fixture(scope="module")
def forks() -> Iterator[Forks]:
    made = Forks({**os.environ, "PYTHONWARNINGS": "ignore", "JUPYTER_PLATFORM_DIRS": "1"})
    yield made
    made.close()


@pytest.mark.timeout(0 if ASKED else 600)
@pytest.mark.parametrize("seed", [*SEEDS, *(() if ASKED else map(further, range(1, 5)))])
def test_a_notebook_that_runs_headless_ends_as_in_a_plain_kernel(
    seed: int, forks: Forks, tmp_path: Path
) -> None:
    notebook = Headless(forks, tmp_path / "machine", seed, timed=bool(ASKED))

    try:
        notebook.session()
    finally:
        print("\n".join(notebook.said))


@pytest.mark.further
@pytest.mark.timeout(0 if ASKED else 600)
@pytest.mark.parametrize("seed", SEEDS)
def test_each_point_of_a_grid_ends_as_in_a_plain_kernel(seed: int, forks: Forks, tmp_path: Path) -> None:
    notebook = Headless(forks, tmp_path / "machine", seed, timed=bool(ASKED))

    try:
        notebook.grid()
    finally:
        print("\n".join(notebook.said))
