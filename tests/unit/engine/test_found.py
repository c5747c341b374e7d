"""The smallest notebooks in which the state machine once found a difference.

In each, one object must stay one and two must stay two: when all is put back, and when all cells
are run again in a new kernel.
"""

# ruff: noqa: E501 - a row is read as a row

from __future__ import annotations

import ast
import builtins
import re
from typing import Any

import pytest

from tests.unit.engine.kernel import RAN, RESTORED, Kernel, Start, run_source
from tests.unit.engine.picture import picture

SHARED = "class C: pass\nd = [1]\nC.made = d\ndef f(v=d): return v\ndef g(): pass\n"

# name: cells, divided by lines of dashes; a plain one begins with `# plain`, one cell's runs with its name
NOTEBOOKS = {
    "who leads to a function that came along with another": (
        SHARED + "g.other = f\n---\ndel d\n---\nC.late = 1"
    ),
    "who leads to it where a plain cell changed the other": (
        SHARED
        + "k = [f]\ndel d\n---\n# plain\nC.late = 1\n---\nx = 1\n---\nh = f\ndef f(): return 2\n---\nk.append(h)"
    ),
    "who leads to it and the name moves on": (
        SHARED + "del d\n---\nk = [f]\n---\nC.late = 1\n---\nh = f\ndef f(): return 2"
    ),
    "a function under another name by now": (
        "def f(): return 1\ndef g(): return 2\n---\nf, g = g, f\n---\nc = [f, 1]\n---\nclass C: pass\nC.g = g"
    ),
    "a function of which only an alias is left": (
        "def f(): return 1\nc = 1\n---\nc = f\n---\ndef f(): return 2\n---\nb = {'v': c}"
    ),
    "a class that was changed by a restored step": (
        "class C:\n    def __init__(s, v): s.v = v\n---\nC.late = 1\n---\n# plain\na = C(1)\n---\nb = 1"
    ),
    "another that is alike and is stored with what it shares": (
        "def f(): return 1\ndef g(): return 1\nc = [1]\n---\ndef f(v=c): return v\n---\nc = [1]\n---\ng.other = f\n---\n# plain\nc = [1]\n---\ndef f(v=c): return v"
    ),
    "an attribute that is another one and names that are swapped": (
        "def f(): return 1\ndef g(): return 2\n---\nf.other = g\n---\ng, f = f, g\n---\nclass C: pass\nC.g = g"
    ),
    "a function changed by a plain cell before a step that leads to it": (
        "def f(): return 1\ndef g(): return 2\n---\n# plain\nf.note = [2]\n---\ng.other = f\n---\nx = 1\n---\ng, f = f, g"
    ),
    "a function that calls itself, defined again as it was": (
        "def f(): return 1\na = 1\n---\n# cell def\ndef f(n=3): return f(n - 1) if n else 0\n---\n# plain\nc = [f]\n---\n# cell def\ndef f(n=3): return f(n - 1) if n else 0"
    ),
    "an instance of a class that was defined again as it was": (
        "# plain\nclass C: pass\n---\n# plain\nc = C()\n---\na = 1\n---\n# plain\nclass C: pass\n---\nb = isinstance(c, C)"
    ),
    "a class derived from one that was defined again as it was": (
        "# plain\nclass C: pass\n---\n# plain\nclass D(C): pass\n---\na = D()\n---\n# plain\nclass C: pass\n---\nb = isinstance(a, C)\n---\n# plain\nclass D(C): pass\n---\nc = isinstance(a, D), D()"
    ),
}


def uninterrupted(cells: list[str]) -> Any:
    live: dict[str, Any] = {"__name__": "__main__", "__builtins__": builtins}
    for cell in cells:
        run_source(ast.parse(cell), live)
    return picture(live)


def run(kernel: Kernel, cells: list[str]) -> list[str]:
    became = []
    for number, cell in enumerate(cells):
        if cell.startswith("# plain"):
            kernel.plain(cell)
        else:
            named = re.match("# cell (.+)", cell)
            became.append(kernel.cell(cell, step=named[1] if named else f"c{number}"))
    return became


