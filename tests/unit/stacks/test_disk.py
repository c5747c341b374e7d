"""The disk limit: counted as it is written, said at 80 %, and never crossed."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest

import kitaru_nb
from kitaru_nb.engine.gc import Policy, collect
from kitaru_nb.errors import StoreError, UsageError
from kitaru_nb.model.execution import ExecutionStatus
from kitaru_nb.model.settings import LEAST, Quota
from kitaru_nb.stacks.disk import DiskLimit, limit_of, used_by
from kitaru_nb.stacks.doctor import examine
from kitaru_nb.stacks.settings import resolve
from tests.unit.engine.kernel import Kernel

MIB = 1 << 20


def cell(name: str, size: int = MIB) -> str:
    """A cell that makes new bytes which cannot be shared."""
    return f"%%checkpoint {name}\nimport random\n{name} = random.Random('{name}').randbytes({size})"


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("KITARU_NB_HOME", str(tmp_path / "home"))
    return tmp_path / "home"


@pytest.fixture
def kernels(home: Path) -> Iterator[list[Kernel]]:
    """Kernels on one home that may take 4 MiB; a test appends those it starts."""
    assert not home.exists()
    started: list[Kernel] = []
    yield started
    for kernel in started:
        kernel.stop()


def start(kernels: list[Kernel], home: Path, notebook: str = "a", **settings: object) -> Kernel:
    chosen = {"max_bytes": Quota(None, 4 * MIB), "paranoid": False, **settings}
    kernels.append(Kernel(home, notebook=home.parent / f"{notebook}.ipynb", settings=chosen))
    return kernels[-1]


def used(home: Path) -> int:
    return used_by(home / "journal.db", home / "store")


def test_a_save_that_would_cross_the_limit_is_an_error_and_nothing_of_it_is_stored(
    kernels: list[Kernel], home: Path
) -> None:
    kernel = start(kernels, home)
    kernel.cell(cell("one"))
    kernel.cell(cell("two"))
    before = used(home)

    with pytest.raises(StoreError) as refused:
        kernel.cell(cell("large", 3 * MIB))

    assert refused.value.kind == "disk-limit"
    assert "gc" in refused.value.hint
    assert "`large` (3.1 MB) does not fit: the store " in refused.value.message
    assert "--exclude large" in refused.value.hint
    assert used(home) < 4 * MIB
    assert used(home) - before < 300_000
    assert [c.draft.name for c in kernel.engine.journal.checkpoints(kernel.last.execution)] == ["one", "two"]
    kernel.plain("del large")
    kernel.cell("%%checkpoint small\nsmall = 1")
    assert kitaru_nb.load("one", execution=kernel.last.execution) == kernel["one"]


def test_a_file_that_does_not_fit_is_named(kernels: list[Kernel], home: Path) -> None:
    kernel = start(kernels, home)

    with pytest.raises(StoreError, match=r"the file `out/large.bin` \(5.0 MB\) does not fit: ") as refused:
        kernel.cell(
            "import os\nos.mkdir('out')\n"
            "with open('out/large.bin', 'wb') as f: _ = f.write(os.urandom(5_000_000))"
        )

    assert refused.value.kind == "disk-limit"


def test_a_step_is_refused_before_it_runs_when_the_store_is_over_its_limit(
    kernels: list[Kernel], home: Path
) -> None:
    start(kernels, home).cell(cell("one"))
    kernel = start(kernels, home, "b", max_bytes=Quota(None, MIB))

    with pytest.raises(StoreError) as refused:
        kernel.cell(cell("two"))

    assert refused.value.kind == "disk-limit"
    assert kernel.ran == []


def test_at_the_limit_what_may_go_under_the_policy_goes_by_itself(kernels: list[Kernel], home: Path) -> None:
    old = start(kernels, home)
    old.cell(cell("one", 3 * MIB))
    execution = old.last.execution
    old.session.close()
    kernel = start(kernels, home, "b", keep_days=0.0)

    kernel.cell(cell("two", 3 * MIB))

    assert used(home) < 4 * MIB
    (stone, *_) = kernel.engine.journal.every_tombstone()
    assert stone.policy == "keep_days=0"
    assert kernel.engine.journal.events(execution)[-1].kind == "values.removed"
    assert kitaru_nb.load("two", execution=kernel.last.execution) == kernel["two"]


@pytest.mark.parametrize("status", [None, ExecutionStatus.FAILED])
def test_at_the_limit_nothing_goes_that_an_unfinished_execution_needs(
    kernels: list[Kernel], home: Path, status: ExecutionStatus | None
) -> None:
    old = start(kernels, home)
    old.cell(cell("one", 3 * MIB))
    if status is not None:
        old.engine.journal.finish(old.session.open(), status)
    kernel = start(kernels, home, "b", keep_days=0.0)

    with pytest.raises(StoreError, match="may take"):
        kernel.cell(cell("two", 3 * MIB))

    assert kitaru_nb.load("one", execution=old.last.execution) == old["one"]


def test_the_limit_does_not_hold_when_there_is_room_again(kernels: list[Kernel], home: Path) -> None:
    old = start(kernels, home)
    old.cell(cell("one", 3 * MIB))
    kernel = start(kernels, home, "b")
    with pytest.raises(StoreError):
        kernel.cell(cell("two", 3 * MIB))
    old.session.close()
    collect(old.engine.journal, old.engine.store, Policy(0), grace=-60)

    kernel.cell(cell("two", 3 * MIB))

    assert kernel.last.draft.name == "two"


def test_it_is_said_once_when_four_fifths_are_taken(kernels: list[Kernel], home: Path) -> None:
    kernel = start(kernels, home)
    kernel.cell(cell("one", 2 * MIB))
    early = kernel.session.notes()
    kernel.cell(cell("two", MIB + MIB // 2))
    late = kernel.session.notes()
    kernel.cell("%%checkpoint three\nthree = 3")

    assert early == []
    assert "of the 4.2 MB it may take" in late[0]
    assert kernel.session.notes() == []


def test_asking_does_not_look_at_the_files_each_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    looks: list[Path] = []
    monkeypatch.setattr("kitaru_nb.stacks.disk.used_by", lambda journal, _: len(looks.append(journal) or ""))
    mine = tmp_path / "journal.db"
    limit = DiskLimit(mine, tmp_path, lambda: Quota(None, MIB), collect=lambda: None)

    for _ in range(1000):
        limit.check()
        limit.room(10)

    assert looks.count(mine) == 1
    now = time.monotonic()
    monkeypatch.setattr("kitaru_nb.stacks.disk.time.monotonic", lambda: now + 61)
    limit.check()
    assert looks.count(mine) == 2


@pytest.mark.parametrize(
    ("typed", "quota", "limit"),
    [
        ("20%", Quota(0.2), 20 << 30),
        ("50GB", Quota(None, 50 * 10**9), 50 * 10**9),
        ("1.5 GiB", Quota(None, 3 << 29), 3 << 29),
        ("123", Quota(None, 123), 123),
        ("off", Quota(None), None),
    ],
)
def test_the_limit_is_a_part_of_the_volume_a_size_or_off(
    tmp_path: Path, typed: str, quota: Quota, limit: int | None
) -> None:
    found = resolve(environ={"KITARU_NB_MAX_BYTES": typed}, cwd=tmp_path).max_bytes

    assert found == quota
    assert found.bytes_of(100 << 30) == limit


def test_a_small_volume_is_used_as_far_as_it_goes() -> None:
    assert Quota().bytes_of(1 << 30) == LEAST


@pytest.mark.parametrize("typed", ["much", "0%", "120%", "-5", "1 PB"])
def test_a_limit_that_cannot_be_meant_is_refused(tmp_path: Path, typed: str) -> None:
    with pytest.raises(UsageError):
        resolve(environ={"KITARU_NB_MAX_BYTES": typed}, cwd=tmp_path)


def test_doctor_shows_what_is_taken_and_what_may_be(
    kernels: list[Kernel], home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    start(kernels, home).cell(cell("one"))
    monkeypatch.setenv("KITARU_NB_MAX_BYTES", "1MB")

    found = examine(resolve())

    assert found.disk == {
        "path": str(home / "store"),
        "bytes": used(home),
        "max_bytes": 10**6,
        "quota": "1000000",
        "keep_days": 30.0,
    }
    assert "disk-limit" in [warning.kind for warning in found.warnings]
    assert limit_of(home, Quota(None)) is None
