"""What a grid refuses before anything runs, and what it would do."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import nbformat
import pytest

from kitaru_nb.cli.run import run_notebooks
from kitaru_nb.errors import KitaruError


@pytest.fixture
def notebook(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.chdir(tmp_path)
    cell = nbformat.v4.new_code_cell("alpha = 0", metadata={"tags": ["parameters"]}, id="c0")
    nb = nbformat.v4.new_notebook(cells=[cell])
    nb.metadata = {"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}}
    nbformat.write(nb, tmp_path / "nb.ipynb")
    return "nb.ipynb"


def refused(notebook: str, **options: Any) -> KitaruError:
    with pytest.raises(KitaruError) as caught:
        run_notebooks([notebook], **options)
    assert not Path("kitaru-nb-home").exists(), "something was begun"
    return caught.value


@pytest.mark.parametrize(
    ("options", "kind"),
    [
        ({"output": "out.ipynb"}, "shared-output"),
        ({"output": "{beta}.ipynb"}, "bad-output-name"),
        ({"output": "gone/{alpha}.ipynb"}, "no-output-folder"),
        ({"output": "{alpha}/out.ipynb"}, "no-output-folder"),
        ({"parameters": [("alpha", "3")]}, "bad-grid"),
        ({"workers": 0}, "bad-jobs"),
        ({"retries": -1}, "bad-retries"),
    ],
)
def test_what_a_grid_cannot_do_is_refused_before_anything_runs(
    notebook: str, options: dict[str, Any], kind: str
) -> None:
    Path("1").mkdir()

    assert refused(notebook, grid=["alpha=1,2"], **options).kind == kind


def test_a_value_that_would_be_a_path_is_refused(notebook: str) -> None:
    Path("grid.csv").write_text("alpha\n../../x\n")

    error = refused(notebook, parameter_files=["grid.csv"], output="{alpha}.ipynb")

    assert error.kind == "bad-output-name"
    assert "../../x" in error.message


def test_a_name_that_is_no_parameter_is_refused(notebook: str) -> None:
    assert refused(notebook, grid=["a b=1"]).kind == "bad-parameter"


def planned(capsys: pytest.CaptureFixture[str], notebook: str, **options: Any) -> list[str]:
    assert run_notebooks([notebook], dry_run=True, json=True, **options) == 0
    return [Path(each["output"]).name for each in json.loads(capsys.readouterr().out)]


def test_a_dry_run_tells_each_point_and_writes_nothing(
    notebook: str, capsys: pytest.CaptureFixture[str]
) -> None:
    before = sorted(Path().iterdir())

    outputs = planned(capsys, notebook, grid=["alpha=1,2", "beta=x"])

    assert outputs == ["nb.alpha-1.beta-x.out.ipynb", "nb.alpha-2.beta-x.out.ipynb"]
    assert sorted(Path().iterdir()) == before


def test_a_grid_counts_before_a_file_of_parameters_and_combines_with_a_grid_in_a_file(
    notebook: str, capsys: pytest.CaptureFixture[str]
) -> None:
    Path("base.yaml").write_text("alpha: 9\nseed: [1, 2]\n")
    Path("points.yaml").write_text("grid: {depth: [2, 4]}\n")

    outputs = planned(
        capsys,
        notebook,
        grid=["alpha=1"],
        parameter_files=["base.yaml", "points.yaml"],
        output="{notebook}-{alpha}-{depth}-{point}.ipynb",
    )

    assert outputs == ["nb-1-2-1.ipynb", "nb-1-4-2.ipynb"]
