"""`--remake`: a name is made again by its cell, and nothing else of that cell happens here."""

from __future__ import annotations

import os
import sqlite3
from pathlib import Path

import pytest

from kitaru_nb.artifacts.marker import is_marker
from kitaru_nb.errors import UnstorableError
from tests.unit.engine.kernel import RAN, RESTORED, Start

CONN = "import sqlite3\nlog = ['made']; count = 1\nconn = sqlite3.connect(PATH)"


def test_only_the_wanted_name_is_made_again(start: Start) -> None:
    start().cells("PATH = ':memory:'; log = []", CONN, "count = 2; log.append('later')")
    kernel = start()

    report = kernel.session.resume(again=["conn"])

    assert not report.refused
    assert kernel["conn"].execute("select 1").fetchone() == (1,)
    assert kernel["count"] == 2
    assert kernel["log"] == ["made", "later"]
    assert report.restored.made["conn"] == "sqlite3.Connection, by running the cell of `log` for it alone"
    assert "conn" in report.restored.names
    assert "conn" not in report.restored.lost


def test_without_being_asked_nothing_is_made_again(start: Start) -> None:
    start().cells("PATH = ':memory:'; log = []", CONN)
    kernel = start()

    report = kernel.session.resume()

    assert is_marker(kernel["conn"])
    assert "conn" in report.restored.lost


def test_what_was_made_again_takes_the_marker_s_place_everywhere(start: Start) -> None:
    start().cells(
        "import sqlite3\nclass Agent: pass",
        "conn = sqlite3.connect(':memory:')",
        "agent = Agent(); agent.conn = conn; agent.all = [conn]; agent.by = {'a': conn}; other = conn",
    )
    kernel = start()

    report = kernel.session.resume(again=["conn"])

    agent = kernel["agent"]
    assert type(kernel["conn"]) is sqlite3.Connection
    assert agent.conn is agent.all[0] is agent.by["a"] is kernel["other"] is kernel["conn"]
    assert not report.restored.lost


def test_a_generator_goes_on_over_the_live_list(start: Start) -> None:
    start().cells("rows = [1, 2, 3]", "def double(x): return 2 * x\nlines = (double(r) for r in rows)")
    kernel = start()
    kernel.session.resume(again=["lines"])

    kernel["rows"].append(4)

    assert list(kernel["lines"]) == [2, 4, 6, 8]


def test_instances_belong_to_the_class_that_is_there(start: Start) -> None:
    start().cells(
        "import sqlite3\nclass Db:\n    def __init__(self): self.c = sqlite3.connect(':memory:')\ndb = Db()"
    )
    kernel = start()

    kernel.session.resume(again=["db"])

    assert type(kernel["db"]) is kernel["Db"]
    assert type(kernel["db"].c) is sqlite3.Connection


def test_a_changed_input_is_refused(start: Start) -> None:
    start().cells("PATH = ':memory:'; log = []", CONN, "PATH = 'y.db'")
    kernel = start()

    report = kernel.session.resume(again=["conn"])

    assert [error.kind for error in report.refused] == ["changed-input"]
    assert "`PATH`" in report.refused[0].message
    assert is_marker(kernel["conn"])


def test_a_name_of_a_plain_cell_has_no_recipe(start: Start) -> None:
    first = start()
    first.plain("import sqlite3; conn = sqlite3.connect(':memory:')")
    first.cell("x = 1")
    kernel = start()

    report = kernel.session.resume(again=["conn"])

    assert [error.kind for error in report.refused] == ["no-recipe"]
    assert "no checkpoint" in report.refused[0].message
    assert "kt.resource" in report.refused[0].hint


@pytest.mark.parametrize(("name", "kind"), [("x", "nothing-to-remake"), ("nothing", "unknown-name")])
def test_what_is_back_or_unknown_is_refused(start: Start, name: str, kind: str) -> None:
    start().cells("x = 1")
    kernel = start()

    report = kernel.session.resume(again=[name])

    assert [error.kind for error in report.refused] == [kind]


