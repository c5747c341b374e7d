"""What every cloud must do for a store, beyond `ArtifactStoreSuite`: a bucket and its answers."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import AbstractContextManager
from hashlib import blake2b
from pathlib import Path
from typing import IO, Protocol

import pytest

from kitaru_nb.artifacts.bucket import Bucket
from kitaru_nb.artifacts.extent_save import digest_of
from kitaru_nb.artifacts.object_store import ObjectStore
from kitaru_nb.artifacts.pack import pack_key
from kitaru_nb.errors import CorruptError, StoreError
from kitaru_nb.model.artifact import Extent, Location
from kitaru_nb.testing import ArtifactStoreSuite, Damage, MemoryIndex, content, views
from kitaru_nb.testing.store_suite import _acknowledged, _Child, _save_and_tell
from tests.s3_server import Cable


class Server(Protocol):
    """An object store on this machine."""

    port: int

    @property
    def endpoint(self) -> str: ...


class BucketSuite(ArtifactStoreSuite):
    """The promises of a store in the buckets of one cloud. Bring a server, and how it is named."""

    place: str
    """The URL of a bucket that is there."""

    makes_buckets = False
    """Whether this server makes a bucket with the first object, as no cloud does."""

    def options(self, endpoint: str, **more: str) -> dict[str, str]:
        """What a store needs to get there."""
        raise NotImplementedError

    @pytest.fixture
    def server(self) -> Server:
        """The server, started."""
        raise NotImplementedError

    @pytest.fixture(autouse=True)
    def cable(self, server: Server) -> Iterator[Cable]:
        """The line to the server."""
        self._cable = Cable(server.port)
        self._endpoint = server.endpoint.replace(f":{server.port}", f":{self._cable.port}")
        yield self._cable
        self._cable.close()

    @pytest.fixture
    def url(self, home: Path) -> str:
        """A prefix of this test's own: where its store is."""
        return self._url(home)

    @pytest.fixture
    def bucket(self, url: str) -> Bucket:
        """The bucket as it is behind the store's back."""
        return Bucket(url, self.options(self._endpoint))

    def open_store(self, home: Path, *, read_only: bool = False) -> ObjectStore:
        return ObjectStore(self._url(home), options=self.options(self._endpoint), read_only=read_only)

    def damage(self, home: Path, pack: str, change: Damage) -> None:
        bucket, key = Bucket(self._url(home), self.options(self._endpoint)), pack_key(pack)
        assert key is not None
        changed = change(bytes(bucket.get(key, 0, 1 << 30)))
        bucket.remove(key)
        if changed is not None:
            bucket.put_new(key, memoryview(changed))

    def broken(self, home: Path) -> AbstractContextManager[None]:
        return self._cable.cut()

    def _url(self, home: Path) -> str:
        return f"{self.place}/{blake2b(str(home).encode(), digest_size=8).hexdigest()}"

    # Objects are made, and never changed

    def test_an_object_is_made_once_and_never_replaced(self, bucket: Bucket) -> None:
        bucket.put_new("packs/x", memoryview(b"content"))

        bucket.put_new("packs/x", memoryview(b"content"))  # as after an answer that was lost

        with pytest.raises(StoreError, match="another object has that name") as caught:
            bucket.put_new("packs/x", memoryview(b"other"))
        assert caught.value.kind == "object-exists"
        assert bytes(bucket.get("packs/x", 0, 100)) == b"content"
        assert bucket._conditional, "the service was asked not to replace it"

    def test_of_many_who_make_one_object_at_once_one_does(self, url: str) -> None:
        buckets = [Bucket(url, self.options(self._endpoint)) for _ in range(8)]
        won: list[bytes] = []

        def make(number: int) -> None:
            mine = b"content of %d" % number
            try:
                buckets[number].put_new("one", memoryview(mine))
                won.append(mine)
            except StoreError as error:
                assert error.kind == "object-exists", error

        threads = [threading.Thread(target=make, args=(number,)) for number in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

        assert won == [bytes(buckets[0].get("one", 0, 100))]

    def test_of_two_journals_that_come_first_at_once_one_gets_the_place(self, url: str) -> None:
        options = self.options(self._endpoint)
        stores = [ObjectStore(url, options=options, owner=str(number)) for number in range(6)]
        found: list[str] = []

        def check(store: ObjectStore) -> None:
            try:
                store.check()
                found.append("mine")
            except StoreError as error:
                found.append(error.kind)

        threads = [threading.Thread(target=check, args=(store,)) for store in stores]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

        assert sorted(found) == ["foreign-store"] * 5 + ["mine"]

    # What is there, and what is not

    def test_an_object_is_read_in_parts_and_no_further_than_it_goes(self, bucket: Bucket) -> None:
        bucket.put_new("ten", memoryview(b"0123456789"))

        parts = [bytes(bucket.get("ten", *at)) for at in ((0, 4), (4, 6), (8, 100), (0, 0))]

        assert parts == [b"0123", b"456789", b"89", b""]
        assert bytes(bucket.get("ten", 10, 5)) == bytes(bucket.get("ten", 99, 5)) == b""
        with pytest.raises(FileNotFoundError):
            bucket.get("nine", 0, 4)

    def test_every_object_below_a_prefix_is_listed_and_none_beside_it(self, bucket: Bucket, url: str) -> None:
        beside = Bucket(f"{url}-beside", self.options(self._endpoint))
        beside.put_new("packs/other", memoryview(b"other"))
        wanted = {f"packs/{number:02}/{number}.pack": number for number in range(1, 30)}
        for key, size in wanted.items():
            bucket.put_new(key, memoryview(bytes(size)))
        bucket.put_new("owner", memoryview(b"me"))

        found = {key: (file.name, file.bytes) for key, file in bucket.files("packs/")}

        assert found == {key: (f"{size}.pack", size) for key, size in wanted.items()}
        assert bucket.file("packs/other") is None
        assert list(bucket.files("nothing")) == []

    def test_removing_what_is_gone_is_fine(self, bucket: Bucket) -> None:
        bucket.put_new("x", memoryview(b"content"))

        bucket.remove("x")
        bucket.remove("x")

        assert bucket.file("x") is None

    def test_a_prefix_of_any_letters_is_a_place(self, url: str) -> None:
        store = ObjectStore(f"{url}/my team's/50% + Ümläut/a=b&c", options=self.options(self._endpoint))
        (location,) = store.write(views(content(1)), index=MemoryIndex())
        store.flush()

        assert [pack.name for pack in store.packs()] == [location.pack]
        assert bytes(store.read(location)) == content(1)
        store.remove(location.pack or "")
        assert list(store.packs()) == []
        store.close()

    def test_a_missing_bucket_is_not_taken_for_missing_values(self, home: Path) -> None:
        url = self._url(home).replace(self.place, f"{self.place}-that-is-not-there")
        nowhere = ObjectStore(url, options=self.options(self._endpoint), read_only=True)
        fresh = ObjectStore(url, options=self.options(self._endpoint))
        location = Location(Extent(digest_of(b"any"), 3), pack="0" * 32 + ".pack")

        asks = [lambda: nowhere.read(location), nowhere.check, lambda: list(nowhere.packs())]
        for ask in asks if self.makes_buckets else [*asks, fresh.check]:
            with pytest.raises(StoreError, match="there is no such bucket") as caught:
                ask()
            assert caught.value.kind == "no-such-bucket"
            assert not isinstance(caught.value, CorruptError)
        nowhere.close()
        fresh.close()

    def test_a_check_leaves_nothing_behind(self, store: ObjectStore, bucket: Bucket) -> None:
        store.check()

        assert list(bucket.files("")) == []

    # A line that breaks, and a process that dies

    def test_a_hiccup_of_the_network_is_no_error(self, url: str, cable: Cable) -> None:
        store = ObjectStore(url, options=self.options(self._endpoint, max_retries="10"))
        (location,) = store.write(views(content(1)), index=MemoryIndex())
        with cable.cut():
            flushed = threading.Thread(target=store.flush)
            flushed.start()
            flushed.join(0.3)
            assert flushed.is_alive()

        flushed.join()

        assert bytes(store.read(location)) == content(1)
        store.close()

    @pytest.mark.parametrize("nth", [1, 2])
    @pytest.mark.parametrize(
        "point", ["before-object-put", "after-object-put", "before-flush", "after-flush"]
    )
    def test_a_kill_at_a_crash_point_loses_nothing_acknowledged(
        self, home: Path, monkeypatch: pytest.MonkeyPatch, point: str, nth: int
    ) -> None:
        def save(told: IO[str]) -> None:
            store = self.open_store(home)
            for number in range(3):
                _save_and_tell(store, [number], told)

        monkeypatch.setenv("KITARU_NB_CRASH_AT", f"{point}:{nth}")
        child = _Child(save)
        with child._told:
            lines = child._told.readlines()

        store = self.open_store(home)
        assert child._status() == -signal.SIGKILL
        assert len(lines) == nth - 1
        assert [bytes(store.read(at)) for at in _acknowledged(lines)] == [content(n) for n in range(nth - 1)]
        store.close()
