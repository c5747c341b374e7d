"""`%kitaru exclude`: names that are never stored in a notebook."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from kitaru_nb.artifacts.marker import is_marker
from tests.unit.notebook.shell import Shell


class Notebook:
    """A notebook whose kernel can be restarted."""

    def __init__(self) -> None:
        self.kernel = Shell()

    def restart(self) -> Shell:
        self.kernel.stop()
        self.kernel = Shell()
        return self.kernel


@pytest.fixture
def notebook(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Notebook]:
    monkeypatch.setenv("KITARU_NB_NOTEBOOK", str(tmp_path / "nb.ipynb"))
    monkeypatch.chdir(tmp_path)
    notebook = Notebook()
    yield notebook
    notebook.kernel.stop()


def test_an_excluded_name_is_stored_by_no_cell_and_in_no_later_kernel(notebook: Notebook) -> None:
    notebook.kernel.run("%kitaru exclude big")
    notebook.kernel.run("%%checkpoint a\nbig, rows = [0], [1]", "a")
    second = notebook.restart()
    second.run("big = [0]\nmore = [2]")
    second.run("%%checkpoint b\nx = 1", "b")

    third = notebook.restart()
    third.run("%resume")

    assert is_marker(third["big"])
    assert third["more"] == [2]
    assert third.hooks.session.excluded == {"big"}


def test_a_name_can_be_stored_again(notebook: Notebook) -> None:
    notebook.kernel.run("%kitaru exclude big,rows")
    notebook.kernel.run("%kitaru exclude --remove big")
    notebook.kernel.run("%%checkpoint a\nbig, rows = [0], [1]", "a")

    fresh = notebook.restart()
    fresh.run("%resume")

    assert fresh["big"] == [0]
    assert is_marker(fresh["rows"])


def test_what_is_no_name_is_refused(notebook: Notebook) -> None:
    assert "is not a name" in str(notebook.kernel.error("%kitaru exclude 1x"))
    assert "needs a name" in str(notebook.kernel.error("%kitaru exclude --remove"))


def test_the_list_is_told(notebook: Notebook, capsys: pytest.CaptureFixture[str]) -> None:
    notebook.kernel.run("%kitaru exclude b a")
    capsys.readouterr()

    notebook.kernel.run("%kitaru exclude")

    assert "never stored in this notebook: `a`, `b`" in capsys.readouterr().out


def test_a_name_is_left_out_from_then_on_also_where_nothing_was_committed_since(notebook: Notebook) -> None:
    notebook.kernel.run("%%checkpoint a\nbig = [0]", "a")
    notebook.kernel.run("%kitaru exclude big")
    second = notebook.restart()
    second.run("%%checkpoint b\nbig = [1]", "b")

    third = notebook.restart()
    third.run("%resume")

    assert is_marker(third["big"])
