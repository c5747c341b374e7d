"""What modules, classes and functions of the project hold is the same after any number of crashes."""

# ruff: noqa: ISC004 - modules as they are typed

from __future__ import annotations

import importlib
import itertools
import re
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from kitaru_nb.engine import conditions
from tests.unit.engine.kernel import RAN, RESTORED, Kernel

_numbers = itertools.count()


@dataclass
class Project:
    """A folder with a module ``lib`` beside a notebook; each kernel stands for a new process.

    Without `paranoid` where a restore does not give what is there, and says so, or gives it another way.
    """

    folder: Path
    name: str
    patch: pytest.MonkeyPatch
    kernels: list[Kernel] = field(default_factory=list)
    paranoid: bool = True

    def write(self, source: str, file: str = "") -> None:
        (self.folder / (file or f"{self.name}.py")).write_text(self.named(source), "utf-8")
        importlib.invalidate_caches()

    def named(self, source: str) -> str:
        return re.sub(r"\blib\b", self.name, source)

    def kernel(self) -> Kernel:
        self.forget()
        self.patch.setattr(conditions, "_HERE", f"{next(_numbers)}:")
        kernel = Kernel(
            self.folder.parent / "home",
            notebook=self.folder / "nb.ipynb",
            settings={"paranoid": self.paranoid},
        ).take_over()
        kernel.session._process.variables.install()
        self.kernels.append(kernel)
        return kernel

    def cell(self, kernel: Kernel, number: int, source: str) -> str:
        return kernel.cell(self.named(source), step=f"s{number}")

    def forget(self) -> None:
        for name in [name for name in sys.modules if name.startswith(self.name)]:
            del sys.modules[name]
        for kernel in self.kernels:
            kernel.session._process.variables.remove()


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Project]:
    name = f"kt_project_{next(_numbers)}"
    (tmp_path / "w").mkdir()
    monkeypatch.syspath_prepend(str(tmp_path / "w"))
    monkeypatch.chdir(tmp_path / "w")
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    made = Project(tmp_path / "w", name, monkeypatch)
    yield made
    made.forget()
    for kernel in made.kernels:
        kernel.stop()


CLOSURE = """
def make():
    n = 0
    def f():
        nonlocal n
        n += 1
        return n
    return f
f = make()
"""
DECORATED = """
import functools
def counted(f):
    calls = []
    @functools.wraps(f)
    def wrapper(x):
        calls.append(x)
        return f(x), len(calls)
    wrapper.calls = calls
    return wrapper
@counted
def g(x): return x
def f(): return g(1), g.calls
"""
REBOUND = """
def one(): return 1
def two(): return 2
step, before = one, None
def swap():
    global step, before
    before, step = step, two if step is one else one
def f(): return step(), before is one, before is two
"""
WRAPPED = """
n, _inner = 0, None
def g():
    global n
    n += 1
    return n
def wrap():
    global g, _inner
    _inner = g
    def outer(): return _inner() * 10
    g = outer
def unwrap():
    global g
    g = _inner
"""
HOLDERS = {
    "an attribute of a function": ("def f():\n    f.n = getattr(f, 'n', 0) + 1\n    return f.n", "lib.f()"),
    "a default": ("def f(l=[]):\n    l.append(1)\n    return len(l)", "lib.f()"),
    "a default that is named": ("def f(*, l={}):\n    l[len(l)] = 1\n    return len(l)", "lib.f()"),
    "a default of a method": (
        "class A:\n    @classmethod\n    def f(cls, l=[]):\n        l.append(1)\n        return len(l)",
        "lib.A.f()",
    ),
    "a variable of an outer function": (CLOSURE, "lib.f()"),
    "a decorator's list, by two ways": (DECORATED, "(lib.f(), lib.g.calls)"),
    "a class in a class": (
        "class A:\n    class B:\n        n = 0\ndef f():\n    A.B.n += 1\n    return A.B.n",
        "lib.f()",
    ),
    "a partial": (
        "import functools\ndef g(l):\n    l.append(1)\n    return len(l)\nf = functools.partial(g, [])",
        "lib.f()",
    ),
    "a name with two underscores": (
        "__n = 0\ndef f():\n    global __n\n    __n += 1\n    return __n",
        "lib.f()",
    ),
    "a queue": ("import queue\nq = queue.Queue()\ndef f():\n    q.put(1)\n    return q.qsize()", "lib.f()"),
    "a text in memory": (
        "import io\ns = io.StringIO()\ndef f():\n    s.write('x')\n    return s.getvalue()",
        "lib.f()",
    ),
    "a function bound anew": (REBOUND, "(lib.swap(), lib.f())"),
}


