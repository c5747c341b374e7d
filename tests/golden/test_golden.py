"""Every store that a release ever wrote opens in this one: migrated, listed, loaded, resumed from."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

import kitaru_nb
from kitaru_nb.cli.main import main
from kitaru_nb.errors import StoreError
from kitaru_nb.journal.schema import newest_format
from kitaru_nb.journal.sqlite_journal import SqliteJournal
from kitaru_nb.model.execution import ExecutionId
from kitaru_nb.stacks.doctor import journal_format
from tests.unit.engine.kernel import Kernel

STORES = sorted(Path(__file__).parent.glob("format-*"), key=lambda path: int(path.name[7:]))
LATER = [path for path in STORES if (path / "calls.kitaru").exists()]
"""Those of releases that recorded calls, removed values and exported executions: all but format 1."""


@pytest.fixture(params=STORES, ids=lambda path: path.name)
def home(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of one golden store."""
    copy = tmp_path / "home"
    shutil.copytree(request.param, copy)
    (tmp_path / "format").write_text(request.param.name[7:])
    monkeypatch.setenv("KITARU_NB_HOME", str(copy))
    signer = copy / "signer.pub"
    # Early releases signed nothing: their user says so once. Later ones have a key.
    assert main(["trust", str(signer) if signer.exists() else "unsigned"]) == 0
    return copy


@pytest.fixture
def frozen(home: Path) -> Iterator[Path]:
    """The same on media that cannot be written."""
    for options in (["--bind", str(home)], ["-o", "remount,bind,ro"]):
        if subprocess.run(["mount", *options, str(home)], check=False, capture_output=True).returncode:
            pytest.skip("mounting a folder read-only needs root")
    yield home
    subprocess.run(["umount", "-l", str(home)], check=True)


STEPS = {"whole": 7, "broken": 8, "calls": 2, "gone": 1}


def expected(home: Path) -> dict[str, list[str]]:
    found: dict[str, list[str]] = json.loads((home / "expected.json").read_text())
    return found


def whole_ones(home: Path) -> list[str]:
    """The executions that left what `check_values` looks for."""
    return [expected(home)[name][0] for name in ("broken", "whole")]


def has_texts(home: Path) -> bool:
    """Whether its notebooks had large texts."""
    return int((home.parent / "format").read_text()) >= 4


def content(home: Path) -> dict[str, bytes]:
    return {str(path.relative_to(home)): path.read_bytes() for path in home.rglob("*") if path.is_file()}


def check_values(values: Any, *, texts: bool) -> None:
    """What the notebooks of `make.py` leave; since format 4 large texts, too."""
    assert values("numbers").tolist() == [n * 0.5 for n in range(9_000)]
    assert values("rows")[49] == {"id": 49, "text": "row 49"}
    if texts:
        assert values("story") == " ".join(f"{n} is a number." for n in range(200))
        assert values("told") == [{"text": values("story") + str(n)} for n in range(5)]
    assert values("point").double() == 42
    assert values("far")(values("point")) == 45
    assert values("drawn") == 0.32383276483316237


def test_there_is_a_golden_store_of_every_format() -> None:
    assert {int(path.name[7:]) for path in STORES} <= set(range(1, newest_format() + 1))
    assert STORES[0].name == "format-1"
    assert STORES[-1].name == f"format-{newest_format()}"
    assert STORES[1:] == LATER


def test_a_store_of_any_format_is_listed_and_loaded(home: Path) -> None:
    with closing(SqliteJournal(home / "journal.db")) as journal:
        listed = {Path(str(e.identity.notebook)).stem: [e.id, e.status] for e in journal.executions()}
        steps = {name: len(journal.checkpoints(ExecutionId(e[0]))) for name, e in listed.items()}

        assert journal.verify() == []
    assert listed == expected(home)
    assert steps == {name: STEPS[name] for name in listed}
    for execution in whole_ones(home):
        check_values(
            lambda name, execution=execution: kitaru_nb.load(name, execution=execution), texts=has_texts(home)
        )


