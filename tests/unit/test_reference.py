"""The reference is complete: what a user can type is on its page."""

from __future__ import annotations

from pathlib import Path

import pytest

from kitaru_nb.stacks import settings

REFERENCE = Path(__file__).parents[2] / "docs" / "reference"


@pytest.mark.parametrize("name", settings.NAMES)
def test_every_setting_is_in_the_reference(name: str) -> None:
    page = (REFERENCE / "settings.md").read_text(encoding="utf-8")

    assert f"| `{name}` | `KITARU_NB_{name.upper()}` |" in page