@pytest.mark.parametrize("holder", HOLDERS)
def test_what_the_project_holds_goes_on_where_it_stood(project: Project, holder: str) -> None:
    source, step = HOLDERS[holder]
    project.write(source)
    kernel = project.kernel()
    project.cell(kernel, 0, "import lib")
    undisturbed = [kernel.plain(project.named(f"repr({step})")) for _ in range(4)]

    resumed = []
    for number in range(1, 4):
        kernel = project.kernel()
        kernel.session.resume()
        project.cell(kernel, number, f"r = repr({step})")
        resumed.append(kernel["r"])
    kernel = project.kernel()
    again = [project.cell(kernel, 0, "import lib")]
    again += [project.cell(kernel, number, f"r = repr({step})") for number in range(1, 4)]
    project.cell(kernel, 4, f"r = repr({step})")

    assert again == [RESTORED] * 4
    assert [*resumed, kernel["r"]] == undisturbed


def test_a_function_that_was_wrapped_and_unwrapped_is_the_modules_own(project: Project) -> None:
    project.write(WRAPPED)
    cells = ["import lib", "lib.wrap()", "a = lib.g()", "lib.unwrap()", "b = lib.g()"]

    for upto in range(1, len(cells) + 1):
        kernel = project.kernel()
        ran = [project.cell(kernel, number, cell) for number, cell in enumerate(cells[:upto])]

    assert ran == [*[RESTORED] * 4, RAN]
    assert kernel.plain("(a, b)") == (10, 2)


IMPORTED = {
    "the object itself": ("from lib import CFG as cfg", "cfg['a'] = 1", "lib.f()", 1),
    "an item of it": ("import lib\ncfg = lib.CFG['in']", "cfg['a'] = 1", "lib.g()", 1),
}


@pytest.mark.parametrize("case", IMPORTED)
@pytest.mark.parametrize("way", ["run again", "resumed"])
def test_a_name_for_what_a_module_holds_is_one_before_either_has_changed(
    project: Project, case: str, way: str
) -> None:
    first, change, shows, expected = IMPORTED[case]
    project.write("CFG = {'a': 0, 'in': {'a': 0}}\ndef f(): return CFG['a']\ndef g(): return CFG['in']['a']")
    project.cell(project.kernel(), 0, first)

    kernel = project.kernel()
    if way == "resumed":
        kernel.session.resume()
    else:
        assert project.cell(kernel, 0, first) == RESTORED
    project.cell(kernel, 1, change)

    assert kernel.plain(project.named(f"import lib\n{shows}")) == expected


def test_a_cell_that_puts_its_own_function_into_a_module_is_restored(project: Project) -> None:
    project.paranoid = False  # `old` is on record as the module's own `f`, as which it comes back
    project.write("def f(): return 1\ndef g(): return f() * 10")
    cells = ["import lib\nold = lib.f", "def new(): return old() + 1\nlib.f = new", "r = lib.g()"]
    kernel = project.kernel()
    for number, cell in enumerate(cells):
        project.cell(kernel, number, cell)

    kernel = project.kernel()

    assert [project.cell(kernel, number, cell) for number, cell in enumerate(cells)] == [RESTORED] * 3
    assert kernel.plain(project.named("lib.g(), lib.f is new")) == (20, True)


LOST = {
    "a generator": (
        "def make():\n    yield from range(9)\nG = make()\ndef f(): return next(G)",
        "G",
        "generator",
    ),
    "weak references": (
        "from weakref import WeakValueDictionary\nclass O: pass\nW = WeakValueDictionary()\n"
        "def f(): return W.setdefault('a', O())",
        "W",
        "weakref.WeakValueDictionary",
    ),
}


