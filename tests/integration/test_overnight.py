"""`notebooks/05_batch_overnight.ipynb`: forty cells that die in the 28th, resumed."""

from __future__ import annotations

import json
import shutil
from contextlib import closing
from pathlib import Path

import nbformat
import pytest

from kitaru_nb.model.checkpoint import CheckpointStatus
from kitaru_nb.stacks.open import open_engine
from kitaru_nb.stacks.settings import resolve
from tests.integration.headless import finished, start

SOURCE = Path(__file__).parents[2] / "notebooks" / "05_batch_overnight.ipynb"
COMMAND = ["-m", "kitaru_nb", "run", SOURCE.name, "--no-progress"]


@pytest.mark.further
def test_the_batch_dies_in_its_28th_cell_and_the_same_command_goes_on_there(tmp_path: Path) -> None:
    shutil.copy(SOURCE, tmp_path)

    first = finished(start(COMMAND, tmp_path))
    second = finished(start(COMMAND, tmp_path))

    assert first.code == 138
    assert first.last_line.startswith("kitaru: interrupted execution=ex_")
    assert second.code == 0, second.stderr
    assert "27 restored" in second.stdout
    assert "13 run" in second.stdout
    cells = [cell for cell in _output(tmp_path).cells if cell.cell_type == "code"]
    assert len(cells) == 40
    assert {cell.metadata.papermill["status"] for cell in cells} == {"completed"}
    assert "35 months at 3%" in cells[-1].outputs[-1]["text"]
    with closing(open_engine(resolve(), read_only=True)) as engine:
        (execution,) = engine.journal.executions()
        found = [step.draft for step in engine.journal.checkpoints(execution.id)]
    ran = [draft.step for draft in found if draft.status is CheckpointStatus.COMPLETED]
    assert len(ran) == len(set(ran)) == 40, "no cell has run twice to its end"


@pytest.mark.further
def test_a_grid_of_it_computes_what_the_rate_does_not_change_once(tmp_path: Path) -> None:
    shutil.copy(SOURCE, tmp_path)
    (tmp_path / "died-once").touch()

    done = finished(
        start([*COMMAND, "--grid", "rate=0.02,0.05", "-j", "2", "-o", "rates/", "--json"], tmp_path)
    )

    assert done.code == 0, done.stderr
    points = json.loads(done.stdout)
    assert [point["point"] for point in points] == [{"rate": 0.02}, {"rate": 0.05}]
    assert points[0]["metrics"]["wealth"] < points[1]["metrics"]["wealth"]
    assert (tmp_path / "rates" / "index.html").is_file()
    with closing(open_engine(resolve(), read_only=True)) as engine:
        found = [
            step.draft.status
            for execution in engine.journal.executions()
            for step in engine.journal.checkpoints(execution.id)
            if step.draft.step == "cell:market"
        ]
    assert sorted(found) == [CheckpointStatus.COMPLETED, CheckpointStatus.RESTORED]


def _output(folder: Path) -> nbformat.NotebookNode:
    return nbformat.read(folder / "05_batch_overnight.out.ipynb", as_version=4)
