"""Packs on their way: how many at a time, in what order, and what becomes of those given up."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest

from kitaru_nb.artifacts.object_packs import OBJECT_BYTES, UPLOADS, ObjectPacks
from kitaru_nb.errors import StoreError


class Place:
    """Where packs go; `gate` holds them up there, `refusal` is its answer."""

    def __init__(self) -> None:
        self.content: dict[str, bytes] = {}
        self.gate = threading.Event()
        self.gate.set()
        self.refusal: Exception | None = None
        self.under_way = 0
        self.most_under_way = 0
        self.arrivals = threading.Semaphore(0)
        self._lock = threading.Lock()

    def put(self, name: str, content: memoryview) -> None:
        with self._lock:
            self.under_way += 1
            self.most_under_way = max(self.most_under_way, self.under_way)
        self.arrivals.release()
        self.gate.wait()
        with self._lock:
            self.under_way -= 1
        if self.refusal is not None:
            raise self.refusal
        self.content[name] = bytes(content)

    def remove(self, name: str) -> None:
        self.content.pop(name, None)


@pytest.fixture
def place() -> Place:
    return Place()


@pytest.fixture
def packs(place: Place) -> Iterator[ObjectPacks]:
    packs = ObjectPacks(place.put, place.remove)
    yield packs
    place.gate.set()
    packs.close()


def put(packs: ObjectPacks, data: bytes) -> str:
    pack = packs.writable()
    pack.write([(pack.reserve(len(data)), memoryview(data))])
    return pack.name


def put_many(packs: ObjectPacks, count: int, done: list[str]) -> None:
    for _ in range(count):
        done.append(put(packs, bytes(OBJECT_BYTES)))  # noqa: PERF401 - it is looked at while it grows


def abandoned() -> None:
    """Wait for what removes the packs that were given up."""
    for thread in threading.enumerate():
        if thread.daemon and thread.name.endswith("(_remove_all)"):
            thread.join()


def test_no_more_packs_than_allowed_are_under_way_or_wait_for_it(packs: ObjectPacks, place: Place) -> None:
    place.gate.clear()
    filled: list[str] = []
    filler = threading.Thread(target=put_many, args=(packs, UPLOADS + 4, filled))

    filler.start()
    for _ in range(UPLOADS):
        assert place.arrivals.acquire(timeout=60)
    filler.join(0.2)  # room for one that goes on though it should wait
    most = len(filled)
    place.gate.set()
    filler.join()
    packs.sync()

    # The last one that is filled finds no room on its way, and the next is not begun.
    assert most <= UPLOADS + 1
    assert place.most_under_way == UPLOADS
    assert len(place.content) == UPLOADS + 4


def test_pieces_are_where_they_were_reserved_whatever_the_order_they_come_in(
    packs: ObjectPacks, place: Place
) -> None:
    pack = packs.writable()
    places = [(pack.reserve(len(data)), memoryview(data)) for data in (b"a" * 5000, b"b" * 10, b"c" * 9000)]

    pack.write([places[2]])
    pack.write([places[0]])
    pack.write([places[1]])
    packs.sync()

    (content,) = place.content.values()
    assert [bytes(content[at : at + len(piece)]) for at, piece in places] == [bytes(p) for _, p in places]
    assert [at for at, _ in places] == [0, 8192, 12288]


def test_a_sync_waits_for_the_last_answer(packs: ObjectPacks, place: Place) -> None:
    put(packs, b"content")
    place.gate.clear()
    synced = threading.Thread(target=packs.sync)

    synced.start()
    synced.join(0.1)
    waited = synced.is_alive() and packs.dirty
    place.gate.set()
    synced.join()

    assert waited
    assert not packs.dirty
    assert list(place.content.values()) == [b"content"]


def test_a_refused_pack_fails_the_sync_and_is_not_waited_for_again(packs: ObjectPacks, place: Place) -> None:
    put(packs, b"refused")
    place.refusal = StoreError("no", kind="disk-full")
    with pytest.raises(StoreError):
        packs.sync()
    packs.close()
    place.refusal = None

    put(packs, b"fine")
    packs.sync()

    assert list(place.content.values()) == [b"fine"]


def test_a_refused_pack_stops_a_long_save_early(packs: ObjectPacks, place: Place) -> None:
    place.refusal = StoreError("no", kind="disk-full")

    with pytest.raises(StoreError):
        put_many(packs, UPLOADS + 3, [])


def test_what_is_taken_back_does_not_arrive_and_what_was_there_before_does(
    packs: ObjectPacks, place: Place
) -> None:
    put(packs, b"before")
    undo = packs.savepoint()
    put(packs, b"taken back")

    undo()
    put(packs, b"after")
    packs.sync()

    (content,) = place.content.values()
    assert (content[:6], content[4096:]) == (b"before", b"after")


def test_packs_that_were_full_since_are_removed_but_for_the_one_that_began_before(
    packs: ObjectPacks, place: Place
) -> None:
    first = put(packs, b"before")
    undo = packs.savepoint()
    assert put(packs, bytes(OBJECT_BYTES)) == first
    second = put(packs, bytes(OBJECT_BYTES))
    put(packs, b"taken back")

    undo()
    packs.sync()
    abandoned()

    assert list(place.content) == [first] != [second]
    assert place.content[first][:6] == b"before"


def test_a_pack_that_began_before_what_is_taken_back_is_still_waited_for(
    packs: ObjectPacks, place: Place
) -> None:
    put(packs, b"before")
    undo = packs.savepoint()
    place.refusal = StoreError("no", kind="disk-full")
    place.gate.clear()
    put(packs, bytes(OBJECT_BYTES))
    packs.writable()

    undo()
    place.gate.set()

    with pytest.raises(StoreError):
        packs.sync()


def test_a_pack_that_was_reserved_in_and_not_written_to_fails_the_sync(
    packs: ObjectPacks, place: Place
) -> None:
    pack = packs.writable()
    pack.reserve(10)

    with pytest.raises(OSError, match="could not be filled"):
        packs.sync()

    assert place.content == {}


def test_closing_gives_up_what_was_not_synced(packs: ObjectPacks, place: Place) -> None:
    put(packs, b"given up")

    packs.close()
    put(packs, b"kept")
    packs.sync()

    assert list(place.content.values()) == [b"kept"]
