"""Quotas: asked of a kernel that plays one, since none of a test machine can be counted on."""

from __future__ import annotations

import ctypes
import os
import shutil
import stat
import struct
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from kitaru_nb.errors import StoreError
from kitaru_nb.model.settings import Quota, Settings
from kitaru_nb.stacks import quotas
from kitaru_nb.stacks.disk import limit_of
from kitaru_nb.stacks.doctor import examine
from kitaru_nb.stacks.open import open_engine
from kitaru_nb.stacks.quotas import space_of

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="quotas are read on Linux")

GIB = 1 << 30
VOLUME = shutil.disk_usage("/")._replace(total=1000 * GIB, free=500 * GIB)
USER, GROUP = 0, 1


class Kernel(dict[tuple[int, int], tuple[int, int, int]]):
    """Limits in KiB (soft, hard) and bytes used, by kind and id; one that is not in it has no quotas on.

    It counts what the test asks: a thread of a store that another test left open may ask as well.
    """

    asked = 0

    def __init__(self) -> None:
        super().__init__()
        self._tester = threading.get_ident()

    def __setitem__(self, key: tuple[int, int], limits: tuple[int, int, int]) -> None:
        super().__setitem__(key, limits)
        quotas._none.clear()  # such a thread may have asked before there were any

    def syscall(self, number: int, file: Any, command: Any, who: Any, block: Any) -> int:
        self.asked += threading.get_ident() == self._tester
        assert (number, command.value >> 8, os.fstat(file.value).st_ino > 0) == (443, 0x800007, True)
        found = self.get((command.value & 0xFF, who.value))
        if found is None:
            return -1
        soft, hard, used = found
        ctypes.memmove(block, struct.pack("@8QI4x", hard, soft, used, 0, 0, 0, 0, 0, 63), 72)
        return 0


