"""The demonstration does what it says: a real kill, and nothing done twice."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest

from kitaru_nb.cli.main import main
from kitaru_nb.errors import UsageError
from kitaru_nb.stacks.demo import NOTEBOOK, run_demo


@pytest.mark.timeout(600)
def test_the_demo_kills_a_kernel_and_goes_on(tmp_path: Path) -> None:
    pytest.importorskip("sklearn")
    pytest.importorskip("matplotlib")

    done = subprocess.run(
        [sys.executable, "-m", "kitaru_nb", "demo", "--keep", "demo", "--json"],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        timeout=540,
        check=False,
    )

    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    statuses = [checkpoint["status"] for checkpoint in found["checkpoints"]]
    assert found["exit_codes"] == [138, 0]
    assert statuses == ["restored"] * 5 + ["completed"] * 4
    restored = [checkpoint["duration"] for checkpoint in found["checkpoints"][:5]]
    assert found["saved_duration"] == pytest.approx(sum(restored))
    output = nbformat.read(found["output"], as_version=4)
    code = [cell for cell in output.cells if cell.cell_type == "code"]
    assert all(cell.outputs for cell in code if cell.id in ("clean", "search-svm", "search-trees", "plot"))
    assert not Path(os.environ["KITARU_NB_HOME"]).exists()


def test_a_folder_with_other_files_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("mine")

    with pytest.raises(UsageError) as caught:
        run_demo(tmp_path, say=print)

    assert caught.value.kind == "folder-in-use"
    assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]


def test_missing_packages_are_named_with_the_command_that_brings_them(
    tmp_path: Path, monkeypatch, capsys
) -> None:
    monkeypatch.setattr("kitaru_nb.stacks.demo._NEEDED", {"no_such_module_here": "scikit-learn"})

    code = main(["demo", "--keep", str(tmp_path / "demo")])

    assert code == 2
    error = capsys.readouterr().err
    assert "needs scikit-learn" in error
    assert "pip install 'kitaru-nb[demo]'" in error
    assert not (tmp_path / "demo").exists()


def test_the_notebook_is_clean_and_says_what_it_is() -> None:
    nb = nbformat.read(Path(__file__).parents[2] / "notebooks" / NOTEBOOK, as_version=4)

    nbformat.validate(nb)
    assert nb.cells[0].source.startswith("# Survive a crash")
    assert all(
        not cell.outputs and cell.execution_count is None for cell in nb.cells if cell.cell_type == "code"
    )
    assert not any("%%checkpoint" in cell.source for cell in nb.cells if cell.cell_type == "code")
