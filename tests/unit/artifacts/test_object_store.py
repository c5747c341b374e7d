"""The store in a bucket: the promises of every store against a real S3 server, and what is its own."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from hashlib import blake2b
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from kitaru_nb.artifacts.bucket import Bucket
from kitaru_nb.artifacts.extent_save import digest_of
from kitaru_nb.artifacts.object_packs import OBJECT_BYTES
from kitaru_nb.artifacts.object_store import ObjectStore
from kitaru_nb.artifacts.pack import pack_key
from kitaru_nb.artifacts.values import load_values, store_values
from kitaru_nb.errors import CorruptError, StoreError, UsageError
from kitaru_nb.model.artifact import EXTENT_BYTES, INLINE_BYTES
from kitaru_nb.testing import MemoryIndex, content, views
from tests.bucket_suite import BucketSuite
from tests.patience import PATIENCE
from tests.s3_server import BUCKET, KEY, SECRET, Cable, S3Server, s3_options

pytest.importorskip("obstore", reason="obstore is not installed", exc_type=ImportError)

MIB = 1 << 20


@pytest.fixture(scope="module")
def cable(s3_server: S3Server) -> Iterator[Cable]:
    cable = Cable(s3_server.port)
    yield cable
    cable.close()


@pytest.fixture
def url(tmp_path: Path) -> str:
    """A prefix of this test's own."""
    return f"s3://{BUCKET}/{blake2b(str(tmp_path).encode(), digest_size=8).hexdigest()}"


@pytest.fixture
def store(url: str, cable: Cable) -> Iterator[ObjectStore]:
    store = ObjectStore(url, options=s3_options(cable.endpoint))
    yield store
    store.close()


@pytest.fixture
def bucket(url: str, cable: Cable) -> Bucket:
    """The bucket as it is behind the store's back."""
    return Bucket(url, s3_options(cable.endpoint))


def objects(bucket: Bucket) -> dict[str, int]:
    return {key: file.bytes for key, file in bucket.files("packs")}


class TestObjectStore(BucketSuite):
    place = f"s3://{BUCKET}"
    makes_buckets = True

    @pytest.fixture
    def server(self, s3_server: S3Server) -> S3Server:
        return s3_server

    def options(self, endpoint: str, **more: str) -> dict[str, str]:
        return s3_options(endpoint, **more)


@pytest.mark.slow
class TestObjectStoreWithACache(TestObjectStore):
    """The same promises with a cache between: what it holds is checked, and never leaned on."""

    def open_store(self, home: Path, *, read_only: bool = False) -> ObjectStore:
        options = self.options(self._endpoint)
        return ObjectStore(self._url(home), options=options, cache=home / "cache", read_only=read_only)


# What goes where


def test_small_chunks_ride_inline_and_leave_the_bucket_alone(store: ObjectStore, bucket: Bucket) -> None:
    with_room = store.write(views(content(1, INLINE_BYTES), content(2, 10)), index=MemoryIndex())
    store.flush()

    assert [location.data for location in with_room] == [content(1, INLINE_BYTES), content(2, 10)]
    assert objects(bucket) == {}


def test_a_large_save_becomes_objects_of_about_16_mebibytes(
    url: str, bucket: Bucket, s3_server: S3Server
) -> None:
    store = ObjectStore(url, options=s3_options(s3_server.endpoint))
    locations = store.write(views(*(content(seed) for seed in range(50))), index=MemoryIndex())
    store.flush()

    found = objects(bucket)
    assert sorted(found.values()) == [2 * MIB, *[OBJECT_BYTES] * 3]
    assert {pack_key(location.pack or "") for location in locations} == found.keys()
    assert all(location.offset % 4096 == 0 for location in locations)


def test_what_several_writes_left_before_a_flush_is_one_object(store: ObjectStore, bucket: Bucket) -> None:
    index = MemoryIndex()
    found = [store.write(views(content(seed, 70_001)), index=index)[0] for seed in range(10)]

    store.flush()

    assert len(objects(bucket)) == 1
    assert [bytes(store.read(location)) for location in found] == [content(n, 70_001) for n in range(10)]


def test_nothing_is_in_the_bucket_before_it_is_worth_an_object(store: ObjectStore, bucket: Bucket) -> None:
    store.write(views(content(1)), index=MemoryIndex())

    assert objects(bucket) == {}


