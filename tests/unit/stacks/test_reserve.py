"""Room that is set aside while there is plenty, and given up to make room."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from kitaru_nb.model.settings import Settings
from kitaru_nb.stacks import reserve
from kitaru_nb.stacks.disk import used_by
from kitaru_nb.stacks.open import open_engine


@pytest.fixture
def journal(tmp_path: Path) -> Path:
    return tmp_path / "journal.db"


def test_it_is_set_aside_with_the_first_engine_and_takes_real_room(tmp_path: Path) -> None:
    open_engine(Settings(home=tmp_path / "home")).close()

    kept = reserve.reserve_of(tmp_path / "home" / "journal.db")
    found = kept.stat()
    assert found.st_size == reserve.BYTES
    assert found.st_blocks * 512 >= reserve.BYTES, "a file with holes would reserve nothing"
    assert found.st_mode & 0o777 == 0o600
    assert used_by(tmp_path / "home" / "journal.db", None) < reserve.BYTES, "it is not what is stored"


def test_what_a_crash_left_half_made_is_made_anew(journal: Path) -> None:
    reserve.reserve_of(journal).write_bytes(b"x")

    reserve.keep(journal)

    assert reserve.reserve_of(journal).stat().st_size == reserve.BYTES


def test_on_a_disk_with_little_room_nothing_is_set_aside(
    journal: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    usage = shutil.disk_usage(journal.parent)._replace(free=10 << 20)
    monkeypatch.setattr(shutil, "disk_usage", lambda _path: usage)

    reserve.keep(journal)

    assert not reserve.reserve_of(journal).exists()


def test_what_cannot_be_set_aside_is_no_error(tmp_path: Path) -> None:
    reserve.keep(tmp_path / "missing" / "journal.db")

    assert not (tmp_path / "missing").exists()


def test_giving_it_up_says_whether_there_was_any(journal: Path) -> None:
    reserve.keep(journal)

    assert [reserve.give_up(journal), reserve.give_up(journal)] == [True, False]


def test_reading_and_what_makes_room_set_nothing_aside(tmp_path: Path) -> None:
    settings = Settings(home=tmp_path / "home")
    open_engine(settings).close()
    kept = reserve.reserve_of(tmp_path / "home" / "journal.db")
    kept.unlink()

    open_engine(settings, read_only=True).close()
    open_engine(settings, limited=False).close()

    assert not kept.exists()