@pytest.mark.parametrize("case", LOST)
def test_what_no_other_process_can_have_is_said(project: Project, case: str) -> None:
    source, name, kind = LOST[case]
    project.write(source)
    kernel = project.kernel()
    project.cell(kernel, 0, "import lib")
    project.cell(kernel, 1, "r = lib.f()")

    kernel = project.kernel()
    ran = [project.cell(kernel, 0, "import lib"), project.cell(kernel, 1, "r = lib.f()")]

    assert ran == [RESTORED] * 2
    assert kernel.restored.problems == [
        f"{project.name}.{name} was not put back: what a {kind} holds cannot be stored"
    ]


def test_what_is_lost_is_said_by_who_has_changed_it(project: Project) -> None:
    project.paranoid = False
    project.write(f"{LOST['a generator'][0]}\nn = 0\ndef g():\n    global n\n    n += 1")
    cells = ["import lib", "r = lib.f()", "lib.g()", "r = lib.f()"]
    kernel = project.kernel()
    for number, cell in enumerate(cells):
        project.cell(kernel, number, cell)

    said = []
    kernel = project.kernel()
    for number, cell in enumerate(cells[:3]):
        assert project.cell(kernel, number, cell) == RESTORED
        said.append(len(kernel.restored.problems))
    resumed = project.kernel().session.resume()

    assert said == [0, 1, 0]
    assert len(resumed.restored.problems) == 1


def test_what_two_modules_share_they_share_where_a_name_shares_another_thing(project: Project) -> None:
    project.write("STATE, CFG = [], {}\nALIAS = STATE\ndef f(x):\n    STATE.append(x)")
    kernel = project.kernel()
    project.cell(kernel, 0, "import lib\nfrom lib import CFG")
    project.cell(kernel, 1, "lib.f(1)")

    kernel = project.kernel()
    kernel.session.resume()
    project.cell(kernel, 2, "lib.f(2)")

    assert kernel.plain(project.named("lib.ALIAS, lib.ALIAS is lib.STATE")) == ([1, 2], True)


def test_a_generator_of_a_module_moves_on_when_its_cell_is_run_twice(project: Project) -> None:
    project.write(LOST["a generator"][0])
    kernel = project.kernel()
    project.cell(kernel, 0, "import lib")

    ran = [project.cell(kernel, 1, "r = lib.f()") for _ in range(3)]

    assert (ran, kernel["r"]) == ([RAN] * 3, 2)


def test_a_failed_cell_leaves_what_functions_hold_to_its_next_run_as_it_was(project: Project) -> None:
    project.write(f"{CLOSURE}\ndef g(l=[]):\n    l.append(1)\n    g.n = len(l)\n    return g.n")
    kernel = project.kernel()
    project.cell(kernel, 0, "import lib\nlib.f(); lib.g()")
    with pytest.raises(ZeroDivisionError):
        project.cell(kernel, 1, "r = lib.f(), lib.g(); 1 / 0")

    project.cell(kernel, 1, "r = lib.f(), lib.g()")

    assert kernel["r"] == (2, 2)


READS: dict[str, tuple[str, Callable[[str], str]]] = {
    "at its import": (
        "from pathlib import Path\nD = Path('data.txt').read_text()\ndef load(): return D",
        lambda cell: cell,
    ),
    "behind a cache": (
        "import functools\nfrom pathlib import Path\n"
        "@functools.lru_cache\ndef load(): return Path('data.txt').read_text()",
        lambda cell: cell,
    ),
    "behind a cache in the notebook": (
        "",
        lambda cell: cell.replace("lib.", "").replace(
            "import lib",
            "import functools\nfrom pathlib import Path\nparts = ['data', '.txt']\n"
            "@functools.lru_cache\ndef load(): return Path(''.join(parts)).read_text()",
        ),
    ),
}