def test_a_flush_with_nothing_new_asks_nothing(store: ObjectStore, cable: Cable) -> None:
    index = MemoryIndex()
    index.commit(store.write(views(content(1)), index=index))
    store.flush()

    with cable.cut():
        again = store.write(views(content(1), content(2, 100)), index=index)
        store.flush()

    assert again[0] == index[digest_of(content(1))]


def test_each_pack_is_looked_for_once(
    store: ObjectStore, url: str, cable: Cable, monkeypatch: pytest.MonkeyPatch
) -> None:
    index = MemoryIndex()
    for seed in range(3):
        index.commit(store.write(views(content(seed)), index=index))
        store.flush()
    asked: list[str] = []
    real = Bucket.file
    monkeypatch.setattr(Bucket, "file", lambda at, key: (asked.append(key), real(at, key))[1])
    other = ObjectStore(url, options=s3_options(cable.endpoint))

    for _ in range(3):
        other.write(views(*(content(seed) for seed in range(3))), index=index)

    assert len(asked) == len(set(asked)) == 3
    other.close()


def test_a_pack_that_was_removed_since_it_was_looked_for_is_not_leaned_on_once_that_was_seen(
    store: ObjectStore, bucket: Bucket
) -> None:
    index = MemoryIndex()
    index.commit(store.write(views(content(1), content(2)), index=index))
    store.flush()
    for key in objects(bucket):
        bucket.remove(key)
    with pytest.raises(CorruptError, match="the object is gone"):
        store.read(index[digest_of(content(1))])

    index.commit(store.write(views(content(1), content(2)), index=index))
    store.flush()

    assert bytes(store.read(index[digest_of(content(2))])) == content(2)


