"""Any cells in any order, with crashes between them: the end is that of one uninterrupted run.

``KITARU_NB_TEST_STEPS`` sets about how many steps are tried, at random; the unit ring tries a
few and always the same. ``make machine`` tries 10,000 with each of some seeds.
"""

from __future__ import annotations

import ast
import builtins
import os
import shutil
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from hypothesis import HealthCheck, note, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule

from kitaru_nb.errors import ConflictError
from tests.sweep import ASKED
from tests.unit.engine.kernel import RESTORED, Kernel, run_source
from tests.unit.engine.machine_cells import FIRST, cell_source
from tests.unit.engine.picture import picture
from tests.unit.engine.surroundings import Surroundings

STEPS = ASKED or 200
LENGTH = 25

Pick = Callable[[Sequence[Any]], Any]


def fresh() -> dict[str, Any]:
    return {"__name__": "__main__", "__builtins__": builtins}


def run(source: str, live: dict[str, Any]) -> tuple[object, str | None]:
    """Run a cell in a plain dict: its result, and the error's name."""
    try:
        return run_source(ast.parse(source), live), None
    except (Exception, KeyboardInterrupt) as error:  # noqa: BLE001 - whatever a cell raises
        return None, type(error).__name__


class Done(NamedTuple):
    """What was run: cell id, source, whether it is a step, whether it was committed."""

    cell: str
    source: str
    marked: bool
    committed: bool


