"""The waits of a journal, kept up to date from its events."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from kitaru_nb.engine.wait_list import WaitList
from kitaru_nb.journal.sqlite_journal import SqliteJournal
from kitaru_nb.model.execution import Identity, current_owner
from kitaru_nb.model.wait import Question, binding_of


def question(name: str) -> Question:
    kind = {"type": "boolean"}
    return Question(name, "cell:a", 0, "Publish?", kind, binding_of("Publish?", kind, None))


@pytest.mark.parametrize(
    "data", [{}, {"address": 3}, {"address": "nothing"}, {"address": "ex_none/x"}], ids=str
)
def test_events_that_anybody_wrote_hide_no_other_wait(tmp_path: Path, data: dict[str, Any]) -> None:
    with closing(SqliteJournal(tmp_path / "journal.db")) as journal:
        attempt, _ = journal.start(Identity(notebook="/n.ipynb"), owner=current_owner())
        journal.ask(attempt, question("one"))
        waits = WaitList()
        first = [wait.label for wait in waits.now(journal)]
        journal.record_event(attempt.execution, "wait.asked", data)
        journal.ask(attempt, question("two"))

        assert first == ["one"]
        assert [wait.label for wait in waits.now(journal)] == ["one", "two"]
