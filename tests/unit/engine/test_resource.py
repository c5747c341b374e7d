"""`@resource`: made at once, made again in the next kernel, and counted by how it was made."""

from __future__ import annotations

import builtins
import os
import signal
import sqlite3
import sys
from pathlib import Path
from typing import Any

import pytest

import kitaru_nb as kt
from kitaru_nb.artifacts.marker import is_marker
from kitaru_nb.errors import UnstorableError, UsageError
from tests.unit.engine.kernel import RAN, RESTORED, Kernel, Start

CONN = """
import sqlite3
import kitaru_nb as kt

@kt.resource
def conn():
    made.append(PATH)
    return sqlite3.connect(PATH)
"""


def query(kernel: Kernel, sql: str) -> object:
    return kernel["conn"].execute(sql).fetchone()[0]


@pytest.mark.parametrize("way", ["resumed", "restored"])
def test_a_resource_is_made_again_after_what_it_reads(start: Start, way: str) -> None:
    cells = ["PATH = ':memory:'; made = []", CONN, "one = conn.execute('select 1').fetchone()"]
    start().cells(*cells)
    kernel = start()

    if way == "resumed":
        restored = kernel.session.resume().restored
        assert restored.made["conn"] == "sqlite3.Connection, by calling `conn()`"
        assert not restored.lost
    else:
        assert kernel.cells(*cells) == [RESTORED] * 3

    assert type(kernel["conn"]) is sqlite3.Connection
    assert query(kernel, "select 2") == 2
    assert kernel["made"] == [":memory:"]


def test_a_resource_of_a_plain_cell_is_made_again_too(start: Start) -> None:
    first = start()
    first.plain("PATH = ':memory:'; made = []")
    first.plain(CONN)
    first.cell("x = 1")
    kernel = start()

    kernel.session.resume()

    assert query(kernel, "select 2") == 2


def test_what_a_resource_reads_counts_for_who_reads_the_resource(start: Start) -> None:
    start().cells("PATH = ':memory:'; made = []", CONN, "n = conn.total_changes")
    kernel = start()

    assert kernel.cells("PATH = ''; made = []", CONN, "n = conn.total_changes") == [RAN] * 3


def test_the_state_of_a_resource_does_not_count(start: Start) -> None:
    cells = [
        "PATH = ':memory:'; made = []",
        CONN,
        "conn.execute('create table t (a)');",
        "n = conn.total_changes",
    ]
    start().cells(*cells)
    kernel = start()

    assert kernel.cells(*cells) == [RESTORED] * 4


def test_a_changed_recipe_makes_its_readers_run_again(start: Start) -> None:
    start().cells("PATH = ':memory:'; made = []", CONN, "n = conn.total_changes")
    kernel = start()

    became = kernel.cells(
        "PATH = ':memory:'; made = []",
        CONN.replace("connect(PATH)", "connect(PATH, 9)"),
        "n = conn.total_changes",
    )

    assert became == [RESTORED, RAN, RAN]


def test_a_resource_is_one_object_wherever_it_is_referred_to(start: Start) -> None:
    cells = [
        "PATH = ':memory:'; made = []",
        CONN,
        "class Agent: pass\nagent = Agent()\nagent.conn = conn; agent.history = []",
        "agent.history.append(1)",
        "agent.history.append(2)",
    ]
    start().cells(*cells)
    resumed = start()
    resumed.session.resume()
    assert resumed["agent"].conn is resumed["conn"]
    assert resumed["agent"].history == [1, 2]

    kernel = start()
    kernel.cells(*cells)

    assert kernel["agent"].conn is kernel["conn"]


def test_resources_that_need_each_other_are_made_in_order(start: Start) -> None:
    cells = [
        "import kitaru_nb as kt\nclass Pool:\n    def __init__(self, size): self.size = size\nSIZE = 3",
        "@kt.resource\ndef pool():\n    return Pool(SIZE)",
        "@kt.resource\ndef a_session():\n    return Pool([pool])",
    ]
    start().cells(*cells)
    kernel = start()

    kernel.session.resume()

    assert kernel["a_session"].size == [kernel["pool"]]
    assert type(kernel["pool"]) is kernel["Pool"]


