"""What was stored lately is recognised, whole and part by part."""

from __future__ import annotations

import os

import pytest

from kitaru_nb.artifacts.extent_save import digest_of
from kitaru_nb.artifacts.fingerprints import PART_BYTES, Fingerprints, parts_of
from kitaru_nb.model.artifact import EXTENT_BYTES, Digest

DATA = os.urandom(EXTENT_BYTES)


def changed(parts: int) -> bytearray:
    """`DATA` with a byte changed in each of its first parts."""
    data = bytearray(DATA)
    for part in range(parts):
        data[part * PART_BYTES + 5] ^= 1
    return data


@pytest.fixture
def known() -> Fingerprints:
    found = Fingerprints()
    found.remember(memoryview(DATA), digest_of(DATA))
    return found


def test_bytes_are_recognised_by_their_mark_and_no_others_are(known: Fingerprints) -> None:
    assert known.digest(known.mark(memoryview(DATA))) == digest_of(DATA)
    assert known.digest(known.mark(memoryview(changed(1)))) is None
    assert known.digest(known.mark(memoryview(DATA)[:-1])) is None


@pytest.mark.parametrize(("parts", "stays"), [(0, True), (1, True), (4, True), (5, False), (8, False)])
def test_bytes_of_which_half_is_as_it_was_go_into_parts(known: Fingerprints, parts: int, stays: bool) -> None:
    mark = known.mark(memoryview(changed(parts)))

    assert known.belongs_in_parts(mark, [digest_of(DATA)]) is stays


@pytest.mark.parametrize(("parts", "stays"), [(0, True), (4, True), (5, False)])
def test_parts_stay_parts_unless_most_of_them_changed(parts: int, stays: bool) -> None:
    known = Fingerprints()
    for part in parts_of(memoryview(DATA)):
        known.remember(part, digest_of(part))
    before = [digest_of(part) for part in parts_of(memoryview(DATA))]
    mark = known.mark(memoryview(changed(parts)))

    assert known.belongs_in_parts(mark, before) is stays
    assert known.in_parts(mark) == [None] * parts + before[parts:]


def test_where_nothing_is_known_of_what_was_there_its_cut_is_kept(known: Fingerprints) -> None:
    mark = known.mark(memoryview(DATA))

    assert not known.belongs_in_parts(mark, [Digest("unknown")])
    assert known.belongs_in_parts(mark, [Digest("unknown"), Digest("too")])
    assert known.belongs_in_parts(b"", [digest_of(DATA), Digest("too")])
    assert not known.belongs_in_parts(b"", [Digest("unknown")])


def test_the_oldest_are_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("kitaru_nb.artifacts.fingerprints._REMEMBERED", 2)
    known = Fingerprints()
    for number in range(4):
        data = memoryview(bytes([number]) * 100)
        known.remember(data, digest_of(data))

    assert len(known) == 2
    assert known.digest(known.mark(memoryview(bytes([1]) * 100))) is None
    assert known.digest(known.mark(memoryview(bytes([3]) * 100))) is not None
