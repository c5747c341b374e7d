"""A stream that has only grown is cut so that all but its end is on record already."""

from __future__ import annotations

import pickle
import random
from typing import Any

import pytest

from kitaru_nb.artifacts.cuts import SMALL_STREAM, cut_stream
from kitaru_nb.artifacts.extent_save import digest_of
from kitaru_nb.model.artifact import EXTENT_BYTES, Extent

_LETTERS = "abcdefgh klmnoprstu"


def extents_of(pieces: list[memoryview]) -> list[Extent]:
    return [Extent(digest_of(piece), len(piece)) for piece in pieces]


def cut(value: object, before: list[Extent]) -> list[memoryview]:
    stream = memoryview(pickle.dumps(value, 5))
    pieces = cut_stream(stream, 0, before)
    assert b"".join(pieces) == stream
    assert all(0 < len(piece) <= EXTENT_BYTES for piece in pieces)
    return pieces


def message(chosen: random.Random, length: int) -> dict[str, Any]:
    return {"role": "user", "content": "".join(chosen.choices(_LETTERS, k=length)), "usage": {"tokens": 5}}


@pytest.mark.parametrize("length", [300, 3_000, 9_000])
def test_a_history_that_is_appended_to_is_written_once(length: int) -> None:
    chosen = random.Random(length)
    history: list[Any] = []
    known: dict[Extent, int] = {}
    before: list[Extent] = []

    for _ in range(50):
        history.append(message(chosen, length))
        before = extents_of(cut(history, before))
        known |= {extent: extent.length for extent in before}

    assert sum(known.values()) <= 1.3 * len(pickle.dumps(history, 5)) + 50 * 2_500
    assert len(before) < 256


def test_many_small_steps_make_no_long_manifest() -> None:
    history: list[int] = []
    before: list[Extent] = []

    for step in range(300):
        history += range(step * 1000, step * 1000 + 100)
        before = extents_of(cut(history, before))

    assert len(before) < 256


def test_a_small_stream_is_one_piece() -> None:
    stream = memoryview(bytes(SMALL_STREAM))

    assert cut_stream(stream, 0, [Extent(digest_of(stream[:9]), 9)]) == [stream]


@pytest.mark.parametrize("seed", range(30))
def test_any_bytes_are_cut_without_loss(seed: int) -> None:
    chosen = random.Random(seed)
    before: list[Extent] = []

    for _ in range(5):
        stream = memoryview(chosen.randbytes(chosen.choice([0, 9_000, 70_000, 1_100_000])))
        pieces = cut_stream(stream, chosen.choice([0, 11, len(stream)]), before)
        assert b"".join(pieces) == stream
        before = extents_of(pieces)


def test_objects_too_large_for_a_frame_are_cut_as_well() -> None:
    first = cut([bytes(100_000), "a" * 200_000, list(range(50_000))], [])

    assert extents_of(cut([bytes(100_000), "a" * 200_000, list(range(50_000))], extents_of(first))) == (
        extents_of(first)
    )
