"""Front ends that do not tell which notebook a kernel belongs to: it is said, once, in the cell."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.integration.kernel import Kernel

_SAID = "this front end does not tell which notebook this is"


@pytest.fixture(autouse=True)
def _no_front_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("JPY_SESSION_NAME", raising=False)


def test_a_kernel_without_a_notebook_says_once_that_the_folder_is_all_it_knows(tmp_path: Path) -> None:
    with Kernel(tmp_path / "home", cwd=tmp_path) as kernel:
        again = kernel.run("%load_ext kitaru_nb")
        cell = kernel.run("%%checkpoint\nx = 1")

        assert _SAID in kernel.loaded.said
        assert _SAID not in again.said + cell.said


def test_what_it_says_to_type_names_the_notebook(tmp_path: Path) -> None:
    with Kernel(tmp_path / "home", cwd=tmp_path, load=False) as kernel:
        loaded = kernel.run("%env KITARU_NB_NOTEBOOK=train.ipynb\n%load_ext kitaru_nb")
        kernel.run("%%checkpoint\nx = 1")
        shown = kernel.run("%kitaru executions --json").stdout

    assert _SAID not in loaded.said
    assert str(tmp_path / "train.ipynb") in shown


def test_nothing_is_said_where_the_notebook_is_known(tmp_path: Path) -> None:
    with Kernel(tmp_path / "home", cwd=tmp_path, notebook=tmp_path / "train.ipynb") as kernel:
        assert _SAID not in kernel.loaded.said
