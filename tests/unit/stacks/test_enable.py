"""Loading kitaru_nb in every kernel, and taking that back."""

from __future__ import annotations

from pathlib import Path

import pytest

from kitaru_nb.errors import StoreError
from kitaru_nb.stacks.enable import disable, enable, is_enabled


@pytest.fixture(autouse=True)
def ipython(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "ipython").mkdir()
    monkeypatch.setenv("IPYTHONDIR", str(tmp_path / "ipython"))
    return tmp_path / "ipython"


def test_enable_writes_one_startup_file_where_ipythondir_says(ipython: Path) -> None:
    path, changed = enable()

    assert changed
    assert path.parent == ipython / "profile_default" / "startup"
    assert is_enabled()
    assert list(path.parent.iterdir()) == [path]


def test_enabling_twice_changes_nothing() -> None:
    path, _ = enable()
    before = path.stat().st_mtime_ns

    assert enable() == (path, False)
    assert path.stat().st_mtime_ns == before


def test_a_file_of_another_release_is_brought_up_to_date() -> None:
    path, _ = enable()
    path.write_text("load the old way\n")

    assert not is_enabled()
    assert enable() == (path, True)
    assert is_enabled()


def test_off_removes_the_file_and_leaves_the_users_own(ipython: Path) -> None:
    path, _ = enable()
    own = path.with_name("00-mine.py")
    own.write_text("x = 1\n")

    assert disable() == (path, True)
    assert disable() == (path, False)
    assert not is_enabled()
    assert list(path.parent.iterdir()) == [own]


def test_a_startup_folder_that_cannot_be_made_is_named(ipython: Path) -> None:
    (ipython / "profile_default").write_text("a file is in the way")

    with pytest.raises(StoreError, match="could not be written") as caught:
        enable()

    assert "IPYTHONDIR=" in caught.value.hint


def test_the_file_passes_over_an_environment_without_kitaru_nb(monkeypatch: pytest.MonkeyPatch) -> None:
    path, _ = enable()
    code = path.read_text().replace('"kitaru_nb"', '"no_such_package_here"')

    exec(compile(code, str(path), "exec"), {})


def test_without_a_home_to_write_to_it_says_so(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("IPYTHONDIR", str(tmp_path / "nosuch" / "ipython"))

    with pytest.warns(UserWarning, match="temp directory"), pytest.raises(StoreError) as refused:
        enable()

    assert refused.value.kind == "startup-not-writable"
    assert "IPYTHONDIR=/a/folder" in refused.value.hint