def test_opening_a_store_for_writing_brings_it_to_the_newest_format(home: Path) -> None:
    with closing(SqliteJournal(home / "journal.db")) as journal:
        assert journal.verify() == []

    assert journal_format(home / "journal.db") == newest_format()


def test_work_that_any_format_recorded_is_resumed_and_goes_on(
    home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for execution in whole_ones(home):
        kernel = Kernel(home, settings={"paranoid": False})

        resumed = kernel.session.resume(execution)

        assert (resumed.restored.lost, resumed.restored.damaged) == ({}, {})
        check_values(kernel.live.__getitem__, texts=has_texts(home))
        assert kernel["also"] is kernel["rows"]
        kernel["numbers"][0] = -1
        assert kernel["view"][0] == -1
        assert (tmp_path / "report.txt").read_text() == "forty-two\n"
        kernel.cell("%%checkpoint more\nmore = point.double() + len(rows)")
        assert kernel["more"] == 92
        kernel.stop()


@pytest.mark.skipif(sys.platform != "linux", reason="read-only media are made with a bind mount")
def test_a_store_of_any_format_is_listed_and_loaded_from_read_only_media(frozen: Path) -> None:
    with pytest.raises(OSError, match="Read-only"):
        (frozen / "proof").touch()

    for verb in (["executions"], ["show"], ["artifacts"]):
        done = subprocess.run(
            [sys.executable, "-m", "kitaru_nb", *verb], capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr

    for execution in whole_ones(frozen):
        check_values(
            lambda name, execution=execution: kitaru_nb.load(name, execution=execution),
            texts=has_texts(frozen),
        )


def test_a_store_of_any_format_is_read_without_being_changed(home: Path) -> None:
    """What only reads leaves a store in the format it has, so that the release that wrote it can go on."""
    before = content(home)

    for verb in (["executions"], ["show"], ["artifacts"], ["why", whole_ones(home)[1], "drawn"]):
        done = subprocess.run(
            [sys.executable, "-m", "kitaru_nb", *verb], capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr
    for execution in whole_ones(home):
        check_values(
            lambda name, execution=execution: kitaru_nb.load(name, execution=execution), texts=has_texts(home)
        )

    left = {name: data for name, data in content(home).items() if not name.startswith("journal.db-")}
    assert left == {name: data for name, data in before.items() if not name.startswith("journal.db-")}


@pytest.mark.parametrize("home", LATER, indirect=True, ids=lambda path: path.name)
def test_recorded_calls_of_any_format_are_found_and_what_gc_removed_is_told(home: Path) -> None:
    calls, gone = (ExecutionId(expected(home)[name][0]) for name in ("calls", "gone"))

    with closing(SqliteJournal(home / "journal.db")) as journal:
        assert [step.draft.name for step in journal.steps_within(calls)] == ["twice"] * 3
        assert journal.pinned() == {calls, whole_ones(home)[1]}
    pairs = kitaru_nb.load("pairs", execution=calls)
    assert pairs == [[0, 0], [1, 1], [2, 2]]
    assert kitaru_nb.load("same", execution=calls) == [0, 0]
    with pytest.raises(StoreError, match="removed by gc") as removed:
        kitaru_nb.load("lost", execution=gone)
    assert removed.value.kind == "values-removed"


@pytest.mark.parametrize("home", LATER, indirect=True, ids=lambda path: path.name)
def test_a_file_that_any_release_exported_is_imported(
    home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = home / "calls.kitaru"
    monkeypatch.setenv("KITARU_NB_HOME", str(tmp_path / "another"))
    id_ = expected(home)["calls"][0]

    assert main(["import", str(file)]) == 0

    assert kitaru_nb.load("pairs", execution=id_) == [[0, 0], [1, 1], [2, 2]]
    with closing(SqliteJournal(tmp_path / "another" / "journal.db")) as journal:
        assert journal.verify() == []
        assert len(journal.steps_within(ExecutionId(id_))) == 3
