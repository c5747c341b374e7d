"""What the tests of the notebook's side share."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.unit.notebook.shell import Shell, Start


@pytest.fixture
def start(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Start]:
    """Starts the notebook's kernel, ending the one before in order."""
    monkeypatch.setenv("KITARU_NB_NOTEBOOK", str(tmp_path / "train.ipynb"))
    started: list[Shell] = []

    def begin() -> Shell:
        while started:
            started.pop().stop()
        started.append(Shell())
        return started[-1]

    yield begin
    while started:
        started.pop().stop()
