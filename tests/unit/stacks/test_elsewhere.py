"""A run on a stack from its submission to its end."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from kitaru_nb.errors import StoreError
from kitaru_nb.model.execution import ExecutionId, ExecutionStatus, Identity, current_owner
from kitaru_nb.stacks import elsewhere
from kitaru_nb.stacks.elsewhere import run_there
from kitaru_nb.stacks.local import Job
from kitaru_nb.stacks.open import open_engine
from kitaru_nb.stacks.outcome import Exit, Outcome
from kitaru_nb.stacks.settings import resolve


def test_an_output_that_cannot_be_written_here_does_not_change_how_the_run_ended(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = resolve()
    engine = open_engine(settings)
    attempt, _ = engine.journal.start(Identity(notebook="/n.ipynb"), owner=current_owner())
    engine.journal.finish(attempt, ExecutionStatus.COMPLETED)
    engine.close()

    def full(*_: Any) -> None:
        raise OSError(28, "No space left on device")

    def ended(_engine: object, execution: ExecutionId, *_: Any, **__: Any) -> Outcome:
        return Outcome(ExecutionStatus.COMPLETED, Exit.COMPLETED, execution)

    monkeypatch.setattr(elsewhere, "submitted_before", lambda *_: attempt.execution)
    monkeypatch.setattr(elsewhere, "follow", ended)
    monkeypatch.setattr(elsewhere, "was_unpacked", lambda *_: True)
    monkeypatch.setattr(elsewhere, "rebuild_output", full)
    said: list[str] = []

    outcome = run_there(Job("/n.ipynb", str(tmp_path / "o.ipynb")), settings, warn=said.append)

    assert outcome.exit is Exit.COMPLETED
    assert "No space left" in said[0]


def test_who_loses_sight_of_a_run_is_told_how_to_find_it_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = resolve()
    engine = open_engine(settings)
    attempt, _ = engine.journal.start(Identity(notebook="/n.ipynb"), owner=current_owner())
    engine.close()

    def away(*_: Any, **__: Any) -> Outcome:
        raise StoreError("the journal is away", kind="journal-unreachable", hint="start the server")

    monkeypatch.setattr(elsewhere, "submitted_before", lambda *_: attempt.execution)
    monkeypatch.setattr(elsewhere, "follow", away)

    with pytest.raises(StoreError, match="goes on without this command") as told:
        run_there(Job("/n.ipynb", str(tmp_path / "o.ipynb")), settings, warn=print)

    assert told.value.kind == "journal-unreachable"
    assert told.value.hint.startswith("start the server; then ")
    assert f"kitaru-nb logs {attempt.execution} -f" in told.value.hint