@pytest.fixture(autouse=True)
def _nothing_known(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(shutil, "disk_usage", lambda _folder: VOLUME)
    quotas._none.clear()
    quotas._told.clear()
    yield
    quotas._none.clear()
    quotas._told.clear()


@pytest.fixture
def kernel(monkeypatch: pytest.MonkeyPatch) -> Kernel:
    kernel = Kernel()
    monkeypatch.setattr(quotas, "_libc", lambda: kernel)
    return kernel


def kib(size: int) -> int:
    return size // 1024


def test_without_a_quota_the_volume_counts_and_is_asked_once(tmp_path: Path, kernel: Kernel) -> None:
    for _ in range(100):
        assert space_of(tmp_path) == quotas.Space(1000 * GIB, 500 * GIB)

    assert kernel.asked <= len((USER, GROUP))  # none where such a thread was first


def test_the_users_quota_counts_where_it_is_less(tmp_path: Path, kernel: Kernel) -> None:
    kernel[USER, os.geteuid()] = kib(80 * GIB), kib(100 * GIB), 30 * GIB

    assert space_of(tmp_path) == quotas.Space(80 * GIB, 70 * GIB, quota=True)
    assert limit_of(tmp_path, Quota()) == 16 * GIB
    kernel[USER, os.geteuid()] = 0, 0, 30 * GIB
    assert space_of(tmp_path) == quotas.Space(1000 * GIB, 500 * GIB)


def test_a_quota_above_the_volume_is_none(tmp_path: Path, kernel: Kernel) -> None:
    kernel[USER, os.geteuid()] = 0, kib(5000 * GIB), 0

    assert space_of(tmp_path) == quotas.Space(1000 * GIB, 500 * GIB)


def test_the_group_is_the_one_that_a_new_file_gets(tmp_path: Path, kernel: Kernel) -> None:
    kernel[GROUP, os.getegid()] = 0, kib(10 * GIB), GIB
    kernel[GROUP, 4321] = 0, kib(4 * GIB), GIB
    assert space_of(tmp_path).total == 10 * GIB
    try:
        os.chown(tmp_path, -1, 4321)
    except PermissionError:
        pytest.skip("giving a folder to another group needs root")
    tmp_path.chmod(0o755 | stat.S_ISGID)

    assert space_of(tmp_path).total == 4 * GIB


def test_a_quota_that_is_used_up_refuses_a_cell_before_it_runs_and_says_why(
    tmp_path: Path, kernel: Kernel
) -> None:
    kernel[USER, os.geteuid()] = kib(GIB), kib(GIB), GIB - 1000

    with pytest.raises(StoreError, match="quota") as refused:
        open_engine(Settings(home=tmp_path / "home"))

    assert refused.value.kind == "disk-full"
    assert "kitaru-nb gc" in refused.value.hint


def test_doctor_shows_the_quota(tmp_path: Path, kernel: Kernel, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        "kitaru_nb.stacks.doctor._kernel", lambda name, spec: {"kitaru_nb": True, "error": None}
    )
    kernel[USER, os.geteuid()] = 0, kib(10 * GIB), GIB

    found = examine(Settings(home=tmp_path / "home"))

    assert (found.home["quota"], found.home["free"]) == (10 * GIB, 9 * GIB)
    assert found.disk["max_bytes"] == 2 * GIB


SAID = """Disk quotas for user ana (uid 1000):
     Filesystem  blocks   quota   limit   grace   files   quota   limit   grace
server:/export/home 3145728* 2097152 4194304  6days    1200       0       0
"""


@pytest.fixture
def tool(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kernel: Kernel) -> Path:
    """A `quota` that says what is in a file and counts how often it is asked, and a network file system."""
    assert kernel == {}
    (tmp_path / "bin").mkdir()
    program = tmp_path / "bin" / "quota"
    program.write_text(f'#!/bin/sh\necho "$@" >> {tmp_path}/asked\ncat {tmp_path}/said\nexit 1\n')
    program.chmod(0o755)
    (tmp_path / "said").write_text(SAID)
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:{os.environ['PATH']}")
    monkeypatch.setattr(quotas, "file_system", lambda _path: "nfs4")
    monkeypatch.setattr(quotas, "_told", {})  # a thread that an earlier test left may have asked just now
    return tmp_path


def test_of_a_network_file_system_the_tool_is_asked_once_a_minute(
    tool: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for _ in range(5):
        assert space_of(tool) == quotas.Space(2 * GIB, GIB, quota=True)
    asked = (tool / "asked").read_text().splitlines()
    now = quotas.time.monotonic()
    monkeypatch.setattr(quotas.time, "monotonic", lambda: now + 61)
    space_of(tool)

    assert len(asked) == 1
    assert os.path.ismount(asked[0].split()[-1])
    assert len((tool / "asked").read_text().splitlines()) == 2


def test_threads_that_ask_at_once_start_the_tool_once(tool: Path) -> None:
    with ThreadPoolExecutor(8) as threads:
        told = list(threads.map(space_of, [tool] * 8))

    assert told == [quotas.Space(2 * GIB, GIB, quota=True)] * 8
    assert len((tool / "asked").read_text().splitlines()) == 1


@pytest.mark.parametrize(
    "said", ["", "Disk quotas for user ana (uid 1000): none\n", "x 1 0 0\n", "a b c d\n"]
)
def test_a_tool_that_knows_of_no_quota_changes_nothing(tool: Path, said: str) -> None:
    (tool / "said").write_text(said)

    assert space_of(tool) == quotas.Space(1000 * GIB, 500 * GIB)


def test_on_a_local_disk_no_program_is_started(tool: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(quotas, "file_system", lambda _path: "ext4")

    space_of(tool)

    assert not (tool / "asked").exists()


def test_the_real_kernel_can_be_asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()

    found = space_of(tmp_path)

    assert 0 < found.total <= shutil.disk_usage(tmp_path).total
    assert 0 < found.free <= found.total
