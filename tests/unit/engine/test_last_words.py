"""What a class does when an object dies belongs to the step that lets it die, and is done once."""

from __future__ import annotations

import pytest

from tests.unit.engine.kernel import RAN, RESTORED, Start

CLASS = "log = []\nclass D:\n    def __init__(s, n): s.n = n\n    def __del__(s): log.append(s.n)"

DEATHS = {
    "bound anew, then deleted": ("d = D(1)", "d = D(2)", "del d"),
    "taken out of a list": ("d = [D(1), D(2)]", "del d[0]", "d.clear()"),
    "an attribute of an object": ("class O: pass\no = O()\no.d = D(1)", "o.d = D(2)", "del o.d"),
    "with what holds it": ("d = {'a': D(1)}", "d = {'a': [D(2)]}", "del d"),
}


@pytest.mark.parametrize("how", DEATHS)
def test_what_a_class_does_when_an_object_dies_is_done_once(start: Start, how: str) -> None:
    cells = (CLASS, *DEATHS[how], "r = list(log)")
    first = start()
    logs = []
    for number, cell in enumerate(cells):
        first.cell(cell, step=str(number))
        logs.append(list(first["log"]))
    second = start()

    became = []
    for number, cell in enumerate(cells):
        became.append(second.cell(cell, step=str(number)))
        assert second["log"] == logs[number]

    assert logs == [[], [], [1], [1, 2], [1, 2]]
    assert became == [RESTORED] * len(cells)
    assert second["r"] == [1, 2]


def test_an_object_that_lives_on_elsewhere_says_nothing_when_a_restore_binds_its_name_anew(
    start: Start,
) -> None:
    cells = (CLASS, "kept = [D(1)]", "d = kept[0]", "d = None")
    first = start()
    for number, cell in enumerate(cells):
        first.cell(cell, step=str(number))
    second = start()

    for number, cell in enumerate(cells):
        assert second.cell(cell, step=str(number)) == RESTORED

    assert second["log"] == []
    assert second["kept"][0].n == 1


def test_a_step_that_fails_is_undone_though_it_let_something_die_at_last(start: Start) -> None:
    kernel = start()
    kernel.cell(CLASS, step="0")
    kernel.cell("d = [D(1)]", step="1")
    with pytest.raises(ZeroDivisionError):
        kernel.cell("d.clear()\n1 / 0", step="2")

    assert kernel.cell("n = len(d)", step="2") == RAN

    assert kernel["n"] == 1
    assert kernel["log"] == []
