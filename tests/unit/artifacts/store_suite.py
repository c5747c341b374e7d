"""What every artifact store must do, written once and run against each of them."""

from __future__ import annotations

from collections.abc import Iterable

import pytest

from kitaru_nb.artifacts.extent_save import digest_of
from kitaru_nb.artifacts.store import ArtifactStore
from kitaru_nb.errors import CorruptError
from kitaru_nb.model.artifact import EXTENT_BYTES, Digest, Extent, Location


class Index(dict[Digest, Location]):
    """An extent index in memory: what a journal has committed."""

    def locate(self, digests: Iterable[Digest]) -> dict[Digest, Location]:
        return {digest: self[digest] for digest in digests if digest in self}

    def commit(self, locations: Iterable[Location]) -> None:
        self.update((location.extent.digest, location) for location in locations)


def content(seed: int, length: int = EXTENT_BYTES) -> bytes:
    """Bytes that differ for each seed."""
    return (seed.to_bytes(4, "little") + bytes(range(256)) * (length // 256 + 1))[:length]


def views(*chunks: bytes) -> list[memoryview]:
    return [memoryview(chunk) for chunk in chunks]


class ArtifactStoreSuite:
    """Subclass it with a fixture `store` that gives an empty, writable store."""

    @pytest.mark.parametrize("length", [0, 1, 4095, 4096, 65_536, 65_537, EXTENT_BYTES - 1, EXTENT_BYTES])
    def test_a_chunk_of_any_length_comes_back_as_it_was(self, store: ArtifactStore, length: int) -> None:
        data = content(1, length)

        (location,) = store.write(views(data), index=Index())
        store.flush()

        assert bytes(store.read(location)) == data

    def test_locations_come_in_the_order_of_the_chunks_under_their_blake3(self, store: ArtifactStore) -> None:
        data = [content(seed, 70_000 + seed) for seed in range(40)]

        locations = store.write(views(*data), index=Index())

        assert [location.extent for location in locations] == [Extent(digest_of(d), len(d)) for d in data]
        assert [bytes(store.read(location)) for location in locations] == data

    def test_equal_chunks_of_one_call_are_stored_once(self, store: ArtifactStore) -> None:
        first, second = store.write(views(content(1), content(1)), index=Index())

        assert first == second

    def test_equal_chunks_of_two_calls_before_a_flush_are_stored_once(self, store: ArtifactStore) -> None:
        first = store.write(views(content(1)), index=Index())

        second = store.write(views(content(1)), index=Index())

        assert first == second

    def test_a_chunk_the_index_knows_is_not_written_again(self, store: ArtifactStore) -> None:
        index = Index()
        index.commit(store.write(views(content(1), content(2)), index=index))
        store.flush()

        again = store.write(views(content(2), content(1)), index=index)

        assert again == [index[digest_of(content(2))], index[digest_of(content(1))]]

    def test_a_chunk_written_but_never_committed_is_written_again_after_the_flush(
        self, store: ArtifactStore
    ) -> None:
        (lost,) = store.write(views(content(1)), index=Index())
        store.flush()

        (location,) = store.write(views(content(1)), index=Index())

        assert location != lost
        assert bytes(store.read(location)) == content(1)

    def test_a_writable_buffer_changed_after_the_write_does_not_change_what_is_stored(
        self, store: ArtifactStore
    ) -> None:
        live = bytearray(content(1))

        (location,) = store.write([memoryview(live)], index=Index())
        live[:] = content(2)
        store.flush()

        assert bytes(store.read(location)) == content(1)

    def test_what_is_read_can_be_changed_without_changing_the_store(self, store: ArtifactStore) -> None:
        (location,) = store.write(views(content(1)), index=Index())

        store.read(location)[:] = content(2)

        assert bytes(store.read(location)) == content(1)

    def test_reading_works_after_close(self, store: ArtifactStore) -> None:
        (location,) = store.write(views(content(1)), index=Index())
        store.flush()

        store.close()

        assert bytes(store.read(location)) == content(1)

    def test_writing_works_after_close(self, store: ArtifactStore) -> None:
        store.close()

        (location,) = store.write(views(content(1)), index=Index())

        assert bytes(store.read(location)) == content(1)

    @pytest.mark.parametrize("length", [10, EXTENT_BYTES])
    def test_another_digest_than_the_stored_one_is_refused(self, store: ArtifactStore, length: int) -> None:
        (location,) = store.write(views(content(1, length)), index=Index())
        other = Extent(digest_of(b"other"), length)
        forged = Location(other, data=location.data, pack=location.pack, offset=location.offset)

        with pytest.raises(CorruptError) as caught:
            store.read(forged)

        assert caught.value.kind == "corrupt-artifact"
