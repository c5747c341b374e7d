"""Headless runs for tests: a notebook made of cells, run by papermill's own command or by ours."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import nbformat
from nbformat import NotebookNode

from kitaru_nb.model.checkpoint import Checkpoint
from kitaru_nb.model.execution import Execution
from kitaru_nb.stacks.open import open_engine
from kitaru_nb.stacks.settings import resolve
from tests.patience import PATIENCE

__all__ = ["Finished", "Notebook", "end_what_was_started", "finished", "start"]

_started: list[subprocess.Popen[str]] = []


@dataclass(frozen=True)
class Finished:
    """A command that has ended."""

    code: int
    stdout: str
    stderr: str

    @property
    def last_line(self) -> str:
        return self.stderr.strip().splitlines()[-1] if self.stderr.strip() else ""


class Notebook:
    """A notebook in a folder, its output beside it, and a side journal its cells append to.

    Args:
        folder: Where everything lives.
        cells: Sources; ``tick('name')`` in one appends a line to the side journal, and
            ``once('name')`` is true the first time only.
        tags: Tags by position of the cell.
    """

    def __init__(
        self, folder: Path, cells: Sequence[str], *, tags: Mapping[int, Sequence[str]] | None = None
    ) -> None:
        self.folder = folder
        self.path = folder / "work.ipynb"
        self.output = folder / "work.out.ipynb"
        self.side = folder / "side.txt"
        self.nb = nbformat.v4.new_notebook(
            metadata={"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}}
        )
        (folder / "side_journal.py").write_text(_SIDE.format(folder=str(folder)))
        self.nb.cells.append(nbformat.v4.new_code_cell("from side_journal import once, tick", id="tools"))
        for place, source in enumerate(cells):
            cell = nbformat.v4.new_code_cell(source, id=f"c{place}")
            cell.metadata["tags"] = list((tags or {}).get(place, ()))
            self.nb.cells.append(cell)
        self.save()

    def save(self) -> None:
        nbformat.write(self.nb, self.path)

    def edit(self, place: int, source: str) -> None:
        """Change cell number `place` of those given."""
        self.nb.cells[place + 1].source = source
        self.save()

    def papermill(self, *options: str, env: Mapping[str, str] | None = None) -> Finished:
        """Run it with papermill's command and our engine."""
        return finished(self.start_papermill(*options, env=env))

    def start_papermill(self, *options: str, env: Mapping[str, str] | None = None) -> subprocess.Popen[str]:
        command = [
            "-m",
            "papermill",
            "--engine",
            "kitaru",
            "--no-progress-bar",
            self.path.name,
            self.output.name,
        ]
        return start([*command, *options], self.folder, env)

    def kitaru(self, *words: str, env: Mapping[str, str] | None = None) -> Finished:
        """Run our own command in the notebook's folder."""
        return finished(start(["-m", "kitaru_nb", *words], self.folder, env))

    def ticks(self) -> list[str]:
        """What the cells appended to the side journal, in order."""
        return self.side.read_text().split() if self.side.exists() else []

    def result(self) -> NotebookNode:
        return nbformat.read(self.output, as_version=4)

    def statuses(self) -> list[str]:
        """The statuses of the cells given, in the output notebook."""
        cells = [cell for cell in self.result().cells if str(cell.get("id", "")).startswith("c")]
        return [cell.metadata.papermill["status"] for cell in cells if cell.cell_type == "code"]

    def shown(self) -> list[tuple[int | None, list[dict[str, object]]]]:
        """(execution count, outputs) of every code cell of the output notebook."""
        cells = [cell for cell in self.result().cells if cell.cell_type == "code"]
        return [(cell.execution_count, json.loads(json.dumps(cell.outputs))) for cell in cells]

    def executions(self) -> list[Execution]:
        with closing(open_engine(resolve(), read_only=True)) as engine:
            return engine.journal.executions()

    def checkpoints(self) -> list[Checkpoint]:
        """Everything on record for the newest execution."""
        with closing(open_engine(resolve(), read_only=True)) as engine:
            return engine.journal.checkpoints(engine.journal.execution("latest").id)


def start(words: Sequence[str], folder: Path, env: Mapping[str, str] | None = None) -> subprocess.Popen[str]:
    """Start Python with `words` in `folder`."""
    process = subprocess.Popen(
        [sys.executable, *words],
        cwd=folder,
        env={**os.environ, **(env or {})},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    _started.append(process)
    return process


def end_what_was_started() -> None:
    """Kill the commands a test left running because it failed; their kernels end with them.

    Their pipes are closed whatever the test did: one that is left open is reported in some later test.
    """
    while _started:
        process = _started.pop()
        if process.poll() is None:
            process.kill()
            process.wait()
        for pipe in (process.stdout, process.stderr):
            if pipe is not None:
                pipe.close()


def finished(process: subprocess.Popen[str]) -> Finished:
    """Wait for `process` to end by itself."""
    try:
        out, err = process.communicate(timeout=PATIENCE)
    except subprocess.TimeoutExpired:
        process.kill()
        out, err = process.communicate()
        err += "\nTIMED OUT IN THE TEST"
    return Finished(process.returncode, out, err)


_SIDE = """
import os

FOLDER = {folder!r}


def tick(name):
    with open(FOLDER + "/side.txt", "a") as file:
        file.write(name + chr(10))


def once(name):
    try:
        os.close(os.open(FOLDER + "/once-" + name, os.O_CREAT | os.O_EXCL))
    except FileExistsError:
        return False
    return True
"""