def test_values_come_back_in_few_requests(
    url: str, s3_server: S3Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = ObjectStore(url, options=s3_options(s3_server.endpoint))
    index = MemoryIndex()
    weights = np.random.default_rng(1).standard_normal(2 * OBJECT_BYTES // 8)
    stored = store_values({"weights": weights}, namespace={}, store=store, index=index)
    store.flush()
    index.commit(stored.locations)
    asked: list[str] = []
    real = Bucket.get
    monkeypatch.setattr(
        Bucket, "get", lambda at, key, *range_: (asked.append(key), real(at, key, *range_))[1]
    )
    other = ObjectStore(url, options=s3_options(s3_server.endpoint))

    found = load_values(stored.artifact, store=other, index=index, namespace={})

    assert np.array_equal(found["weights"], weights)
    assert len(asked) <= 2 * OBJECT_BYTES // (4 * MIB) + 2
    other.close()


def test_of_much_each_request_brings_more(
    url: str, s3_server: S3Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = ObjectStore(url, options=s3_options(s3_server.endpoint))
    index = MemoryIndex()
    whole = np.random.default_rng(1).bytes(12 * OBJECT_BYTES)
    chunks = [memoryview(whole)[at : at + MIB] for at in range(0, len(whole), MIB)]
    places = store.write(chunks, index=index)
    store.flush()
    asked: list[int] = []
    real = Bucket.get
    monkeypatch.setattr(
        Bucket, "get", lambda at, key, first, length: (asked.append(length), real(at, key, first, length))[1]
    )
    target = memoryview(bytearray(len(whole)))

    store.read_all([(place, target[at * MIB : (at + 1) * MIB]) for at, place in enumerate(places)])

    assert target == whole
    assert len(asked) <= len(whole) // (5 * MIB), "fewer than by 4 MiB each"
    assert max(asked) <= len(whole) // 32, "what is under way at a time is a part of it"
    store.close()


# A network that breaks, and a service that refuses


def test_a_put_whose_answer_was_lost_is_found_to_be_there(bucket: Bucket) -> None:
    bucket.put_new("packs/x", memoryview(b"content"))

    bucket.put_new("packs/x", memoryview(b"content"))

    with pytest.raises(StoreError, match="another object has that name"):
        bucket.put_new("packs/x", memoryview(b"other"))
    assert bytes(bucket.get("packs/x", 0, 100)) == b"content"


@pytest.mark.parametrize(
    ("options", "kind", "why"),
    [
        ({"access_key_id": "unknown"}, "store-credentials", "not accepted"),
        ({"secret_access_key": "wrong-secret-value"}, "store-credentials", "not accepted"),
        ({"endpoint": "http://127.0.0.1:1"}, "store-unreachable", "Connection refused"),
        ({"endpoint": "http://no-such-host.invalid"}, "store-unreachable", "DNS"),
    ],
)
def test_what_is_wrong_is_said(
    url: str, s3_server: S3Server, options: dict[str, str], kind: str, why: str
) -> None:
    store = ObjectStore(url, options={**s3_options(s3_server.endpoint, max_retries="0"), **options})

    with pytest.raises(StoreError, match=why) as caught:
        store.check()

    assert caught.value.kind == kind
    assert url in caught.value.message
    assert caught.value.hint
    told = f"{caught.value!r} {caught.value} {caught.value.__cause__!r} {store!r}"
    assert SECRET not in told
    assert "wrong-secret-value" not in told


def test_the_environment_says_what_the_options_do_not(
    url: str, s3_server: S3Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", KEY)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", SECRET)
    monkeypatch.setenv("AWS_REGION", "us-east-1")
    monkeypatch.setenv("AWS_ENDPOINT_URL", s3_server.endpoint)

    ObjectStore(url).check()


def test_keys_in_the_home_folder_are_enough(
    url: str, s3_server: S3Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("AWS_ACCESS_KEY_ID", raising=False)
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "credentials"))
    (tmp_path / "credentials").write_text(
        f"[default]\naws_access_key_id = {KEY}\naws_secret_access_key = {SECRET}\n"
    )

    ObjectStore(url, options={"endpoint": s3_server.endpoint, "region": "us-east-1"}).check()


def test_credentials_that_were_renewed_are_found_by_the_next_call(
    url: str, s3_server: S3Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", KEY)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "expired-hunter2")
    monkeypatch.setenv("AWS_REGION", "us-east-1")
    store = ObjectStore(url, options={"endpoint": s3_server.endpoint, "max_retries": "0"})
    (location,) = store.write(views(content(1)), index=MemoryIndex())
    for ask in (store.flush, store.check, lambda: store.read(location)):
        with pytest.raises(StoreError) as caught:
            ask()
        assert caught.value.kind in ("store-credentials", "store-denied")

    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", SECRET)
    (location,) = store.write(views(content(1)), index=MemoryIndex())
    store.flush()

    assert bytes(store.read(location)) == content(1)
    store.close()


def test_whatever_stops_a_put_stops_no_later_one(store: ObjectStore, monkeypatch: pytest.MonkeyPatch) -> None:
    real, answers = Bucket.put_new, iter([UsageError("gone", kind="missing-secret", hint="")])

    def put_new(bucket: Bucket, key: str, data: memoryview) -> None:
        for answer in answers:
            raise answer
        real(bucket, key, data)

    monkeypatch.setattr(Bucket, "put_new", put_new)
    store.write(views(content(1)), index=MemoryIndex())
    with pytest.raises(UsageError):
        store.flush()

    (location,) = store.write(views(content(1)), index=MemoryIndex())
    store.flush()

    assert bytes(store.read(location)) == content(1)


def test_a_check_of_a_store_that_is_read_needs_no_right_to_write(url: str, cable: Cable) -> None:
    ObjectStore(url, options=s3_options(cable.endpoint), read_only=True).check()


# For gc


def test_packs_are_listed_with_size_and_age(store: ObjectStore, bucket: Bucket) -> None:
    (location,) = store.write(views(content(1)), index=MemoryIndex())
    store.flush()
    bucket.put_new("packs/ab/somebody-elses", memoryview(b"no pack"))

    (found,) = store.packs()

    assert (found.name, found.bytes) == (location.pack, MIB)
    assert abs(found.modified - time.time()) < 900


def test_a_place_belongs_to_the_journal_that_wrote_there_first(url: str, cable: Cable) -> None:
    options = s3_options(cable.endpoint)
    mine, again, others = (ObjectStore(url, options=options, owner=owner) for owner in ("a", "a", "b"))
    (location,) = mine.write(views(content(1)), index=MemoryIndex())
    mine.flush()

    again.write(views(content(2)), index=MemoryIndex())
    again.flush()
    others.write(views(content(3)), index=MemoryIndex())
    for refused in (
        others.flush,
        others.check,
        lambda: list(others.packs()),
        lambda: others.remove("0" * 32 + ".pack"),
    ):
        with pytest.raises(StoreError, match="belongs to another journal") as caught:
            refused()
        assert caught.value.kind == "foreign-store"

    assert bytes(others.read(location)) == content(1)
    assert len(list(mine.packs())) == 2


def test_a_place_whose_mark_is_gone_is_nobodys_to_collect(url: str, cable: Cable, bucket: Bucket) -> None:
    options = s3_options(cable.endpoint)
    mine = ObjectStore(url, options=options, owner="mine")
    (location,) = mine.write(views(content(1)), index=MemoryIndex())
    mine.flush()
    bucket.remove("owner")
    stores = [ObjectStore(url, options=options, owner=owner) for owner in ("mine", "others")]

    for store in stores:
        for refused in (store.check, lambda store=store: list(store.packs())):
            with pytest.raises(StoreError, match="is gone") as caught:
                refused()
            assert caught.value.kind == "foreign-store"
    bucket.put_new("owner", memoryview(b"mine"))  # as the hint says

    assert [pack.name for pack in stores[0].packs()] == [location.pack]
    with pytest.raises(StoreError, match="belongs to another journal"):
        stores[1].check()


def test_who_comes_while_the_first_one_marks_the_place_and_saves_is_no_stranger(
    url: str, cable: Cable, monkeypatch: pytest.MonkeyPatch
) -> None:
    options = s3_options(cable.endpoint)
    first, second = (ObjectStore(url, options=options, owner="mine") for _ in range(2))
    real = ObjectStore._mark

    def mark(store: ObjectStore) -> memoryview | None:
        found = real(store)
        if store is second and found is None:
            first.write(views(content(1)), index=MemoryIndex())
            first.flush()
        return found

    monkeypatch.setattr(ObjectStore, "_mark", mark)

    second.check()

    assert len(list(second.packs())) == 1


def test_a_journal_that_comes_second_by_a_moment_is_refused_too(
    store: ObjectStore, url: str, cable: Cable, bucket: Bucket, monkeypatch: pytest.MonkeyPatch
) -> None:
    late = ObjectStore(url, options=s3_options(cable.endpoint), owner="late")
    bucket.put_new("owner", memoryview(b"first"))
    answers = iter([FileNotFoundError("owner")])  # as it was a moment before
    real = Bucket.get

    def get(at: Bucket, key: str, start: int, length: int) -> memoryview:
        for answer in answers:
            raise answer
        return real(at, key, start, length)

    monkeypatch.setattr(Bucket, "get", get)

    with pytest.raises(StoreError, match="belongs to another journal"):
        late.check()


# The cache


@pytest.fixture
def cached(url: str, cable: Cable, tmp_path: Path) -> Iterator[ObjectStore]:
    store = ObjectStore(url, options=s3_options(cable.endpoint), cache=tmp_path / "cache")
    yield store
    store.close()


def cached_files(tmp_path: Path) -> list[Path]:
    return [path for path in (tmp_path / "cache").rglob("*") if path.is_file()]


def test_what_was_read_once_is_read_again_without_the_network(
    store: ObjectStore, cached: ObjectStore, cable: Cable
) -> None:
    data = [content(seed) for seed in range(5)]
    locations = store.write(views(*data), index=MemoryIndex())
    store.flush()
    rooms = [bytearray(EXTENT_BYTES) for _ in data]
    cached.read_all([(at, memoryview(room)) for at, room in zip(locations, rooms, strict=True)])

    with cable.cut():
        again = [bytes(cached.read(location)) for location in locations]
        cached.read_all([(at, memoryview(room)) for at, room in zip(locations, rooms, strict=True)])

    assert again == rooms == data


@pytest.mark.parametrize("damaged", [b"", b"short", content(9)])
def test_damage_in_the_cache_costs_a_download_and_nothing_else(
    store: ObjectStore, cached: ObjectStore, tmp_path: Path, damaged: bytes
) -> None:
    (location,) = store.write(views(content(1)), index=MemoryIndex())
    store.flush()
    cached.read(location)
    (path,) = cached_files(tmp_path)
    path.write_bytes(damaged)

    assert bytes(cached.read(location)) == content(1)
    assert path.read_bytes() == content(1)


def test_the_cache_is_private(store: ObjectStore, cached: ObjectStore, tmp_path: Path) -> None:
    (location,) = store.write(views(content(1)), index=MemoryIndex())
    store.flush()
    before = os.umask(0)
    try:
        cached.read(location)
    finally:
        os.umask(before)

    modes = {path.is_dir(): stat.S_IMODE(path.stat().st_mode) for path in (tmp_path / "cache").rglob("*")}
    assert modes == {True: 0o700, False: 0o600}
    assert stat.S_IMODE((tmp_path / "cache").stat().st_mode) == 0o700


def test_a_cache_that_cannot_be_written_is_no_error(
    store: ObjectStore, url: str, cable: Cable, tmp_path: Path
) -> None:
    (location,) = store.write(views(content(1)), index=MemoryIndex())
    store.flush()
    (tmp_path / "file").write_bytes(b"")

    without = ObjectStore(url, options=s3_options(cable.endpoint), cache=tmp_path / "file" / "cache")

    assert bytes(without.read(location)) == content(1)
    without.close()


# Importing


def test_obstore_is_imported_by_the_first_use_and_not_before() -> None:
    code = (
        "import sys; from kitaru_nb.artifacts.object_store import ObjectStore;"
        "store = ObjectStore('s3://bucket/prefix');"
        "print(any(name.startswith('obstore') for name in sys.modules))"
    )

    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert done.stdout.strip() == "False"


# A service that is away for a while


@pytest.mark.parametrize("asked", ["get", "file", "files", "remove", "put"])
def test_a_service_that_answers_503_for_a_while_is_asked_again_by_whatever_it_was(
    url: str, cable: Cable, asked: str
) -> None:
    """More often than obstore by itself would, whose pauses need not grow."""
    bucket = Bucket(url, s3_options(cable.endpoint, max_retries="40", retry_timeout="60"))
    bucket.put_new("packs/there", memoryview(b"content"))
    ask: Callable[[], object] = {
        "get": lambda: bytes(bucket.get("packs/there", 0, 7)),
        "file": lambda: bucket.file("packs/there") is not None,
        "files": lambda: [key.rpartition("/")[2] for key, _ in bucket.files("packs")],
        "remove": lambda: bucket.remove("packs/there"),
        "put": lambda: bucket.put_new("packs/new", memoryview(b"more")),
    }[asked]

    with ThreadPoolExecutor(1) as threads:
        with cable.busy():
            before, answer = cable.refused, threads.submit(ask)
            until = time.monotonic() + PATIENCE
            while cable.refused < before + 12:
                assert not answer.done(), answer.exception()
                assert time.monotonic() < until
                time.sleep(0.01)  # polls, bounded
        found = answer.result()

    assert found == {"get": b"content", "file": True, "files": ["there"]}.get(asked)
    assert (bucket.file("packs/there") is None) is (asked == "remove")
    assert (bucket.file("packs/new") is not None) is (asked == "put")


def test_a_listing_that_breaks_off_goes_on_behind_what_has_come(
    url: str, cable: Cable, monkeypatch: pytest.MonkeyPatch
) -> None:
    bucket = Bucket(url, s3_options(cable.endpoint))
    wanted = [f"packs/{number:03}" for number in range(130)]  # more than a page of obstore's
    with ThreadPoolExecutor(8) as threads:
        list(threads.map(lambda key: bucket.put_new(key, memoryview(b"x")), wanted))
    library, place = bucket._opened()
    listing, broken = library.list, []

    def breaks_off(*arguments: Any, **options: Any) -> Iterator[Any]:
        pages = iter(listing(*arguments, **options))
        yield next(pages)
        if not broken:
            broken.append(options["offset"])
            raise OSError("status code: 503 Slow Down: <Code>SlowDown</Code>")
        yield from pages

    monkeypatch.setattr(bucket, "_open", (SimpleNamespace(**{**vars(library), "list": breaks_off}), place))
    found = [key.rpartition("/")[2] for key, _ in bucket.files("packs")]

    assert broken == [None]
    assert found == [key.rpartition("/")[2] for key in wanted]
