"""Which notebook a kernel serves."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from kitaru_nb.notebook.identity import identity_of, notebook_path


@pytest.fixture(autouse=True)
def _no_front_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("JPY_SESSION_NAME", raising=False)


def test_a_setting_comes_first_then_vs_code_then_the_jupyter_server(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("JPY_SESSION_NAME", "/jupyter.ipynb")
    vs_code = {"__vsc_ipynb_file__": "/code.ipynb"}

    assert notebook_path(vs_code, setting="/set.ipynb") == Path("/set.ipynb")
    assert notebook_path(vs_code, setting=None) == Path("/code.ipynb")
    assert notebook_path({}, setting=None) == Path("/jupyter.ipynb")


def test_a_front_end_that_names_no_notebook_leaves_it_open() -> None:
    assert notebook_path({}, setting=None) is None
    assert notebook_path({"__vsc_ipynb_file__": ""}, setting="") is None


def test_a_relative_path_is_made_absolute(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)

    assert notebook_path({}, setting="train.ipynb") == tmp_path / "train.ipynb"


def test_the_identity_is_the_notebook_and_interactive() -> None:
    identity = identity_of(Path("/home/ana/train.ipynb"))

    assert identity.notebook == "/home/ana/train.ipynb"
    assert identity.interactive


def test_without_a_notebook_the_folder_is_the_identity(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)

    assert identity_of(None).notebook == f"{tmp_path}{os.sep}"
