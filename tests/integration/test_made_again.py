"""What cannot be stored, in a real kernel and in a headless run: made again, asked for, said."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.integration.headless import Notebook
from tests.integration.kernel import Kernel

SETUP = "import kitaru_nb as kt, sqlite3, threading\nPATH = ':memory:'"
CELLS = [
    "%%checkpoint base\n@kt.resource\ndef db():\n    print('connecting')\n    return sqlite3.connect(PATH)",
    "%%checkpoint load\n!true\nconn = sqlite3.connect(PATH); lines = (n for n in [1, 2])",
    "%%checkpoint locks\nlock = threading.Lock(); lock.acquire();",
    "%%checkpoint odd\nclass Odd:\n    def __reduce__(self): return (dict, ())\nodd = Odd()",
    "%%checkpoint use\nn = db.execute('select 5').fetchone()[0]",
]


def test_a_resumed_kernel_makes_again_what_it_may_and_what_it_is_asked_for(tmp_path: Path) -> None:
    notebook = tmp_path / "work" / "a.ipynb"
    notebook.parent.mkdir()
    with Kernel(tmp_path / "home", notebook=notebook, cwd=notebook.parent) as kernel:
        kernel.run(SETUP)
        said = [kernel.run(cell, cell=f"c{place}").said for place, cell in enumerate(CELLS)]

    with Kernel(tmp_path / "home", notebook=notebook, cwd=notebook.parent) as kernel:
        resumed = kernel.run("%resume --remake conn")
        used = kernel.run(
            "conn.execute('select 1').fetchone() + db.execute('select 2').fetchone(), lock.locked(), n"
        )
        refused = kernel.run("%%checkpoint sum\ntotal = sum(lines)", cell="sum")
        more = kernel.run("%resume --remake lines,n")
        added = kernel.run("sum(lines), conn.execute('select 1').fetchone()")

    assert "not stored: `conn`, `lines`" in said[1]
    assert "`Odd` is not stored: it comes back as a dict" in said[3]
    for line in (
        "made again: `conn` (sqlite3.Connection, by running the cell of `load` for it alone)",
        "made again: `db` (sqlite3.Connection, by calling `db()`)",
        "made again: `lock` (threading.Lock, it was held and is free)",
        "not back: `lines` (generator: a generator lives only in its own process)",
        "not back: `odd` (Odd: it comes back as a dict)",
        "%resume --remake lines,odd runs the cells that made them",
    ):
        assert line in resumed.said
    assert "connecting" not in resumed.stdout
    assert used.result == "((1, 2), False, 5)"
    assert "%resume --remake lines" in "".join(refused.traceback)
    assert "`n` is back" in "".join(more.traceback)
    assert added.result == "(3, (1,))"


@pytest.mark.further
def test_a_headless_run_that_died_goes_on_with_its_resource(tmp_path: Path) -> None:
    notebook = Notebook(
        tmp_path,
        [
            SETUP,
            "@kt.resource\ndef db():\n    tick('made')\n    return sqlite3.connect(PATH)",
            "import os, signal\nx = db.execute('select 1').fetchone()[0]",
            "tick('b')\nif once('death'): os.kill(os.getpid(), signal.SIGKILL)",
            "print(db.execute('select 7').fetchone()[0] + x)",
        ],
    )

    died = notebook.kitaru("run", "work.ipynb")
    resumed = notebook.kitaru("resume")

    assert died.code == 138, died.stderr
    assert resumed.code == 0, resumed.stderr
    assert notebook.ticks() == ["made", "b", "made", "b"]
    assert notebook.shown()[-1][1][0]["text"] == "8\n"
