"""Any cells in any order, with crashes between them: the end is that of one uninterrupted run.

``KITARU_NB_TEST_STEPS`` sets about how many steps are tried, at random; the unit ring tries a
few and always the same.
"""

# ruff: noqa: E501 - a cell is read as a cell

from __future__ import annotations

import ast
import builtins
import os
import shutil
import tempfile
import weakref
from pathlib import Path
from types import CellType, FunctionType, ModuleType
from typing import Any

import numpy as np
from hypothesis import HealthCheck, note, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule

from kitaru_nb.artifacts.views import byte_range
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
    # more ways to change what is shared
    "{x} = {f}.__defaults__",
    "{f}.__defaults__ = ({x}, '@')",
    "{f}.other = {g}",
    "{g}.other = {f}",
    "{f}, {g} = {g}, {f}",
    "{x} = {f}.__closure__[0].cell_contents",
    "def m(k={x}):\n    def {f}(v=None, u='@'):\n        nonlocal k\n        k = [k, v]\n        return k\n    def {g}(v=None, u='@'):\n        return k\n    return {f}, {g}\n{f}, {g} = m()",
    "C.{f} = {f}",
    "C.f = lambda self, v=None, u='@': {x}",
    "{x} = C({y}).__dict__",
    "{x} = [c for c in ({y}, C)]",
    "class C(C):\n    u = '@'",
    "class E(ValueError):\n    u = '@'\ntry:\n    raise E({x})\nexcept E as e:\n    {y} = e.args",
    "try:\n    {x} = {y}[0]\nfinally:\n    {z} = [{x}]",
    "{x} = iter({y})",
    "next({x})",
    "{x} = (i for i in [{n}])\n{x} = list({x})",
    # arrays and views
    "{x} = np.arange({n} + 4)",
    "{x} = {y}[1:]",
    "{x} = {y}[::2]",
    "{x} = np.array([{y}, None], dtype=object)[:1]",
    "{x} = np.zeros((2, {n} + 1), order='F')",
    "{x} = {y}.T",
    "{x}[0] += {n}",
    "{x}[...] = {n}",
    "{x} = {y}.reshape(-1)",
    "{x} = {y}.view('u1')",
    "{x} = memoryview({y}).cast('B')[1:]",
    "{x}.flags.writeable = False",
    "{x} = {{'a': {y}, 'b': {y}[1:]}}",
    # read only, and cells that fail half-way
    "{x}",
    "len({x})",
    "type({x}).__name__",
    "{x} = [{n}]\n1 / 0",
    "{x}.append({n})\n1 / 0",
    "{x}[0] = {n}\n1 / 0",
    "{f}.note = [{n}]\ndel {x}\n1 / 0",
    "{x}.append({n})\nraise KeyboardInterrupt",
    "{x} = {y}\n{x}[0] = {n}\nraise KeyboardInterrupt",
]

