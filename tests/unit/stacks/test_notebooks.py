from __future__ import annotations

import json
import os
from collections.abc import Callable
from datetime import date
from pathlib import Path

import nbformat
import pytest
from papermill.iorw import papermill_io, write_ipynb

from kitaru_nb.errors import UsageError
from kitaru_nb.stacks.notebooks import (
    check_output,
    give_stable_ids,
    is_remote,
    json_parameters,
    local_path,
    parse_notebook,
    read_notebook,
    recorded_ids,
    save_atomically_at,
    steps_of,
    write_atomically,
)


def notebook(*sources: str) -> nbformat.NotebookNode:
    return nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(source) for source in sources])


def ids(nb: nbformat.NotebookNode) -> list[str]:
    return [cell["id"] for cell in nb.cells]


@pytest.mark.parametrize(
    ("content", "why"),
    [
        ("{", "not JSON"),
        ("", "not JSON"),
        ("[]", "without cells"),
        ('{"a": 1}', "without cells"),
        ('{"cells": 3, "nbformat": 4, "nbformat_minor": 5, "metadata": {}}', "nbformat can read"),
    ],
)
def test_what_is_not_a_notebook_is_refused_with_the_reason(tmp_path: Path, content: str, why: str) -> None:
    path = tmp_path / "a.ipynb"
    path.write_text(content)

    with pytest.raises(UsageError, match=why) as caught:
        read_notebook(str(path))

    assert caught.value.kind == "not-a-notebook"
    assert str(path) in caught.value.message


def test_bytes_that_are_no_text_are_no_notebook(tmp_path: Path) -> None:
    path = tmp_path / "a.ipynb"
    path.write_bytes(b"\xff\xfe\x00")

    with pytest.raises(UsageError, match="not text"):
        read_notebook(str(path))


def test_a_missing_notebook_names_one_that_is_there(tmp_path: Path) -> None:
    (tmp_path / "train.ipynb").write_text("{}")

    with pytest.raises(UsageError) as caught:
        read_notebook(str(tmp_path / "trian.ipynb"))

    assert caught.value.kind == "no-notebook"
    assert caught.value.hint.endswith("train.ipynb")

    with pytest.raises(UsageError, match="there is no notebook") as other:
        read_notebook(str(tmp_path / "nosuch.ipynb"))

    assert other.value.hint == "a path to a .ipynb file", "another notebook is not what was meant"


def test_cells_keep_the_ids_of_their_file_and_others_get_stable_ones() -> None:
    first, second = notebook("a = 1", "b = 2"), notebook("a = 1", "b = 2")
    for nb in (first, second):
        nb.cells[0]["id"] = "own"

    give_stable_ids(first, {"own"})
    give_stable_ids(second, {"own"})

    assert ids(first) == ids(second)
    assert ids(first)[0] == "own"
    nbformat.validate(first)


def test_inserting_a_cell_does_not_change_the_made_ids_of_others() -> None:
    before, after = notebook("a = 1", "b = 2"), notebook("new = 0", "a = 1", "b = 2")

    give_stable_ids(before, ())
    give_stable_ids(after, ())

    assert ids(after)[1:] == ids(before)


def test_cells_with_one_source_or_one_id_are_told_apart() -> None:
    nb = notebook("a += 1", "a += 1", "b", "c")
    nb.cells[2]["id"] = nb.cells[3]["id"] = "twice"

    give_stable_ids(nb, {"twice"})

    assert len(set(ids(nb))) == 4


def test_injected_parameters_always_have_the_same_id() -> None:
    one, other = notebook("alpha = 1"), notebook("alpha = 2")
    for nb in (one, other):
        nb.cells[0].metadata["tags"] = ["injected-parameters"]

    give_stable_ids(one, ())
    give_stable_ids(other, ())

    assert ids(one) == ids(other) == ["injected-parameters"]


def test_recorded_ids_are_those_in_the_file_alone(tmp_path: Path) -> None:
    nb = notebook("a", "b")
    nb.cells[0]["id"] = "own"
    del nb.cells[1]["id"]
    nb.nbformat_minor = 4
    path = tmp_path / "a.ipynb"
    path.write_text(nbformat.writes(nb).replace('"cell_type": "code"', '"cell_type": "code"'))

    assert recorded_ids(str(path)) <= {"own"}
    assert recorded_ids(str(tmp_path / "none.ipynb")) == frozenset()


def test_steps_are_the_code_cells_that_run() -> None:
    nb = notebook("a = 1", "  \n", "skipped", "plain")
    nb.cells.insert(1, nbformat.v4.new_markdown_cell("# text"))
    nb.cells[3].metadata["tags"] = ["skip-execution"]
    nb.cells[4].metadata["tags"] = ["no-checkpoint"]
    give_stable_ids(nb, ())

    steps = steps_of(nb)

    assert [(step.index, step.source, step.plain) for step in steps] == [
        (0, "a = 1", False),
        (4, "plain", True),
    ]
    assert steps[0].step == f"cell:{nb.cells[0]['id']}"


