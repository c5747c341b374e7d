"""Notebooks that no one here wrote, as they lie in the installed papermill, killed and run again."""

from __future__ import annotations

import signal
import subprocess
from collections import Counter
from contextlib import closing
from pathlib import Path

import nbformat
import papermill
import psutil
import pytest
from nbformat.reader import NotJSONError

from kitaru_nb.model.checkpoint import CheckpointStatus
from kitaru_nb.stacks.open import open_engine
from kitaru_nb.stacks.settings import resolve
from tests.integration.headless import Finished, finished, start
from tests.patience import until

SHIPPED = Path(papermill.__file__).parent / "tests" / "notebooks"
SUM = SHIPPED / "report_mode_test.ipynb"
"""Three code cells: two numbers, a function, and what it prints of them."""
SLEEPS = SHIPPED / "gcs" / "gcs_in" / "gcs-simple_notebook.ipynb"
"""Seven code cells in an old notebook format, without cell ids; the third sleeps 10 s."""

OURS = ["-m", "papermill", "--engine", "kitaru", "--no-progress-bar"]


def run(source: Path, folder: Path, **env: str) -> Finished:
    return finished(start([*OURS, str(source), "out.ipynb"], folder, env))


def statuses(folder: Path) -> list[str]:
    nb = nbformat.read(folder / "out.ipynb", as_version=4)
    return [cell.metadata.papermill.status for cell in nb.cells if cell.cell_type == "code"]


def completions() -> list[list[int]]:
    """For each execution, newest first, how often each of its steps is on record as having run."""
    with closing(open_engine(resolve(), read_only=True)) as engine:
        journal = engine.journal
        counts = []
        for execution in journal.executions():
            rows = [row.draft for row in journal.checkpoints(execution.id)]
            counts.append(
                [
                    *Counter(
                        draft.step for draft in rows if draft.status is CheckpointStatus.COMPLETED
                    ).values()
                ]
            )
        return counts


@pytest.mark.further
def test_a_kernel_killed_half_way_is_no_loss_and_a_completed_run_begins_anew(tmp_path: Path) -> None:
    source = SUM.read_bytes()

    killed = run(SUM, tmp_path, KITARU_NB_CRASH_AT="after-commit:2")
    half = completions()
    ended = run(SUM, tmp_path)
    whole = completions()
    anew = run(SUM, tmp_path)

    assert (killed.code, ended.code, anew.code) == (138, 0, 0), ended.stderr + anew.stderr
    assert half == [[1, 1]]
    assert whole == [[1, 1, 1]]
    assert completions() == [[1, 1, 1], [1, 1, 1]]
    assert statuses(tmp_path) == ["completed"] * 3
    (printed,) = nbformat.read(tmp_path / "out.ipynb", as_version=4).cells[-1].outputs
    assert printed.text == "2\n"
    assert SUM.read_bytes() == source


@pytest.mark.further
def test_kernel_and_worker_are_killed_and_statuses_are_true_where_stock_papermill_dies(
    tmp_path: Path,
) -> None:
    (tmp_path / "stock").mkdir()
    stock = start(
        ["-m", "papermill", "--no-progress-bar", str(SLEEPS), "out.ipynb"], tmp_path / "stock", None
    )
    _wait_until_the_third_cell_runs(tmp_path / "stock")
    _kernel_of(stock).kill()

    first = start([*OURS, str(SLEEPS), "out.ipynb"], tmp_path, None)
    _wait_until_the_third_cell_runs(tmp_path)
    _kernel_of(first).kill()
    died = finished(first)
    after_death = statuses(tmp_path)
    second = start([*OURS, str(SLEEPS), "out.ipynb"], tmp_path, None)
    _wait_until_the_third_cell_runs(tmp_path)
    second.kill()
    killed = finished(second)
    half = completions()
    ended = run(SLEEPS, tmp_path)

    assert "DeadKernelError" in finished(stock).stderr
    assert (died.code, killed.code, ended.code) == (138, -signal.SIGKILL, 0), died.stderr + ended.stderr
    assert died.last_line.startswith("kitaru: interrupted execution=")
    assert after_death == ["completed"] * 2 + ["failed"] + ["pending"] * 4
    assert half == [[1, 1]]
    assert completions() == [[1] * 7]
    assert statuses(tmp_path) == ["completed"] * 7


def _kernel_of(papermill_process: subprocess.Popen[str]) -> psutil.Process:
    (kernel,) = psutil.Process(papermill_process.pid).children()
    return kernel


def _wait_until_the_third_cell_runs(folder: Path) -> None:
    until(lambda: _third_cell_runs(folder), "the third cell")


def _third_cell_runs(folder: Path) -> bool:
    try:
        return statuses(folder)[2:3] == ["running"]
    except (FileNotFoundError, NotJSONError):  # stock papermill writes its output in place
        return False