FIRST = """
import numpy as np

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
    except (Exception, KeyboardInterrupt) as error:  # noqa: BLE001 - whatever a cell raises
        return None, type(error).__name__


def picture(live: dict[str, Any]) -> Any:
    """Names, values, and which of them are one object; equal for two namespaces that look alike."""
    drawing = Drawing(live)
    return [
        (name, drawing.draw(value))
        for name, value in sorted(live.items())
        if name[:2] != "__" and type(value) is not ModuleType
    ]


class Drawing:
    """Turns values into nested lists; an object met again is drawn as the number it got."""

    def __init__(self, live: dict[str, Any]) -> None:
        self.live = live
        self.memory: list[tuple[int, int, Any]] = []
        self.seen: dict[int, tuple[int, Any]] = {}  # with the object, so that no id is used twice

    def draw(self, value: Any) -> Any:
        if type(value) is tuple:
            return ("tuple", [self.draw(item) for item in value])
        if value is None or isinstance(value, int | float | str | bytes | np.generic | np.dtype):
            return (type(value).__name__, repr(value))
        if id(value) in self.seen:
            return ("again", self.seen[id(value)][0])
        number = len(self.seen)
        self.seen[id(value)] = number, value
        kind = type(value).__name__
        return ("iterator" if "iterator" in kind else kind, number, self._inside(value))

    def _inside(self, value: Any) -> Any:  # noqa: C901, PLR0912 - one line for each kind
        match value:
            case list():
                return [self.draw(item) for item in value]
            case set():
                return sorted(value)
            case dict():
                return [(key, self.draw(item)) for key, item in value.items()]
            case FunctionType():
                return self._function(value)
            case CellType():
                return self.draw(value.cell_contents)
            case type():
                return self._class(value)
            case np.ndarray():
                return self._array(value)
            case memoryview() if isinstance(value.obj, np.ndarray) and value.obj.dtype.hasobject:
                return self._place(value), value.nbytes  # of the bytes, which are addresses
            case bytearray() | memoryview():
                return self._place(value), bytes(value)
            case weakref.ref():
                return self.draw(value())
            case BaseException():
                return [self.draw(type(value)), self.draw(value.args), self.draw(vars(value))]
            case _ if hasattr(value, "__func__"):
                return [self.draw(value.__self__), self.draw(value.__func__)]
            case _ if hasattr(value, "__next__"):
                return self._iterator(value)
            case _ if hasattr(value, "__dict__"):
                return [self.draw(type(value)), self.draw(vars(value))]
            case _:
                return repr(value)

    def _iterator(self, iterator: Any) -> Any:
        try:
            _, (over, *_), *rest = iterator.__reduce__()
        except RuntimeError:
            return "the dict under it has grown"
        if type(iterator).__name__ == "set_iterator" or (type(over) is list and id(over) not in self.seen):
            # One over a set comes back as one over a list of what is left.
            return self.draw(tuple(over)[rest[0] if rest else 0 :])
        return self.draw([over, *rest])

    def _array(self, array: Any) -> Any:
        # The stride of an axis of length one means nothing.
        strides = [step for step, length in zip(array.strides, array.shape, strict=True) if length > 1]
        shape = array.dtype.str, array.shape, strides, array.flags.writeable
        if array.dtype.hasobject:
            return shape, self._place(array), [self.draw(item) for item in array.ravel().tolist()]
        return shape, self._place(array), array.tobytes()

    def _place(self, memory: Any) -> Any:
        """Which memory it looks into, and where: stretches that overlap are numbered as they are met."""
        array = memory if isinstance(memory, np.ndarray) else np.asarray(memory)
        low, high = byte_range(array)
        for number, (start, stop, _) in enumerate(self.memory):
            if low < stop and start < high:
                return number, low - start
        self.memory.append((low, high, array))
        return len(self.memory) - 1, 0

    def _function(self, function: FunctionType) -> Any:
        code = function.__code__
        constants = [constant for constant in code.co_consts if not hasattr(constant, "co_code")]
        cells = [*(function.__closure__ or ())]
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
        self.kernel = self._kernel()
        self.model = fresh()
        self.made = 0
        self.history: list[tuple[str, str, bool, bool]] = []
        self.commits: dict[int, str] = {}  # place in the history: name of the step
        self.left: set[str] = set()
        self.behind = False  # gone back, and nothing new since: a resume goes to the furthest commit

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
        if not committed or self.behind:
            return
        self._back_to(committed[-1])
        self._die()
        self.kernel.session.resume()
        self._compare()

    @precondition(lambda self: self._named())
    @rule(data=st.data())
    def an_earlier_moment_is_put_back(self, data: Any) -> None:
        place, name = data.draw(st.sampled_from(self._named()))
        way = data.draw(st.sampled_from(["rewind", "resume --at"]))
        note(f"--- {way} {name} ---")
        self.behind = self.behind or place < max(self.commits)
        self._back_to(place)
        if way == "rewind":
            self.kernel.session.rewind(name)
        else:
            self._die()
            self.kernel.session.resume(at=name)
        self._compare()

    def _named(self) -> list[tuple[int, str]]:
        """The newest commit of each step, with its place in the history."""
        places = {name: place for place, name in sorted(self.commits.items())}
        return [(place, name) for name, place in places.items() if name not in self.left]

    def _back_to(self, place: int) -> None:
        """The history ends with what was run at `place`; later commits are on no line any more."""
        self.left |= {name for number, name in self.commits.items() if number > place}
        self.commits = {number: name for number, name in self.commits.items() if number <= place}
        del self.history[place + 1 :]
        self.model = fresh()
        for _, source, _, _ in self.history:
            run(source, self.model)

    @rule()
    def the_kernel_dies_and_all_cells_are_run_again(self) -> None:
        self._die()
        history, self.history, self.commits = self.history, [], {}
        self.model = fresh()
        for cell, source, marked, done in history:
            if not marked:
                self._plain(cell, source)
            else:
                became = self._step(cell, source)
                assert became == RESTORED or not done, f"{cell} was committed and ran again"

    def _new(self, source: str) -> None:
        self._step(f"c{self.made}", self._own(source))

    def _own(self, source: str) -> str:
        self.made += 1
        return source.replace("@", str(self.made))

    def _repeatable(self) -> list[tuple[str, str]]:
        """Steps that a plain dict repeats alike.

        Of a failed one the changes are undone first, and a class that is restored is the
        live class, where other references to it exist.
        """
        return [(cell, source) for cell, source, _, done in self.history if done and "class " not in source]

    def _kernel(self) -> Kernel:
        # It compares with a plain dict after each rule; a restore after each commit, too, takes too long.
        return Kernel(self.folder / "home", settings={"paranoid": "KITARU_NB_TEST_PARANOID" in os.environ})

    def _die(self) -> None:
        note("--- the kernel dies ---")
        before, self.kernel = self.kernel, self._kernel().take_over()
        before.stop()

    def _step(self, cell: str, source: str) -> str | None:
        expected, raised = run(source, self.model)
        became = None
        try:
            became = self.kernel.cell(source, step=cell)
        except (Exception, KeyboardInterrupt) as error:  # noqa: BLE001 - compared with what the dict's cell raised
            assert type(error).__name__ == raised, f"{source!r}: {error!r}"
        note(f"{cell} {became or raised}: {source!r}")
        if became is not None:
            self.commits[len(self.history)] = self.kernel.last.draft.name
            self.behind = False
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
        own, expected = picture(self.kernel.live), picture(self.model)
        assert own == expected, [pair for pair in zip(own, expected, strict=False) if pair[0] != pair[1]][:2]

    def _compare_results(self, expected: object) -> None:
        drawn = picture({"_": expected})
        if isinstance(expected, list | dict) and not any(
            kind in repr(drawn) for kind in ("'C'", "'D'", "type", "'function'")
        ):
            assert picture({"_": self.kernel.session.result_of(self.kernel.last)}) == drawn


TestNotebook = Notebook.TestCase
TestNotebook.settings = settings(
    max_examples=max(1, STEPS // LENGTH),
    derandomize=ASKED is None,
    stateful_step_count=LENGTH,
    suppress_health_check=list(HealthCheck),
)
