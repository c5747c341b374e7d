"""Points of a grid, each in a process and a kernel of its own: what they share, and what no death spoils."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import nbformat
import pytest

from kitaru_nb.engine.sharing import AWAITED
from kitaru_nb.model.checkpoint import CheckpointStatus
from kitaru_nb.model.execution import Execution, ExecutionStatus
from kitaru_nb.stacks.open import open_engine
from kitaru_nb.stacks.settings import resolve
from tests.integration.headless import Finished, Notebook, finished, start
from tests.patience import PATIENCE

_PARAMETERS = {1: ["parameters"]}

_SLOW = """
import os, time
tick('slow-begins')
while not os.path.exists('go'):
    time.sleep(0.02)
rows = base + 1
tick('slow')
"""


def _grid(folder: Path, *cells: str) -> Notebook:
    return Notebook(folder, ["base = 10\ntick('base')", "x = 0", *cells], tags=_PARAMETERS)


def _point(notebook: Notebook, x: int, *options: str) -> subprocess.Popen[str]:
    words = ["run", notebook.path.name, "-p", "x", str(x), "-o", f"out-{x}.ipynb", "--tag", "grid:g"]
    return start(["-m", "kitaru_nb", *words, *options], notebook.folder)


def _until(holds: Callable[[], bool], *processes: subprocess.Popen[str]) -> None:
    deadline = time.monotonic() + PATIENCE
    while not holds():
        ended = [finished(process).stderr for process in processes if process.poll() is not None]
        assert not ended, ended
        assert time.monotonic() < deadline
        time.sleep(0.1)


def _executions() -> dict[int, Execution]:
    with closing(open_engine(resolve(), read_only=True)) as engine:
        return {each.identity.parameters["x"]: each for each in engine.journal.executions()}


def _waits(x: int) -> bool:
    with closing(open_engine(resolve(), read_only=True)) as engine:
        found = [each for each in engine.journal.executions() if each.identity.parameters["x"] == x]
        return any(event.kind == AWAITED for each in found for event in engine.journal.events(each.id))


def _statuses(x: int) -> list[str]:
    with closing(open_engine(resolve(), read_only=True)) as engine:
        return [each.draft.status.value for each in engine.journal.checkpoints(_executions()[x].id)]


def _printed(notebook: Notebook, x: int) -> list[str]:
    nb = nbformat.read(notebook.folder / f"out-{x}.ipynb", as_version=4)
    return [output.text for cell in nb.cells if cell.cell_type == "code" for output in cell.outputs]


def _completed(*ended: Finished) -> None:
    assert [each.code for each in ended] == [0] * len(ended), [each.stderr for each in ended]


def test_points_that_reach_a_cell_at_the_same_time_run_it_once(tmp_path: Path) -> None:
    notebook = _grid(tmp_path, _SLOW, "y = rows * x\ntick(f'y{x}')", "z = rows + 1\ntick('z')", "print(y, z)")
    one = _point(notebook, 1)
    _until(lambda: "slow-begins" in notebook.ticks(), one)
    two = _point(notebook, 2)
    _until(lambda: _waits(2), one, two)

    (tmp_path / "go").touch()
    _completed(finished(one), finished(two))

    assert sorted(notebook.ticks()) == ["base", "slow", "slow-begins", "y1", "y2", "z"]
    assert _printed(notebook, 1) + _printed(notebook, 2) == ["11 12\n", "22 12\n"]
    fates = [CheckpointStatus(each) for each in _statuses(2)]
    assert fates.count(CheckpointStatus.RESTORED) >= 4  # what they import, both cells before x, the slow one


@pytest.mark.further
def test_a_sibling_that_is_killed_in_the_cell_keeps_nobody_waiting(tmp_path: Path) -> None:
    notebook = _grid(tmp_path, _SLOW, "y = rows * x\ntick(f'y{x}')")
    one = _point(notebook, 1)
    _until(lambda: "slow-begins" in notebook.ticks(), one)
    two, three = _point(notebook, 2), _point(notebook, 3)
    _until(lambda: _waits(2) and _waits(3), one, two, three)

    os.kill(one.pid, signal.SIGKILL)
    killed = finished(one)
    _until(lambda: notebook.ticks().count("slow-begins") == 2, two, three)
    (tmp_path / "go").touch()
    _completed(finished(two), finished(three))
    _completed(finished(_point(notebook, 1)))

    assert sorted(notebook.ticks()) == ["base", "slow", "slow-begins", "slow-begins", "y1", "y2", "y3"]
    assert (killed.code, _executions()[1].attempts) == (-signal.SIGKILL, 2)


@pytest.mark.further
def test_a_cell_that_fails_in_one_point_runs_in_the_other(tmp_path: Path) -> None:
    fails = _SLOW + "if once('failed'):\n    raise ValueError('only here')"
    notebook = _grid(tmp_path, fails, "y = rows * x")
    one = _point(notebook, 1)
    _until(lambda: "slow-begins" in notebook.ticks(), one)
    two = _point(notebook, 2)
    _until(lambda: _waits(2), one, two)

    (tmp_path / "go").touch()
    failed, ran = finished(one), finished(two)

    assert failed.code == 1
    _completed(ran)
    assert notebook.ticks().count("slow") == 2


@pytest.mark.further
def test_a_point_that_asks_a_person_inside_the_cell_frees_it(tmp_path: Path) -> None:
    asks = "import kitaru_nb as kt\nrows = kt.wait('How many?', int, name='rows')"
    notebook = _grid(tmp_path, _SLOW + asks, "y = rows * x\ntick(f'y{x}')")
    one = _point(notebook, 1)
    _until(lambda: "slow-begins" in notebook.ticks(), one)
    two = _point(notebook, 2)
    _until(lambda: _waits(2), one, two)

    (tmp_path / "go").touch()
    asked = [finished(one).code, finished(two).code]
    answered = notebook.kitaru("answer", f"{_executions()[2].id}/rows", "--value", "4")
    _completed(answered, finished(_point(notebook, 2)), finished(_point(notebook, 1)))

    assert asked == [75, 75]
    assert [each for each in notebook.ticks() if each.startswith("y")] == ["y2", "y1"]


@pytest.mark.further
def test_a_point_that_waits_for_another_can_be_stopped(tmp_path: Path) -> None:
    notebook = _grid(tmp_path, _SLOW, "y = rows * x")
    one = _point(notebook, 1)
    _until(lambda: "slow-begins" in notebook.ticks(), one)
    two = _point(notebook, 2)
    _until(lambda: _waits(2), one, two)

    os.kill(two.pid, signal.SIGTERM)
    stopped = finished(two)
    (tmp_path / "go").touch()
    _completed(finished(one), finished(_point(notebook, 2)))

    assert stopped.code == 143
    assert _executions()[2].status is ExecutionStatus.COMPLETED
    assert notebook.ticks().count("slow-begins") == 1
