"""Folders and files for their owner alone, whose names survive a power cut."""

from __future__ import annotations

import errno
import os
import stat
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from kitaru_nb.model.private import (
    changing,
    make_durable,
    make_private,
    partial_of,
    sync_folder,
    write_private,
)


@pytest.fixture(params=[0, 0o777], autouse=True)
def umask(request: pytest.FixtureRequest) -> Iterator[None]:
    before = os.umask(request.param)
    yield
    os.umask(before)


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_folders_are_private_and_their_names_are_synced(
    tmp_path: Path, synced: Callable[[Path], bool]
) -> None:
    make_durable(tmp_path / "a" / "b" / "c")

    made = [tmp_path / "a", tmp_path / "a" / "b", tmp_path / "a" / "b" / "c"]
    assert [mode(folder) for folder in made] == [0o700] * 3
    assert [synced(folder) for folder in [tmp_path, *made]] == [True, True, True, False]


def test_folders_that_are_there_are_left_as_they_are(tmp_path: Path) -> None:
    before = mode(tmp_path)

    assert make_private(tmp_path / "a") == [tmp_path / "a"]
    assert make_private(tmp_path / "a") == []
    assert mode(tmp_path) == before


@pytest.mark.parametrize("below", ["", "/a"])
def test_what_is_no_folder_is_an_error(tmp_path: Path, below: str) -> None:
    (tmp_path / "file").write_bytes(b"")
    (tmp_path / "link").symlink_to(tmp_path / "nowhere")

    for name in ("file", "link"):
        with pytest.raises(OSError, match=name):
            make_private(Path(f"{tmp_path}/{name}{below}"))


def test_a_file_is_private_whole_and_synced(tmp_path: Path, synced: Callable[[Path], bool]) -> None:
    path = tmp_path / "key"

    write_private(path, b"one", replace=False)

    assert (path.read_bytes(), mode(path)) == (b"one", 0o600)
    assert synced(path)
    assert synced(tmp_path)


def test_a_file_that_is_there_stays_unless_it_is_to_be_replaced(tmp_path: Path) -> None:
    path = tmp_path / "key"
    write_private(path, b"one", replace=False)

    with pytest.raises(FileExistsError):
        write_private(path, b"two", replace=False)
    kept = path.read_bytes()
    write_private(path, b"three", replace=True)

    assert (kept, path.read_bytes()) == (b"one", b"three")
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("code", [errno.EINVAL, errno.EOPNOTSUPP, errno.ENOSYS])
def test_a_file_system_that_cannot_sync_folders_is_taken_as_it_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: int
) -> None:
    def refuse(handle: int) -> None:
        if stat.S_ISDIR(os.fstat(handle).st_mode):
            raise OSError(code, os.strerror(code))

    monkeypatch.setattr(os, "fsync", refuse)

    write_private(tmp_path / "key", b"one", replace=False)

    assert (tmp_path / "key").read_bytes() == b"one"


def test_names_that_could_not_be_synced_are_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(handle: int) -> None:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    monkeypatch.setattr(os, "fsync", fail)

    with pytest.raises(OSError, match=os.strerror(errno.EIO)):
        sync_folder(tmp_path)


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no locks of this kind")
def test_who_changes_a_file_is_alone(tmp_path: Path) -> None:
    path = tmp_path / "new" / "list"

    def add(number: int) -> None:
        with changing(path):
            there = path.read_text() if path.exists() else ""
            time.sleep(0.002)
            write_private(path, f"{there}{number}\n".encode(), replace=True)

    with ThreadPoolExecutor(8) as threads:
        list(threads.map(add, range(8)))

    assert sorted(map(int, path.read_text().split())) == list(range(8))
    assert [found.name for found in path.parent.iterdir()] == ["list"]


def test_what_a_killed_process_left_of_a_file_goes_after_a_day_and_nothing_else(tmp_path: Path) -> None:
    old, young, folder = (tmp_path / f".{n}.part" for n in ("a.7.0123abcd", "a.8.0123abcd", "b.7.0123abcd"))
    others = [tmp_path / name for name in ("a.part", ".a.part", ".a.7.0123abcd", "a.7.0123abcd.part")]
    busy = tmp_path / ".c.7.0123abcd.part"
    for each in (folder, busy):
        each.mkdir()
    for each in (old, young, folder / "chunk", busy / "chunk", *others):
        each.write_text("half")
    ago = time.time() - 25 * 3600
    for each in (old, folder / "chunk", folder, busy, *others):
        os.utime(each, (ago, ago))

    partial = partial_of(tmp_path / "a")

    assert not partial.exists()
    assert partial_of(tmp_path / "a") != partial
    assert not old.exists()
    assert not folder.exists()
    assert all(each.exists() for each in (young, busy / "chunk", *others))