@pytest.mark.parametrize("case", READS)
def test_a_file_that_was_read_before_counts_for_who_is_given_what_it_held(
    project: Project, case: str
) -> None:
    source, as_cell = READS[case]
    project.write(source)
    project.write("1", "data.txt")
    cells = [as_cell(cell) for cell in ("import lib", "a = lib.load()", "b = lib.load() + '!'", "c = 1")]
    kernel = project.kernel()
    for number, cell in enumerate(cells):
        project.cell(kernel, number, cell)

    kernel = project.kernel()
    same = [project.cell(kernel, number, cell) for number, cell in enumerate(cells)]
    project.write("2", "data.txt")
    kernel = project.kernel()
    changed = [project.cell(kernel, number, cell) for number, cell in enumerate(cells)]

    assert same == [RESTORED] * 4
    assert changed[1:] == [RAN, RAN, RESTORED]
    assert kernel["b"] == "2!"


def test_a_file_that_only_the_cell_read_is_not_behind_the_cache(project: Project) -> None:
    project.write("import functools\n@functools.lru_cache\ndef double(x): return x * 2")
    project.write("1", "data.txt")
    cells = [
        "import lib\nfrom pathlib import Path",
        "a = lib.double(int(Path('data.txt').read_text()))",
        "b = lib.double(1)",
    ]
    kernel = project.kernel()
    for number, cell in enumerate(cells):
        project.cell(kernel, number, cell)

    project.write("3", "data.txt")
    kernel = project.kernel()

    assert [project.cell(kernel, number, cell) for number, cell in enumerate(cells)] == [
        RESTORED,
        RAN,
        RESTORED,
    ]


SENTINEL = (
    "MISSING = object()\ndef made(): return {'a': MISSING, 'b': [MISSING]}\ndef is_it(x): return x is MISSING"
)


def test_a_bare_object_of_a_module_is_that_object_after_a_restore(project: Project) -> None:
    project.write(SENTINEL)
    kernel = project.kernel()
    project.cell(kernel, 0, "import lib\nd = lib.made()")

    kernel = project.kernel()
    kernel.session.resume()

    assert kernel.plain(project.named("lib.is_it(d['a']), lib.is_it(d['b'][0])")) == (
        True,
        True,
    )


def test_a_generic_model_of_pydantic_is_the_same_class_after_a_restore(project: Project) -> None:
    pytest.importorskip("pydantic")
    kernel = project.kernel()
    head = "from typing import Generic, TypeVar\nfrom pydantic import BaseModel\nT = TypeVar('T')\n"
    project.cell(kernel, 0, f"{head}class Box(BaseModel, Generic[T]):\n    v: T")
    project.cell(kernel, 1, "b = Box[int](v=1); K = Box[int]")

    kernel = project.kernel()
    kernel.session.resume()

    assert kernel.plain("type(b) is Box[int], K is Box[int], isinstance(b, K), b.v") == (True, True, True, 1)


def test_a_module_that_is_first_met_after_its_import_is_looked_at_at_once(project: Project) -> None:
    """As one that was imported before the extension was loaded."""
    project.write("CFG = {'a': 0}\ndef f(): return CFG['a']")
    kernel = project.kernel()
    kernel.session._process.variables.remove()

    project.cell(kernel, 0, "from lib import CFG")  # in paranoid mode the two looks of a commit agree
    project.cell(kernel, 1, "CFG['a'] = 1\nimport lib")

    assert kernel.plain(project.named("lib.f()")) == 1


def test_a_bare_object_that_its_module_holds_no_more_comes_back_as_none_of_the_modules(
    project: Project,
) -> None:
    project.write("MISSING = object()\ndef renew():\n    global MISSING\n    MISSING = object()")
    kernel = project.kernel()
    project.cell(kernel, 0, "import lib\nbox = [lib.MISSING]")
    project.cell(kernel, 1, "lib.renew()\nold = [box[0]]")

    again = project.kernel()
    for number, cell in enumerate(["import lib\nbox = [lib.MISSING]", "lib.renew()\nold = [box[0]]"]):
        project.cell(again, number, cell)

    assert again.plain(project.named("(old[0] is lib.MISSING, old[0] is box[0])")) == (False, True)
