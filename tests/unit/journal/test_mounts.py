"""On a network file system the journal goes without a write-ahead log, and loses nothing for it."""

from __future__ import annotations

import contextlib
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest

from kitaru_nb.journal import connection
from kitaru_nb.journal.mounts import file_system, is_network
from kitaru_nb.journal.sqlite_journal import SqliteJournal
from kitaru_nb.model.execution import Identity
from kitaru_nb.testing import a_draft, dead_owner


def recorded(path: Path) -> list[str]:
    """The journal's steps after one more was recorded."""
    journal = SqliteJournal(path)
    attempt, _ = journal.start(Identity(notebook="/n.ipynb"), owner=dead_owner(), new=True)
    journal.commit(attempt, a_draft("step"))
    found = [c.draft.name for each in journal.executions() for c in journal.checkpoints(each.id)]
    journal.close()
    return found


def mode(path: Path) -> str:
    with closing(sqlite3.connect(path)) as raw:
        return str(raw.execute("PRAGMA journal_mode").fetchone()[0])


def test_there_is_no_write_ahead_log_on_a_network_file_system(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connection, "file_system", lambda path: "nfs4")

    assert recorded(tmp_path / "journal.db") == ["step"]
    assert mode(tmp_path / "journal.db") != "wal"
    assert not (tmp_path / "journal.db-wal").exists()


def test_a_journal_that_moved_to_one_is_taken_off_its_log(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recorded(tmp_path / "journal.db")
    assert mode(tmp_path / "journal.db") == "wal"

    monkeypatch.setattr(connection, "file_system", lambda path: "nfs4")

    assert recorded(tmp_path / "journal.db") == ["step", "step"]
    assert mode(tmp_path / "journal.db") != "wal"


@pytest.mark.parametrize(
    ("kind", "network"),
    [
        ("ext4", False),
        ("nfs4", True),
        ("fuse.sshfs", True),
        ("fuse.portal", False),
        ("overlay", False),
        (None, False),
    ],
)
def test_network_file_systems_are_known(kind: str | None, network: bool) -> None:
    assert is_network(kind) is network


@pytest.mark.skipif(
    not Path("/proc/self/mounts").exists(), reason="mounts are read from /proc, which Linux has"
)
def test_the_file_system_of_a_folder_to_be_is_that_of_the_nearest_mount(tmp_path: Path) -> None:
    assert file_system(Path("/proc/not/there")) == "proc"
    assert file_system(tmp_path / "not" / "there") == file_system(tmp_path)


@pytest.mark.skipif(sys.platform != "linux", reason="a small file system is made with tmpfs")
def test_a_journal_on_a_full_disk_is_read(tmp_path: Path) -> None:
    place = tmp_path / "small"
    place.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", str(place)]
    if subprocess.run(mount, check=False, capture_output=True).returncode:
        pytest.skip("mounting a tmpfs needs root")
    try:
        recorded(place / "journal.db")
        with contextlib.suppress(OSError), (place / "rest").open("wb", buffering=0) as rest:
            while rest.write(bytes(4096)):
                pass
        journal = SqliteJournal(place / "journal.db", read_only=True)
        found = [execution.id for execution in journal.executions()]
        journal.close()
    finally:
        subprocess.run(["umount", "-l", str(place)], check=True)

    assert len(found) == 1
