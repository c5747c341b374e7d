from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import nbformat
import pytest

from kitaru_nb.model.artifact import Digest
from kitaru_nb.model.checkpoint import Checkpoint, CheckpointKey, CheckpointStatus, Draft
from kitaru_nb.model.execution import ExecutionId
from kitaru_nb.stacks import manager as module
from kitaru_nb.stacks.manager import NotebookManager


class Clock:
    """Time that a test moves."""

    def __init__(self) -> None:
        self.now = 1000.0

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(module, "time", clock)
    return clock


class Counting(NotebookManager):
    """Counts what really reaches the disk, and can fail."""

    saves = 0
    broken = False

    def save_now(self) -> None:
        if self.broken:
            self._next_save = 0.0
            raise OSError(28, "full")
        self.saves += 1
        super().save_now()


def managed(cells: int, output: Path | None = None) -> Counting:
    nb = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell("x") for _ in range(cells)])
    nb.metadata["papermill"] = {}
    for cell in nb.cells:
        cell.metadata["papermill"] = {}
    return Counting(nb, output_path=str(output) if output else None, progress_bar=False)


def statuses(manager: NotebookManager) -> list[str]:
    return [cell.metadata.papermill["status"] for cell in manager.nb.cells]


def test_many_small_cells_are_saved_about_once_a_second(clock: Clock) -> None:
    manager = managed(100)
    manager.notebook_start()

    for cell in manager.nb.cells:
        manager.cell_start(cell)
        manager.cell_complete(cell)
        clock.now += 0.01

    assert manager.saves == 1
    clock.now += 1
    manager.save_if_due()
    assert manager.saves == 2
    clock.now += 100
    manager.save_if_due()
    assert manager.saves == 2


def test_a_cell_that_never_ran_stays_pending(clock: Clock) -> None:
    manager = managed(4)
    manager.notebook_start()
    manager.cell_start(manager.nb.cells[0])
    manager.cell_complete(manager.nb.cells[0])
    manager.cell_start(manager.nb.cells[1])
    manager.cell_cut_short(manager.nb.cells[1])

    manager.notebook_complete()

    assert statuses(manager) == ["completed", "pending", "pending", "pending"]
    assert manager.nb.metadata.papermill["end_time"] is not None


def test_a_restored_cell_has_the_times_of_the_run_on_record(clock: Clock) -> None:
    manager = managed(1)
    manager.notebook_start()
    began = datetime(2026, 1, 1, tzinfo=UTC)
    draft = Draft("a", CheckpointKey("k"), Digest("c"), "x", CheckpointStatus.COMPLETED, began, 90.0)

    manager.cell_restored(manager.nb.cells[0], Checkpoint(1, ExecutionId("ex_1"), 1, 1, draft))

    record = manager.nb.cells[0].metadata.papermill
    assert (record["status"], record["duration"]) == ("completed", 90.0)
    assert record["start_time"] == "2026-01-01T00:00:00+00:00"
    assert record["end_time"] == "2026-01-01T00:01:30+00:00"


def test_a_save_that_fails_on_the_way_does_not_end_the_run(
    clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    manager = managed(1)
    manager.broken = True

    manager.notebook_start()
    manager.save()
    manager.save()

    assert len(caplog.records) == 1
    assert "could not be saved yet" in caplog.text


def test_the_progress_bar_of_a_notebook_without_cells_ends_its_line(
    capsys: pytest.CaptureFixture[str],
) -> None:
    nb = nbformat.v4.new_notebook()
    nb.metadata["papermill"] = {}
    manager = NotebookManager(nb, progress_bar=True)

    manager.notebook_complete()

    # Where an IPython shell is in the process, tqdm writes to stdout.
    assert "".join(capsys.readouterr()).endswith("\n")
