"""The note of the step that runs."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from kitaru_nb.engine.deaths import Deaths
from kitaru_nb.errors import StoreError
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


def test_that_a_step_has_lived_is_no_error_where_it_cannot_be_put_on_record(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = open_engine(Settings(home=tmp_path))
    key = CheckpointKey("k" * 64)
    first, _ = engine.journal.start(Identity(flow="tests:flow"), owner=current_owner())
    died = Deaths(engine)
    died._counts[key] = 1
    died.begin(first, "step", key)

    def full(*_: object) -> None:
        raise StoreError("no space left on the disk", kind="disk-full")

    monkeypatch.setattr(engine.journal, "record_event", full)

    died.end(attempt=first)

    (note,) = (tmp_path / "running").iterdir()
    assert note.read_bytes() == b""
    died.close()
