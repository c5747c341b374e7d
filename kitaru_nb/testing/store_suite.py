"""What every artifact store must do, whatever is done to the bytes, the place or the process."""

from __future__ import annotations

import json
import os
import signal
import threading
import time
import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager
from functools import partial
from pathlib import Path
from typing import IO

import pytest

from kitaru_nb.artifacts.extent_save import digest_of
from kitaru_nb.artifacts.store import ArtifactStore, BulkReader, DirectReader
from kitaru_nb.errors import CorruptError, StoreError
from kitaru_nb.model.artifact import EXTENT_BYTES, Digest, Extent, Location

__all__ = ["DAMAGES", "ArtifactStoreSuite", "Damage", "MemoryIndex", "content", "views"]

Damage = Callable[[bytes], bytes | None]
"""What a pack's bytes become; None when the pack is gone."""


class MemoryIndex(dict[Digest, Location]):
    """An extent index in memory: what a journal has committed."""

    def locate(self, digests: Iterable[Digest]) -> dict[Digest, Location]:
        """Where each known extent of `digests` is."""
        return {digest: self[digest] for digest in digests if digest in self}

    def commit(self, locations: Iterable[Location]) -> None:
        """Know `locations` from now on."""
        self.update((location.extent.digest, location) for location in locations)


