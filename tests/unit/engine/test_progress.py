"""How far an execution is, told from the events of a real journal."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from kitaru_nb.engine.progress import PLANNED, Progress, ProgressList, progress_of
from kitaru_nb.journal.sqlite_journal import SqliteJournal
from kitaru_nb.model.checkpoint import CheckpointStatus, StepKind
from kitaru_nb.model.execution import Attempt, ExecutionStatus, Identity, current_owner
from kitaru_nb.testing import a_draft

NOTEBOOK = Identity(notebook="/home/ana/train.ipynb")
FLOW = Identity(flow="agents:research")


@pytest.fixture
def journal(tmp_path: Path) -> Iterator[SqliteJournal]:
    journal = SqliteJournal(tmp_path / "journal.db")
    yield journal
    journal.close()


def begin(journal: SqliteJournal, identity: Identity = NOTEBOOK) -> Attempt:
    return journal.start(identity, owner=current_owner(), new=True)[0]


def commit(journal: SqliteJournal, attempt: Attempt, *names: str, **changes: object) -> int:
    return [journal.commit(attempt, a_draft(name, **changes)).seq for name in names][-1]


def told(journal: SqliteJournal, attempt: Attempt) -> tuple[int, int | None] | None:
    found = progress_of(journal, journal.execution(attempt.execution))
    return None if found is None else (found.done, found.total)


def again(journal: SqliteJournal, attempt: Attempt) -> Attempt:
    journal.finish(attempt, ExecutionStatus.INTERRUPTED)
    return journal.resume(attempt.execution, owner=current_owner())


def test_cells_are_counted_once_each_however_often_they_run(journal: SqliteJournal) -> None:
    attempt = begin(journal)

    commit(journal, attempt, "load", "train", "load")

    assert told(journal, attempt) == (2, None)


def test_a_headless_attempt_says_how_many_cells_there_are(journal: SqliteJournal) -> None:
    attempt = begin(journal)
    journal.record_event(attempt.execution, PLANNED, {"cells": 40})

    commit(journal, attempt, "load")

    assert told(journal, attempt) == (1, 40)


def test_the_next_attempt_counts_what_it_has_taken_over(journal: SqliteJournal) -> None:
    first = begin(journal)
    journal.record_event(first.execution, PLANNED, {"cells": 3})
    commit(journal, first, "load", "train")
    second = again(journal, first)
    journal.record_event(second.execution, PLANNED, {"cells": 4})  # edited since

    journal.commit_restored(second, [a_draft("load", status=CheckpointStatus.RESTORED)])

    assert told(journal, second) == (1, 4)


def test_a_cell_that_fails_is_not_done(journal: SqliteJournal) -> None:
    attempt = begin(journal)

    commit(journal, attempt, "load", "train")
    commit(journal, attempt, "train", status=CheckpointStatus.FAILED)

    assert told(journal, attempt) == (1, None)


def test_what_a_new_kernel_puts_back_is_done_there(journal: SqliteJournal) -> None:
    first = begin(journal)
    commit(journal, first, "load")
    at = commit(journal, first, "train")
    commit(journal, first, "plot")
    second = again(journal, first)

    assert told(journal, second) == (0, None)
    journal.record_event(second.execution, "resumed", {"checkpoint": "train", "seq": at})
    assert told(journal, second) == (2, None)


def test_an_interactive_notebook_goes_by_the_fullest_of_its_last_runs(journal: SqliteJournal) -> None:
    for names in (("load", "train", "plot"), ("load",)):
        earlier = begin(journal)
        commit(journal, earlier, *names)
        journal.finish(earlier, ExecutionStatus.COMPLETED)
    attempt = begin(journal)

    commit(journal, attempt, "load", "train")

    assert told(journal, attempt) == (2, 3)


def test_more_steps_than_there_were_to_be_are_only_counted(journal: SqliteJournal) -> None:
    attempt = begin(journal)
    journal.record_event(attempt.execution, PLANNED, {"cells": 1})

    commit(journal, attempt, "load", "train")

    assert told(journal, attempt) == (2, None)


def test_of_a_flow_calls_count_over_all_attempts(journal: SqliteJournal) -> None:
    first = begin(journal, FLOW)
    for number in range(3):
        commit(journal, first, "ask", kind=StepKind.CALL, scope="flow", number=number)
    commit(journal, first, "model", kind=StepKind.MODEL, scope="flow")

    assert told(journal, again(journal, first)) == (3, None)


def test_an_execution_that_has_ended_is_as_far_as_it_got(journal: SqliteJournal) -> None:
    attempt = begin(journal)
    commit(journal, attempt, "load")

    journal.finish(attempt, ExecutionStatus.FAILED)

    assert told(journal, attempt) is None


def test_one_that_waits_keeps_how_far_it_was(journal: SqliteJournal) -> None:
    attempt = begin(journal)
    journal.record_event(attempt.execution, PLANNED, {"cells": 2})
    commit(journal, attempt, "load")

    journal.finish(attempt, ExecutionStatus.WAITING)

    assert told(journal, attempt) == (1, 2)


def test_a_later_look_reads_only_what_has_come_since(
    journal: SqliteJournal, monkeypatch: pytest.MonkeyPatch
) -> None:
    attempt = begin(journal)
    commit(journal, attempt, *(f"cell {number}" for number in range(30)))
    progress = ProgressList()
    progress.of(journal, journal.execution(attempt.execution))
    read: list[int] = []
    events = journal.events

    def counted(*args: object, **options: object) -> object:
        found = events(*args, **options)  # type: ignore[arg-type]
        read.append(len(found))
        return found

    monkeypatch.setattr(journal, "events", counted)
    commit(journal, attempt, "last")

    assert progress.of(journal, journal.execution(attempt.execution)) == Progress(31, None)
    assert read == [1]


@pytest.mark.parametrize("data", [{"cells": "many"}, {"cells": -1}, {"cells": 10**30}, {"cells": None}, {}])
def test_what_anybody_wrote_into_an_event_breaks_nothing(
    journal: SqliteJournal, data: dict[str, object]
) -> None:
    attempt = begin(journal)
    journal.record_event(attempt.execution, PLANNED, data)
    journal.record_event(attempt.execution, "checkpoint.completed", {"name": 3, "seq": "x"})
    journal.record_event(attempt.execution, "resumed", {"seq": 10**30})

    found = told(journal, attempt)

    assert found is not None
    assert found[0] == 0
