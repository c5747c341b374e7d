"""Notebooks on disk and what a plain kernel shows of them, for comparison with a run of ours."""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import nbformat

from tests.integration.headless_cells import SIDE, plainly

__all__ = ["Cell", "Plain", "Shown", "id_of", "read", "text_of", "with_first", "without_numbers", "write"]

_SPEC = {"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}}


@dataclass(frozen=True)
class Cell:
    """A cell of the notebook."""

    id: str
    source: str
    tags: tuple[str, ...] = ()


def write(cells: Sequence[Cell], path: Path) -> None:
    """Save a notebook of these cells."""
    nb = nbformat.v4.new_notebook(metadata=_SPEC)
    for each in cells:
        cell = nbformat.v4.new_code_cell(each.source, id=each.id)
        cell.metadata["tags"] = list(each.tags)
        nb.cells.append(cell)
    nbformat.write(nb, path)


def read(path: Path) -> list[Any]:
    """The code cells of a notebook that has run, without papermill's own."""
    cells = nbformat.read(path, as_version=4).cells
    return [
        each for each in cells if each.cell_type == "code" and "papermill-error-cell-tag" not in _tags(each)
    ]


def id_of(cell: Any) -> str:
    """Its id, which papermill gives its own cell anew each time."""
    return "injected-parameters" if "injected-parameters" in _tags(cell) else str(cell["id"])


class Shown:
    """A notebook that a run has left.

    Args:
        path: Where it is.
        at: The cell at which a replay begins.
    """

    def __init__(self, path: Path, *, at: str = "") -> None:
        self.cells = read(path)
        self.ids = [id_of(each) for each in self.cells]
        self.statuses = [each.metadata.get("papermill", {}).get("status") for each in self.cells]
        self.begins = self.ids.index(at) if at in self.ids else 0
        self.ends = next((n for n in range(self.begins, len(self.cells)) if self._ends(n)), len(self.cells))
        # The last before that to have had its turn.
        ran = [n for n in range(self.ends) if self.statuses[n] not in (None, "pending")]
        self.last = ran[-1] if ran else 0

    def as_cells(self) -> list[Cell]:
        """Its cells, as a kernel without the extension can run them."""
        return [Cell(id_of(each), plainly(each.source), _tags(each)) for each in self.cells]

    def compared(self, number: int, *, code: int) -> bool:
        """Whether what a cell shows is what it shows in any run that ended with this code."""
        cell, status = self.cells[number], self.statuses[number]
        if number < self.begins:
            return (
                status == "completed" and cell.execution_count is not None
            )  # else nothing is on record of it
        if number == self.ends:
            return code == 1 and status == "failed" and "asked to" not in str(cell.outputs)
        if code not in (0, 1, 75) and number == self.last:
            return False  # it may have been met while it showed an error that it may raise
        return number < self.ends

    def is_numbered(self, as_ran: Sequence[Cell]) -> bool:
        """Whether the numbers of its cells are those of a run: not where some above are on no record."""
        if not self.begins:
            return True
        ran = [each.id for each in as_ran]
        same = ran[: ran.index(self.ids[self.begins])] == self.ids[: self.begins]
        return same and all(each.execution_count is not None for each in self.cells[: self.begins])

    def _ends(self, number: int) -> bool:
        cell = self.cells[number]
        may_raise, status = "raises-exception" in _tags(cell), self.statuses[number]
        ends = status == "pending" or (status != "completed" and not may_raise)
        return ends or "DeadKernelError" in str(cell.outputs)


class Plain:
    """A folder in which papermill alone runs notebooks.

    Args:
        base: Where it is to be.
        world: What is beside the notebook.
        run: Runs papermill with these arguments in a folder; its exit code and what it has said.
    """

    def __init__(
        self, base: Path, world: Path, run: Callable[[Sequence[str], Path], tuple[int, str]]
    ) -> None:
        self.folder, self.outside = base / "plain", base / "plain-outside"
        self._world = world
        self._run = run

    def shows(self, cells: Sequence[Cell]) -> dict[str, str]:
        """What the cells show in a new folder; those that ran."""
        for folder in (self.folder, self.outside):
            shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir()
        (self.folder / "side.py").write_text(SIDE.format(folder=str(self.outside)[::-1]))
        shutil.copytree(self._world, self.folder, dirs_exist_ok=True)
        write(cells, self.folder / "plain.ipynb")
        code, said = self._run(["--no-progress-bar", "plain.ipynb", "plain.out.ipynb"], self.folder)
        assert code in (0, 1), said
        return {id_of(each): text_of(each) for each in read(self.folder / "plain.out.ipynb")}

    def same_files(self, folder: Path) -> None:
        """Each file that the cells wrote is in `folder`, too, with the same bytes."""
        for each in self.folder.rglob("f_*"):
            if each.is_file():
                mine = folder / each.relative_to(self.folder)
                assert mine.exists(), f"{mine.name} is not there"
                assert mine.read_bytes() == each.read_bytes(), f"{mine.name} differs"


def text_of(cell: Any) -> str:
    """What a cell shows and its number, without addresses."""
    streams: dict[str, str] = {}
    rest: list[object] = []
    for each in cell.outputs:
        if each.output_type == "stream":
            streams[each.name] = streams.get(each.name, "") + each.text
        elif each.output_type == "error":
            rest.append(("error", each.ename, each.evalue))
        else:
            rest.append((each.output_type, dict(each.data), each.get("execution_count")))
    return re.sub(r"\b0x[0-9a-f]{6,}", "0x", repr((streams, rest, cell.execution_count)))


def without_numbers(text: str) -> str:
    """What `text_of` gives without the numbers of cells."""
    return re.sub(r", (\d+|None)\)", ")", text)


def with_first(cells: Sequence[Cell], at: str, first: str) -> list[Cell]:
    """The cells with a line above that of one of them."""
    return [replace(each, source=f"{first}\n{each.source}") if each.id == at else each for each in cells]


def _tags(cell: Any) -> tuple[str, ...]:
    return tuple(cell.metadata.get("tags", ()))