@pytest.mark.parametrize(
    "cells", [pytest.param(c.split("\n---\n"), id=name) for name, c in NOTEBOOKS.items()]
)
def test_all_is_as_in_an_uninterrupted_run(start: Start, cells: list[str]) -> None:
    expected = uninterrupted(cells)

    first = start()
    run(first, cells)

    assert picture(first.live) == expected
    resumed = start()
    resumed.session.resume()
    assert picture(resumed.live) == expected
    again = start()
    assert set(run(again, cells)) == {RESTORED}
    assert picture(again.live) == expected
    once_more = start()
    once_more.session.resume()
    assert picture(once_more.live) == expected


# Records that only count where things stand as they stood


def test_a_list_that_was_changed_before_it_was_let_go_is_changed_under_its_other_name(start: Start) -> None:
    first = start()
    for step, source in (("b", "b = [1, 2]"), ("d", "d = b"), ("b", "b = [1, 2]"), ("pop", "d = d.pop()")):
        first.cell(source, step=step)
    assert first["b"] == [1, 2]

    second = start()
    for step, source in (("b", "b = [1, 2]"), ("d", "d = b"), ("pop", "d = d.pop()")):
        second.cell(source, step=step)

    assert second["b"] == [1]


@pytest.mark.parametrize(
    "source",
    [
        "try: raise ValueError\nexcept ValueError as c: pass",
        "try:\n    raise ValueError\nexcept ValueError as c:\n    c = c",
        "if a: del c",
    ],
)
def test_a_name_is_unbound_by_a_step_that_found_it_unbound_before(start: Start, source: str) -> None:
    first = start()
    first.cell("a = 0", step="a")
    first.cell(source, step="c")

    second = start()
    second.cell("a = 0", step="a")
    second.plain("c = 3")
    second.cell(source, step="c")

    assert ("c" in second.live) is source.startswith("if a")


def test_who_leads_to_a_function_that_a_step_changed_in_place_leads_to_the_changed_one(start: Start) -> None:
    late = "f.late = [1]"
    first = start()
    first.cells("def f(): return 1")
    first.cell(late, step="late")

    second = start()
    second.cells("def f(): return 1")
    second.plain("kept = [f]")

    assert second.cell(late, step="late") == RAN
    assert second["kept"][0] is second["f"]


def test_a_step_that_changed_a_function_is_restored_where_those_who_lead_to_it_did_so(start: Start) -> None:
    cells = ("def f(): return 1", "kept = [f]", "f.late = [1]")
    start().cells(*cells)

    second = start()

    assert second.cells(*cells) == [RESTORED] * 3
    assert second["kept"][0] is second["f"]


@pytest.mark.parametrize("let_go", ["a = weakref.ref(a)", "a = 1"])
def test_what_a_step_let_go_is_dead_on_record(start: Start, let_go: str) -> None:
    cells = ["import weakref, functools", "a = functools.partial(print, [1])"]
    cells += ["b = weakref.ref(a)"] if let_go == "a = 1" else ["b = 1"]
    expected = uninterrupted([*cells, let_go])

    first = start()
    first.cells(*cells, let_go)

    assert picture(first.live) == expected
    resumed = start()
    resumed.session.resume()
    assert picture(resumed.live) == expected


def test_a_rewind_goes_to_the_step_on_the_way_to_here(start: Start) -> None:
    first = start()
    for step, source in (("d", "d = 1"), ("e", "e = 1"), ("d", "d = 1")):
        first.cell(f"%%checkpoint {step}\n{source}", step=step)
    second = start()
    second.cell("%%checkpoint d\nd = 1", step="d")
    second.plain("late = 1")

    second.session.rewind("d")

    assert second.session.namespace.visible() == {"d": 1}


