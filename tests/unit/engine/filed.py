"""Notebooks that work on files, edited and run anew by process after process, and a plain one beside.

What the plain one gives is what all cells give from the top on in an empty folder.
"""

from __future__ import annotations

import ast
import builtins
import os
import re
import shutil
import sqlite3
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from kitaru_nb.engine.observe import now_ns
from kitaru_nb.engine.prefix import matching_prefix, record_restored
from kitaru_nb.engine.steps import Restore
from kitaru_nb.errors import KitaruError
from tests.unit.engine.kernel import RESTORED, Kernel, cell_of, run_source

__all__ = ["Filed", "Pick"]

Pick = Callable[[Sequence[Any]], Any]

_FIRST = "import os, shutil, sqlite3, subprocess\nfrom pathlib import Path\na = b = c = '0'"

_DB = "con = sqlite3.connect('{db}')\n{work}\ncon.commit(); con.close(); del con"

_MAKES = [
    "open('{f}', 'w').write('{n}')",
    "with open('{f}', 'w') as out:\n    out.write({x} + '{n}')\ndel out",
    "Path('{f}').write_text({x})",
    "Path('tmp').write_text({x} + '{n}')\nos.replace('tmp', '{f}')",
    "shutil.copy('{g}', '{f}')",
    "subprocess.run(['sh', '-c', 'echo {n} > {f}'])",
    "{y} = open('{g}').read()\nopen('{f}', 'w').write({y} + '{n}')",
    "shutil.rmtree('d', ignore_errors=True)\nos.mkdir('d')\nopen('d/{n}', 'w').close()",
    _DB.format(
        db="{db}",
        work="con.execute('drop table if exists t')\ncon.execute('create table t (x)')\n"
        "con.execute('insert into t values ({n})')",
    ),
]
_WORKS = [
    "{x} = open('{g}').read()",
    "{x} = Path('{g}').read_text()[:3] + {y}[:3]",
    "os.stat('{g}')\nwith open('{g}', 'a') as out:\n    out.write('{n}')\ndel out",
    "with open('{g}', 'r+') as out:\n    {x} = out.read()[:5]\n    out.write('{n}')\ndel out",
    "with open('{g}', 'r+') as out:\n    out.write('{n}')\ndel out",
    "os.stat('{g}')\nsubprocess.run(['sh', '-c', 'echo {n} >> {g}'])",
    "subprocess.run(['sed', '-i', 's/^/{n}/', '{g}'], check=True)",
    "to = 'f' + '{g}'[1:]\nos.stat(to)\nsubprocess.run(['sh', '-c', 'echo {n} >> ' + to])\ndel to",
    "subprocess.run(['sed', '-i', 's/^/{n}/', 'f' + '{g}'[1:]], check=True)",
    "{x} = subprocess.run(['cat', '{g}'], check=True, capture_output=True, text=True).stdout[:4]",
    "os.remove('{g}')",
    "os.replace('{g}', '{f}')",
    "{x} = str(os.path.getsize('{g}'))",
    "{x} = str([line for line in open('{g}')])[:9]",
    "def read():\n    return open('{g}').read()",
    "{x} = read()",
    "{x} = '{n}'",
    "{x} = {y}[:4] + '{n}'",
    "pass",
]
_FOLDER = [
    "{x} = str(sorted(os.listdir('d')))",
    "{x} = str(sorted(each.name for each in Path('d').iterdir()))",
    "os.stat('d')\n{x} = str(os.path.exists('d/{n}'))",
]
_DATABASE = [
    _DB.format(db="{db}", work="{x} = str(con.execute('select * from t').fetchall())[:9]"),
]


@dataclass(frozen=True)
class _Cell:
    id: str
    source: str


