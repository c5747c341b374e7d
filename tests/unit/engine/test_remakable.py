"""What a restore report proposes to make again is what can be: the proposal, followed, is refused nowhere."""

from __future__ import annotations

import pytest

from tests.unit.engine.kernel import Kernel, Start

CONN = "import sqlite3\nconn = sqlite3.connect(':memory:')"


def proposed(kernel: Kernel) -> list[str]:
    """The names that the report of a resume proposes."""
    return kernel.session.resume().restored.remakable


@pytest.mark.parametrize(
    ("cells", "names"),
    [
        ([CONN], ["conn"]),
        ([CONN, "lines = (n for n in [1])"], ["conn", "lines"]),
        ([CONN, "cursor = conn.cursor()"], ["conn", "cursor"]),  # each needs the one before
        (["lines = (i for i in [1, 2])", "%%checkpoint use\nfirst = next(lines)"], []),  # would begin anew
        (["path = ':memory:'", "import sqlite3\nconn = sqlite3.connect(path)", "path = '/other'"], []),
        (["import sqlite3\nclass A: pass\na = A(); a.c = sqlite3.connect(':memory:')", "a.h = [1]"], []),
    ],
)
def test_the_proposal_is_what_can_be_made_again(start: Start, cells: list[str], names: list[str]) -> None:
    start().cells(*cells)
    kernel = start()

    report = kernel.session.resume()
    done = start().session.resume(again=report.restored.remakable)

    assert report.restored.remakable == names
    assert not done.refused


def test_what_a_plain_cell_made_is_not_proposed(start: Start) -> None:
    first = start()
    first.plain(CONN)
    first.cell("x = 1")

    report = start().session.resume()

    assert "conn" in report.restored.lost
    assert report.restored.remakable == []


def test_what_needs_something_that_cannot_be_made_is_not_proposed_either(start: Start) -> None:
    first = start()
    first.plain(CONN)
    first.cell("%%checkpoint read\ncursor = conn.cursor()")

    report = start().session.resume()

    assert {"conn", "cursor"} <= report.restored.lost.keys()
    assert report.restored.remakable == []


def test_what_was_made_again_is_proposed_no_more(start: Start) -> None:
    start().cells(CONN, "lines = (n for n in [1])")
    kernel = start()

    report = kernel.session.resume(again=["conn"])

    assert report.restored.remakable == ["lines"]
