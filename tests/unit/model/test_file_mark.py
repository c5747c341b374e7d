from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from kitaru_nb.model.file_mark import mark_of


@pytest.fixture
def file(tmp_path: Path) -> Path:
    file = tmp_path / "a.ipynb"
    file.write_text("1")
    if mark_of(file) is None:
        pytest.skip("this volume does not tell when a file was made")
    return file


def test_a_file_keeps_its_mark_when_it_is_renamed_or_saved_in_place(file: Path, tmp_path: Path) -> None:
    before = mark_of(file)
    (tmp_path / "sub").mkdir()

    moved = file.rename(tmp_path / "sub" / "b é.ipynb")
    moved.write_text("2")

    assert mark_of(moved) == before
    assert mark_of(file) is None


def test_a_copy_has_another_also_where_it_has_the_times_and_takes_the_place(file: Path) -> None:
    before, copy = mark_of(file), file.with_name("copy.ipynb")

    shutil.copy2(file, copy)
    assert mark_of(copy) != before
    file.unlink()
    again = file.with_name("again.ipynb")
    again.write_text("1")
    assert mark_of(again) != before
    copy.replace(file)
    assert mark_of(file) != before


def test_a_link_has_the_mark_of_what_it_leads_to(file: Path, tmp_path: Path) -> None:
    link = tmp_path / "link.ipynb"
    link.symlink_to(file)

    assert mark_of(link) == mark_of(file)
    file.unlink()
    assert mark_of(link) is None
    assert mark_of(os.fspath(tmp_path / "no\0name")) is None
    assert mark_of(os.fspath(tmp_path / "half\ud800")) is None
