"""Any cells in any order, with crashes between them: the end is that of one uninterrupted run.

``KITARU_NB_TEST_STEPS`` sets about how many steps are tried, at random; the unit ring tries a
few and always the same.
"""

from __future__ import annotations

import ast
import builtins
import os
import shutil
import tempfile
from pathlib import Path
from types import FunctionType
from typing import Any

from hypothesis import HealthCheck, note, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule

from tests.unit.engine.kernel import RESTORED, Kernel, run_source

ASKED = os.environ.get("KITARU_NB_TEST_STEPS")
STEPS = int(ASKED or 200)
LENGTH = 25

VALUES = st.sampled_from(["a", "b", "c", "d"])
FUNCTIONS = st.sampled_from(["f", "g"])
NUMBERS = st.integers(0, 3)

# `@` becomes another number in each cell: a function or class that is defined again exactly as it
# was counts as the same one, so that what is restored belongs to the one the notebook has now.
TEMPLATES = [
    # bind
    "{x} = {n}",
    "{x} = [{n}]",
    "{x} = {{'k': [{n}]}}",
    "{x} = ({n}, [{n}])",
    "{x} = set('ab'[:{n}])",
    "{x}, {y} = {y}, {x}",
    "for {x} in range({n}): pass",
    "for {x} in {y}: {z} = {x}",
    "if {n} > 1: {x} = [{n}]",
    "exec('{x} = [{n}]')",
    "globals()['{x}'] = [{n}]",
    # alias
    "{x} = {y}",
    "{x} = [{y}, {y}]",
    "{x} = {{'k': {y}}}",
    "{x} = ({n}, {y})",
    "{x} = {f}",
    "{x} = [{f}, {y}]",
    # change in place
    "{x}.append({n})",
    "{x}[0].append({n})",
    "{x}['k'].append({n})",
    "{x}['k'] = {y}",
    "{x}[0] = {y}",
    "{x} += [{n}]",
    "{x}[-1].append({n})\n{y} = {n}",
    "{x}.append({x})",
    # delete
    "del {x}",
    "del {x}[0]",
    "{x} = {y}\ndel {y}",
    # define and call
    "def {f}(v=None, u='@'):\n    return [v, {n}]",
    "def {f}(v=None, u='@'):\n    return {x}",
    "def {f}(v=None, u='@'):\n    {x}.append({n})",
    "def {f}(v=None, u='@'):\n    global {x}\n    {x} = [v]",
    "def {f}(v=None, u='@'):\n    return {g}(v)",
    "def {f}(v={x}, u='@'):\n    return v",
    "def {f}(v=None, u='@', kept=[{n}]):\n    kept.append({n})\n    return kept",
    "def m():\n    kept = [{n}]\n    def {f}(v=None, u='@'):\n        k.append(v)\n    return {f}\n{f} = m()",
    "{f} = lambda v=None, u='@': {x}",
    "{f}.note = {x}",
    "{x} = {f}({y})",
    "{x} = {f}()",
    "{f}({x})",
    "{f}()",
    # classes
    "class C:\n    u = '@'\n    shared = [{n}]\n    def __init__(self, v):\n        self.v = v",
    "class C:\n    u = '@'\n    def __init__(s, v):\n        s.v = v\n    def own(s):\n        return {x}",
    "{x} = C({y})",
    "{x} = C([{n}])",
    "{x}.v = {y}",
    "{x}.v.append({n})",
    "{x} = {y}.own()",
    "{x} = {y}.own",
    "C.shared.append({n})",
    "C.made = {x}",
    "class D(C):\n    u = '@'",
    "{x} = D({y})",
    "{x} = isinstance({y}, C)",
    # read only, and cells that fail half-way
    "{x}",
    "len({x})",
    "type({x}).__name__",
    "{x} = [{n}]\n1 / 0",
    "{x}.append({n})\n1 / 0",
]

FIRST = """
a, b, c = [[0], 1], {'k': [2]}, 3
d = [a[0], b]

def f(v=None):
    return v

def g(v=None):
    a.append(v)

class C:
    def __init__(self, v):
        self.v = v
"""

SOURCES = st.builds(
    lambda template, x, y, z, f, g, n: template.format(x=x, y=y, z=z, f=f, g=g, n=n),
    st.sampled_from(TEMPLATES),
    x=VALUES,
    y=VALUES,
    z=VALUES,
    f=FUNCTIONS,
    g=FUNCTIONS,
    n=NUMBERS,
)


def fresh() -> dict[str, Any]:
    return {"__name__": "__main__", "__builtins__": builtins}


def run(source: str, live: dict[str, Any]) -> tuple[object, str | None]:
    """Run a cell in a plain dict: its result, and the error's name."""
    try:
        return run_source(ast.parse(source), live), None
    except Exception as error:  # noqa: BLE001 - whatever a cell raises
        return None, type(error).__name__


def picture(live: dict[str, Any]) -> Any:
    """Names, values, and which of them are one object; equal for two namespaces that look alike."""
    drawing = Drawing(live)
    return [(name, drawing.draw(value)) for name, value in sorted(live.items()) if name[:2] != "__"]


