"""`gc` on a disk with no byte left, a real one: it must free room where there is none to write in."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from kitaru_nb.model.checkpoint import Group
from kitaru_nb.model.execution import ExecutionStatus, Identity, current_owner
from kitaru_nb.stacks import reserve
from kitaru_nb.stacks.open import load, open_engine
from kitaru_nb.stacks.settings import resolve
from kitaru_nb.testing import a_draft
from tests.further import further

pytestmark = pytest.mark.skipif(
    sys.platform != "linux", reason="a small file system is made with tmpfs, which is Linux only"
)


@pytest.fixture
def disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A disk of 100 MB with a home on it."""
    place = tmp_path / "disk"
    place.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=100m", "tmpfs", str(place)]
    if subprocess.run(mount, check=False, capture_output=True).returncode:
        pytest.skip("mounting a tmpfs needs root")
    monkeypatch.setenv("KITARU_NB_HOME", str(place / "home"))
    yield place
    subprocess.run(["umount", "-l", str(place)], check=True)


def keep(status: ExecutionStatus, sizes: list[int]) -> str:
    """An execution whose steps stored new values of these sizes; its id."""
    engine = open_engine(resolve(max_bytes="off"))
    attempt, _ = engine.journal.start(Identity(notebook=f"/{status}.ipynb"), owner=current_owner())
    for number, size in enumerate(sizes):
        stored = engine.put({"x": os.urandom(size)}, namespace={})
        engine.store.flush()
        group = Group(("x",), stored.artifact.digest, stored.artifact.digest)
        draft = engine.trust.signed(a_draft(f"step{number}", groups=(group,)), attempt.execution)
        engine.journal.commit(attempt, draft, artifacts=[stored.artifact], locations=stored.locations)
    engine.journal.finish(attempt, status)
    engine.close()
    return attempt.execution


def fill(place: Path) -> None:
    with suppress(OSError), (place / "rest").open("wb", buffering=0) as rest:
        while rest.write(bytes(4096)):
            pass
    assert shutil.disk_usage(place).free == 0


def gc(*options: str) -> tuple[int, Any]:
    done = subprocess.run(
        [sys.executable, "-m", "kitaru_nb", "gc", "--json", *options],
        capture_output=True,
        text=True,
        check=False,
    )
    return done.returncode, json.loads(done.stdout)


@pytest.mark.parametrize(
    "sizes", [pytest.param([100_000] * 30, id="files"), further([20_000] * 1500, id="many small ones")]
)
def test_gc_makes_room_on_a_disk_that_has_none(disk: Path, sizes: list[int]) -> None:
    done = keep(ExecutionStatus.COMPLETED, sizes)
    kept = keep(ExecutionStatus.FAILED, [100_000, 300])
    before = load("x", execution=kept)
    fill(disk)

    told = gc("--dry-run", "--keep-days", "0")
    code, found = gc("--keep-days", "0")

    assert (code, told[0]) == (0, 0)
    assert [each["id"] for each in found["executions"]] == [done]
    assert found["artifacts"] == told[1]["artifacts"] == len(sizes)
    assert shutil.disk_usage(disk).free > 0.9 * sum(sizes)
    assert load("x", execution=kept) == before
    checked = subprocess.run([sys.executable, "-m", "kitaru_nb", "store", "verify"], check=False)
    assert checked.returncode == 0
    keep(ExecutionStatus.COMPLETED, [1000])  # and it goes on from here


def test_gc_makes_room_where_the_disk_was_filled_while_a_kernel_ran(
    disk: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reserve, "SCARCE", 40 << 20)
    kept = disk / "home" / "journal.db-reserve"
    keep(ExecutionStatus.COMPLETED, [100_000] * 30)
    engine = open_engine(resolve(max_bytes="off"))
    engine.check()
    early = kept.exists()

    (disk / "first").write_bytes(bytes(60 << 20))
    engine.check()
    fill(disk)
    engine.close()
    code, found = gc("--keep-days", "0")

    assert not early
    assert (code, found["artifacts"]) == (0, 30)


def test_without_anything_set_aside_it_says_what_it_needs(disk: Path) -> None:
    keep(ExecutionStatus.COMPLETED, [100_000])
    (disk / "home" / "journal.db-reserve").unlink()
    fill(disk)

    code, told = gc("--keep-days", "0")

    assert (code, told["error"]["kind"]) == (1, "journal-full")
    assert "free 5 MB" in told["error"]["hint"]
    (disk / "rest").unlink()
    assert gc("--keep-days", "0")[0] == 0


def test_a_notebook_on_a_full_disk_is_told_to_collect(disk: Path) -> None:
    keep(ExecutionStatus.COMPLETED, [100_000])
    fill(disk)

    with pytest.raises(OSError, match="No space left") as refused:
        open_engine(resolve(max_bytes="off"))

    assert "kitaru-nb gc" in str(refused.value)


_FLOW = """
import os, sys
import kitaru_nb as kt

@kt.checkpoint
def work(item):
    with open("called", "a") as file:
        file.write(f"{item}\\n")
    if item == 3 and len(sys.argv) > 1:
        with open(sys.argv[1], "wb", buffering=0) as rest:
            try:
                while rest.write(bytes(4096)):
                    pass
            except OSError:
                pass
    return os.urandom(50_000)

@kt.flow
def batch():
    return BODY

def caught():
    found = []
    for item in range(40):
        try:
            found.append(work(item))
        except Exception as error:
            found.append(error)
    return found

print(batch())
"""


@pytest.mark.parametrize(
    "body", ['len(work.map(range(40), max_workers=1, on_error="collect"))', "len(caught())"]
)
def test_a_flow_whose_disk_fills_up_makes_no_more_calls_and_goes_on_with_room(
    disk: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, body: str
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "batch.py").write_text(_FLOW.replace("BODY", body))
    command = [sys.executable, "batch.py"]

    full = subprocess.run([*command, str(disk / "rest")], check=False, capture_output=True)
    called = len((tmp_path / "called").read_text().split())
    (disk / "rest").unlink()
    again = subprocess.run(command, check=True, capture_output=True, text=True)

    assert full.returncode == 1
    assert 4 <= called <= 5, "what could not be recorded, and at most one that began as the disk filled up"
    assert again.stdout == "40\n"
    assert len((tmp_path / "called").read_text().split()) <= 42
