"""The store in a folder: what it keeps, what it refuses, and what a crash or a bad disk leaves."""

from __future__ import annotations

import errno
import json
import os
import resource
import signal
import stat
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from kitaru_nb.artifacts import pack as pack_module
from kitaru_nb.artifacts.extent_save import UNASKED_BYTES, digest_of
from kitaru_nb.artifacts.local_store import LocalStore
from kitaru_nb.artifacts.store import DirectReader
from kitaru_nb.errors import StoreError
from kitaru_nb.model.artifact import EXTENT_BYTES, INLINE_BYTES, Digest, Extent, Location
from kitaru_nb.testing import ArtifactStoreSuite, Damage, MemoryIndex, content, views

MIB = 1 << 20


@pytest.fixture
def store(tmp_path: Path) -> Iterator[LocalStore]:
    store = LocalStore(tmp_path / "store")
    yield store
    store.close()


@pytest.fixture
def syncs(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What has been synced to disk, in order: `data` or `folder`."""
    calls: list[str] = []
    for kind, name in (("data", "_sync_data"), ("folder", "sync_folder")):
        real = getattr(pack_module, name)
        monkeypatch.setattr(pack_module, name, lambda at, r=real, k=kind: (calls.append(k), r(at)))
    return calls


def packs(folder: Path) -> list[Path]:
    return sorted(folder.rglob("*.pack"))


class TestLocalStore(ArtifactStoreSuite):
    def open_store(self, home: Path, *, read_only: bool = False) -> LocalStore:
        return LocalStore(home, read_only=read_only)

    def damage(self, home: Path, pack: str, change: Damage) -> None:
        path = home / "packs" / pack[:2] / pack
        changed = change(path.read_bytes())
        if changed is None:
            path.unlink()
        else:
            path.write_bytes(changed)

    @contextmanager
    def broken(self, home: Path) -> Iterator[None]:
        """A disk that is full from some write on."""
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(os, "pwritev", fail(errno.ENOSPC))
            yield


def test_small_chunks_ride_inline_and_large_ones_in_a_pack(store: LocalStore) -> None:
    small, large = store.write(
        views(content(1, INLINE_BYTES), content(2, INLINE_BYTES + 1)), index=MemoryIndex()
    )

    assert (small.data, small.pack) == (content(1, INLINE_BYTES), None)
    assert large.data is None
    assert large.pack is not None


def test_one_call_gives_the_journal_about_a_mebibyte_of_small_chunks_and_no_more(store: LocalStore) -> None:
    locations = store.write(views(*(content(seed, INLINE_BYTES) for seed in range(40))), index=MemoryIndex())

    inline = sum(len(location.data) for location in locations if location.data is not None)
    assert inline == MIB


def test_extents_start_on_pages(store: LocalStore) -> None:
    locations = store.write(views(*(content(seed, 70_001) for seed in range(5))), index=MemoryIndex())

    assert [location.offset % 4096 for location in locations] == [0] * 5


def test_many_commits_append_to_one_pack(store: LocalStore, tmp_path: Path) -> None:
    for seed in range(5):
        store.write(views(content(seed)), index=MemoryIndex())
        store.flush()

    assert len(packs(tmp_path)) == 1


def test_a_full_pack_is_followed_by_a_new_one_and_both_are_flushed(
    store: LocalStore, tmp_path: Path, syncs: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pack_module, "PACK_BYTES", 2 * MIB)
    data = [content(seed) for seed in range(50)]

    locations = store.write(views(*data), index=MemoryIndex())
    store.flush()

    assert len({location.pack for location in locations}) == len(packs(tmp_path)) > 1
    assert [bytes(store.read(location)) for location in locations] == data
    assert syncs.count("data") == len(packs(tmp_path))


def test_a_flush_syncs_the_pack_once_and_its_folders_only_when_new(
    store: LocalStore, syncs: list[str]
) -> None:
    store.write(views(content(1)), index=MemoryIndex())
    store.flush()
    store.write(views(content(2)), index=MemoryIndex())
    store.flush()

    assert syncs == ["data", *["folder"] * 4, "data"]  # the store's own name is in the fourth


def test_a_flush_with_nothing_new_syncs_nothing(store: LocalStore, syncs: list[str], tmp_path: Path) -> None:
    index = MemoryIndex()
    index.commit(store.write(views(content(1)), index=index))
    store.flush()
    del syncs[:]

    store.write(views(content(1), content(2, 100)), index=index)
    store.flush()

    assert syncs == []


def test_only_inline_chunks_leave_the_disk_alone(store: LocalStore, tmp_path: Path) -> None:
    store.write(views(content(1, 100)), index=MemoryIndex())
    store.flush()

    assert list(tmp_path.iterdir()) == []


def test_a_large_save_syncs_at_most_three_times(store: LocalStore, syncs: list[str]) -> None:
    data = bytearray(os.urandom(MIB) * 200)
    for number in range(200):
        data[number * MIB : number * MIB + 4] = number.to_bytes(4, "little")
    whole = memoryview(data)

    store.write([whole[at : at + MIB] for at in range(0, len(whole), MIB)], index=MemoryIndex())
    store.flush()

    assert 2 <= syncs.count("data") <= 3


def test_files_and_folders_are_private_whatever_the_umask(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        store = LocalStore(tmp_path / "home" / "store")
        store.write(views(content(1)), index=MemoryIndex())
    finally:
        os.umask(before)

    paths = [tmp_path / "home", *(tmp_path / "home").rglob("*")]
    modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in paths}
    assert {mode for name, mode in modes.items() if name.endswith(".pack")} == {0o600}
    assert {mode for name, mode in modes.items() if not name.endswith(".pack")} == {0o700}


def test_a_strict_umask_does_not_take_the_owners_rights(tmp_path: Path) -> None:
    before = os.umask(0o777)
    try:
        LocalStore(tmp_path / "store").write(views(content(1)), index=MemoryIndex())
    finally:
        os.umask(before)

    modes = {path.suffix: stat.S_IMODE(path.stat().st_mode) for path in (tmp_path / "store").rglob("*")}
    assert modes == {"": 0o700, ".pack": 0o600}


def test_equal_chunks_take_their_room_once(store: LocalStore, tmp_path: Path) -> None:
    store.write(views(*[content(1)] * 5), index=MemoryIndex())

    assert [path.stat().st_size for path in packs(tmp_path)] == [MIB]


def test_a_slow_disk_gets_every_chunk_as_it_was(store: LocalStore, monkeypatch: pytest.MonkeyPatch) -> None:
    real, never = os.pwritev, threading.Event()

    def late(fd: int, parts: list[memoryview], at: int) -> int:
        never.wait(0.02)  # long enough for the next batches to be copied, were they allowed to
        return real(fd, parts, at)

    monkeypatch.setattr(os, "pwritev", late)
    data = [content(seed) for seed in range(60)]

    locations = store.write(views(*data), index=MemoryIndex())

    assert [bytes(store.read(location)) for location in locations] == data


def test_the_store_reads_into_memory_of_the_caller(store: LocalStore) -> None:
    (location,) = store.write(views(content(1)), index=MemoryIndex())
    target = bytearray(EXTENT_BYTES)

    store.read_into(location, memoryview(target))

    assert isinstance(store, DirectReader)
    assert target == content(1)


# a disk that refuses


def fail(code: int) -> Callable[..., int]:
    def call(*_: object) -> int:
        raise OSError(code, os.strerror(code))

    return call


@pytest.mark.parametrize(
    ("code", "kind", "chunks"),
    [
        ("ENOSPC", "disk-full", 2),
        ("ENOSPC", "disk-full", 40),
        ("EDQUOT", "disk-full", 2),
        ("EIO", "disk-error", 2),
        ("EIO", "disk-error", 40),
        ("EROFS", "store-read-only", 2),
        ("EACCES", "store-read-only", 2),
    ],
)
def test_a_refused_write_is_a_clear_error_and_the_next_one_works(
    store: LocalStore, monkeypatch: pytest.MonkeyPatch, code: str, kind: str, chunks: int
) -> None:
    folder, index = store.folder, MemoryIndex()
    index.commit(store.write(views(content(999)), index=index))
    store.flush()
    data = [content(seed) for seed in range(chunks)]
    with monkeypatch.context() as patch:
        patch.setattr(os, "pwritev", fail(getattr(errno, code)))
        with pytest.raises(StoreError) as caught:
            store.write(views(*data), index=index)
    left = [path.stat().st_size for path in packs(folder)]

    index.commit(store.write(views(*data), index=index))
    store.flush()

    assert caught.value.kind == kind
    assert caught.value.hint
    assert str(folder) in caught.value.message
    assert left == [EXTENT_BYTES]
    assert len(packs(folder)) == 2
    assert [bytes(store.read(index[digest_of(d)])) for d in [content(999), *data]] == [content(999), *data]


def test_short_writes_are_finished(store: LocalStore, monkeypatch: pytest.MonkeyPatch) -> None:
    real = os.pwrite
    monkeypatch.setattr(os, "pwritev", lambda fd, parts, at: real(fd, parts[0][:300_000], at))
    data = [content(seed) for seed in range(3)]

    locations = store.write(views(*data), index=MemoryIndex())

    assert [bytes(store.read(location)) for location in locations] == data


def test_a_failed_flush_is_an_error_and_what_it_held_is_written_anew(
    store: LocalStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    (lost,) = store.write(views(content(1)), index=MemoryIndex())
    with monkeypatch.context() as patch:
        patch.setattr(pack_module, "_sync_data", fail(5))
        with pytest.raises(StoreError) as caught:
            store.flush()

    (location,) = store.write(views(content(1)), index=MemoryIndex())
    store.flush()

    assert caught.value.kind == "disk-error"
    assert location.pack != lost.pack
    assert bytes(store.read(location)) == content(1)


def test_a_pack_that_is_deleted_before_the_flush_is_an_error_and_its_values_are_written_anew(
    store: LocalStore, tmp_path: Path
) -> None:
    store.write(views(content(1)), index=MemoryIndex())
    packs(tmp_path)[0].unlink()

    with pytest.raises(StoreError):
        store.flush()
    (location,) = store.write(views(content(1)), index=MemoryIndex())
    store.flush()

    assert bytes(store.read(location)) == content(1)


def test_a_pack_that_was_deleted_is_not_written_to_any_more(store: LocalStore, tmp_path: Path) -> None:
    store.write(views(content(1)), index=MemoryIndex())
    store.flush()
    packs(tmp_path)[0].unlink()

    (location,) = store.write(views(content(2)), index=MemoryIndex())
    store.flush()

    assert bytes(store.read(location)) == content(2)


def test_a_write_refused_after_another_one_leaves_the_first_to_the_flush(
    store: LocalStore, syncs: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    (kept,) = store.write(views(content(1)), index=MemoryIndex())
    with monkeypatch.context() as patch:
        patch.setattr(os, "pwritev", fail(28))
        with pytest.raises(StoreError):
            store.write(views(content(2)), index=MemoryIndex())

    store.flush()

    assert syncs.count("data") == 1
    assert bytes(store.read(kept)) == content(1)


def test_a_sync_that_failed_on_the_way_fails_the_flush_of_what_came_before_it(
    store: LocalStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("kitaru_nb.artifacts.extent_save._SYNC_BYTES", MIB)
    store.write(views(content(999)), index=MemoryIndex())
    with monkeypatch.context() as patch:
        patch.setattr(pack_module, "_sync_data", fail(5))
        with pytest.raises(StoreError):
            store.write(views(*(content(seed) for seed in range(40))), index=MemoryIndex())

    with pytest.raises(StoreError):
        store.flush()
    (location,) = store.write(views(content(999)), index=MemoryIndex())
    store.flush()

    assert bytes(store.read(location)) == content(999)


def test_the_index_is_not_asked_where_all_was_written_since_the_last_flush(store: LocalStore) -> None:
    class Asked(MemoryIndex):
        times = 0

        def locate(self, digests):
            self.times += 1
            return super().locate(digests)

    index = Asked()
    first = store.write(views(content(1)), index=index)
    again = store.write(views(content(1)), index=index)

    assert (first, index.times) == (again, 1)


@pytest.mark.parametrize(("length", "asked"), [(UNASKED_BYTES // 2, 0), (UNASKED_BYTES // 2 + 1, 1)])
def test_the_index_is_given_a_little_without_being_asked_whether_it_has_it(
    store: LocalStore, length: int, asked: int
) -> None:
    class Asked(MemoryIndex):
        times = 0

        def locate(self, digests):
            self.times += 1
            return super().locate(digests)

    index = Asked()
    chunks = views(content(1, length), content(2, length))
    index.commit(store.write(chunks, index=MemoryIndex()))
    store.flush()

    again = store.write(chunks, index=index)

    assert index.times == asked
    assert [bytes(store.read(place)) for place in again] == [bytes(chunk) for chunk in chunks]


def test_an_interrupt_in_a_write_leaves_nothing_behind(
    store: LocalStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Stopped(MemoryIndex):
        asked = 0

        def locate(self, digests):
            self.asked += 1
            if self.asked == 3:
                raise KeyboardInterrupt
            return super().locate(digests)

    data = [content(seed) for seed in range(60)]
    with pytest.raises(KeyboardInterrupt):
        store.write(views(*data), index=Stopped())

    assert packs(tmp_path) == []
    assert len(store.write(views(*data), index=MemoryIndex())) == 60


def test_a_file_size_limit_is_reported_as_a_full_disk(tmp_path: Path) -> None:
    def limited() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (3 * MIB, 3 * MIB))

    done = child(tmp_path, "save(20, size=40)", preexec_fn=limited)

    assert "disk-full" in done.stdout
    assert [path.stat().st_size for path in packs(tmp_path)] == []


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    folder = tmp_path / "disk"
    folder.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=8m", "tmpfs", folder], capture_output=True, check=False
    )
    if mounted.returncode:
        pytest.skip("mounting a small disk needs root")
    yield folder
    subprocess.run(["umount", folder], check=True)


def test_a_full_disk_loses_nothing_and_a_save_works_once_there_is_room(small_disk: Path) -> None:
    store, index = LocalStore(small_disk / "store"), MemoryIndex()
    index.commit(store.write(views(content(1)), index=index))
    store.flush()
    with pytest.raises(StoreError) as caught:
        store.write(views(*(content(seed) for seed in range(100, 140))), index=index)

    index.commit(store.write(views(content(2)), index=index))
    store.flush()

    assert caught.value.kind == "disk-full"
    assert [bytes(store.read(index[digest_of(content(seed))])) for seed in (1, 2)] == [content(1), content(2)]
    store.close()


@pytest.mark.parametrize("owner", [None, "journal 1"])
def test_no_pack_is_made_where_its_disk_is_not_there(tmp_path: Path, owner: str | None) -> None:
    """The folder that a disk was mounted on stands for it once it is unmounted."""
    place, elsewhere = tmp_path / "place", tmp_path / "elsewhere"
    place.mkdir()
    (place / "journal.db").touch()
    store = LocalStore(place / "store", owner=owner, anchor=place / "journal.db")
    store.write(views(content(1)), index=MemoryIndex())
    store.flush()
    store.close()
    place.rename(elsewhere)
    place.mkdir()

    with pytest.raises(StoreError, match="its disk is gone") as gone:
        store.write(views(content(2)), index=MemoryIndex())
    made = list(place.iterdir())
    place.rmdir()
    elsewhere.rename(place)
    (location,) = store.write(views(content(2)), index=MemoryIndex())
    store.flush()

    assert (gone.value.kind, made) == ("store-gone", [])
    assert bytes(store.read(location)) == content(2)


def test_a_disk_remounted_read_only_is_read_and_refuses_to_be_written(small_disk: Path) -> None:
    store, index = LocalStore(small_disk / "store"), MemoryIndex()
    index.commit(store.write(views(content(1)), index=index))
    store.flush()
    store.close()
    subprocess.run(["mount", "-o", "remount,ro", small_disk], check=True)

    with pytest.raises(StoreError) as caught:
        store.write(views(content(2)), index=index)

    assert caught.value.kind == "store-read-only"
    assert bytes(store.read(index[digest_of(content(1))])) == content(1)


# more than one process

CHILD = """
import json, os, sys
from pathlib import Path
sys.path.insert(0, {root!r})
from kitaru_nb.testing import MemoryIndex, content, views
from kitaru_nb.artifacts.local_store import LocalStore
from kitaru_nb.errors import StoreError

store = LocalStore(Path({folder!r}))
index = MemoryIndex()

def save(seed, size=2):
    try:
        found = store.write(views(*(content(seed * 100 + n) for n in range(size))), index=index)
        store.flush()
    except StoreError as error:
        print(json.dumps(error.kind), flush=True)
        return
    index.commit(found)
    print(json.dumps([[f.extent.digest, f.extent.length, f.pack, f.offset] for f in found]), flush=True)

{code}
"""


def child(folder: Path, code: str, **options) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command(folder, code), capture_output=True, text=True, check=False, **options)


def command(folder: Path, code: str) -> list[str]:
    root = str(Path(__file__).parents[3])
    return [sys.executable, "-c", CHILD.format(root=root, folder=str(folder / "store"), code=code)]


def acknowledged(output: str) -> list[Location]:
    lines = [line for line in output.splitlines() if line.endswith("]")]
    return [
        Location(Extent(Digest(digest), length), pack=name, offset=offset)
        for line in lines
        for digest, length, name, offset in json.loads(line)
    ]


@pytest.mark.parametrize("nth", [1, 2])
@pytest.mark.parametrize(
    "point", ["before-extent-write", "after-extent-write", "before-flush", "after-flush"]
)
def test_a_kill_at_a_crash_point_loses_nothing_acknowledged(tmp_path: Path, point: str, nth: int) -> None:
    environment = {**os.environ, "KITARU_NB_CRASH_AT": f"{point}:{nth}"}

    done = child(tmp_path, "save(1); save(2); save(3)", env=environment)

    store = LocalStore(tmp_path / "store")
    assert done.returncode == -signal.SIGKILL
    assert len(done.stdout.splitlines()) == nth - 1
    assert all(len(store.read(location)) == MIB for location in acknowledged(done.stdout))
    assert len(store.write(views(content(100)), index=MemoryIndex())) == 1
