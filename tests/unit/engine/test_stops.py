"""Executions that wait for no answer: in which order they are listed, and that no answer ends that."""

from __future__ import annotations

from pathlib import Path

import pytest

from kitaru_nb.engine.answer import give_answer
from kitaru_nb.engine.stops import stops_as_waits
from kitaru_nb.errors import NotFoundError, UsageError
from kitaru_nb.journal.sqlite_journal import SqliteJournal
from kitaru_nb.model.execution import Attempt, ExecutionStatus, Identity, current_owner


def stop(
    journal: SqliteJournal, attempt: Attempt, kind: str = "over-budget", message: str = "over budget"
) -> None:
    journal.note_suspended(attempt, {"wait": "", "kind": kind, "message": message, "scope": "flow"})
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
    assert [wait.execution for wait in stops_as_waits(journal)] == expected
    again = journal.resume(begun[1].execution, owner=current_owner())
    now[0] += 1
    stop(journal, again)
    assert [wait.execution for wait in stops_as_waits(journal)][-1] == begun[1].execution
    journal.close()


@pytest.mark.parametrize(
    ("kind", "awaited"),
    [("over-budget", "a larger budget"), ("no-price", "a larger budget"), ("disk-limit", "room")],
)
def test_an_answer_to_what_waits_for_none_is_refused_and_not_kept(
    tmp_path: Path, kind: str, awaited: str
) -> None:
    journal = SqliteJournal(tmp_path / "journal.db")
    attempt, _ = journal.start(Identity(flow="f:old"), owner=current_owner())
    message = "too much\n  Try: kitaru-nb resume ex --budget 0.02 or more"
    stop(journal, attempt, kind, message)
    (listed,) = stops_as_waits(journal)

    with pytest.raises(UsageError, match=f"waits for {awaited}, not") as refused:
        give_answer(journal, listed.address, answer=True, by="ana", source="cli")

    assert refused.value.kind == "not-a-question"
    assert refused.value.hint == "kitaru-nb resume ex --budget 0.02 or more"
    with pytest.raises(NotFoundError):
        journal.wait(listed.address)
    journal.close()


def test_a_question_called_budget_is_answered_before_it_is_reached(tmp_path: Path) -> None:
    journal = SqliteJournal(tmp_path / "journal.db")
    attempt, _ = journal.start(Identity(flow="f:old"), owner=current_owner())

    given = give_answer(journal, f"{attempt.execution}/budget", answer=3, by="ana", source="cli")

    assert given.answer == 3
    journal.close()
