"""A notebook as a person works on it: cells inserted, moved, edited, marked, and run in any order.

Beside it a plain dict, in which the same cells run as a kernel without the extension runs them.
"""

from __future__ import annotations

import ast
import builtins
import os
import re
import shutil
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from kitaru_nb.errors import KitaruError, NotFoundError
from tests.unit.engine.kernel import run_source
from tests.unit.engine.machine_cells import FIRST, cell_source
from tests.unit.engine.picture import picture
from tests.unit.engine.surroundings import Surroundings
from tests.unit.notebook.shell import Shell

__all__ = ["Edited", "Pick"]

Pick = Callable[[Sequence[Any]], Any]

_LOUD = ("duplicate-name", "half-done", "unstorable-value")


@dataclass(frozen=True)
class _Cell:
    """A cell of the notebook: its id, its code, whether it is marked and what it is called."""

    id: str
    source: str
    marked: bool = False
    name: str = ""

    @property
    def text(self) -> str:
        return f"%%checkpoint {self.name}\n{self.source}" if self.marked else self.source


@dataclass(frozen=True)
class _Done:
    """A cell that has run, and whether it came to its end."""

    cell: _Cell
    completed: bool


class Edited:
    """A notebook, its kernel, and the plain dict.

    Args:
        pick: Chooses wherever something is to be chosen.

    Attributes:
        said: What was done, for whoever looks into a difference.
        counts: How many steps ran, failed and were restored.
    """

    def __init__(self, pick: Pick) -> None:
        self.pick = pick
        self.said: list[str] = []
        self.folder = Path(tempfile.mkdtemp())
        self.before = {name: os.environ.get(name) for name in ("KITARU_NB_NOTEBOOK", "KITARU_NB_HOME")}
        os.environ["KITARU_NB_NOTEBOOK"] = str(self.folder / "train.ipynb")
        os.environ["KITARU_NB_HOME"] = str(self.folder / "home")
        self.around = Surroundings()
        self.made = 0
        self.auto = pick(["", "", "%checkpoint auto --min-seconds 0", "%checkpoint auto --min-seconds 1000"])
        self.cells = [_Cell("first", FIRST, marked=pick([True, False]), name="first")]
        self.at: dict[int, list[_Done]] = {}  # by commit: what had run
        self.whole: set[tuple[_Cell, ...]] = (
            set()
        )  # what has run from a fresh kernel on, without an error of a step
        self.counts: dict[str, int] = {}
        self.history: list[_Done] = []  # what has led to what the names hold now
        self.line: tuple[_Cell, ...] = ()  # what has run in this kernel
        self.fresh = True  # nothing was put back in this kernel
        self.half_done: set[str] = set()
        self._begin()
        self.run(self.cells[0])

    def close(self) -> None:
        """End the kernel and take everything away."""
        self.shell.stop()
        self.around.begin()
        for name, value in self.before.items():
            os.environ.pop(name) if value is None else os.environ.update({name: value})
        shutil.rmtree(self.folder, ignore_errors=True)

    def do_something(self) -> None:
        """Edit the notebook, or run some of it."""
        self.pick(
            [
                *(self.insert,) * 8,
                *(self.edit, self.constant, self.restart_and_run_all, self.run_one) * 3,
                *(self.mark, self.move, self.run_last, self.resume) * 2,
                *(self.call, self.delete, self.copy, self.split, self.merge, self.rename),
                *(self.run_below, self.run_all, self.restart, self.resume_at, self.rewind),
            ]
        )()

    # -- the notebook is edited --------------------------------------------------------

    def insert(self) -> None:
        """A new cell, anywhere below the first."""
        place = self.pick([len(self.cells), len(self.cells), *range(1, len(self.cells) + 1)])
        self.cells.insert(place, self._new_cell())
        self._said("inserted", place)
        if self.pick([True, True, False]):
            self.run(self.cells[place])

    def edit(self) -> None:
        """A cell gets other code."""
        place = self._place()
        if place is not None:
            cell = self._new_cell()
            self._become(place, replace(self.cells[place], source=cell.source))

    def constant(self) -> None:
        """A number in a cell is another one."""
        place = self._place()
        if place is not None:
            source = self.cells[place].source
            found = list(re.finditer(r"\b\d\b", source))
            if found:
                number = self.pick(found)
                source = f"{source[: number.start()]}{self.pick(range(4))}{source[number.end() :]}"
                self._become(place, replace(self.cells[place], source=source))

    def mark(self) -> None:
        """A cell becomes a step, or is none any more."""
        place = self.pick(range(len(self.cells)))
        self._become(place, replace(self.cells[place], marked=not self.cells[place].marked))

    def call(self) -> None:
        """A step is called something else; perhaps what another one is called."""
        place = self._place()
        if place is not None:
            names = ["", f"n{self.made}", *(each.name for each in self.cells)]
            self._become(place, replace(self.cells[place], name=self.pick(names)))

    def move(self) -> None:
        """A cell goes somewhere else, perhaps above what it reads."""
        place = self._place()
        if place is not None:
            cell = self.cells.pop(place)
            to = self.pick(range(1, len(self.cells) + 1))
            self.cells.insert(to, cell)
            self._said("moved", cell.id, to)

    def delete(self) -> None:
        """A cell goes."""
        place = self._place()
        if place is not None:
            self._said("deleted", self.cells.pop(place).id)

    def copy(self) -> None:
        """A cell is there twice; a front end that does not mind gives both one id."""
        place = self._place()
        if place is not None:
            cell = self.cells[place]
            id_ = self.pick([cell.id, self._id(), self._id(), self._id()])
            name = self.pick([cell.name, ""])
            to = self.pick(range(1, len(self.cells) + 1))
            self.cells.insert(to, replace(cell, id=id_, name=name))
            self._said("copied", cell.id, "as", id_, name, to)

    def split(self) -> None:
        """A cell becomes two."""
        place = self._place()
        if place is None:
            return
        cell = self.cells[place]
        starts = [
            min([node.lineno, *(d.lineno for d in getattr(node, "decorator_list", ()))])
            for node in ast.parse(cell.source).body
        ]
        starts = sorted(set(starts[1:]))
        if not starts:
            return
        line = self.pick(starts) - 1
        lines = cell.source.splitlines()
        if not any(text.strip() for text in lines[:line]):
            return
        upper, lower = "\n".join(lines[:line]), "\n".join(lines[line:])
        ids = self.pick([(cell.id, self._id()), (self._id(), cell.id)])
        try:
            ast.parse(upper), ast.parse(lower)
        except SyntaxError:
            return
        self.cells[place : place + 1] = [
            replace(cell, id=ids[0], source=upper),
            replace(cell, id=ids[1], source=lower, name="", marked=self.pick([cell.marked, not cell.marked])),
        ]
        self._said("split", cell.id, ids)

    def merge(self) -> None:
        """A cell and the one below it become one."""
        if len(self.cells) > 2:
            place = self.pick(range(1, len(self.cells) - 1))
            upper, lower = self.cells[place : place + 2]
            cell = replace(
                upper, id=self.pick([upper.id, lower.id]), source=f"{upper.source}\n{lower.source}"
            )
            self.cells[place : place + 2] = [cell]
            self._said("merged", upper.id, lower.id)

    def rename(self) -> None:
        """Two variables change their names, in all cells or in one."""
        one, other = self.pick(["ab", "bc", "cd", "da", "fg"])
        swap = {one: other, other: one}
        places = self.pick([range(1, len(self.cells)), [self._place()]])
        for place in places:
            if place is not None:
                source = re.sub(rf"\b[{one}{other}]\b(?!')", lambda m: swap[m[0]], self.cells[place].source)
                self.cells[place] = replace(self.cells[place], source=source)
        self._said("renamed", one, other, list(places))

    # -- cells are run -----------------------------------------------------------------

    def run_one(self) -> None:
        """Some cell runs."""
        self.run(self.pick(self.cells))

    def run_last(self) -> None:
        """The cell that ran last runs again."""
        if self.history:
            last = [cell for cell in self.cells if cell.id == self.history[-1].cell.id]
            if last:
                self.run(last[0])

    def run_below(self) -> None:
        """A cell and all below it run."""
        self._run_all(self.cells[self.pick(range(len(self.cells))) :])

    def run_all(self) -> None:
        """All cells run, in the same kernel."""
        self._run_all(self.cells)

    def restart(self) -> None:
        """A fresh kernel."""
        self._said("--- restart ---")
        self.shell.stop()
        self._begin()

    def restart_and_run_all(self) -> None:
        """Top to bottom in a fresh kernel."""
        self.restart()
        self._run_all(self.cells)

    def resume(self) -> None:
        """A fresh kernel is put back to where the one before was."""
        if self.at:
            self.restart()
            self._magic("%resume")

    def resume_at(self) -> None:
        """A fresh kernel is put back to an earlier step."""
        names = self._names()
        if names:
            self.restart()
            self._magic(f"%resume --at {self.pick(names)}")

    def rewind(self) -> None:
        """This kernel is put back to an earlier step."""
        names = self._names()
        if names and self.shell.hooks.session is not None:
            self._magic(f"%rewind {self.pick(names)}")

    def run(self, cell: _Cell) -> bool:
        """Run one cell here and in the plain dict; says whether it went well."""
        if self._is_step(cell) and not self._may_run(cell):
            return True
        if not _compiles(cell.source):
            return True  # IPython compiles a cell statement by statement, once those above have run
        failed = self._is_retried(cell)
        before = self.shell.hooks.last_status["seq"]
        result = self.shell.run(cell.text, cell.id)
        error = result.error_before_exec or result.error_in_exec
        if isinstance(error, KitaruError):
            self._said("refused", cell.id, error)
            assert error.kind in _LOUD, f"{cell.text!r}: {error!r}"
            self._compare()
            return False
        if failed:
            self.history.pop()
            self._model_anew()
        with self.around.of_the_other():
            _, raised = _run_plainly(cell.source, self.model, self.kept)
        own = None if error is None else type(error).__name__
        commits = self._is_kept(cell) and error is None
        became = self.shell.hooks.last_status["status"] if commits else ""
        self._said(cell.id, became or ("failed" if cell.marked else "plain"), raised or "", repr(cell.text))
        assert own == raised, f"{cell.text!r} raised {own} and not {raised}: {error!r}"
        known = (*self.line, cell) in self.whole
        self.history.append(_Done(cell, error is None))
        self.line = (*self.line, cell)
        if commits or (error is None and self.auto and self._restored(before)):
            seq = self.shell.hooks.last_status["seq"]
            self.at[seq] = list(self.history)
            self.count(became)
        elif self._is_step(cell) and error is not None:
            self.count("failed")
            self.half_done.add(cell.id)
        self._compare()
        if self.fresh and error is None:
            assert not (known and became == "completed"), f"{cell.text!r} ran again"
            if not any(self._is_step(d.cell) and not d.completed for d in self.history):
                self.whole.add(self.line)
        return error is None

    # -- parts -------------------------------------------------------------------------

    def count(self, what: str) -> None:
        self.counts[what] = self.counts.get(what, 0) + 1

    def _run_all(self, cells: Sequence[_Cell]) -> None:
        stops = self.pick([True, True, False])
        for cell in list(cells):
            if not self.run(cell) and stops:
                self._said("stopped at", cell.id)
                return

    def _begin(self) -> None:
        self.around.begin()
        self.shell = Shell()
        ip: Any = self.shell.ip
        ip.displayhook.do_full_cache = 0
        ip.InteractiveTB.set_mode("Minimal")
        ip.display_formatter.active_types = ["text/plain"]
        self.history, self.line, self.fresh = [], (), True
        self.half_done.clear()
        self._model_anew()
        if self.auto:
            self.shell.run(self.auto)

    def _model_anew(self) -> None:
        self.model: dict[str, Any] = {"__name__": "__main__", "__builtins__": builtins}
        self.kept: list[object] = []
        with self.around.of_the_other():
            self.around.begin()
            for done in self.history:
                _run_plainly(done.cell.source, self.model, self.kept)

    def _magic(self, line: str) -> None:
        self._said(line)
        result = self.shell.run(line)
        error = result.error_before_exec or result.error_in_exec
        if isinstance(error, NotFoundError) and error.kind == "no-checkpoint":
            return  # all that the last execution holds is what failed
        assert error is None, f"{line}: {error!r}"
        session = self.shell.hooks.session
        execution = session.attempt.execution
        seq = [e for e in session.engine.journal.events(execution) if e.kind == "resumed"][-1].data["seq"]
        self._said("is at", seq)
        self.history = list(self.at[seq])
        self.fresh = False
        self.half_done.clear()
        self._model_anew()
        self._compare()

    def _names(self) -> list[str]:
        session = self.shell.hooks.session
        if session is None or session.last is None:
            return []
        recorded = session.engine.journal.line(session.last.seq)
        return [each.draft.name for each in recorded]

    def _restored(self, before: int | None) -> bool:
        """Whether a cell that need not be a step was on record."""
        return bool(self.shell.hooks.last_status["seq"] != before)

    def _may_run(self, cell: _Cell) -> bool:
        """Whether a plain kernel does the same.

        A class that is defined again as it was stays the live one, and what a cell that failed left is
        undone before it runs again, where a plain kernel does neither.
        """
        if cell.id in self.half_done and not self._is_retried(cell):
            return False
        known = any(done.cell.source == cell.source for done in self.history)
        return not (known and re.search(r"\bclass |type\(", cell.source))

    def _is_retried(self, cell: _Cell) -> bool:
        last = self.history[-1] if self.history else None
        return (
            last is not None
            and self._is_step(cell)
            and self._is_step(last.cell)
            and last.cell.id == cell.id
            and not last.completed
        )

    def _is_step(self, cell: _Cell) -> bool:
        """Whether the cell is planned, and undone where it fails."""
        return cell.marked or bool(self.auto)

    def _is_kept(self, cell: _Cell) -> bool:
        return cell.marked or self.auto.endswith(" 0")

    def _place(self) -> int | None:
        return self.pick(range(1, len(self.cells))) if len(self.cells) > 1 else None

    def _id(self) -> str:
        self.made += 1
        return f"c{self.made}"

    def _new_cell(self) -> _Cell:
        id_ = self._id()
        source = cell_source(self.pick, self.model).replace("@@", str(self.made))
        if self.pick([True, False, False]):
            source += "\n" + cell_source(self.pick, self.model).replace("@@", str(self.made))
        return _Cell(id_, source, self.pick([True, True, False]), self.pick(["", id_]))

    def _become(self, place: int, cell: _Cell) -> None:
        self.cells[place] = cell
        self._said("is now", cell.id, repr(cell.text))
        if self.pick([True, True, False]):
            self.run(cell)

    def _said(self, *words: object) -> None:
        self.said.append(" ".join(map(str, words)))

    def _compare(self) -> None:
        hidden = self.shell.ip.user_ns_hidden
        live = self.shell.ip.user_ns
        own = {k: v for k, v in live.items() if k[0] != "_" and k not in hidden}
        model = {k: v for k, v in self.model.items() if k[0] != "_"}
        own_picture = picture(own, **self.around.shown())
        with self.around.of_the_other():
            expected = picture(self.model, **self.around.shown())
        differ = [pair for pair in zip(own_picture, expected, strict=False) if pair[0] != pair[1]]
        assert own_picture == expected, (sorted(own.keys() ^ model.keys()), differ[:2])


def _compiles(source: str) -> bool:
    try:
        compile(source, "<cell>", "exec", ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
    except SyntaxError:
        return False
    return True


def _run_plainly(source: str, live: dict[str, Any], kept: list[object]) -> tuple[object, str | None]:
    """Run a cell in a plain dict: its result, and the error's name. `kept` are the last three results."""
    results = dict(zip(("_", "__", "___"), reversed(kept), strict=False))
    live.update(results)
    try:
        result = run_source(ast.parse(source), live)
    except (Exception, KeyboardInterrupt) as error:  # noqa: BLE001 - whatever a cell raises
        return None, type(error).__name__
    finally:
        for name in results:
            live.pop(name, None)
    if result is not None:
        kept.append(result)
        del kept[:-3]
    return result, None
