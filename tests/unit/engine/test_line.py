"""A line of commits: what each group refers to, as names come and go."""

from __future__ import annotations

import pytest

from tests.unit.engine.kernel import RAN, RESTORED, Kernel, Start

HOLDS = "def f():\n    pass\nheld = [f]\ndel f"


def again(start: Start, *cells: str) -> Kernel:
    """A new kernel in which all `cells` were restored."""
    kernel = start()
    assert [kernel.cell(source) for source in cells] == [RESTORED] * len(cells)
    return kernel


def resumed(start: Start) -> Kernel:
    kernel = start()
    kernel.session.resume()
    return kernel


@pytest.mark.parametrize(
    "cells",
    [
        (HOLDS, "g = held[0]"),
        ("def f():\n    pass\nheld = [f]", "def f():\n    return 2", "g = held[0]"),
        ("class K:\n    pass\nheld = [K]\ndel K", "g = held[0]"),
        ("class K:\n    pass\nK.kept = lambda: 1\nheld = [K.kept]", "g = held[0]"),
    ],
)
def test_what_only_a_container_held_is_one_object_with_the_name_it_got(
    start: Start, cells: tuple[str, ...]
) -> None:
    first = start()
    first.cells(*cells)
    assert first["g"] is first["held"][0]

    for kernel in (resumed(start), again(start, *cells)):
        assert kernel["g"] is kernel["held"][0]


def test_the_name_may_be_given_by_a_plain_cell(start: Start) -> None:
    first = start()
    first.cell(HOLDS)
    first.plain("g = held[0]")
    first.cell("n = 1")

    kernel = resumed(start)

    assert kernel["g"] is kernel["held"][0]


def test_the_name_may_be_given_after_a_resume(start: Start) -> None:
    start().cell(HOLDS)
    second = resumed(start)
    second.plain("g = held[0]")
    second.cell("n = 1")

    kernel = resumed(start)

    assert kernel["g"] is kernel["held"][0]


def test_who_leads_to_such_a_container_leads_to_the_same(start: Start) -> None:
    cells = (
        "def f():\n    pass\ndef h():\n    pass\nh.kept = f\nheld = [h]\ndel f",
        "g = h.kept",
    )
    start().cells(*cells)

    for kernel in (resumed(start), again(start, *cells)):
        assert kernel["held"][0] is kernel["h"]
        assert kernel["h"].kept is kernel["g"]


def test_a_container_is_stored_again_once_and_not_with_each_commit(start: Start) -> None:
    kernel = start()
    kernel.cells(HOLDS, "g = held[0]")
    stored = [group.names for group in kernel.last.draft.groups]
    kernel.cells("n = 1")

    assert stored == [("g",), ("held",)]
    assert [group.names for group in kernel.last.draft.groups] == [("n",)]


def test_after_a_resume_nothing_is_stored_again_that_refers_as_it_did(start: Start) -> None:
    start().cells("def f():\n    pass\ndef h():\n    pass\nh.kept = f\nheld = [f]", "held.append(h)")
    kernel = resumed(start)

    kernel.cell("n = 1")

    assert [group.names for group in kernel.last.draft.groups] == [("n",)]


DEFINES = "def f():\n    return 1"


@pytest.mark.parametrize("holds", ["held = [f]", "class K:\n    pass\nK.kept = f\nheld = [K.kept]"])
def test_a_function_that_is_defined_again_is_another_one(start: Start, holds: str) -> None:
    kernel = start()
    kernel.cell(DEFINES, step="define")
    kernel.cell(holds)
    assert kernel.cell(DEFINES, step="define") == RESTORED
    assert kernel["f"] is not kernel["held"][0]

    back = resumed(start)

    assert back["f"] is not back["held"][0]
    back.cell("g = held[0]")
    assert resumed(start)["f"] is not back["g"]


