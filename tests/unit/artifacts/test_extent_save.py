"""One save: what is copied before it is written, and what need not be."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from kitaru_nb.artifacts.extent_save import ExtentSave, digest_of
from kitaru_nb.artifacts.fingerprints import Fingerprints
from kitaru_nb.artifacts.sink import Sink

SIZE = 200_000


class Written:
    """A pack, and the one who gives it, that keeps the pieces it was handed."""

    name = "0.pack"

    def __init__(self) -> None:
        self.end = 0
        self.pieces: list[memoryview] = []

    def writable(self) -> Written:
        return self

    def reserve(self, length: int) -> int:
        self.end += length
        return self.end - length

    def write(self, pieces: Sequence[tuple[int, memoryview]]) -> None:
        self.pieces += [piece for _, piece in pieces]

    def sync_early(self) -> None:
        """Nothing to do."""


def save(*chunks: memoryview) -> Written:
    packs = Written()
    places = ExtentSave(packs, Fingerprints(), lambda _digests: {}).keep(chunks)
    assert [place.extent.digest for place in places] == list(map(digest_of, chunks))
    return packs


def finished_pickle() -> memoryview:
    sink = Sink()
    for _ in range(20):
        sink.write(b"a" * SIZE)
    return sink.view


@pytest.mark.parametrize("chunk", [memoryview(b"a" * SIZE), finished_pickle()], ids=["bytes", "pickle"])
def test_what_nobody_can_change_is_written_from_where_it_is(chunk: memoryview) -> None:
    (piece,) = save(chunk[100:]).pieces

    assert piece.obj is chunk.obj


def test_what_may_be_changed_meanwhile_is_copied_before_it_is_hashed() -> None:
    data = bytearray(b"a" * SIZE)
    packs = save(memoryview(data), memoryview(data).toreadonly()[1:], memoryview(b"b" * SIZE))

    data[:] = b"c" * SIZE

    assert list(map(bytes, packs.pieces)) == [b"a" * SIZE, b"a" * (SIZE - 1), b"b" * SIZE]
