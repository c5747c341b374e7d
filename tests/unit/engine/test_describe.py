"""The fields of every JSON answer, exactly."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path

import pytest

from kitaru_nb.engine.describe import artifacts_json, execution_json, show_json, time_json
from kitaru_nb.engine.refs import find_artifact
from kitaru_nb.journal.sqlite_journal import SqliteJournal
from kitaru_nb.model.checkpoint import Group
from kitaru_nb.model.execution import Identity, current_owner
from kitaru_nb.testing import a_draft, a_stored_value

EXECUTION = [
    "id", "status", "notebook", "flow", "started_at", "ended_at", "duration", "cost", "tokens",
    "saved_cost", "saved_duration", "parent", "tags", "attempts",
]  # fmt: skip
CHECKPOINT = [
    "name", "ordinal", "status", "key", "started_at", "duration", "cost", "reads", "writes",
    "files", "artifacts",
]  # fmt: skip


@pytest.fixture
def journal(tmp_path: Path) -> Iterator[SqliteJournal]:
    journal = SqliteJournal(tmp_path / "journal.db")
    yield journal
    journal.close()


def recorded(journal: SqliteJournal, **changes):
    attempt, _ = journal.start(Identity(notebook="/a.ipynb"), owner=current_owner(), tags=["nightly"])
    artifact, location = a_stored_value(b"12345")
    draft = a_draft(
        "train",
        groups=(Group(("b", "model"), artifact.digest, artifact.digest),),
        reads={"rows": artifact.digest, "lr": artifact.digest},
        files=({"path": "data.csv", "mode": "r", "digest": "d"},),
        **changes,
    )
    journal.commit(attempt, draft, artifacts=[artifact], locations=[location])
    return journal.execution("latest"), artifact


def test_times_are_utc_with_a_z() -> None:
    moment = datetime(2026, 3, 1, 13, 0, tzinfo=timezone(timedelta(hours=1)))

    assert time_json(moment) == "2026-03-01T12:00:00Z"
    assert time_json(None) is None


def test_an_execution_has_the_fields_of_the_reference_and_no_others(journal: SqliteJournal) -> None:
    execution, _ = recorded(journal)

    document = execution_json(execution)

    assert list(document) == EXECUTION
    assert document["status"] == "running"
    assert document["cost"] is None
    assert document["tags"] == ["nightly"]
    assert datetime.fromisoformat(document["started_at"]).utcoffset() == UTC.utcoffset(None)


def test_show_adds_checkpoints_and_waits(journal: SqliteJournal) -> None:
    execution, artifact = recorded(journal)

    document = show_json(journal, execution)

    assert list(document) == [*EXECUTION, "checkpoints", "waits"]
    (step,) = document["checkpoints"]
    assert list(step) == CHECKPOINT
    assert (step["reads"], step["writes"]) == (["lr", "rows"], ["b", "model"])
    assert step["files"] == [{"path": "data.csv", "mode": "r", "digest": "d"}]
    assert step["artifacts"] == [
        {
            "ref": f"{execution.id}/train/b",
            "names": ["b", "model"],
            "digest": artifact.digest,
            "bytes": 5,
            "codec": "pickle5",
        }
    ]
    json.dumps(document, allow_nan=False)


def test_a_listed_ref_finds_its_artifact(journal: SqliteJournal) -> None:
    execution, artifact = recorded(journal)

    (listed,) = artifacts_json(journal, execution)

    assert find_artifact(journal, listed["ref"]).artifact == artifact


def test_a_number_json_does_not_have_is_null(journal: SqliteJournal) -> None:
    execution, _ = recorded(journal, cost=math.inf)

    assert show_json(journal, execution)["checkpoints"][0]["cost"] is None


@pytest.mark.parametrize(
    ("recorded", "told"),
    [(1_772_366_400_500_000_000, "2026-03-01T12:00:00.500000Z"), (10**30, None), ("long ago", None)],
)
def test_the_time_of_a_file_is_told_as_every_other_time(
    journal: SqliteJournal, recorded: object, told: str | None
) -> None:
    attempt, _ = journal.start(Identity(notebook="/a.ipynb"), owner=current_owner())
    journal.commit(attempt, a_draft("train", files=({"path": "out.csv", "mtime": recorded},)), artifacts=[])

    (step,) = show_json(journal, journal.execution("latest"))["checkpoints"]

    assert step["files"] == [{"path": "out.csv", "mtime": told}]
