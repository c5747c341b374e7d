"""Executions that stopped at a budget are listed in the order in which they stopped."""

from __future__ import annotations

from pathlib import Path

from kitaru_nb.engine.budget_stops import all_budget_waits
from kitaru_nb.journal.sqlite_journal import SqliteJournal
from kitaru_nb.model.execution import Attempt, ExecutionStatus, Identity, current_owner


def stop(journal: SqliteJournal, attempt: Attempt) -> None:
    journal.note_suspended(attempt, {"wait": "", "message": "over budget", "scope": "flow"})
    journal.finish(attempt, ExecutionStatus.WAITING)


def test_a_later_stop_comes_after_an_earlier_one_of_a_younger_execution(tmp_path: Path) -> None:
    now = [1_800_000_000.0]
    journal = SqliteJournal(tmp_path / "journal.db", clock=lambda: now[0])
    begun = [
        journal.start(Identity(flow=f"f:{name}"), owner=current_owner())[0]
        for name in ("old", "middle", "new")
    ]

    for attempt in (begun[1], begun[2], begun[0]):
        now[0] += 1
        stop(journal, attempt)

    expected = [begun[1].execution, begun[2].execution, begun[0].execution]
    assert [wait.execution for wait in all_budget_waits(journal)] == expected
    again = journal.resume(begun[1].execution, owner=current_owner())
    now[0] += 1
    stop(journal, again)
    assert [wait.execution for wait in all_budget_waits(journal)][-1] == begun[1].execution
    journal.close()