class Notebook(RuleBasedStateMachine):
    """A kernel that dies now and then, beside a plain dict that never does."""

    def __init__(self) -> None:
        super().__init__()
        self.folder = Path(tempfile.mkdtemp())
        self.around = Surroundings()
        self.kernel = self._kernel()
        self.model = fresh()
        self.made = 0
        self.history: list[Done] = []
        self.cells: dict[str, tuple[str, bool]] = {}  # as the notebook has them: source, whether a step
        self.commits: dict[int, str] = {}  # place in the history: name of the step
        self.left: set[str] = set()
        self.behind = False  # of the furthest commit, with nothing new since: a resume goes there

    def teardown(self) -> None:
        self.kernel.stop()
        self.around.begin()
        shutil.rmtree(self.folder, ignore_errors=True)

    @initialize()
    def everything_is_bound(self) -> None:
        self._step("first", FIRST)

    @rule(data=st.data())
    def a_new_cell(self, data: Any) -> None:
        self.new(cell_source(_picks(data), self.model))

    @rule(data=st.data(), count=st.integers(2, 4))
    def new_cells(self, data: Any, count: int) -> None:
        for _ in range(count):
            self.new(cell_source(_picks(data), self.model))

    @rule(data=st.data())
    def a_plain_cell(self, data: Any) -> None:
        self.plain(cell_source(_picks(data), self.model))

    @precondition(lambda self: self.repeatable())
    @rule(data=st.data())
    def a_cell_is_run_again(self, data: Any) -> None:
        self.again(_picks(data)(self.repeatable()))

    @precondition(lambda self: self.editable())
    @rule(data=st.data())
    def a_cell_is_edited(self, data: Any) -> None:
        self.edit(_picks(data)(self.editable()), cell_source(_picks(data), self.model))

    @precondition(lambda self: self.has_failed())
    @rule(data=st.data(), edited=st.booleans())
    def the_cell_that_failed_is_run_again(self, data: Any, edited: bool) -> None:
        self.retry(cell_source(_picks(data), self.model) if edited else self.history[-1].source)

    @rule()
    def the_kernel_dies_and_everything_is_put_back(self) -> None:
        committed = [place for place, done in enumerate(self.history) if done.committed]
        if not committed or self.behind:
            return
        self._back_to(committed[-1])
        self._die()
        self.kernel.session.resume()
        self._compare()

    @precondition(lambda self: self.named())
    @rule(data=st.data(), way=st.sampled_from(["rewind", "resume --at"]))
    def an_earlier_moment_is_put_back(self, data: Any, way: str) -> None:
        self.go_back(_picks(data)(self.named()), way)

    @rule()
    def the_kernel_dies_and_all_cells_are_run_again(self) -> None:
        self._die()
        history, self.history, self.commits = self.history, [], {}
        self._begin_anew()
        for cell, source, marked, committed in history:
            if not marked:
                self._plain(cell, source)
            else:
                became = self._step(cell, source)
                assert became == RESTORED or not committed, f"{cell} was committed and ran again"

    @rule()
    def the_kernel_dies_and_the_notebook_is_run_from_top_to_bottom(self) -> None:
        self._die()
        self.history, self.commits = [], {}
        self.behind = True
        self._begin_anew()
        for cell, (source, marked) in self.cells.items():
            (self._step if marked else self._plain)(cell, source)

    def new(self, source: str) -> None:
        self._step(f"c{self.made}", self._own(source))

    def plain(self, source: str) -> None:
        self._plain(f"p{self.made}", self._own(source))

    def again(self, done: Done) -> None:
        self._step(done.cell, done.source)

    def edit(self, cell: str, source: str) -> None:
        self._step(cell, self._own(source))

    def retry(self, source: str) -> None:
        """What the failure did is undone first; where that cannot be, it is said and nothing is done."""
        failed = self.history[-1]
        if source != failed.source:
            source = self._own(source)
        try:
            self.kernel.plan(source, step=failed.cell)
        except ConflictError as refused:
            assert refused.kind == "half-done"
            note(f"{failed.cell} is refused: {refused}")
            self._compare()
            return
        except Exception as error:  # noqa: BLE001 - said by the step itself, below
            note(f"{failed.cell} cannot be planned: {error!r}")
        self.history.pop()
        self._begin_anew()
        self._compare()
        self._step(failed.cell, source)

    def go_back(self, to: tuple[int, str], way: str) -> None:
        place, name = to
        way = "rewind" if self.behind else way  # a new kernel would go by the furthest commit
        note(f"--- {way} {name} ---")
        self.behind = self.behind or place < max(self.commits)
        self._back_to(place)
        if way == "rewind":
            self.kernel.session.rewind(name)
        else:
            self._die()
            self.kernel.session.resume(at=name)
        self._compare()

    def named(self) -> list[tuple[int, str]]:
        """The newest commit of each step, with its place in the history."""
        places = {name: place for place, name in sorted(self.commits.items())}
        return [(place, name) for name, place in places.items() if name not in self.left]

    def repeatable(self) -> list[Done]:
        """Steps that a plain dict repeats alike.

        Of a failed one the changes are undone first, and a class that is restored is the
        live class, where other references to it exist.
        """
        return [
            done
            for done in self.history
            if done.committed and "class " not in done.source and done.cell in self.editable()
        ]

    def editable(self) -> list[str]:
        """Cells of which nothing is undone before they run again."""
        last = {done.cell: done for done in self.history if done.marked}
        return [cell for cell, done in last.items() if done.committed and cell != "first"]

    def has_failed(self) -> bool:
        """Whether the newest cell is a step that failed."""
        return bool(self.history) and self.history[-1].marked and not self.history[-1].committed

    def _back_to(self, place: int) -> None:
        """The history ends with what was run at `place`; later commits are on no line any more."""
        self.left |= {name for number, name in self.commits.items() if number > place}
        self.commits = {number: name for number, name in self.commits.items() if number <= place}
        del self.history[place + 1 :]
        self._begin_anew()

    def _begin_anew(self) -> None:
        """The plain dict as it is after the cells of the history."""
        self.model = fresh()
        with self.around.of_the_other():
            self.around.begin()
            for done in self.history:
                run(done.source, self.model)

    def _own(self, source: str) -> str:
        self.made += 1
        return source.replace("@@", str(self.made))

    def _kernel(self) -> Kernel:
        # It compares with a plain dict after each rule; a restore after each commit, too, takes too long.
        return Kernel(self.folder / "home", settings={"paranoid": "KITARU_NB_TEST_PARANOID" in os.environ})

    def _die(self) -> None:
        note("--- the kernel dies ---")
        self.around.begin()
        before, self.kernel = self.kernel, self._kernel().take_over()
        before.stop()

    def _step(self, cell: str, source: str) -> str | None:
        with self.around.of_the_other():
            expected, raised = run(source, self.model)
        became = None
        self.cells[cell] = source, True
        try:
            became = self.kernel.cell(source, step=cell)
        except (Exception, KeyboardInterrupt) as error:  # noqa: BLE001 - compared with what the dict's cell raised
            assert type(error).__name__ == raised, f"{source!r}: {error!r}"
        note(f"{cell} {became or raised}: {source!r}")
        if became is not None:
            self.commits[len(self.history)] = self.kernel.last.draft.name
            self.behind = self.behind and became == RESTORED
        self.history.append(Done(cell, source, True, became is not None))
        assert (became is None) == (raised is not None), f"{source!r} raised {raised}, and was {became}"
        self._compare()
        if became is not None:
            self._compare_results(expected)
        return became

    def _plain(self, cell: str, source: str) -> None:
        with self.around.of_the_other():
            _, raised = run(source, self.model)
        self.kernel.session.saw(source)
        _, own = run(source, self.kernel.live)
        note(f"plain {raised}: {source!r}")
        assert own == raised
        self.cells[cell] = source, False
        self.history.append(Done(cell, source, False, False))
        self._compare()

    def _compare(self) -> None:
        own = picture(self.kernel.live, **self.around.shown())
        with self.around.of_the_other():
            expected = picture(self.model, **self.around.shown())
        assert own == expected, [pair for pair in zip(own, expected, strict=False) if pair[0] != pair[1]][:2]

    def _compare_results(self, expected: object) -> None:
        drawn = picture({"_": expected})
        if isinstance(expected, list | dict) and not any(
            kind in repr(drawn) for kind in ("'C'", "'D'", "type", "'function'")
        ):
            assert picture({"_": self.kernel.session.result_of(self.kernel.last)}) == drawn


def _picks(data: Any) -> Pick:
    return lambda among: data.draw(st.sampled_from(among))


TestNotebook = pytest.mark.timeout(0 if ASKED else 300)(Notebook.TestCase)
TestNotebook.settings = settings(
    max_examples=max(1, STEPS // LENGTH),
    derandomize=not ASKED,
    stateful_step_count=LENGTH,
    suppress_health_check=list(HealthCheck),
)
