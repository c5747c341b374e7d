"""`run --on-change` and `run --reuse`: real notebooks, real kernels."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from kitaru_nb.cli.main import main
from kitaru_nb.model.execution import ExecutionStatus
from tests.integration.headless import Notebook


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., int]:
    """`kitaru-nb run` in this process."""
    monkeypatch.chdir(tmp_path)
    return lambda *words: main(["run", "work.ipynb", "--no-progress", *words])


@pytest.fixture
def edited(tmp_path: Path, here: Callable[..., int]) -> Notebook:
    """A run that failed in its third cell; then its first and third were edited."""
    notebook = Notebook(tmp_path, ["tick('a')\na = 1", "tick('b')\nb = a + 1", "tick('c')\nprint(1 / 0)"])
    assert here() == 1
    notebook.edit(0, "tick('a')\na = 10")
    notebook.edit(2, "tick('c')\nprint(a, b)")
    return notebook


def printed(notebook: Notebook) -> str:
    return "".join(output.get("text", "") for output in notebook.result().cells[-1].outputs)


@pytest.mark.further
def test_an_edited_cell_runs_with_what_depends_on_it(edited: Notebook, here) -> None:
    assert here("--on-change", "rerun") == 0

    assert edited.ticks() == ["a", "b", "c", "a", "b", "c"]
    assert printed(edited) == "10 11\n"


def test_an_edited_cell_is_kept_as_it_ran(edited: Notebook, here, caplog: pytest.LogCaptureFixture) -> None:
    assert here("--on-change", "keep") == 0

    assert edited.ticks() == ["a", "b", "c", "c"]
    assert printed(edited) == "1 2\n"
    assert edited.result().cells[1].source == "tick('a')\na = 1"
    (said,) = [record.getMessage() for record in caplog.records if "kept" in record.getMessage()]
    assert "cell 2 (`a`)" in said


@pytest.mark.further
def test_what_cannot_be_kept_is_said_and_runs_as_it_is(tmp_path: Path, here, caplog) -> None:
    (tmp_path / "in.txt").write_text("1")
    cells = ["tick('a')\na = open('in.txt').read()", "tick('b')\nb = 1", "tick('c')\nprint(1 / 0)"]
    notebook = Notebook(tmp_path, cells)
    assert here() == 1
    (tmp_path / "in.txt").write_text("2")
    notebook.edit(1, "tick('b')\nb = 2")
    notebook.edit(2, "tick('c')\nprint(a, b)")

    assert here("--on-change", "keep") == 0

    assert printed(notebook) == "2 2\n"
    assert "runs as it is now" in caplog.text


def test_edited_cells_are_refused_before_anything_runs(edited: Notebook, here, capsys) -> None:
    before = edited.executions()
    capsys.readouterr()

    code = here("--on-change", "fail", "--json")

    error = json.loads(capsys.readouterr().out)["error"]
    assert (code, error["kind"]) == (1, "cells-changed")
    assert "cell 2 (`a`)" in error["message"]
    assert "cell 4" not in error["message"]  # it never came to its end
    assert edited.ticks() == ["a", "b", "c"]
    assert edited.executions() == before
    assert here("--on-change", "fail", "--new") == 0


def test_a_plan_says_what_would_be_kept_or_refused(edited: Notebook, here, capsys) -> None:
    capsys.readouterr()

    assert here("--on-change", "keep", "--dry-run", "--json") == 0
    kept = [cell["status"] for cell in json.loads(capsys.readouterr().out)["cells"]]
    refused = here("--on-change", "fail", "--dry-run", "--json")

    assert kept == ["restored", "restored", "restored", "run"]
    assert refused == 1


@pytest.mark.further
def test_marked_cells_that_touched_the_outside_are_taken_over_when_asked(tmp_path: Path, here) -> None:
    outside = "import subprocess\ntick('{0}')\n{0} = subprocess.run(['true']).returncode"
    marked = f"%%checkpoint fetch\n{outside.format('fetched')}"
    notebook = Notebook(tmp_path, [marked, outside.format("plain")])

    codes = [here(), here(), here("--reuse")]

    assert codes == [0, 0, 0]
    assert notebook.ticks() == ["fetched", "plain", "fetched", "plain", "plain"]
    executions = notebook.executions()
    assert [each.status for each in executions] == [ExecutionStatus.COMPLETED] * 3
    assert notebook.shown()[1][0] == 2
