"""Parameters that a notebook does not have are named before anything runs, with what was probably meant."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path

import nbformat
import pytest

from kitaru_nb.cli.main import main
from kitaru_nb.model.execution import ExecutionStatus, Identity, current_owner
from kitaru_nb.stacks.begun import note_begun
from kitaru_nb.stacks.open import open_engine
from kitaru_nb.stacks.parameters import declared_in, doubts
from kitaru_nb.stacks.settings import resolve


def notebook(folder: Path, *cells: str, tagged: bool = True) -> str:
    made = [nbformat.v4.new_code_cell(source, id=f"c{i}") for i, source in enumerate(cells)]
    if tagged:
        made[0].metadata["tags"] = ["parameters"]
    path = folder / "train.ipynb"
    kernel = {"name": "python3", "display_name": "Python 3", "language": "python"}
    nbformat.write(nbformat.v4.new_notebook(cells=made, metadata={"kernelspec": kernel}), path)
    return str(path)


def test_what_the_tagged_cell_binds_are_the_parameters(tmp_path: Path) -> None:
    path = notebook(
        tmp_path, "lr = 0.1  # rate\na, b = 1, 2\nn: int = 3\nlr = 0.2\nprint(other)", "later = 1"
    )

    assert declared_in(nbformat.read(path, as_version=4)) == ["lr", "a", "b", "n"]
    assert doubts(path, ["lr", "n"]) == []


def test_a_mistyped_one_is_named_with_what_was_meant(tmp_path: Path) -> None:
    path = notebook(tmp_path, "lr = 0.1\ndepth = 2")

    assert doubts(path, ["lrr", "zzz"]) == [
        "`lrr` is no parameter of train.ipynb, and will be set all the same; did you mean `lr`?",
        "`zzz` is no parameter of train.ipynb, and will be set all the same; it has lr, depth",
    ]


@pytest.mark.parametrize("cells", [("%run other.py\nlr = 1",), ("lr = 1",)])
def test_without_a_cell_that_says_which_there_are_it_is_said_where_it_is_set(
    tmp_path: Path, cells: tuple[str, ...]
) -> None:
    path = notebook(tmp_path, *cells, tagged=cells[0].startswith("%"))

    assert doubts(path, ["lr"]) == [
        "train.ipynb has no cell tagged `parameters`: `lr` will be set above its first cell"
    ]
    assert doubts(path, []) == []


def test_resume_says_it_once_of_all_that_go_on(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = notebook(tmp_path, "lr = 0.1")
    gone = str(tmp_path / "gone.ipynb")
    with closing(open_engine(resolve())) as engine:
        for number, source in enumerate((path, path, gone)):
            output = str(tmp_path / f"{number}.out.ipynb")
            identity = Identity(notebook=source, output=output, parameters={"lrr": number})
            attempt, _ = engine.journal.start(identity, owner=current_owner())
            note_begun(engine, attempt.execution)
            engine.journal.finish(attempt, ExecutionStatus.FAILED)

    main(["resume", "--all", "--dry-run"])

    said = capsys.readouterr().err
    assert said.count("`lrr` is no parameter of train.ipynb") == 1
    assert "did you mean `lr`?" in said


def test_it_is_said_once_for_a_whole_grid_before_anything_runs(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = notebook(tmp_path, "lr = 0.1")

    code = main(["run", path, "--grid", "lrr=1,2", "--dry-run"])

    assert code == 0
    assert capsys.readouterr().err.count("did you mean `lr`?") == 1