def test_a_recipe_that_fails_leaves_everything_as_it_was(
    start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PLACE", ":memory:")
    monkeypatch.setenv("STEP", "none")
    start().cells(
        "import os, sqlite3\nlog = []",
        "log = [1]; os.environ['STEP'] = 'one'\nconn = sqlite3.connect(os.environ['PLACE'])",
        "log.append(2); os.environ['STEP'] = 'two'",
    )
    kernel = start()
    monkeypatch.delenv("PLACE")

    report = kernel.session.resume(again=["conn"])

    assert report.refused[0].kind == "recipe-failed"
    assert "KeyError" in report.refused[0].message
    assert kernel["log"] == [1, 2]
    assert os.environ["STEP"] == "two"


def test_a_value_changed_since_is_not_made_anew_for_a_part(start: Start) -> None:
    start().cells(
        "import sqlite3\nclass Agent: pass\nagent = Agent(); agent.c = sqlite3.connect(':memory:')",
        "agent.history = [1]",
    )
    kernel = start()

    report = kernel.session.resume(again=["agent"])

    assert [error.kind for error in report.refused] == ["changed-since"]
    assert kernel["agent"].history == [1]


def test_names_that_need_each_other_are_made_in_the_order_of_their_cells(start: Start) -> None:
    start().cells("import sqlite3", "conn = sqlite3.connect(':memory:')", "cursor = conn.cursor()")
    kernel = start()

    report = kernel.session.resume(again=["cursor", "conn"])

    assert not report.refused
    assert kernel["cursor"].connection is kernel["conn"]


def test_what_was_made_again_stays_when_more_is_asked_for(start: Start) -> None:
    start().cells("import sqlite3", "conn = sqlite3.connect(':memory:')", "lines = (n for n in [1])")
    kernel = start()
    kernel.session.resume(again=["conn"])
    first = kernel["conn"]

    report = kernel.session.resume(again=["lines"])

    assert kernel["conn"] is first
    assert list(kernel["lines"]) == [1]
    assert not report.restored.lost


def test_what_cannot_be_stored_and_is_still_there_stays_when_its_step_is_restored(start: Start) -> None:
    kernel = start()
    cell = "import sqlite3\nconn = sqlite3.connect(':memory:'); both = [conn]"
    kernel.cell(cell, step="1")
    conn = kernel["conn"]

    became = kernel.cell(cell, step="1")

    assert became == RESTORED
    assert kernel["conn"] is kernel["both"][0] is conn
    assert not kernel.restored.lost


def test_a_step_that_reads_what_was_made_again_runs(start: Start) -> None:
    start().cells("import sqlite3\nconn = sqlite3.connect(':memory:')", "n = conn.total_changes")
    kernel = start()
    kernel.session.resume(again=["conn"])

    assert kernel.cell("n = conn.total_changes + 0") == RAN


def test_the_hint_of_a_refused_step_and_of_a_marker_says_remake(start: Start) -> None:
    start().cells("import sqlite3\nconn = sqlite3.connect(':memory:')")
    kernel = start()
    kernel.session.resume()

    with pytest.raises(UnstorableError) as refused:
        kernel.cell("n = conn.total_changes")
    with pytest.raises(UnstorableError) as used:
        kernel["conn"].total_changes  # noqa: B018 - using it is the act

    assert "%resume --remake conn" in refused.value.hint
    assert "%resume --remake conn" in used.value.hint


def test_a_generator_that_was_used_since_is_not_begun_anew(start: Start) -> None:
    start().cells("lines = (i for i in [1, 2, 3])", "%%checkpoint use\nfirst = next(lines)")
    kernel = start()

    report = kernel.session.resume(again=["lines"])

    (refused,) = report.refused
    assert (refused.kind, is_marker(kernel["lines"])) == ("changed-since", True)
    assert "was used after checkpoint `lines` made it" in str(refused)


def test_a_generator_that_was_not_used_is_made_again(start: Start) -> None:
    start().cells("lines = (i for i in [1, 2, 3])", "%%checkpoint other\nx = 1")
    kernel = start()

    kernel.session.resume(again=["lines"])

    assert list(kernel["lines"]) == [1, 2, 3]


def test_a_file_that_was_written_to_since_is_not_emptied(start: Start, tmp_path: Path) -> None:
    first = start()
    first.cells("f = open('out.txt', 'w'); f.write('head '); f.flush()", "f.write('more'); f.flush()")
    first["f"].close()
    kernel = start()

    report = kernel.session.resume(again=["f"])

    assert (tmp_path / "out.txt").read_text() == "head more"
    assert is_marker(kernel["f"])
    assert "would empty or remove `out.txt`" in report.refused[0].message
