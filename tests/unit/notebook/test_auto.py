"""`%checkpoint auto`: which cells become checkpoints without being marked."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest

from kitaru_nb.errors import UsageError
from kitaru_nb.notebook.auto import Auto, auto_of
from tests.unit.notebook.shell import Shell


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("KITARU_NB_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("KITARU_NB_NOTEBOOK", str(tmp_path / "nb.ipynb"))
    monkeypatch.chdir(tmp_path)
    return tmp_path


class Notebook:
    """A notebook whose kernel can be restarted."""

    def __init__(self) -> None:
        self.kernel = Shell()

    def restart(self) -> Shell:
        self.kernel.stop()
        self.kernel = Shell()
        return self.kernel


@pytest.fixture
def notebook() -> Iterator[Notebook]:
    notebook = Notebook()
    yield notebook
    notebook.kernel.stop()


@pytest.fixture
def shell(notebook: Notebook) -> Shell:
    return notebook.kernel


def cell(source: str, **fields: object) -> SimpleNamespace:
    return SimpleNamespace(raw_cell=source, **{"silent": False, "store_history": True, **fields})


def steps(shell: Shell) -> list[str]:
    session = shell.hooks.session
    return [c.draft.name for c in session.engine.journal.checkpoints(session.open().execution)]


def test_the_thresholds_are_five_seconds_and_a_cent_unless_told_otherwise() -> None:
    assert (auto_of([]).min_seconds, auto_of([]).min_cost) == (5.0, 0.01)
    assert auto_of(["--min-seconds", "2m", "--min-cost=0.5"]) == Auto(120.0, 0.5)
    assert auto_of(["--min-seconds", "0"]).min_seconds == 0.0


@pytest.mark.parametrize("words", [["--min-seconds"], ["--min-seconds", "soon"], ["--min-cost", "-1"], ["x"]])
def test_an_option_that_makes_no_sense_is_refused(words: list[str]) -> None:
    with pytest.raises(UsageError):
        auto_of(words)


def test_either_threshold_makes_a_cell_a_checkpoint() -> None:
    auto = Auto(min_seconds=5, min_cost=0.01)

    assert auto.keeps("a", seconds=5.0, cost=None, planning=0.0)
    assert auto.keeps("b", seconds=0.1, cost=0.02, planning=0.0)
    assert not auto.keeps("c", seconds=4.9, cost=0.001, planning=0.0)


def test_what_nobody_typed_and_our_own_magics_are_left_alone() -> None:
    auto = Auto()

    assert auto.takes(cell("x = 1"))
    assert not auto.takes(cell("x = 1", silent=True))
    assert not auto.takes(cell("x = 1", store_history=False))
    assert not auto.takes(cell("x = 1\n%rewind a"))
    assert not auto.takes(cell("resume", transformed_cell="get_ipython().run_line_magic('resume', '')"))


def test_a_short_cell_is_not_planned_again_where_planning_is_costly() -> None:
    auto = Auto(min_seconds=5)

    auto.keeps("cheap", seconds=0.1, cost=None, planning=0.001)
    auto.keeps("costly", seconds=0.1, cost=None, planning=0.5)

    assert auto.takes(cell("cheap"))
    assert not auto.takes(cell("costly"))


def test_a_cell_above_the_threshold_is_committed_with_what_short_ones_before_it_did(
    shell: Shell, notebook: Notebook
) -> None:
    shell.run("%checkpoint auto --min-seconds 1000")
    shell.run("rows = [1]", "a")
    shell.run("%checkpoint auto --min-seconds 0")
    shell.run("total = sum(rows)", "b")

    fresh = notebook.restart()
    fresh.run("%resume")

    assert (fresh["rows"], fresh["total"]) == ([1], 1)
    assert steps(fresh) == ["total"]


def test_a_long_cell_is_restored_in_the_next_kernel(shell: Shell, notebook: Notebook, home: Path) -> None:
    source = "with open('ran', 'a') as ran:\n    ran.write('x')\ny = 2"
    shell.run("%checkpoint auto --min-seconds 0")
    shell.run(source, "b")

    fresh = notebook.restart()
    fresh.run("%checkpoint auto")
    fresh.run(source, "b")

    assert fresh["y"] == 2
    assert (home / "ran").read_text() == "x"


def test_a_failed_short_cell_is_undone_before_it_runs_again_and_is_on_no_record(shell: Shell) -> None:
    shell.run("%checkpoint auto")
    shell.run("rows = []", "a")
    shell.run("rows.append(1); 1 / 0", "b")

    shell.run("rows.append(1)", "b")

    assert shell["rows"] == [1]
    assert steps(shell) == []


def test_a_failed_short_cell_is_undone_where_planning_is_costly(
    shell: Shell, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("kitaru_nb.notebook.auto._COSTLY", 1e-9)
    shell.run("%checkpoint auto")
    shell.run("a = [1]")
    shell.run("a.append(2)\n1 / 0", "c")

    shell.run("a.append(2)\n1 / 0", "c")

    assert shell["a"] == [1, 2]


def test_a_name_made_up_for_a_short_cell_is_free_for_a_marked_one(shell: Shell) -> None:
    shell.run("%checkpoint auto --min-seconds 0")
    shell.run("model = None", "a")

    assert shell.run("%%checkpoint model\nmodel = 1", "b").success


def test_a_cell_that_reads_a_value_that_was_not_stored_runs_as_a_plain_one(
    shell: Shell, notebook: Notebook
) -> None:
    source = "%%checkpoint a\ngen = (x for x in [1])"
    shell.run(source, "a")

    fresh = notebook.restart()
    fresh.run(source, "a")
    fresh.run("%checkpoint auto --min-seconds 0")

    assert fresh.run("kind = type(gen).__name__", "b").success


def test_off_leaves_cells_alone_again(shell: Shell) -> None:
    shell.run("%checkpoint auto --min-seconds 0")
    shell.run("%checkpoint off")
    shell.run("x = 1", "a")

    assert shell.hooks.auto is None
    assert shell.hooks.session is None


def test_a_name_after_checkpoint_still_says_that_a_sign_is_missing(shell: Shell) -> None:
    assert "did you mean `%%checkpoint`" in str(shell.error("%checkpoint train"))