def content(seed: int, length: int = EXTENT_BYTES) -> bytes:
    """Bytes that differ for each seed."""
    return (seed.to_bytes(4, "little") + bytes(range(256)) * (length // 256 + 1))[:length]


def views(*chunks: bytes) -> list[memoryview]:
    """Chunks as a store takes them."""
    return [memoryview(chunk) for chunk in chunks]


def _flipped(at: int) -> Damage:
    def flip(data: bytes) -> bytes:
        changed = bytearray(data)
        changed[at] ^= 1
        return bytes(changed)

    return flip


DAMAGES: dict[str, Damage] = {
    "first byte flipped": _flipped(0),
    "a byte in the middle flipped": _flipped(500_001),
    "last byte flipped": _flipped(-1),
    "cut short": lambda data: data[:-1],
    "cut in half": lambda data: data[: len(data) // 2],
    "emptied": lambda _: b"",
    "zeroed": lambda data: bytes(len(data)),
    "another pack's bytes": lambda data: content(77, len(data)),
    "deleted": lambda _: None,
}
"""What can happen to a pack, by name."""

_SHORTER = ("cut short", "cut in half", "emptied", "deleted")
_NO_PACKS = ["../../etc/passwd", "/etc/passwd", "", "x.pack", "0" * 32 + ".pack/..", "packs", "\0", "?a=b"]


class ArtifactStoreSuite:
    """The promises of `kitaru_nb.artifacts.store.ArtifactStore`, each a test.

    Bring three things: how the store is opened, how a stored pack is damaged, and how the
    place is made to refuse writes.
    """

    def open_store(self, home: Path, *, read_only: bool = False) -> ArtifactStore:
        """A store kept in `home`; called again with the same folder it opens the same one.

        A store elsewhere takes `home` as the name of a place of its own. May be called in
        a forked child.
        """
        raise NotImplementedError

    def damage(self, home: Path, pack: str, change: Damage) -> None:
        """Replace the bytes of `pack` by `change` of them, behind the store's back."""
        raise NotImplementedError

    def broken(self, home: Path) -> AbstractContextManager[None]:
        """While entered, nothing can be written there: the disk is full, or the network is cut."""
        raise NotImplementedError

    @pytest.fixture
    def home(self, tmp_path: Path) -> Path:
        """Where the store of this test is."""
        return tmp_path / "store"

    @pytest.fixture
    def store(self, home: Path) -> Iterator[ArtifactStore]:
        """An empty, writable store."""
        store = self.open_store(home)
        yield store
        store.close()

    # What is kept, and how often

    @pytest.mark.parametrize("length", [0, 1, 4095, 4096, 65_536, 65_537, EXTENT_BYTES - 1, EXTENT_BYTES])
    def test_a_chunk_of_any_length_comes_back_as_it_was(self, store: ArtifactStore, length: int) -> None:
        data = content(1, length)

        (location,) = store.write(views(data), index=MemoryIndex())
        store.flush()

        assert bytes(store.read(location)) == data

    def test_locations_come_in_the_order_of_the_chunks_under_their_blake3(self, store: ArtifactStore) -> None:
        data = [content(seed, 70_000 + seed) for seed in range(40)]

        locations = store.write(views(*data), index=MemoryIndex())
        store.flush()

        assert [location.extent for location in locations] == [Extent(digest_of(d), len(d)) for d in data]
        assert [bytes(store.read(location)) for location in locations] == data

    def test_what_one_process_flushed_another_reads(self, store: ArtifactStore, home: Path) -> None:
        data = [content(seed) for seed in range(20)]
        locations = store.write(views(*data), index=MemoryIndex())
        store.flush()

        other = self.open_store(home)

        assert _read(other, locations) == data
        other.close()

    def test_equal_chunks_of_one_call_are_stored_once(self, store: ArtifactStore) -> None:
        first, second = store.write(views(content(1), content(1)), index=MemoryIndex())

        assert first == second

    def test_equal_chunks_of_two_calls_before_a_flush_are_stored_once(self, store: ArtifactStore) -> None:
        first = store.write(views(content(1)), index=MemoryIndex())

        second = store.write(views(content(1)), index=MemoryIndex())

        assert first == second

    def test_a_chunk_the_index_knows_is_not_written_again(self, store: ArtifactStore, home: Path) -> None:
        index = MemoryIndex()
        index.commit(store.write(views(content(1), content(2)), index=index))
        store.flush()
        other = self.open_store(home)

        again = store.write(views(content(2), content(1)), index=index)
        elsewhere = other.write(views(content(2), content(1)), index=index)

        assert again == elsewhere == [index[digest_of(content(2))], index[digest_of(content(1))]]
        other.close()

    @pytest.mark.parametrize("changed", [0, 1, EXTENT_BYTES])
    def test_a_chunk_that_is_known_to_be_a_changed_one_comes_back_whole_or_in_parts(
        self, store: ArtifactStore, changed: int
    ) -> None:
        index = MemoryIndex()
        old, other = content(1), content(2)
        index.commit(store.write(views(old, other), index=index))
        new = content(3)[:changed] + old[changed:]

        first, *parts = store.write(views(other, new), index=index, before={1: [digest_of(old)]})
        store.flush()

        assert first == index[digest_of(other)]
        assert b"".join(_read(store, parts)) == new

    def test_a_chunk_written_but_never_committed_is_written_again_after_the_flush(
        self, store: ArtifactStore
    ) -> None:
        (lost,) = store.write(views(content(1)), index=MemoryIndex())
        store.flush()

        (location,) = store.write(views(content(1)), index=MemoryIndex())
        store.flush()

        assert location != lost
        assert bytes(store.read(location)) == content(1)

    def test_a_writable_buffer_changed_after_the_write_does_not_change_what_is_stored(
        self, store: ArtifactStore
    ) -> None:
        live = bytearray(content(1))

        (location,) = store.write([memoryview(live)], index=MemoryIndex())
        live[:] = content(2)
        store.flush()

        assert bytes(store.read(location)) == content(1)

    def test_a_value_that_changes_while_it_is_written_is_stored_under_the_digest_of_what_was_stored(
        self, store: ArtifactStore
    ) -> None:
        live = bytearray(8 * EXTENT_BYTES)
        stop = threading.Event()

        def scribble() -> None:
            mark = 0
            while not stop.is_set():
                mark += 1
                for at in range(0, len(live), 4096):
                    live[at : at + 8] = mark.to_bytes(8, "little")

        thread = threading.Thread(target=scribble)
        thread.start()
        whole, saved = memoryview(live), []
        try:
            for _ in range(2):
                chunks = [whole[at : at + EXTENT_BYTES] for at in range(0, len(whole), EXTENT_BYTES)]
                saved += store.write(chunks, index=MemoryIndex())
        finally:
            stop.set()
            thread.join()
        store.flush()

        assert all(len(store.read(location)) == EXTENT_BYTES for location in saved)

    def test_what_is_read_can_be_changed_without_changing_the_store(self, store: ArtifactStore) -> None:
        (location,) = store.write(views(content(1)), index=MemoryIndex())
        store.flush()

        store.read(location)[:] = content(2)

        assert bytes(store.read(location)) == content(1)

    def test_reading_works_after_close(self, store: ArtifactStore) -> None:
        (location,) = store.write(views(content(1)), index=MemoryIndex())
        store.flush()

        store.close()

        assert bytes(store.read(location)) == content(1)

    def test_writing_works_after_close(self, store: ArtifactStore) -> None:
        store.close()

        (location,) = store.write(views(content(1)), index=MemoryIndex())
        store.flush()

        assert bytes(store.read(location)) == content(1)

    # Damage

    @pytest.mark.parametrize("length", [10, EXTENT_BYTES])
    def test_another_digest_than_the_stored_one_is_refused(self, store: ArtifactStore, length: int) -> None:
        (location,) = store.write(views(content(1, length)), index=MemoryIndex())
        store.flush()
        other = Extent(digest_of(b"other"), length)
        forged = Location(other, data=location.data, pack=location.pack, offset=location.offset)

        _refuses(store, forged)

    @pytest.mark.parametrize("name", DAMAGES)
    def test_damage_is_an_error_that_names_the_pack(
        self, store: ArtifactStore, home: Path, name: str
    ) -> None:
        (location,) = store.write(views(content(1)), index=MemoryIndex())
        store.flush()
        assert location.pack is not None

        self.damage(home, location.pack, DAMAGES[name])

        assert location.pack in _refuses(store, location).message
        assert location.pack in _refuses(self.open_store(home), location).message

    def test_damage_to_one_extent_leaves_its_neighbours_readable(
        self, store: ArtifactStore, home: Path
    ) -> None:
        data = [content(seed) for seed in range(3)]
        first, second, third = store.write(views(*data), index=MemoryIndex())
        store.flush()
        assert first.pack is not None
        assert first.pack == second.pack == third.pack

        self.damage(home, first.pack, _flipped(second.offset + 10))

        assert (bytes(store.read(first)), bytes(store.read(third))) == (data[0], data[2])
        _refuses(store, second)

    @pytest.mark.parametrize("name", _SHORTER)
    def test_a_known_extent_whose_pack_is_short_or_gone_is_written_anew(
        self, store: ArtifactStore, home: Path, name: str
    ) -> None:
        index = MemoryIndex()
        index.commit(store.write(views(content(1)), index=index))
        store.flush()
        self.damage(home, index[digest_of(content(1))].pack or "", DAMAGES[name])
        other = self.open_store(home)

        (location,) = other.write(views(content(1)), index=index)
        other.flush()

        assert bytes(other.read(location)) == content(1)
        other.close()

    @pytest.mark.parametrize("name", DAMAGES)
    def test_an_extent_once_read_as_damaged_is_written_anew(
        self, store: ArtifactStore, home: Path, name: str
    ) -> None:
        index = MemoryIndex()
        index.commit(store.write(views(content(1)), index=index))
        store.flush()
        known = index[digest_of(content(1))]
        self.damage(home, known.pack or "", DAMAGES[name])
        _refuses(store, known)

        (location,) = store.write(views(content(1)), index=index)
        store.flush()

        assert bytes(store.read(location)) == content(1)

    def test_damaged_inline_bytes_are_an_error(self, store: ArtifactStore) -> None:
        location = Location(Extent(digest_of(b"right"), 5), data=b"wrong")

        assert "in the journal is damaged" in _refuses(store, location).message

    @pytest.mark.parametrize("name", _NO_PACKS)
    def test_no_recorded_name_becomes_another_path(self, store: ArtifactStore, name: str) -> None:
        store.write(views(content(1)), index=MemoryIndex())
        store.flush()

        error = _refuses(store, Location(Extent(digest_of(b""), 1), pack=name))

        assert "not a pack" in error.message

    def test_a_recorded_name_that_is_no_pack_is_not_leaned_on(self, store: ArtifactStore) -> None:
        data = content(1)
        index = MemoryIndex()
        index.commit([Location(Extent(digest_of(data), len(data)), pack="../../etc/passwd")])

        (location,) = store.write(views(data), index=index)
        store.flush()

        assert bytes(store.read(location)) == data

    # A place that refuses

    @pytest.mark.parametrize("chunks", [2, 24])
    def test_a_refused_save_is_a_clear_error_and_loses_nothing(
        self, store: ArtifactStore, home: Path, chunks: int
    ) -> None:
        index = MemoryIndex()
        index.commit(store.write(views(content(999)), index=index))
        store.flush()
        data = [content(seed) for seed in range(chunks)]
        with self.broken(home), pytest.raises(StoreError) as caught:
            _save(store, data, index)

        index.commit(store.write(views(*data), index=index))
        store.flush()

        assert caught.value.kind not in ("", "error")
        assert caught.value.hint
        assert not isinstance(caught.value, CorruptError)
        other = self.open_store(home)
        wanted = [content(999), *data]
        assert _read(other, [index[digest_of(d)] for d in wanted]) == wanted
        other.close()

    def test_a_save_after_a_refused_one_leans_on_nothing_of_it(
        self, store: ArtifactStore, home: Path
    ) -> None:
        store.write(views(content(1)), index=MemoryIndex())
        with self.broken(home), pytest.raises(StoreError):
            _save(store, [content(seed) for seed in range(2, 26)], MemoryIndex())

        found = store.write(views(content(1), content(2)), index=MemoryIndex())
        store.flush()

        other = self.open_store(home)
        assert _read(other, found) == [content(1), content(2)]
        other.close()

    @pytest.mark.parametrize("stop", [KeyboardInterrupt, MemoryError])
    def test_a_write_that_is_stopped_half_way_takes_nothing_else_with_it(
        self, store: ArtifactStore, home: Path, stop: type[BaseException]
    ) -> None:
        class Stopped(MemoryIndex):
            asked = 0

            def locate(self, digests: Iterable[Digest]) -> dict[Digest, Location]:
                self.asked += 1
                if self.asked == 2:  # one batch is on its way
                    raise stop
                return super().locate(digests)

        data = [content(seed) for seed in range(24)]
        before = store.write(views(content(999)), index=MemoryIndex())
        with pytest.raises(stop):
            store.write(views(*data), index=Stopped())

        after = store.write(views(*data), index=MemoryIndex())
        store.flush()

        other = self.open_store(home)
        assert _read(other, [*before, *after]) == [content(999), *data]
        other.close()

    def test_a_read_only_store_reads_and_refuses_to_write(self, store: ArtifactStore, home: Path) -> None:
        (location,) = store.write(views(content(1)), index=MemoryIndex())
        store.flush()
        frozen = self.open_store(home, read_only=True)

        with pytest.raises(StoreError) as caught:
            frozen.write(views(content(2)), index=MemoryIndex())

        assert caught.value.kind == "store-read-only"
        assert bytes(frozen.read(location)) == content(1)
        frozen.close()

    # What gc asks for

    def test_packs_are_listed_with_size_and_age(self, store: ArtifactStore, home: Path) -> None:
        assert list(store.packs()) == []
        locations = store.write(views(content(1), content(2, 10)), index=MemoryIndex())
        store.flush()

        (found,) = self.open_store(home).packs()

        assert (found.name, found.bytes) == (locations[0].pack, EXTENT_BYTES)
        assert abs(found.modified - time.time()) < 900

    def test_a_removed_pack_is_gone_and_is_not_leaned_on(self, store: ArtifactStore) -> None:
        index = MemoryIndex()
        index.commit(store.write(views(content(1)), index=index))
        store.flush()
        known = index[digest_of(content(1))]

        store.remove(known.pack or "")
        store.remove(known.pack or "")

        assert list(store.packs()) == []
        _refuses(store, known)
        (location,) = store.write(views(content(1)), index=index)
        store.flush()
        assert bytes(store.read(location)) == content(1)

    @pytest.mark.parametrize("name", ["0" * 32 + ".pack", *_NO_PACKS])
    def test_removing_what_is_no_pack_removes_nothing(self, store: ArtifactStore, name: str) -> None:
        (location,) = store.write(views(content(1)), index=MemoryIndex())
        store.flush()

        store.remove(name)

        assert [pack.name for pack in store.packs()] == [location.pack]

    # Threads and processes

    def test_threads_write_and_read_one_store(self, store: ArtifactStore) -> None:
        found: dict[int, list[bytes]] = {}

        def save(turn: int) -> None:
            data = [content(turn * 100 + number) for number in range(5)]
            locations = store.write(views(*data), index=MemoryIndex())
            store.flush()
            found[turn] = _read(store, locations)

        threads = [threading.Thread(target=save, args=(turn,)) for turn in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

        assert found == {turn: [content(turn * 100 + number) for number in range(5)] for turn in range(4)}

    def test_processes_write_to_one_store(self, store: ArtifactStore, home: Path) -> None:
        def save(turn: int, told: IO[str]) -> None:
            own = self.open_store(home)
            for number in range(3):
                _save_and_tell(own, [turn * 10 + number], told)

        children = [_Child(partial(save, turn)) for turn in range(3)]

        found = [_acknowledged(child.ended()) for child in children]

        assert [len(each) for each in found] == [3, 3, 3]
        packs = [{location.pack for location in each} for each in found]
        assert not packs[0] & packs[1]
        assert not packs[1] & packs[2]
        everything = [location for each in found for location in each]
        assert len(_read(store, everything)) == 9

    def test_a_forked_child_writes_to_packs_of_its_own(self, store: ArtifactStore, home: Path) -> None:
        index = MemoryIndex()
        index.commit(store.write(views(content(1)), index=index))
        store.flush()
        pending = store.write(views(content(2)), index=index)

        def save(told: IO[str]) -> None:
            assert bytes(store.read(index[digest_of(content(1))])) == content(1)
            _save_and_tell(store, [1, 3], told, index)

        known, fresh = _acknowledged(_Child(save).ended())
        after = store.write(views(content(4)), index=index)
        store.flush()

        assert known == index[digest_of(content(1))]
        assert fresh.pack not in {location.pack for location in (*pending, *after)}
        other = self.open_store(home)
        assert _read(other, [*pending, fresh, *after]) == [content(seed) for seed in (2, 3, 4)]
        other.close()

    def test_a_kill_at_any_moment_loses_nothing_acknowledged(self, store: ArtifactStore, home: Path) -> None:
        def save(turn: int, told: IO[str]) -> None:
            own = self.open_store(home)
            for number in range(1000):
                seeds = [turn * 100_000 + number * 100 + n for n in range(20)]
                _save_and_tell(own, seeds, told, length=100_000)

        lines: list[str] = []
        for turn in range(3):
            child = _Child(partial(save, turn))
            lines += child.killed_after(turn + 1)

        found = _acknowledged(lines)
        assert len(found) >= 20 * 6
        assert [digest_of(data) for data in _read(store, found)] == [place.extent.digest for place in found]


def _read(store: ArtifactStore, locations: Sequence[Location]) -> list[bytes]:
    """The bytes at `locations`, by every way of reading the store has."""
    found = [bytes(store.read(location)) for location in locations]
    if isinstance(store, DirectReader):
        targets = [bytearray(location.extent.length) for location in locations]
        for location, target in zip(locations, targets, strict=True):
            store.read_into(location, memoryview(target))
        assert targets == found
    if isinstance(store, BulkReader):
        targets = [bytearray(location.extent.length) for location in locations]
        store.read_all([(place, memoryview(room)) for place, room in zip(locations, targets, strict=True)])
        assert targets == found
    return found


def _refuses(store: ArtifactStore, location: Location) -> CorruptError:
    """The error with which the store refuses to read `location`, by every way it has."""
    target = memoryview(bytearray(location.extent.length))
    ways: list[Callable[[], object]] = [lambda: store.read(location)]
    if isinstance(store, DirectReader):
        ways.append(lambda: store.read_into(location, target))
    if isinstance(store, BulkReader):
        ways.append(lambda: store.read_all([(location, target)]))
    errors = []
    for way in ways:
        with pytest.raises(CorruptError) as caught:
            way()
        errors.append(caught.value)
    assert {error.kind for error in errors} == {"corrupt-artifact"}
    return errors[0]


def _save(store: ArtifactStore, data: Sequence[bytes], index: MemoryIndex) -> list[Location]:
    found = store.write(views(*data), index=index)
    store.flush()
    return found


def _save_and_tell(
    store: ArtifactStore,
    seeds: Sequence[int],
    told: IO[str],
    index: MemoryIndex | None = None,
    *,
    length: int = EXTENT_BYTES,
) -> None:
    data = [content(seed, length) for seed in seeds]
    found = _save(store, data, MemoryIndex() if index is None else index)
    told.write(json.dumps([[at.extent.digest, at.extent.length, at.pack, at.offset] for at in found]) + "\n")
    told.flush()


def _acknowledged(lines: Iterable[str]) -> list[Location]:
    return [
        Location(Extent(Digest(digest), length), pack=pack, offset=offset)
        for line in lines
        for digest, length, pack, offset in json.loads(line)
    ]


class _Child:
    """A forked process that tells of its work line by line."""

    def __init__(self, work: Callable[[IO[str]], None]) -> None:
        read, write = os.pipe()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # that a fork takes no threads along
            self._pid = os.fork()
        if self._pid == 0:
            os.close(read)
            status = 1
            try:
                with open(write, "w", encoding="utf-8") as told:  # noqa: PTH123 - it is no path
                    work(told)
                status = 0
            finally:
                os._exit(status)
        os.close(write)
        self._told = open(read, encoding="utf-8")  # noqa: PTH123, SIM115 - closed when it has ended

    def ended(self) -> list[str]:
        """What it told, once it has ended well."""
        with self._told:
            lines = self._told.readlines()
        assert self._status() == 0
        return lines

    def killed_after(self, count: int) -> list[str]:
        """Every whole line it told until it was killed, some time after `count` of them."""
        with self._told:
            lines = [self._told.readline() for _ in range(count)]
            time.sleep(0.003 * count)  # into the next save; which moment of it does not matter
            os.kill(self._pid, signal.SIGKILL)
            lines += self._told.readlines()
        self._status()
        return [line for line in lines if line.endswith("\n")]

    def _status(self) -> int:
        return os.waitstatus_to_exitcode(os.waitpid(self._pid, 0)[1])