class Drawing:
    """Turns values into nested lists; an object met again is drawn as the number it got."""

    def __init__(self, live: dict[str, Any]) -> None:
        self.live = live
        self.seen: dict[int, tuple[int, Any]] = {}  # with the object, so that no id is used twice

    def draw(self, value: Any) -> Any:
        if isinstance(value, tuple):
            return ("tuple", [self.draw(item) for item in value])
        if value is None or isinstance(value, int | str):
            return (type(value).__name__, value)
        if id(value) in self.seen:
            return ("again", self.seen[id(value)][0])
        number = len(self.seen)
        self.seen[id(value)] = number, value
        return (type(value).__name__, number, self._inside(value))

    def _inside(self, value: Any) -> Any:
        match value:
            case list():
                return [self.draw(item) for item in value]
            case set():
                return sorted(value)
            case dict():
                return [(key, self.draw(item)) for key, item in value.items()]
            case FunctionType():
                return self._function(value)
            case type():
                return self._class(value)
            case _ if hasattr(value, "__func__"):
                return [self.draw(value.__self__), self.draw(value.__func__)]
            case _:
                return [self.draw(type(value)), self.draw(vars(value))]

    def _function(self, function: FunctionType) -> Any:
        code = function.__code__
        constants = [constant for constant in code.co_consts if not hasattr(constant, "co_code")]
        cells = [cell.cell_contents for cell in function.__closure__ or ()]
        parts = [function.__defaults__, cells, vars(function)]
        return [function.__globals__ is self.live, code.co_code, constants, *map(self.draw, parts)]

    def _class(self, cls: type) -> Any:
        if cls.__module__ != "__main__":
            return cls.__qualname__
        own = {k: v for k, v in vars(cls).items() if k[:2] != "__" or k == "__init__"}
        return [cls.__qualname__, self.draw(cls.__base__), self.draw(own)]


class Notebook(RuleBasedStateMachine):
    """A kernel that dies now and then, beside a plain dict that never does.

    `history` holds what was run: cell id, source, whether it is a step, whether it was
    committed.
    """

    def __init__(self) -> None:
        super().__init__()
        self.folder = Path(tempfile.mkdtemp())
        self.kernel = Kernel(self.folder / "home")
        self.model = fresh()
        self.made = 0
        self.history: list[tuple[str, str, bool, bool]] = []

    def teardown(self) -> None:
        self.kernel.stop()
        shutil.rmtree(self.folder, ignore_errors=True)

    @initialize()
    def everything_is_bound(self) -> None:
        self._step("first", FIRST)

    @rule(source=SOURCES)
    def a_new_cell(self, source: str) -> None:
        self._new(source)

    @rule(sources=st.lists(SOURCES, min_size=2, max_size=4))
    def new_cells(self, sources: list[str]) -> None:
        for source in sources:
            self._new(source)

    @rule(source=SOURCES)
    def a_plain_cell(self, source: str) -> None:
        self._plain("", self._own(source))

    @precondition(lambda self: self._repeatable())
    @rule(data=st.data())
    def a_cell_is_run_again(self, data: Any) -> None:
        cell, source = data.draw(st.sampled_from(self._repeatable()))
        self._step(cell, source)

    @rule()
    def the_kernel_dies_and_everything_is_put_back(self) -> None:
        committed = [i for i, (_, _, _, done) in enumerate(self.history) if done]
        if not committed:
            return
        del self.history[committed[-1] + 1 :]
        self.model = fresh()
        for _, source, _, _ in self.history:
            run(source, self.model)
        self._die()
        self.kernel.session.resume()
        self._compare()

    @rule()
    def the_kernel_dies_and_all_cells_are_run_again(self) -> None:
        self._die()
        history, self.history = self.history, []
        self.model = fresh()
        for cell, source, marked, done in history:
            if not marked:
                self._plain(cell, source)
            else:
                became = self._step(cell, source)
                assert became == RESTORED or not done, f"{cell} was committed and ran again"

    def _new(self, source: str) -> None:
        self._step(f"c{len(self.history)}", self._own(source))

    def _own(self, source: str) -> str:
        self.made += 1
        return source.replace("@", str(self.made))

    def _repeatable(self) -> list[tuple[str, str]]:
        """Steps that a plain dict repeats alike.

        Of a failed one the changes are undone first, and a class that is restored is the
        live class, where other references to it exist.
        """
        return [(cell, source) for cell, source, _, done in self.history if done and "class " not in source]

    def _die(self) -> None:
        note("--- the kernel dies ---")
        before, self.kernel = self.kernel, Kernel(self.folder / "home").take_over()
        before.stop()

    def _step(self, cell: str, source: str) -> str | None:
        expected, raised = run(source, self.model)
        became = None
        try:
            became = self.kernel.cell(source, step=cell)
        except Exception as error:  # noqa: BLE001 - compared with what the dict's cell raised
            assert type(error).__name__ == raised, f"{source!r}: {error!r}"
        note(f"{cell} {became or raised}: {source!r}")
        self.history.append((cell, source, True, became is not None))
        assert (became is None) == (raised is not None), f"{source!r} raised {raised}, and was {became}"
        if became is not None:
            self._compare()
            self._compare_results(expected)
        else:
            self._compare()
        return became

    def _plain(self, cell: str, source: str) -> None:
        _, raised = run(source, self.model)
        self.kernel.session.saw(source)
        _, own = run(source, self.kernel.live)
        note(f"plain {raised}: {source!r}")
        assert own == raised
        self.history.append((cell, source, False, False))
        self._compare()

    def _compare(self) -> None:
        assert picture(self.kernel.live) == picture(self.model)

    def _compare_results(self, expected: object) -> None:
        drawn = picture({"_": expected})
        if isinstance(expected, list | dict) and not any(
            kind in repr(drawn) for kind in ("'C'", "'D'", "type")
        ):
            assert picture({"_": self.kernel.session.result_of(self.kernel.last)}) == drawn


TestNotebook = Notebook.TestCase
TestNotebook.settings = settings(
    max_examples=max(1, STEPS // LENGTH),
    derandomize=ASKED is None,
    stateful_step_count=LENGTH,
    suppress_health_check=list(HealthCheck),
)
