"""Replays that a process of its own begins: what it is told, and what it has begun."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from kitaru_nb.errors import KernelError
from kitaru_nb.journal.sqlite_journal import SqliteJournal
from kitaru_nb.model.execution import ExecutionId, Identity, owner_of
from kitaru_nb.model.settings import Settings
from kitaru_nb.stacks import beginning
from kitaru_nb.stacks.background import log_of
from kitaru_nb.stacks.beginning import Beginning, begin_elsewhere

REPLAY = Identity(notebook="/n.ipynb", output="/r.ipynb", replay="rp_1")
WAITS = "input()"


@pytest.fixture
def started(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[list[tuple[list[str], str]]]:
    """What processes were started with; each of them waits to be killed."""
    starts: list[tuple[list[str], str]] = []
    processes: list[subprocess.Popen[bytes]] = []

    def start(_: Settings, words: list[str], *, execution: ExecutionId, told: str, **_more: Any) -> Any:
        log = log_of(tmp_path, execution)
        log.parent.mkdir(exist_ok=True)
        log.write_text("no such step")
        starts.append((words, told))
        processes.append(subprocess.Popen([sys.executable, "-c", WAITS], stdin=subprocess.PIPE))
        return processes[-1]

    monkeypatch.setattr(beginning, "start_command", start)
    yield starts
    for process in processes:
        process.kill()
        process.communicate()


@pytest.fixture
def journal(tmp_path: Path) -> Iterator[SqliteJournal]:
    with closing(SqliteJournal(tmp_path / "journal.db")) as opened:
        yield opened


def begin(tmp_path: Path, **more: Any) -> Beginning:
    changes = {"password": "q8Zr4Tn1"}
    return begin_elsewhere(
        Settings(home=tmp_path), ExecutionId("ex_1"), "fit", changes, folder=tmp_path, **more
    )


def test_what_is_changed_is_not_seen_by_others_on_the_machine(
    tmp_path: Path, started: list[tuple[list[str], str]]
) -> None:
    begin(tmp_path)

    assert started == [(["replay", "ex_1", "--from=fit", "--set=-"], '{"password": "q8Zr4Tn1"}')]


@pytest.mark.usefixtures("started")
def test_what_it_has_begun_is_known_by_all_of_its_owner(tmp_path: Path, journal: SqliteJournal) -> None:
    begun = begin(tmp_path)
    pid = begun.process.pid
    earlier = replace(owner_of(pid), process_start=1)
    journal.start(REPLAY, owner=earlier, new=True)

    assert begun.begun(journal) is None, "another process had that number once"

    attempt, _ = journal.start(REPLAY, owner=owner_of(pid), new=True)
    assert begun.begun(journal) == attempt.execution


@pytest.mark.usefixtures("started")
@pytest.mark.parametrize("patience", [None, 0.0], ids=["it has ended", "it takes too long"])
def test_one_that_begins_nothing_says_why(
    tmp_path: Path, journal: SqliteJournal, patience: float | None
) -> None:
    begun = begin(tmp_path, **({} if patience is None else {"patience": patience}))
    if patience is None:
        begun.process.kill()
        begun.process.wait()

    with pytest.raises(KernelError, match="no such step") as refused:
        begun.begun(journal)

    assert refused.value.kind == "replay-not-begun"
    assert str(begun.log) in refused.value.hint
    assert begun.process.wait() != 0