def test_a_resource_that_cannot_be_made_is_a_marker_and_the_rest_is_back(
    start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PLACE", ":memory:")
    start().cells(
        "import kitaru_nb as kt, sqlite3, os",
        "@kt.resource\ndef conn():\n    return sqlite3.connect(os.environ['PLACE'])",
        "x = [1]",
    )
    kernel = start()
    monkeypatch.delenv("PLACE")

    restored = kernel.session.resume().restored

    assert "`conn()` failed: KeyError" in restored.lost["conn"]
    assert is_marker(kernel["conn"])
    assert kernel["x"] == [1]
    with pytest.raises(UnstorableError, match=r"reads `conn`.*failed"):
        kernel.cell("n = conn.total_changes")


def test_a_resource_that_hangs_can_be_stopped_and_the_rest_is_back(
    start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(builtins, "hang", lambda: None, raising=False)
    start().cells(
        "import kitaru_nb as kt\n@kt.resource\ndef thing():\n    hang()\n    return object()", "x = [1]"
    )
    kernel = start()
    monkeypatch.setattr(builtins, "hang", lambda: signal.raise_signal(signal.SIGINT))
    noted: list[int] = []
    before = signal.signal(signal.SIGINT, lambda number, _frame: noted.append(number))
    try:
        restored = kernel.session.resume().restored
    finally:
        signal.signal(signal.SIGINT, before)

    assert "it was stopped" in restored.lost["thing"]
    assert kernel["x"] == [1]
    assert noted == []


def test_a_resource_finds_the_working_folder_it_was_made_in(start: Start, tmp_path: Path) -> None:
    start().cells(
        "import os\nos.mkdir('data'); os.chdir('data')",
        "import kitaru_nb as kt, sqlite3\n@kt.resource\ndef conn():\n    return sqlite3.connect('x.db')",
        "conn.execute('create table t as select 7 as a');",
    )
    os.chdir(tmp_path)
    kernel = start()

    kernel.session.resume()

    assert query(kernel, "select a from t") == 7
    assert not (tmp_path / "x.db").exists()


@pytest.mark.parametrize("way", ["resumed", "restored"])
def test_a_resource_finds_the_files_that_cells_wrote(start: Start, way: str) -> None:
    cells = [
        "import kitaru_nb as kt\nwith open('names.txt', 'w') as file: file.write('ana')",
        "@kt.resource\ndef source():\n    return open('names.txt', 'a+')",
    ]
    first = start()
    first.cells(*cells)
    first["source"].close()
    Path("names.txt").unlink()
    kernel = start()

    kernel.session.resume() if way == "resumed" else kernel.cells(*cells)

    kernel["source"].seek(0)
    assert kernel["source"].read() == "ana"
    kernel["source"].close()


def test_a_resource_of_a_project_module_is_the_module_s_own(
    start: Start, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "project_db.py").write_text(
        "import sqlite3\nimport kitaru_nb as kt\n"
        "@kt.resource\ndef conn():\n    return sqlite3.connect(':memory:')\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    start().cells("from project_db import conn", "n = conn.total_changes")
    del sys.modules["project_db"]
    kernel = start()

    restored = kernel.session.resume().restored

    assert kernel["conn"] is sys.modules["project_db"].conn
    assert restored.made["conn"] == "sqlite3.Connection, by importing `project_db`"
    del sys.modules["project_db"]


def test_what_a_resource_prints_is_not_shown_again(start: Start, capsys: pytest.CaptureFixture[str]) -> None:
    start().cell("import kitaru_nb as kt\n@kt.resource\ndef thing():\n    print('made')\n    return object()")
    kernel = start()
    capsys.readouterr()

    kernel.session.resume()

    assert capsys.readouterr().out == ""


def test_plain_data_under_resource_is_stored_as_it_is(start: Start) -> None:
    start().cells("import kitaru_nb as kt\n@kt.resource\ndef rows():\n    return [1]", "rows.append(2)")
    kernel = start()

    kernel.session.resume()

    assert kernel["rows"] == [1, 2]


async def later() -> None: ...


def with_argument(x: int) -> int:
    return x


@pytest.mark.parametrize(
    ("wrong", "words"), [(later, "neither async"), (with_argument, "needs `x`"), (int, "`int`")]
)
def test_what_cannot_be_called_again_is_refused_at_once(wrong: Any, words: str) -> None:
    with pytest.raises(UsageError, match=words):
        kt.resource(wrong)
