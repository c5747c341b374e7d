"""The folder with what was read from afar: bounded, shared, and no source of truth."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from kitaru_nb.artifacts import read_cache
from kitaru_nb.artifacts.extent_save import digest_of
from kitaru_nb.artifacts.read_cache import ReadCache
from kitaru_nb.model.artifact import Extent
from kitaru_nb.testing import content


def keep(cache: ReadCache, seed: int, length: int = 10_000) -> Extent:
    data = content(seed, length)
    extent = Extent(digest_of(data), length)
    cache.keep(extent, memoryview(data))
    return extent


def held(cache: ReadCache, extent: Extent) -> bytes | None:
    target = bytearray(extent.length)
    return bytes(target) if cache.read_into(extent, memoryview(target)) else None


def test_what_is_kept_comes_back(tmp_path: Path) -> None:
    cache = ReadCache(tmp_path / "cache")

    extent = keep(cache, 1)

    assert held(cache, extent) == content(1, 10_000)
    assert held(ReadCache(tmp_path / "cache"), extent) == content(1, 10_000)


def test_what_is_not_kept_is_not_there(tmp_path: Path) -> None:
    assert held(ReadCache(tmp_path / "cache"), Extent(digest_of(b"?"), 1)) is None


def test_the_cache_never_holds_more_than_its_limit(tmp_path: Path) -> None:
    cache = ReadCache(tmp_path / "cache", limit=100_000)

    most = 0
    for seed in range(50):
        keep(cache, seed)
        most = max(most, sum(path.stat().st_size for path in tmp_path.rglob("*") if path.is_file()))

    assert 50_000 < most <= 100_000


def test_what_was_used_last_stays(tmp_path: Path) -> None:
    cache = ReadCache(tmp_path / "cache", limit=100_000)
    extents = [keep(cache, seed) for seed in range(10)]
    for age, extent in enumerate(extents):
        os.utime(tmp_path / "cache" / extent.digest[:2] / extent.digest, (age, age))
    held(cache, extents[0])

    keep(cache, 99)

    assert held(cache, extents[0]) is not None
    assert held(cache, extents[1]) is None


def test_two_caches_in_one_folder_keep_to_the_limit_between_them(tmp_path: Path) -> None:
    one, two = (ReadCache(tmp_path / "cache", limit=100_000) for _ in range(2))

    for seed in range(0, 40, 2):
        keep(one, seed)
        keep(two, seed + 1)

    assert sum(path.stat().st_size for path in tmp_path.rglob("*") if path.is_file()) <= 110_000


def test_a_disk_that_is_nearly_full_is_left_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(read_cache, "_LEAST_FREE", 1 << 60)
    cache = ReadCache(tmp_path / "cache")

    extent = keep(cache, 1)

    assert held(cache, extent) is None


def test_a_file_of_another_length_is_forgotten(tmp_path: Path) -> None:
    cache = ReadCache(tmp_path / "cache")
    extent = keep(cache, 1)
    path = tmp_path / "cache" / extent.digest[:2] / extent.digest
    path.write_bytes(b"short")

    assert held(cache, extent) is None
    assert not path.exists()