class Filed:
    """The notebook and its processes.

    Args:
        base: A folder for all of it.
        pick: Chooses wherever something is to be chosen.
    """

    def __init__(self, base: Path, pick: Pick) -> None:
        self.pick, self.base = pick, base
        self.folder = base / "work"
        self.folder.mkdir()
        self.said: list[str] = []
        self.counts: dict[str, int] = {}
        self.made = 0
        self.cells = [_Cell("first", _FIRST)]
        # What ran from the top to the end with nothing in between, the last time and the one before.
        self.settled: tuple[_Cell, ...] = ()
        self.before: tuple[_Cell, ...] = ()
        for _ in range(pick(range(4, 9))):
            self._insert(len(self.cells))
        self._begin()

    def do_something(self) -> None:
        """Edit the notebook, run some of it, or let its process die."""
        self.pick(
            [
                *(self.edit,) * 4,
                *(self.number, self.run_some, self.restart_and_run_all) * 3,
                *(self.insert, self.die) * 2,
                self.delete,
                self.move,
                self.run_all,
                self.resume,
            ]
        )()

    # -- edits -------------------------------------------------------------------------

    def insert(self) -> None:
        self._insert(self.pick(range(1, len(self.cells) + 1)))

    def edit(self) -> None:
        place = self._place()
        if place is not None:
            source = self._source(place)
            self._become(
                [*self.cells[:place], replace(self.cells[place], source=source), *self.cells[place + 1 :]]
            )

    def number(self) -> None:
        place = self._place()
        found = [] if place is None else list(re.finditer(r"\b\d\b", self.cells[place].source))
        if place is not None and found:
            at, source = self.pick(found), self.cells[place].source
            source = f"{source[: at.start()]}{self.pick(range(1, 9))}{source[at.end() :]}"
            self._become(
                [*self.cells[:place], replace(self.cells[place], source=source), *self.cells[place + 1 :]]
            )

    def delete(self) -> None:
        place = self._place()
        if place is not None:
            self._become([*self.cells[:place], *self.cells[place + 1 :]])

    def move(self) -> None:
        place = self._place()
        if place is not None:
            cells = [*self.cells[:place], *self.cells[place + 1 :]]
            cells.insert(self.pick(range(1, len(cells) + 1)), self.cells[place])
            self._become(cells)

    def _insert(self, place: int) -> None:
        self.made += 1
        cell = _Cell(f"c{self.made}", self._source(place))
        self._become([*self.cells[:place], cell, *self.cells[place:]])

    def _become(self, cells: list[_Cell]) -> None:
        """Take the cells over where a plain kernel runs them without an error."""
        if cells != self.cells and self._model(cells) is not None:
            self.cells = cells
            self.said.append("\n".join(["cells are", *(f"  {each.id}: {each.source!r}" for each in cells)]))

    # -- runs --------------------------------------------------------------------------

    def run_some(self) -> None:
        """Some cells run, one after the other, as far as it goes."""
        begin = self.pick(range(len(self.cells))) if "a" in self.kernel.live else 0
        for cell in self.cells[begin : begin + self.pick([1, 1, 2, 9])]:
            self.settled = ()
            try:
                self._run(cell)
            except Exception as error:  # noqa: BLE001 - what it needs may not be there
                self.said.append(f"  {error!r}")
                break

    def die(self) -> None:
        """The process dies when a cell has done everything but to commit, or as it is."""
        cell = self.pick(self.cells)
        if self.pick([True, False]) or re.search(r"'w'|subp|'a'|r\+|write_|rm|os\.re|con|copy", cell.source):
            self._begin()
            return
        with suppress(KitaruError):
            plan = self.kernel.session.plan(cell_of(cell.source, step=cell.id))
            if not isinstance(plan, Restore):
                self.kernel.session.begin(plan)
                with suppress(Exception):
                    run_source(plan.pending.cell.tree, self.kernel.live)
                self.said.append(f"died in {cell.id}")
                self.settled = ()
        self._begin()

    def resume(self) -> None:
        self._begin()
        with suppress(KitaruError):
            self.kernel.session.resume()
            self.said.append("resumed")

    def restart_and_run_all(self) -> None:
        """Top to bottom in a new process: cell by cell, or from where the one before it has come to."""
        self._begin()
        session, taken = self.kernel.session, 0
        way = self.pick(["", "", "resumed", "headless"])
        if way == "resumed":
            with suppress(KitaruError):
                session.resume()
        elif way == "headless":
            attempt = session.open()
            recorded = session.engine.journal.checkpoints(attempt.execution)
            prefix = matching_prefix([(f"cell:{cell.id}", cell.source) for cell in self.cells], recorded)
            if prefix:
                taken = len(prefix)
                session.restore_line(record_restored(session.engine, attempt, prefix)[-1].seq)
        self.said.append(f"{way} {taken}")
        self._run_all(new=True, taken=taken)

    def run_all(self) -> None:
        self._run_all(new=False)

    def _run_all(self, *, new: bool, taken: int = 0) -> None:
        known = new and self.settled == self.before == tuple(self.cells)
        for cell in self.cells[taken:]:
            status = self._run(cell)
            assert not known or status == RESTORED, f"{cell.id} ran again"
        self.before, self.settled = self.settled, tuple(self.cells)
        live, files = self._model(self.cells) or ({}, {})
        mine = {name: self.kernel.live.get(name) for name in live}
        assert mine == live, f"names are\n{mine}\nnot\n{live}"
        self.kernel.session.opens(ast.parse("pass"))  # else files may be as later cells have left them
        own = _files(self.folder)
        own = {name: own.get(name) for name in files}
        assert own == files, f"files are\n{own}\nnot\n{files}"

    def _run(self, cell: _Cell) -> str:
        os.chdir(self.folder)
        status = self.kernel.cell(cell.source, step=cell.id)
        self.said.append(f"  {cell.id} {status} {_files(self.folder)}")
        self.counts[status] = self.counts.get(status, 0) + 1
        return status

    def _begin(self) -> None:
        begun = now_ns()
        while now_ns() == begun:
            pass  # a new process begins after what the one before it wrote
        self.said.append("--- new process")
        os.chdir(self.folder)
        self.kernel = Kernel(
            self.base / "home", notebook=self.folder / "n.ipynb", settings={"paranoid": True}
        ).take_over()

    # -- parts -------------------------------------------------------------------------

    def _place(self) -> int | None:
        return self.pick(range(1, len(self.cells))) if len(self.cells) > 1 else None

    def _source(self, place: int) -> str:
        """A new cell that a plain kernel can run there."""
        found = self._model(self.cells[:place])
        assert found is not None
        there = sorted(each for each in found[1] if re.fullmatch(r"f\d", each))
        bases = sorted(each for each in found[1] if each.endswith(".db"))
        folder = any(each.startswith("d/") for each in found[1])
        among = [*_MAKES, *_WORKS, *_WORKS, *_FOLDER * 2 * folder, *(_DATABASE * 3 if bases else [])]
        for _ in range(99):
            text = self.pick(among)
            if ("{g}" in text and not there) or (
                "read()" in text and "{g}" not in text and "read" not in found[0]
            ):
                continue
            fill = {
                "f": f"f{self.pick(range(3))}",
                "g": self.pick(there) if there else "",
                "db": self.pick([*bases, ""]) if text in _DATABASE else f"{self.made}.db",
                "n": self.pick(range(1, 9)),
                "x": self.pick("abc"),
                "y": self.pick("abc"),
            }
            cell = _Cell("", text.format(**fill))
            if self._model([*self.cells[:place], cell]) is not None:
                return cell.source
        raise AssertionError("no cell runs there")

    def _model(self, cells: Sequence[_Cell]) -> tuple[dict[str, Any], dict[str, str]] | None:
        """What the cells give in an empty folder: names and files; None if one raises."""
        folder = self.base / "model"
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir()
        os.chdir(folder)
        live: dict[str, Any] = {"__name__": "__main__", "__builtins__": builtins}
        try:
            for cell in cells:
                run_source(ast.parse(cell.source), live)
        except Exception:  # noqa: BLE001 - whatever a cell raises
            return None
        finally:
            os.chdir(self.folder)
        return {name: value for name, value in live.items() if type(value) is str and name[0] != "_"}, _files(
            folder
        )


def _files(folder: Path) -> dict[str, str]:
    """The content of each file; of a database, its rows."""
    found = {}
    for path in folder.rglob("*"):
        name = str(path.relative_to(folder))
        if path.suffix == ".db":
            with sqlite3.connect(path) as rows:
                found[name] = repr(rows.execute("select * from t").fetchall())
            rows.close()
        elif path.is_file() and path.suffix != ".ipynb":
            found[name] = path.read_text()
    return found
