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


def cut(stream: bytes, before: list[Extent], start: int = 0) -> list[Extent]:
    """The extents of `stream`, which are all of it in order, each there before or given now."""
    at = 0
    found: list[Extent] = []
    for piece in cut_stream(memoryview(stream), start, before):
        length = piece.length if isinstance(piece, Extent) else len(piece)
        extent = Extent(digest_of(stream[at : at + length]), length)
        assert 0 < length <= EXTENT_BYTES
        assert (
            piece == extent and extent in before
            if isinstance(piece, Extent)
            else piece == stream[at : at + length]
        )
        found.append(extent)
        at += length
    assert at == len(stream)
    return found


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
        before = cut(pickle.dumps(history, 5), before)
        known |= {extent: extent.length for extent in before}

    assert sum(known.values()) <= 1.3 * len(pickle.dumps(history, 5)) + 50 * 2_500
    assert len(before) < 256


def test_many_small_steps_make_no_long_manifest() -> None:
    history: list[int] = []
    before: list[Extent] = []

    for step in range(300):
        history += range(step * 1000, step * 1000 + 100)
        before = cut(pickle.dumps(history, 5), before)

    assert len(before) < 256


def test_a_small_stream_is_one_piece() -> None:
    stream = memoryview(bytes(SMALL_STREAM))

    assert cut_stream(stream, 0, [Extent(digest_of(stream[:9]), 9)]) == [stream]


@pytest.mark.parametrize("seed", range(30))
def test_any_bytes_are_cut_without_loss(seed: int) -> None:
    chosen = random.Random(seed)
    before: list[Extent] = []

    for _ in range(5):
        stream = chosen.randbytes(chosen.choice([1, 9_000, 70_000, 1_100_000]))
        before = cut(stream, before, chosen.choice([0, 11, len(stream)]))


def test_objects_too_large_for_a_frame_are_cut_as_well() -> None:
    stream = pickle.dumps([bytes(100_000), "a" * 200_000, list(range(50_000))], 5)

    first = cut(stream, [])

    assert cut(stream, first) == first
