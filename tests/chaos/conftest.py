"""What every test that breaks something says where it fails: how to break the same again."""

from __future__ import annotations

import pytest

from tests.chaos.chance import SEED


@pytest.fixture(autouse=True)
def _seed_is_told() -> None:
    print(f"KITARU_NB_TEST_SEED={SEED}")
