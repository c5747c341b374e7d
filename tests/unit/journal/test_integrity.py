from __future__ import annotations

import errno
import sqlite3
import struct
from collections.abc import Callable
from pathlib import Path

import pytest
from blake3 import blake3

from kitaru_nb.errors import CorruptError, StoreError
from kitaru_nb.journal.integrity import HeadFile, checksum
from kitaru_nb.journal.sqlite_journal import SqliteJournal
from kitaru_nb.model.checkpoint import CheckpointStatus
from kitaru_nb.model.execution import Identity
from kitaru_nb.testing import a_draft, a_stored_value, dead_owner

NOTEBOOK = Identity(notebook="/home/ana/train.ipynb")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A journal of one execution with the steps `load`, `train` and `plot`."""
    path = tmp_path / "journal.db"
    journal = SqliteJournal(path)
    attempt, _ = journal.start(NOTEBOOK, owner=dead_owner())
    parent = None
    for name in ("load", "train", "plot"):
        artifact, location = a_stored_value(name.encode() * 40)
        draft = a_draft(name, parent=parent)
        parent = journal.commit(attempt, draft, artifacts=[artifact], locations=[location]).seq
    journal.close()
    return path


def change(path: Path, statement: str) -> None:
    connection = sqlite3.connect(path)
    with connection:
        connection.execute(statement)
    connection.close()


def everything(path: Path) -> object:
    """All that a fresh reader is told, in one comparable value."""
    journal = SqliteJournal(path)
    try:
        latest = journal.execution("latest")
        steps = journal.checkpoints(latest.id)
        found = [journal.find(step.draft.key, notebook=NOTEBOOK.notebook) for step in steps]
        return journal.executions(), journal.attempts(latest.id), steps, found, journal.events()
    finally:
        journal.close()


def test_a_changed_checkpoint_is_named_with_what_to_type(path) -> None:
    change(path, "UPDATE checkpoints SET duration = 99.0 WHERE seq = 2")
    journal = SqliteJournal(path)

    with pytest.raises(CorruptError) as refused:
        journal.checkpoints(journal.execution("latest").id)

    assert refused.value.kind == "corrupt-record"
    assert "`train`" in refused.value.message
    assert journal.execution("latest").id in refused.value.message
    assert "kitaru-nb doctor" in refused.value.hint
    assert journal.checkpoint(1).draft.name == "load"
    assert [problem.kind for problem in journal.verify()] == ["corrupt-record"]
    journal.close()


@pytest.mark.parametrize(
    ("statement", "question"),
    [
        ("DELETE FROM checkpoints WHERE seq = 3", lambda j: j.checkpoints(j.execution("latest").id)),
        ("DELETE FROM checkpoints WHERE seq = 1", lambda j: j.line(3)),
        ("DELETE FROM executions", lambda j: j.executions()),
        ("DELETE FROM executions", lambda j: j.execution("latest")),
        ("DELETE FROM states", lambda j: j.execution("latest")),
        ("DELETE FROM attempts", lambda j: j.attempts(j.executions()[0].id)),
        ("DELETE FROM events WHERE seq = 4", lambda j: j.events()),
        ("DELETE FROM newest", lambda j: j.find(a_draft("load").key, notebook=NOTEBOOK.notebook)),
        ("UPDATE newest SET entries = x''", lambda j: j.find(a_draft("load").key, notebook="n")),
        ("UPDATE events SET data = '{}' WHERE seq = 2", lambda j: j.events()),
        (
            "UPDATE extents SET data = x'00'",
            lambda j: j.locate([a_stored_value(b"load" * 40)[1].extent.digest]),
        ),
    ],
)
def test_a_row_that_is_gone_or_changed_is_an_error_and_not_an_answer(
    path, statement: str, question: Callable[[SqliteJournal], object]
) -> None:
    change(path, statement)
    journal = SqliteJournal(path)

    with pytest.raises(CorruptError) as refused:
        question(journal)

    assert refused.value.kind == "corrupt-record"
    assert refused.value.hint
    journal.close()


@pytest.mark.parametrize("gone", [1, 2, 3])
def test_an_execution_that_is_gone_from_the_list_is_noticed(path, gone: int) -> None:
    journal = SqliteJournal(path)
    for number in (2, 3):
        journal.start(Identity(flow=f"m:f{number}"), owner=dead_owner())
    journal.close()
    change(path, f"DELETE FROM executions WHERE n = {gone}")

    with pytest.raises(CorruptError):
        journal.executions()

    journal.close()


def test_events_that_are_whole_but_in_another_chain_are_noticed(path) -> None:
    row = (4, 0, 1, 3, "note", "{}", b"")
    seal = checksum("events", row).hex()
    change(
        path, f"UPDATE events SET at=0, kind='note', data='{{}}', chained=x'', checksum=x'{seal}' WHERE seq=4"
    )
    journal = SqliteJournal(path)

    with pytest.raises(CorruptError, match="chain"):
        journal.events()

    assert journal.verify() != []
    journal.close()


@pytest.mark.parametrize(
    "statement",
    [
        "DELETE FROM head",
        "UPDATE head SET events = 2",
        "DELETE FROM events WHERE seq = 5",
        "UPDATE meta SET layout = x'00'",
        "ALTER TABLE checkpoints RENAME COLUMN parent TO child",
        "DROP TABLE meta",
    ],
)
def test_a_journal_whose_frame_is_damaged_is_refused_and_left_as_it_is(path, statement: str) -> None:
    change(path, statement)
    before = path.read_bytes()

    with pytest.raises(CorruptError):
        SqliteJournal(path)

    assert path.read_bytes() == before


def test_any_flipped_byte_gives_right_data_or_an_error(path) -> None:
    content = path.read_bytes()
    right = everything(path)
    used = [at for at in range(len(content)) if content[at]]
    answers, problems = 0, []

    for at in [*range(0, 100, 9), *used[:: len(used) // 120]]:
        path.write_bytes(content[:at] + bytes([content[at] ^ (1 << at % 8)]) + content[at + 1 :])
        try:
            assert everything(path) == right, f"byte {at}"
            answers += 1
        except StoreError as error:
            problems.append(error)

    assert 0 < answers < 120
    assert all(problem.hint for problem in problems)


def test_table_definitions_that_are_no_text_any_more_are_told_clearly(path) -> None:
    content = path.read_bytes()
    at = content.index(b"CREATE TABLE checkpoints")

    for offset in (0, 9, 20):
        damaged = bytearray(content)
        damaged[at + offset] = 0xD4
        path.write_bytes(damaged)
        with pytest.raises(CorruptError) as refused:
            SqliteJournal(path)
        assert refused.value.kind == "corrupt-record"


def test_a_damaged_log_that_was_never_folded_is_noticed(tmp_path) -> None:
    live = tmp_path / "live" / "journal.db"
    journal = SqliteJournal(live)
    attempt, _ = journal.start(NOTEBOOK, owner=dead_owner())
    for name in ("load", "train"):
        journal.commit(attempt, a_draft(name))
    files = {file.name: file.read_bytes() for file in live.parent.iterdir() if file.suffix != ".db-shm"}
    journal.close()
    right = everything(live)
    log = files["journal.db-wal"]
    case = tmp_path / "case"
    case.mkdir()
    refused = []

    for at in range(7, len(log), len(log) // 30):
        for name, content in files.items():
            (case / name).write_bytes(content)
        (case / "journal.db-shm").unlink(missing_ok=True)
        (case / "journal.db-wal").write_bytes(log[:at] + bytes([log[at] ^ 16]) + log[at + 1 :])
        try:
            assert everything(case / "journal.db") == right, f"byte {at}"
        except StoreError as error:
            refused.append(error.kind)

    assert len(refused) > 15
    assert set(refused) == {"corrupt-record"}


@pytest.mark.parametrize("content", [None, b""])
def test_a_journal_that_is_gone_or_emptied_is_not_begun_anew(path, content: bytes | None) -> None:
    if content is None:
        path.unlink()
    else:
        path.write_bytes(content)

    for read_only in (False, True):
        with pytest.raises(CorruptError, match="5 events") as refused:
            SqliteJournal(path, read_only=read_only)
        assert "-head" in refused.value.hint

    assert content is None or path.read_bytes() == b""


def test_an_older_copy_put_in_place_is_noticed(path) -> None:
    older = path.read_bytes()
    journal = SqliteJournal(path)
    journal.record_event(journal.execution("latest").id, "note", {})
    journal.close()
    path.write_bytes(older)

    with pytest.raises(CorruptError, match="event 6"):
        SqliteJournal(path)


def test_broken_tables_are_not_written_to(path) -> None:
    journal = SqliteJournal(path)
    attempt, _ = journal.start(NOTEBOOK, owner=dead_owner())
    connection = journal._session._open()
    connection.execute("ALTER TABLE checkpoints RENAME TO lost")
    with pytest.raises(CorruptError):
        journal.checkpoint(1)
    connection.execute("ALTER TABLE lost RENAME TO checkpoints")

    with pytest.raises(CorruptError):
        journal.commit(attempt, a_draft("more"))

    assert len(journal.checkpoints(attempt.execution)) == 3
    journal.close()


def test_a_whole_journal_has_no_problems(path) -> None:
    journal = SqliteJournal(path)

    assert journal.verify() == []

    journal.close()


def test_a_checksum_tells_types_and_borders_apart() -> None:
    sums = {
        checksum("t", columns)
        for columns in ([None], [0], [0.0], ["0"], [b"0"], ["a", "b"], ["ab"], ["ab", ""], [], ["\udcff"])
    }

    assert len(sums) == 10
    assert checksum("t", [1]) != checksum("u", [1])


def test_the_head_file_forgets_what_it_cannot_read_whole(tmp_path) -> None:
    head = HeadFile(tmp_path / "journal.db")
    head.write(41, b"\x01" * 32)
    head.write(42, b"\x02" * 32)
    head.close()
    whole = head.path.read_bytes()

    assert head.read() == (42, b"\x02" * 32)
    for at in range(len(whole) - 1):
        head.path.write_bytes(whole[:at] + bytes([whole[at] ^ 1]) + whole[at + 1 :])
        assert head.read() is None
    head.path.unlink()
    assert head.read() is None


def test_a_checksum_is_over_the_bytes_that_every_release_has_written() -> None:
    row = [None, "\xe9", b"x", 1.5, -3, True, CheckpointStatus.FAILED, "\udcff"]
    written = b"tns2:\xc3\xa9b1:xf" + struct.pack("<d", 1.5) + b"i-3;i1;s6:faileds1:\xff"

    assert checksum("t", row) == blake3(written).digest()


def test_what_is_committed_is_no_error_though_the_head_file_cannot_be_written(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    journal = SqliteJournal(path)
    attempt, _ = journal.start(NOTEBOOK, owner=dead_owner())

    def refuse(*_: object) -> None:
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr("kitaru_nb.journal.integrity._write_at_start", refuse)
    journal.commit(attempt, a_draft("late"))
    journal.close()
    monkeypatch.undo()
    again = SqliteJournal(path)

    names = [step.draft.name for step in again.checkpoints(attempt.execution)]
    again.close()
    assert names.count("late") == 1
