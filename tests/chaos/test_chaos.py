"""Nothing acknowledged is lost and no wrong byte is used: kills, power cuts, failing and damaged disks.

Each check is run on the code as it is, where it must find nothing, and on seeded bugs, where it
must find something. `make chaos` looks at a sample, `make chaos-full` at what the promises name;
``KITARU_NB_TEST_CHAOS=5`` looks at five times as much.
"""

from __future__ import annotations

import os
import random
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

from tests.chaos import damage, faults, kills, owners, power, scenario
from tests.chaos.chance import SEED
from tests.chaos.disk import Disk, python, record
from tests.chaos.seeded import BUGS

pytestmark = pytest.mark.chaos

MORE = int(os.environ.get("KITARU_NB_TEST_CHAOS", "1"))
SYNC_FAILS = "fdatasync,fsync:error=EIO:when={}"


@pytest.fixture
def folder() -> Iterator[Path]:
    """A folder in memory where there is one: what counts is the order of calls, not the disk."""
    memory = Path("/dev/shm")
    place = Path(tempfile.mkdtemp(dir=memory if memory.is_dir() else None))
    yield place
    shutil.rmtree(place, ignore_errors=True)


@pytest.fixture
def right(folder: Path) -> list[dict[str, str]]:
    return scenario.expected(folder / "right")


@cache
def _strace() -> bool:
    """Whether calls can be traced here: strace is there, and the machine allows it."""
    if shutil.which("strace") is None:
        return False
    return (
        subprocess.run(["strace", "-o", "/dev/null", "true"], capture_output=True, check=False).returncode
        == 0
    )


needs_strace = pytest.mark.skipif(not _strace(), reason="needs strace, and leave to trace")


def test_every_bug_has_a_check() -> None:
    assert len(BUGS) >= 12
    assert {check for check, _ in BUGS.values()} == {"power", "failing sync", "damage", "owners"}


@needs_strace
@pytest.mark.parametrize(("cuts", "most"), [(3, 60), pytest.param(8, 3000, marks=pytest.mark.slow)])
def test_kills_and_power_cuts_lose_nothing(
    folder: Path, right: list[dict[str, str]], cuts: int, most: int
) -> None:
    calls, home = power.recorded(folder)

    looked, wrong = power.violations(calls, home, right, folder, cuts=cuts, most=most * MORE)

    assert sum(call.kind == "ack" for call in calls) == len(scenario.CELLS)
    assert looked > most // 2
    assert not wrong


@needs_strace
def test_what_is_acknowledged_is_synced_and_so_is_the_name_of_each_folder_above_it(folder: Path) -> None:
    """Counted from outside, in a home of which nothing was there, nor of what is above it."""
    top, acks, disk = folder / "user", folder / "acks", Disk()
    home = top / "share" / "kitaru-nb"

    for call in record(python("tests.chaos.scenario", str(home), str(acks)), top, acks):
        disk.play(call)

        if call.kind == "ack":
            safe, there = disk.cut_off(None), disk.killed()
            packs = {name: data for name, data in there.items() if name.endswith(".pack")}
            assert packs
            assert {name: safe.get(name) for name in packs} == packs
            assert safe[str(home / "journal.db")] or safe[str(home / "journal.db-wal")]


@pytest.mark.parametrize("count", [8, pytest.param(1000, marks=pytest.mark.slow)])
def test_processes_killed_at_any_instant_lose_nothing(folder: Path, count: int) -> None:
    killed, wrong = kills.violations(folder / "kills", count * MORE)

    assert killed == count * MORE
    assert not wrong


@needs_strace
@pytest.mark.parametrize("number", [9, *(pytest.param(n, marks=pytest.mark.slow) for n in range(1, 24))])
def test_what_a_failed_sync_left_open_is_not_taken_for_safe(
    folder: Path, right: list[dict[str, str]], number: int
) -> None:
    calls, home = power.recorded(folder, fault=SYNC_FAILS.format(number))

    _, wrong = power.violations(calls, home, right, folder, cuts=2, most=30 * MORE)

    assert not wrong


@needs_strace
@pytest.mark.parametrize("count", [4, pytest.param(None, marks=pytest.mark.slow)])
def test_a_disk_that_fails_loses_nothing_and_says_so(
    folder: Path, right: list[dict[str, str]], count: int | None
) -> None:
    calls, _ = power.recorded(folder)
    points = faults.points(calls)
    chosen = points if count is None else random.Random(SEED).sample(points, count * MORE)

    wrong = faults.violations(chosen, right, folder)

    assert not wrong


@pytest.mark.parametrize("folded", [True, False], ids=["folded", "live log"])
@pytest.mark.parametrize("count", [45, pytest.param(1500, marks=pytest.mark.slow)])
def test_damage_gives_right_data_or_an_error(folder: Path, folded: bool, count: int) -> None:
    home = damage.Home(folder / "home", folded=folded)

    wrong = damage.violations(home, folder / "damaged", count=count * MORE, seed=SEED)

    assert not wrong


def test_two_kernels_never_mix(folder: Path) -> None:
    assert not owners.violations(folder / "home")


@needs_strace
@pytest.mark.parametrize("bug", [bug for bug, (check, _) in BUGS.items() if check == "power"])
@pytest.mark.slow
def test_a_seeded_bug_is_found_by_kills_and_power_cuts(
    folder: Path, right: list[dict[str, str]], bug: str
) -> None:
    calls, home = power.recorded(folder, bug)

    _, wrong = power.violations(calls, home, right, folder, cuts=3, most=150)

    assert wrong


@needs_strace
@pytest.mark.parametrize("bug", [bug for bug, (check, _) in BUGS.items() if check == "failing sync"])
@pytest.mark.slow
def test_a_seeded_bug_is_found_by_failing_syncs(folder: Path, right: list[dict[str, str]], bug: str) -> None:
    wrong: list[str] = []
    for number in range(8, 12):
        calls, home = power.recorded(folder / str(number), bug, fault=SYNC_FAILS.format(number))
        wrong += power.violations(calls, home, right, folder, cuts=2, most=90)[1]

    assert wrong


@pytest.mark.slow
def test_a_seeded_bug_is_found_by_killing_processes(folder: Path) -> None:
    _, wrong = kills.violations(folder / "kills", 100, "arrays by identity")

    assert wrong


@pytest.mark.parametrize("bug", [bug for bug, (check, _) in BUGS.items() if check in ("damage", "owners")])
@pytest.mark.slow
def test_a_seeded_bug_is_found_by_damage_or_by_a_second_kernel(folder: Path, bug: str) -> None:
    code = (
        "import sys; from pathlib import Path; from tests.chaos import damage, owners, seeded\n"
        "folder, bug = Path(sys.argv[1]), sys.argv[2]\n"
        "homes = [damage.Home(folder / str(n), folded=n == 0) for n in range(2)]\n"
        "wrong = owners.violations(folder / 'owned', bug)\n"
        "for home in homes:\n"
        "    wrong += damage.violations(home, folder / 'd', count=150, seed=1)\n"
        "print(wrong[:5]); sys.exit(7 if wrong else 0)"
    )

    done = subprocess.run(
        [sys.executable, "-c", code, str(folder), bug], capture_output=True, text=True, check=False
    )

    assert done.returncode == 7, done.stdout + done.stderr
