"""Flows made at random, killed at random, edited and started again end as one run that nothing disturbs.

`make chaos` tries a few; ``KITARU_NB_TEST_CHAOS=50`` tries fifty times as many.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.chaos.chance import SEED
from tests.chaos.flow_runs import violations
from tests.chaos.test_chaos import MORE
from tests.further import further

pytestmark = pytest.mark.chaos


@pytest.mark.parametrize(
    ("count", "options"),
    [(8, ()), further(4, ("cells",)), pytest.param(100, ("big",), marks=pytest.mark.slow)],
    ids=["scripts", "cells", "big"],
)
def test_programs_of_flows_end_as_if_nothing_had_disturbed_them(
    tmp_path: Path, count: int, options: tuple[str, ...]
) -> None:
    """Each effect happens once, but for what was under way at a kill; so does each question to the model."""
    told, wrong = violations(tmp_path, SEED % 1_000_000, count * MORE, *options)

    assert not wrong
    assert told > count * MORE // 2
