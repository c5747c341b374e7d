"""Room that is set aside where it may be needed, and given up to make room."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from kitaru_nb.model.settings import Settings
from kitaru_nb.stacks import reserve
from kitaru_nb.stacks.disk import used_by
from kitaru_nb.stacks.open import open_engine
from kitaru_nb.stacks.quotas import Space
from tests.patience import PATIENCE
from tests.unit.engine.kernel import Kernel

GIB = 1 << 30


class Disk:
    """A disk of 100 GiB as far as `reserve` sees it."""

    def __init__(self) -> None:
        self.free = 50 * GIB

    def space(self, _folder: Path) -> Space:
        """What it answers."""
        return Space(100 * GIB, self.free)


@pytest.fixture
def disk(monkeypatch: pytest.MonkeyPatch) -> Disk:
    disk = Disk()
    monkeypatch.setattr(reserve, "space_of", disk.space)
    return disk


@pytest.fixture
def journal(tmp_path: Path) -> Path:
    return tmp_path / "journal.db"


@pytest.mark.parametrize(
    ("free", "stored", "wanted"),
    [
        (50 * GIB, 0, False),
        (50 * GIB, 500 << 20, True),
        (3 * GIB, 0, True),
        (0, 0, True),
    ],
)
def test_it_is_wanted_where_room_is_scarce_and_beside_a_large_store(
    free: int, stored: int, *, wanted: bool
) -> None:
    assert reserve.is_wanted(free, stored=stored) == wanted


def test_a_small_store_on_a_disk_with_plenty_does_not_pay_for_it(tmp_path: Path, disk: Disk) -> None:
    engine = open_engine(Settings(home=tmp_path / "home"))
    engine.check()
    engine.close()

    assert disk.free > reserve.SCARCE
    assert not reserve.reserve_of(tmp_path / "home" / "journal.db").exists()


def test_on_a_disk_that_is_scarce_it_is_set_aside_at_once_and_takes_real_room(
    tmp_path: Path, disk: Disk
) -> None:
    disk.free = 2 * GIB

    open_engine(Settings(home=tmp_path / "home")).close()

    found = reserve.reserve_of(tmp_path / "home" / "journal.db").stat()
    assert found.st_size == reserve.BYTES
    assert found.st_blocks * 512 >= reserve.BYTES, "a file with holes would reserve nothing"
    assert found.st_mode & 0o777 == 0o600
    assert used_by(tmp_path / "home" / "journal.db", None) < reserve.BYTES, "it is not what is stored"


def test_it_is_set_aside_before_a_step_that_finds_the_disk_fuller(tmp_path: Path, disk: Disk) -> None:
    kernel = Kernel(tmp_path / "home")
    kernel.cell("%%checkpoint one\na = 1")
    early = reserve.reserve_of(tmp_path / "home" / "journal.db").exists()
    disk.free = 2 * GIB

    kernel.cell("%%checkpoint two\nb = 2")

    assert not early
    assert reserve.reserve_of(tmp_path / "home" / "journal.db").stat().st_size == reserve.BYTES
    kernel.stop()


def test_it_is_set_aside_before_values_are_written_that_make_the_disk_scarce(
    tmp_path: Path, disk: Disk
) -> None:
    engine = open_engine(Settings(home=tmp_path / "home"))
    disk.free = reserve.SCARCE + (1 << 20)

    engine.put({"x": bytes(2 << 20)}, namespace={})

    assert reserve.reserve_of(tmp_path / "home" / "journal.db").exists()
    engine.close()


def test_it_is_set_aside_while_a_long_step_runs_and_others_fill_the_disk(tmp_path: Path, disk: Disk) -> None:
    kernel = Kernel(tmp_path / "home", settings={"heartbeat": 0.01})
    kernel.cell("%%checkpoint one\na = 1")
    kept = reserve.reserve_of(tmp_path / "home" / "journal.db")
    assert not kept.exists()

    disk.free = 2 * GIB

    until = time.monotonic() + PATIENCE
    while not kept.exists() and time.monotonic() < until:
        time.sleep(0.01)
    assert kept.exists(), "no heartbeat has seen to it"
    kernel.stop()


def test_it_is_given_back_when_there_is_plenty_again_and_not_at_the_border(journal: Path, disk: Disk) -> None:
    disk.free = 2 * GIB
    reserve.keep(journal)

    disk.free = reserve.SCARCE + GIB
    reserve.keep(journal)
    at_the_border = reserve.reserve_of(journal).exists()
    disk.free = 50 * GIB
    reserve.keep(journal)

    assert at_the_border
    assert not reserve.reserve_of(journal).exists()


def test_what_a_crash_left_half_made_is_made_anew(journal: Path, disk: Disk) -> None:
    disk.free = 2 * GIB
    reserve.reserve_of(journal).write_bytes(b"x")

    reserve.keep(journal)

    assert reserve.reserve_of(journal).stat().st_size == reserve.BYTES


def test_on_a_disk_with_little_room_nothing_is_set_aside(journal: Path, disk: Disk) -> None:
    disk.free = 10 << 20

    reserve.keep(journal)

    assert not reserve.reserve_of(journal).exists()


def test_what_cannot_be_set_aside_is_no_error(tmp_path: Path) -> None:
    reserve.keep(tmp_path / "missing" / "journal.db", stored=GIB)

    assert not (tmp_path / "missing").exists()


def test_giving_it_up_says_whether_there_was_any(journal: Path) -> None:
    reserve.keep(journal, stored=GIB)

    assert [reserve.give_up(journal), reserve.give_up(journal)] == [True, False]


def test_reading_and_what_makes_room_set_nothing_aside(tmp_path: Path, disk: Disk) -> None:
    disk.free = 2 * GIB
    settings = Settings(home=tmp_path / "home")
    open_engine(settings).close()
    kept = reserve.reserve_of(tmp_path / "home" / "journal.db")
    kept.unlink()

    open_engine(settings, read_only=True).close()
    open_engine(settings, limited=False).close()

    assert not kept.exists()