@pytest.mark.parametrize(
    "cells",
    [
        pytest.param(
            "import pandas as pd, xarray as xr\n"
            "ds = xr.Dataset({'t': ('time', [1., 2.])}, {'time': pd.date_range('2000', periods=2)})\n---\n"
            "mean = ds.groupby('time.month').mean()\nby = ds.t.groupby('time.season')\n---\n"
            "da = ds['t']\nda.attrs['name'] = 'temperature'",
            id="what fills something in when pickle asks it, as groups of xarray do",
        ),
        pytest.param(
            "import pandas as pd\ndates = pd.date_range('2013', periods=3)\n"
            "df = pd.DataFrame({'a': [1, 2, 3]}, index=dates)\n---\n"
            "other = df.copy()\nother['a'] = 1\n---\n"
            "third = df.reindex(index=dates[:2], columns=['a', 'e'])\nthird.loc[dates[0], 'e'] = 1",
            id="frames that were made of each other",
        ),
        pytest.param(
            "from dataclasses import dataclass\n@dataclass\nclass A: x: int = 1\n"
            "@dataclass\nclass B: many: list[A]\nb = B([A()])\n---\nb.many.append(A(2))\n---\nn = len(b.many)",
            id="dataclasses that name each other",
        ),
    ],
)
def test_in_a_new_kernel_nothing_runs_again(start: Start, cells: str) -> None:
    first = start()
    first.cells(*cells.split("\n---\n"))

    second = start()

    assert set(second.cells(*cells.split("\n---\n"))) == {RESTORED}


DEFINED_AGAIN = {
    "an instance": ("class C: pass", "c = C()", "ok = isinstance(c, C)"),
    "a class derived from it": (
        "class C:\n    def __init__(s): s.v = 1",
        "class D(C): pass",
        "ok = issubclass(D, C), isinstance(D(), C)",
    ),
    "an instance of a class derived from it": (
        "class C: pass",
        "class D(C): pass\nc = D()",
        "ok = isinstance(c, C)",
    ),
    "a dict with it as a key": ("def f(): pass", "c = {f: 1}", "ok = f in c"),
}


@pytest.mark.parametrize(
    ("definition", "made", "asks"), [pytest.param(*cells, id=name) for name, cells in DEFINED_AGAIN.items()]
)
def test_what_was_made_before_its_definition_ran_again_belongs_to_the_one_before(
    start: Start, definition: str, made: str, asks: str
) -> None:
    kernel = start()
    kernel.plain(definition)
    kernel.plain(made)
    before = kernel.cell(asks, step="asks"), kernel["ok"]

    kernel.plain(definition)
    again = kernel.cell(asks, step="asks"), kernel["ok"]
    kernel = start()
    kernel.plain(definition)
    kernel.plain(made)
    anew = kernel.cell(asks, step="asks"), kernel["ok"]

    assert before[0] == again[0] == RAN
    assert again[1] != before[1]
    assert anew == (RESTORED, before[1])


@pytest.mark.further
def test_what_was_found_out_about_the_one_before_says_nothing_of_what_is_made_anew(start: Start) -> None:
    kernel = start()
    for source in ("class C: pass", "c = C()", "class C: pass"):
        kernel.plain(source)
    kernel.cell("ok = isinstance(c, C)", step="asks")
    assert kernel["ok"] is False

    kernel = start()
    kernel.plain("class C: pass")
    kernel.plain("c = C()")
    became = kernel.cell("ok = isinstance(c, C)", step="asks")

    assert (became, kernel["ok"]) == (RAN, True)


def test_a_class_that_ran_again_is_no_reason_to_run_for_who_does_not_ask_for_it(start: Start) -> None:
    kernel = start()
    for source in ("class C:\n    def add(s, n): return n + 1", "c = C()"):
        kernel.plain(source)
    kernel.cell("n = c.add(1)", step="adds")

    kernel.plain("class C:\n    def add(s, n): return n + 1")

    assert kernel.cell("n = c.add(1)", step="adds") == RESTORED


def test_a_generator_that_a_plain_cell_seeded_is_seeded_where_all_was_put_back(start: Start) -> None:
    draws = "a = a[:1] + [random.random()]"
    kernel = start()
    kernel.plain("import random\nrandom.seed(1)\na = [0]")
    kernel.cell("b = 1", step="b")
    kernel = start()
    kernel.session.resume()
    kernel.cell(draws, step="draws")
    first = list(kernel["a"])

    kernel.plain("a = [0]")
    again = kernel.cell(draws, step="draws")

    assert again == RAN
    assert kernel["a"] != first