def test_the_source_is_refused_as_output_also_through_a_link(tmp_path: Path) -> None:
    source = tmp_path / "a.ipynb"
    source.write_text("{}")
    (tmp_path / "link.ipynb").symlink_to(source)

    for output in (source, tmp_path / "link.ipynb", tmp_path / "sub" / ".." / "a.ipynb"):
        with pytest.raises(UsageError) as caught:
            check_output(str(source), str(output))
        assert caught.value.kind in ("output-is-source", "no-output-folder")


def test_an_output_folder_that_is_missing_is_named(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="there is no folder") as caught:
        check_output(None, str(tmp_path / "no" / "a.ipynb"))

    assert caught.value.hint == f"mkdir -p {tmp_path / 'no'}"


def test_urls_and_streams_are_left_to_papermill() -> None:
    assert [
        is_remote(path) for path in ("s3://b/a.ipynb", "-", "abs://x", "/a.ipynb", "a.ipynb", "c:/x")
    ] == [
        True,
        True,
        True,
        False,
        False,
        False,
    ]
    assert local_path("s3://b/a.ipynb") == "s3://b/a.ipynb"
    check_output("a.ipynb", "s3://b/a.ipynb")


def test_a_local_path_is_made_absolute(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)

    assert local_path("sub/../a.ipynb") == str(tmp_path / "a.ipynb")


def test_parameters_become_json_without_papermills_own() -> None:
    given = {"alpha": (1, 2), "odd": {1}, "pm": {"run_uuid": "x"}}

    assert json_parameters(given) == {"alpha": [1, 2], "odd": "{1}"}


def test_a_write_replaces_the_file_and_keeps_its_mode(tmp_path: Path) -> None:
    path = tmp_path / "a.ipynb"
    path.write_text("old")
    path.chmod(0o640)
    inode = path.stat().st_ino

    write_atomically("new", path)

    assert path.read_text() == "new"
    assert path.stat().st_mode & 0o777 == 0o640
    assert path.stat().st_ino != inode
    assert [entry.name for entry in tmp_path.iterdir()] == ["a.ipynb"]


def test_what_was_written_survives_a_power_cut(tmp_path: Path, synced: Callable[[Path], bool]) -> None:
    path = tmp_path / "a.ipynb"

    write_atomically("new", path)

    assert synced(path)
    assert synced(tmp_path)


def test_a_failed_write_leaves_the_old_content(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a.ipynb"
    path.write_text("old")

    def full(_descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)

    with pytest.raises(OSError, match="No space"):
        write_atomically("new", path)

    assert path.read_text() == "old"
    assert [entry.name for entry in tmp_path.iterdir()] == ["a.ipynb"]


def test_a_link_is_followed_and_a_device_written_to(tmp_path: Path) -> None:
    real = tmp_path / "real.ipynb"
    real.write_text("old")
    link = tmp_path / "link.ipynb"
    link.symlink_to(real)

    write_atomically("new", link)
    write_atomically("nowhere", Path(os.devnull))

    assert link.is_symlink()
    assert real.read_text() == "new"


def test_papermills_own_saves_become_atomic(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(papermill_io, "_handlers", list(papermill_io._handlers))
    path = tmp_path / "a.ipynb"
    path.write_text("old")
    inode = path.stat().st_ino

    save_atomically_at(str(path))
    save_atomically_at(str(path))
    write_ipynb(notebook("a"), str(path))

    assert path.stat().st_ino != inode
    assert nbformat.read(path, as_version=4).cells[0].source == "a"
    assert papermill_io.read(str(path)) == path.read_text()


@pytest.mark.parametrize(
    ("metadata", "tags", "said"),
    [
        ({"kernelspec": "python3"}, [], "`kernelspec`"),
        ({"kernelspec": {"name": 3}}, [], "`kernelspec`"),
        ({"language_info": []}, [], "`language_info`"),
        ({}, "checkpoint", "tags of cell 1"),
    ],
)
def test_metadata_nobody_could_have_meant_is_refused(metadata: object, tags: object, said: str) -> None:
    cell = {"cell_type": "code", "source": "", "outputs": [], "execution_count": None}
    document = {"cells": [cell | {"metadata": {"tags": tags}}], "metadata": metadata}

    with pytest.raises(UsageError) as caught:
        parse_notebook(json.dumps(document | {"nbformat": 4, "nbformat_minor": 2}), "a.ipynb")

    assert caught.value.kind == "not-a-notebook"
    assert said in caught.value.message


def test_a_parameter_that_is_no_json_is_kept_as_papermill_writes_it() -> None:
    assert json_parameters({"day": date(2026, 1, 2)}) == {"day": "2026-01-02"}