def test_two_functions_that_are_alike_stay_two_when_both_have_names(start: Start) -> None:
    kernel = start()
    kernel.cell(DEFINES, step="define")
    kernel.plain("held = [f]")
    kernel.plain(DEFINES)
    kernel.plain("g = held[0]")
    kernel.cell("n = 1")

    back = resumed(start)

    assert back["g"] is back["held"][0]
    assert back["g"] is not back["f"]


def test_a_function_bound_to_its_own_name_stays_the_one_that_others_hold(start: Start) -> None:
    cells = ("def f():\n    pass\nheld = [f]", "f, f = f, f")
    start().cells(*cells)

    kernel = again(start, *cells)

    assert kernel["held"][0] is kernel["f"]


def test_an_alias_of_a_function_is_an_alias_of_the_one_that_others_hold(start: Start) -> None:
    cells = ("def f():\n    pass", "held = [f]", "g = f")
    start().cells(*cells)

    kernel = again(start, *cells)

    assert kernel["g"] is kernel["f"] is kernel["held"][0]


def test_the_step_that_names_a_part_counts_only_with_what_held_it(start: Start) -> None:
    cells = (HOLDS, "if held:\n    g = held[0]")
    start().cells(*cells)
    kernel = start()
    kernel.cell(HOLDS)
    kernel.plain("other = held")

    assert kernel.cell(cells[1]) == RAN
    assert kernel["g"] is kernel["other"][0]


def test_functions_that_share_a_cell_still_do_when_one_of_them_got_an_attribute(start: Start) -> None:
    cells = (
        "def m(k):\n    def f():\n        return k\n    return f, lambda: k\nf, g = m([])",
        "f.note = 1",
    )
    start().cells(*cells)

    for kernel in (resumed(start), again(start, *cells)):
        assert kernel["f"].__closure__[0] is kernel["g"].__closure__[0]


@pytest.mark.parametrize("crash", [False, True])
def test_functions_that_swap_names_stay_the_ones_that_others_hold(start: Start, *, crash: bool) -> None:
    cells = (
        "def f():\n    return 1\ndef g():\n    return 2",
        "class K:\n    pass\nK.kept = g",
        "f, g = g, f",
    )
    first = start()
    first.cells(*cells[:2])
    first = resumed(start) if crash else first
    first.cell(cells[2])

    for kernel in (resumed(start), again(start, *cells)):
        assert kernel["f"] is kernel["K"].kept


def test_a_subclass_derives_from_the_class_that_came_back(start: Start) -> None:
    base, *cells = ("class B:\n    pass", "class D(B):\n    pass", "B.note = 1")
    first = start()
    first.plain(base)
    first.cells(*cells)
    kernel = start()
    kernel.plain(base)

    assert kernel.cells(*cells) == [RESTORED, RESTORED]
    assert kernel["D"].__base__ is kernel["B"]


@pytest.mark.parametrize("holds", ["kept = 1", "kept = [f]", "kept = (g, 1)", "h = g"])
def test_a_function_that_moved_and_one_defined_again_as_it_was_are_two(start: Start, holds: str) -> None:
    kernel = start()
    kernel.plain("def g():\n    return 2")
    kernel.cell(DEFINES, step="define")
    kernel.cell("f, g = g, f")
    kernel.cell(holds)
    kernel.cell(DEFINES, step="define")

    back = resumed(start)

    assert back["f"] is not back["g"]
    assert back["g"]() == back["f"]() == 1
    back.cell("n = 1")
    assert [group.names for group in back.last.draft.groups] == [("n",)]


def test_what_a_commit_has_added_is_what_changed(start: Start) -> None:
    kernel = start()
    kernel.cells(
        "import numpy as np\nfrom pathlib import Path\n"
        "x = np.arange(2_000_000.0)\nPath('a.txt').write_text('a' * 5000)"
    )
    assert kernel.session.last_bytes > 16_005_000

    kernel.cells("x[0] = 7")
    assert 0 < kernel.session.last_bytes < 2 << 20

    kernel.cells("n = 'a' * 100")
    assert 100 < kernel.session.last_bytes < 1000
