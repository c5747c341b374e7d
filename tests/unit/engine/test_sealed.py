"""Restored large values: known by where they came from, checked before a cell can reach them."""

from __future__ import annotations

import ast
import re
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from kitaru_nb.artifacts.marker import Marker, is_marker
from kitaru_nb.artifacts.memory import SMALLEST_MAPPED, Memory
from kitaru_nb.artifacts.verify import Verification
from kitaru_nb.errors import CorruptError, StoreError, UnstorableError
from tests.unit.engine.kernel import RAN, RESTORED, Kernel, Start

pytestmark = pytest.mark.skipif(
    Memory.to_map(SMALLEST_MAPPED) is None, reason="files are not mapped on this platform"
)

MAKE = "import numpy as np\nx = np.arange(1_000_000.0)"
READ = "total = float(x.sum())"


@pytest.fixture
def waited(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """One entry for each check that somebody waited for."""
    found: list[int] = []
    real = Verification.wait
    monkeypatch.setattr(Verification, "wait", lambda self: (found.append(1), real(self))[1])
    return found


def settings(**more: Any) -> dict[str, Any]:
    return {"settings": {"paranoid": False, **more}}  # which looks at everything at once


def flip(kernel: Kernel) -> None:
    (pack,) = kernel.home.rglob("*.pack")
    data = bytearray(pack.read_bytes())
    data[5 << 20] ^= 1
    pack.write_bytes(data)


def reach(kernel: Kernel, source: str) -> None:
    kernel.session.opens(ast.parse(source))


def test_restored_steps_and_their_commits_wait_for_no_check(start: Start, waited: list[int]) -> None:
    start(**settings()).cells(MAKE, READ, "n = 1")

    again = start(**settings())

    assert again.cells(MAKE, READ, "n = 1") == [RESTORED] * 3
    assert not waited
    assert again.namespace_sealed == [("x",)]


def test_a_step_that_reads_it_waits_and_is_keyed_as_before(start: Start, waited: list[int]) -> None:
    start(**settings()).cells(MAKE, READ)
    resumed = start(**settings())
    resumed.session.resume()

    assert resumed.cell("double = x * 2") == RAN
    assert waited
    assert resumed.cells(MAKE, READ) == [RESTORED, RESTORED]


@pytest.mark.parametrize(
    "source",
    [
        "n = len('ab')",
        "import threading\nthreading.Timer(1, print).start()",
        "@print\ndef f(): pass",
        "def f(a=print()): pass",
        "def f(a: print()): pass",
        "class A:\n    x = 1",
        "a.b = 1",
        "%run other.py",
        "%config InlineBackend.rc = start()",
        "!ls",
        "if True:\n    import os",
    ],
)
def test_where_code_has_run_already_nothing_is_sealed(start: Start, source: str) -> None:
    start(**settings()).cells(MAKE, "n = 1")
    resumed = start(**settings())
    resumed.session.saw(source)
    resumed.session.saw("import threading")

    resumed.session.resume()

    assert not resumed.namespace_sealed
    assert resumed["x"][5] == 5


@pytest.mark.parametrize(
    "source",
    [
        "%load_ext kitaru_nb\n%matplotlib inline\n'What it is.'\nimport numpy as np\nfrom os import path",
        "RATES = {'lr': [-0.1, 1e-3]}\n\ndef f(a: list[int] = [1], *b: int, c=None) -> int: return g(a)",
        "async def f(): return await g()",
    ],
)
def test_where_cells_have_only_imported_and_defined_a_large_value_is_mapped(
    start: Start, source: str
) -> None:
    start(**settings()).cells(MAKE, "n = 1")
    resumed = start(**settings())
    resumed.session.saw(source)

    resumed.session.resume()

    assert resumed.namespace_sealed == [("x",)]
    assert resumed["x"][5] == 5


@pytest.mark.parametrize("source", ["x[0]", "f()", "n = 1", "del x", "print(eval('x'))", "_"])
def test_any_cell_waits(start: Start, waited: list[int], source: str) -> None:
    start(**settings()).cells(MAKE, "def f():\n    return x[3]")
    resumed = start(**settings())
    resumed.session.resume()

    reach(resumed, source)

    assert waited
    assert not resumed.namespace_sealed


def test_damage_is_an_error_before_the_cell_that_names_value_and_checkpoint(start: Start) -> None:
    first = start(**settings())
    first.cells("%%checkpoint make\n" + MAKE, "n = 1")
    flip(first)
    resumed = start(**settings())
    resumed.session.resume()

    with pytest.raises(CorruptError, match=re.escape("`x` of checkpoint `make` could not be restored")):
        reach(resumed, "x.sum()")

    assert "could not be restored" in repr(resumed["x"])
    with pytest.raises(UnstorableError, match=re.escape("`x` of checkpoint `make` could not be restored")):
        resumed["x"].sum()


USED = "first = x[0]\n        __import__('pathlib').Path('used').write_text('.')"
RESOURCE = (
    "import kitaru_nb as kt\n@kt.resource\ndef total():\n    if True:\n        "
    + USED
    + "\n    return (n for n in [first])"
)
SET = "class Total:\n    def __setstate__(self, state):\n        " + USED + "\ntotal = Total(); total.n = 1"


@pytest.mark.parametrize("way", ["resumed", "run all"])
@pytest.mark.parametrize(
    "cells", [[MAKE, RESOURCE], [MAKE, SET], [f"{MAKE}\n{RESOURCE}"], [f"{MAKE}\n{SET}"]]
)
def test_code_that_makes_values_again_never_has_a_damaged_one(
    start: Start, way: str, cells: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    first = start(**settings())
    first.cells(*cells)
    flip(first)
    used = tmp_path / "used"
    used.write_text("")
    again = start(**settings())

    with suppress(StoreError):
        again.session.resume() if way == "resumed" else again.cells(*cells)

    assert used.read_text() == ""
    assert is_marker(again.live.get("x", Marker("x", "", "")))
    assert is_marker(again.live.get("total", Marker("total", "", "")))


@pytest.mark.parametrize("way", ["resumed", "run all"])
def test_where_a_module_of_the_project_is_loaded_nothing_is_sealed(
    start: Start, way: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "project_watch.py").write_text("class C: pass\n")
    monkeypatch.syspath_prepend(tmp_path)
    cells = ["from project_watch import C", MAKE, "c = C()"]
    start(**settings()).cells(*cells)
    del sys.modules["project_watch"]
    again = start(**settings())

    again.session.resume() if way == "resumed" else again.cells(*cells)

    assert not again.namespace_sealed
    assert again["x"][5] == 5
    del sys.modules["project_watch"]


def test_a_cell_that_does_not_need_what_is_damaged_runs(start: Start) -> None:
    first = start(**settings())
    first.cells(MAKE, "n = 1")
    flip(first)
    resumed = start(**settings())
    resumed.session.resume()

    reach(resumed, "print(n)")

    assert "could not be restored" in repr(resumed["x"])


def test_a_step_that_reads_damage_does_not_run(start: Start, tmp_path: Path) -> None:
    first = start(**settings())
    first.cells(MAKE, "n = 1")
    flip(first)
    resumed = start(**settings())
    resumed.session.resume()

    with pytest.raises(CorruptError, match="damaged"):
        resumed.cell("open('ran', 'w').close()\ny = x[0]")

    assert not (tmp_path / "ran").exists()


def test_changes_after_the_first_use_are_seen(start: Start) -> None:
    start(**settings()).cells(MAKE)
    resumed = start(**settings())
    resumed.session.resume()
    reach(resumed, "x[0] = -1")
    resumed.plain("x[0] = -1")

    resumed.cell("n = 1")

    again = start(**settings())
    again.session.resume()
    assert again["x"][0] == -1


def test_stopping_the_wait_leaves_it_sealed(start: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    start(**settings()).cells(MAKE)
    resumed = start(**settings())
    resumed.session.resume()

    def stopped(_self: Verification) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(Verification, "wait", stopped)
        with pytest.raises(KeyboardInterrupt):
            reach(resumed, "x[0]")

    assert resumed.namespace_sealed == [("x",)]


def test_functions_that_hold_large_values_are_checked_at_once(start: Start, waited: list[int]) -> None:
    start(**settings()).cells("import numpy as np", "def f(a=np.arange(1_000_000)):\n    return a[3]")
    resumed = start(**settings())

    resumed.session.resume()

    assert waited
    assert not resumed.namespace_sealed
    assert resumed["f"]() == 3


def test_a_group_of_aliases_is_one_seal(start: Start) -> None:
    start(**settings()).cells(MAKE, "y = x\nd = {'x': x}")
    resumed = start(**settings())

    resumed.session.resume()

    assert resumed.namespace_sealed == [("d", "x", "y")]
    reach(resumed, "d")
    assert resumed["d"]["x"] is resumed["x"] is resumed["y"]


def test_a_step_made_anew_heals_what_is_damaged(start: Start) -> None:
    first = start(**settings())
    first.cells("%%checkpoint make\n" + MAKE, "n = 1")
    flip(first)
    resumed = start(**settings())
    resumed.session.resume()

    assert resumed.cell("%%checkpoint make --fresh\n" + MAKE) == RAN

    again = start(**settings())
    again.session.resume()
    reach(again, "x")
    assert again["x"].sum() == sum(range(1_000_000))


def test_binding_a_damaged_name_anew_is_no_error(start: Start) -> None:
    first = start(**settings())
    first.cells(MAKE, "n = 1")
    flip(first)
    resumed = start(**settings())
    resumed.session.resume()

    reach(resumed, "x = 1")

    resumed.plain("x = 1")
    assert resumed.cell("n = x") == RAN
