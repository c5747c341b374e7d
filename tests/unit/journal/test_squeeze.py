"""Bytes inside the journal take fewer bytes where that pays, and damage to them is told as before."""

from __future__ import annotations

import os
import random
import zlib

import pytest

from kitaru_nb.journal import rows
from kitaru_nb.journal.squeeze import LEAST, squeezed, squeezed_all, unsqueezed
from kitaru_nb.model.artifact import INLINE_BYTES, Extent, Location
from kitaru_nb.testing import digest_of

TEXT = b"A history that is appended to is stored once, and in fewer bytes. " * 100
HEX = random.Random(1).randbytes(3_000).hex().encode()


@pytest.mark.parametrize("data", [TEXT, HEX, bytes(60_000), TEXT[:LEAST], HEX[:1_000]])
def test_what_gets_smaller_is_kept_in_fewer_bytes(data: bytes) -> None:
    small = squeezed(data)

    assert len(small) <= len(data) * 7 / 8
    assert unsqueezed(small, len(data)) == data


@pytest.mark.parametrize("data", [b"", b"x", TEXT[: LEAST - 1], os.urandom(5_000), os.urandom(60_000)])
def test_what_does_not_or_is_small_stays_as_it_is(data: bytes) -> None:
    assert squeezed(data) is data
    assert unsqueezed(data, len(data)) is data


def test_what_looks_as_if_it_would_get_smaller_and_does_not_stays_as_it_is() -> None:
    data = os.urandom(20_000) + bytes(2_048) + os.urandom(20_000)

    assert squeezed(data) is data


def test_one_commit_spends_no_time_on_more_than_it_should() -> None:
    small = list(squeezed_all([TEXT] * 100))

    assert small[0] != TEXT
    assert small[-1] == TEXT
    assert [unsqueezed(each, len(TEXT)) for each in small] == [TEXT] * 100


@pytest.mark.parametrize("length", [200, 60_000, INLINE_BYTES])
def test_no_more_than_the_recorded_length_is_ever_made_of_foreign_bytes(length: int) -> None:
    engine = zlib.compressobj(9, zlib.DEFLATED, -15)
    bomb = engine.compress(bytes(50 << 20)) + engine.flush()
    bomb = bomb[: length - 1]

    assert len(unsqueezed(bomb, length)) <= length


def test_a_length_that_no_inline_extent_has_is_not_believed() -> None:
    small = squeezed(bytes(60_000))

    assert unsqueezed(small, 1 << 40) == small


@pytest.mark.parametrize("seed", range(50))
def test_changed_bytes_give_something_and_its_digest_tells(seed: int) -> None:
    chosen = random.Random(seed)
    changed = bytearray(squeezed(HEX))
    for _ in range(3):
        changed[chosen.randrange(len(changed))] ^= 1 << chosen.randrange(8)

    found = unsqueezed(bytes(changed), len(HEX))

    assert len(found) <= len(HEX)
    assert digest_of(found) != digest_of(HEX)


def test_a_row_gives_the_location_back() -> None:
    extent = Extent(digest_of(TEXT), len(TEXT))
    packed = Location(Extent(digest_of(b"p"), 1 << 20), pack="ab", offset=4096)

    first, second = rows.extent_rows([Location(extent, data=TEXT), packed])

    assert first.data is not None
    assert len(first.data) < len(TEXT) // 4
    assert rows.location_of(first) == Location(extent, data=TEXT)
    assert rows.location_of(second) == packed
