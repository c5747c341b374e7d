"""A step that passes on what a name held is restored only where nothing else shares that."""

from __future__ import annotations

import pytest

from tests.unit.engine.kernel import RAN, RESTORED, Start

IMPORT = "import numpy as np"


@pytest.mark.parametrize(
    ("made", "source"),
    [
        ("d = np.arange(6)", "d = d.reshape(-1)"),
        ("d = [1, [2]]", "d = d"),
        ("d = [1, [2]]", "d = (d, 1)[0]"),
        ("d = [1, [2]]", "if d:\n    d = [d]"),
        ("d = [1, [2]]", "x = d[1]\ndel d"),
        ("d = [1, [2]]\ndef f():\n    global d\n    d = [d]", "f()"),
        ("d = [1, [2]]", "exec('d = [d]')"),
    ],
)
def test_it_runs_where_an_alias_was_made_since(start: Start, made: str, source: str) -> None:
    first = start()
    first.plain(IMPORT)
    first.plain(made)
    first.cell(source)
    alike = start()
    alike.plain(IMPORT)
    alike.plain(made)
    assert alike.cell(source) == RESTORED
    aliased = start()
    aliased.plain(IMPORT)
    aliased.plain(made)
    aliased.plain("other = d[1] if type(d) is list else d")

    assert aliased.cell(source) == RAN


@pytest.mark.parametrize("source", ["d = d[:1] + [3]", "d = [0]", "d = sorted(d)", "d = np.array(d)"])
def test_it_is_restored_where_nothing_of_the_old_value_is_in_the_new_one(start: Start, source: str) -> None:
    first = start()
    first.plain(IMPORT)
    first.plain("d = [1, 2]")
    first.cell(source)
    kernel = start()
    kernel.plain(IMPORT)
    kernel.plain("d = [1, 2]\nother = d")

    assert kernel.cell(source) == RESTORED


def test_an_instance_that_replaces_one_of_its_class_passes_nothing_on(start: Start) -> None:
    cells = ("class K:\n    def __init__(self, v):\n        self.v = v\nd = K(1)", "d = K(d.v + 1)")
    start().cells(*cells)
    kernel = start()
    kernel.cell(cells[0])
    kernel.plain("other = d")

    assert kernel.cell(cells[1]) == RESTORED


def test_headless_the_old_value_is_not_kept_so_every_one_that_was_read_counts(start: Start) -> None:
    first = start(marked_only=False)
    first.cells("d = [1, 2]", "d = d[:1] + [3]")
    kernel = start(marked_only=False)
    kernel.cell("d = [1, 2]")
    kernel.live["other"] = kernel["d"]

    assert kernel.cell("d = d[:1] + [3]") == RAN
