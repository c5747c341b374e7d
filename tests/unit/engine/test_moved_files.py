from __future__ import annotations

from pathlib import Path

import pytest

from kitaru_nb.engine.moved_files import MovedFiles
from kitaru_nb.engine.observe import file_holds, state_of


def put(path: Path, text: str) -> str:
    path.parent.mkdir(exist_ok=True)
    path.write_text(text)
    return state_of(str(path))


@pytest.fixture
def moved(tmp_path: Path) -> MovedFiles:
    return MovedFiles([str(tmp_path / "old" / "a.ipynb")], str(tmp_path / "new" / "a.ipynb"))


def test_a_file_that_was_moved_with_the_notebook_is_the_one_that_it_was(
    tmp_path: Path, moved: MovedFiles
) -> None:
    digest = put(tmp_path / "new" / "a|rows", "1")
    what = f"file:{tmp_path}/old/a|rows"
    before = moved.holds(what, digest, file_holds)
    put(tmp_path / "new" / "a|rows", "2")

    assert (before, moved.holds(what, digest, file_holds)) == (True, False)


def test_a_file_that_stayed_counts_only_where_the_new_folder_has_no_other(
    tmp_path: Path, moved: MovedFiles
) -> None:
    digest, what = put(tmp_path / "old" / "rows", "1"), f"file:{tmp_path}/old/rows"

    assert moved.holds(what, digest, file_holds)
    put(tmp_path / "new" / "rows", "2")
    assert not moved.holds(what, digest, file_holds)
    put(tmp_path / "new" / "rows", "1")
    assert moved.holds(what, digest, file_holds)
    put(tmp_path / "old" / "rows", "3")
    assert not moved.holds(what, digest, file_holds)


def test_a_file_that_was_not_there_must_not_be_in_the_new_folder_either(
    tmp_path: Path, moved: MovedFiles
) -> None:
    what = f"file:{tmp_path}/old/rows"

    assert moved.holds(what, "absent", file_holds)
    put(tmp_path / "new" / "rows", "1")
    assert not moved.holds(what, "absent", file_holds)


def test_files_of_other_folders_count_as_they_are_named(tmp_path: Path, moved: MovedFiles) -> None:
    digest = put(tmp_path / "older" / "rows", "1")
    put(tmp_path / "new" / "rows", "2")

    assert moved.holds(f"file:{tmp_path}/older/rows", digest, file_holds)
    assert moved.holds("env:HOME", "x", lambda what, _digest: what == "env:HOME")


def test_a_notebook_renamed_in_its_folder_looks_at_the_same_files(tmp_path: Path) -> None:
    stayed = MovedFiles([str(tmp_path / "a.ipynb")], str(tmp_path / "b.ipynb"))

    assert stayed.holding(file_holds) is file_holds
