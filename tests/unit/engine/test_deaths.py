"""The note of the step that runs."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from kitaru_nb.engine.deaths import Deaths
from kitaru_nb.model.checkpoint import CheckpointKey
from kitaru_nb.model.execution import Identity, current_owner
from kitaru_nb.model.settings import Settings
from kitaru_nb.stacks.open import open_engine


def test_a_shorter_note_leaves_nothing_of_a_longer_one(tmp_path: Path) -> None:
    engine = open_engine(Settings(home=tmp_path))
    attempt, _ = engine.journal.start(Identity(flow="tests:flow"), owner=current_owner())
    deaths, key = Deaths(engine), CheckpointKey("k" * 64)

    deaths.begin(attempt, "a_step_with_a_long_name", key)
    deaths.begin(attempt, "b", key)

    (note,) = (tmp_path / "running").iterdir()
    assert json.loads(note.read_text()) == {"name": "b", "key": key}
    deaths.close()
