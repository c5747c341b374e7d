"""What a step is told of by code that it reaches decides as what its own words ask for."""

from __future__ import annotations

import calendar
import decimal
import json
import os
import sys
import time
import warnings
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.unit.engine.kernel import RAN, RESTORED, Start

PROJECT = """
import decimal, json, warnings
from datetime import datetime

def third(): return decimal.Decimal(1) / 3
def text(): return json.dumps(1)
def hour(): return datetime.fromtimestamp(0).hour
def warned():
    try: warnings.warn("x")
    except UserWarning: return True
"""


@pytest.fixture(autouse=True)
def _as_it_was(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A project with one module; what cells set is taken back."""
    (tmp_path / "asked_project.py").write_text(PROJECT, "utf-8")
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setenv("TZ", "UTC")
    monkeypatch.setenv("KT_ASKED", "1")
    monkeypatch.setattr(json, "dumps", json.dumps)
    limit, zone = sys.getrecursionlimit(), os.environ["TZ"]
    with decimal.localcontext(), warnings.catch_warnings():
        yield
    sys.setrecursionlimit(limit)
    calendar.setfirstweekday(0)
    os.environ["TZ"] = zone
    time.tzset()
    sys.modules.pop("asked_project", None)


IMPORT = "import asked_project as project\n"
CASES = {
    "a context through a module": (
        IMPORT + "import decimal; decimal.getcontext().prec = {}",
        (5, 6),
        "x = project.third()",
    ),
    "a replaced function through a module": (
        IMPORT + "import json; json.dumps = lambda *a, **k: '{}'",
        (1, 2),
        "x = project.text()",
    ),
    "the time zone through a module": (
        IMPORT + "import os, time; os.environ['TZ'] = '{}'; time.tzset()",
        ("UTC", "Asia/Tokyo"),
        "x = project.hour()",
    ),
    "the time zone": (
        "import os, time; os.environ['TZ'] = '{}'; time.tzset()",
        ("UTC", "Asia/Tokyo"),
        "x = time.localtime(0).tm_hour",
    ),
    "warnings that are errors, through a module": (
        IMPORT + "import warnings; warnings.simplefilter('{}')",
        ("ignore", "error"),
        "x = project.warned()",
    ),
    "warnings that are errors": (
        "import warnings; warnings.simplefilter('{}')",
        ("ignore", "error"),
        "try: x = [warnings.warn('x')]\nexcept UserWarning: x = None",
    ),
    "the first day of the week": (
        "import calendar; calendar.setfirstweekday({})",
        (0, 6),
        "x = calendar.weekheader(2)",
    ),
    "a limit that a function asks for": (
        "import sys; sys.setrecursionlimit({})\ndef f(): return sys.getrecursionlimit()",
        (3000, 3100),
        "x = f()",
    ),
    "a variable of a shell's line": (
        "import os; os.environ['KT_ASKED'] = '{}'",
        (1, 2),
        "import subprocess\nx = subprocess.getoutput('echo $KT_ASKED')",
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_what_code_is_told_of_counts_for_the_step_that_reaches_it(start: Start, case: str) -> None:
    plain, (first, other), step = CASES[case]

    def turn(value: object) -> tuple[str, object]:
        calendar.setfirstweekday(0)  # as a new process has it
        kernel = start()
        kernel.plain(plain.replace("{}", str(value)))
        return kernel.cell(step, step="a"), kernel["x"]

    before, again, changed, changed_again = [turn(value) for value in (first, first, other, other)]

    assert [became for became, _ in (before, again, changed, changed_again)] == [RAN, RESTORED, RAN, RESTORED]
    assert before[1] == again[1] != changed[1] == changed_again[1]


def test_a_filter_that_makes_no_warning_an_error_runs_nothing_again(start: Start) -> None:
    step = "x = [warnings.warn('x')]"
    kernel = start()
    kernel.plain("import warnings; warnings.resetwarnings(); warnings.simplefilter('ignore')")
    kernel.cell(step)
    other = start()
    other.plain("import warnings; warnings.resetwarnings(); warnings.simplefilter('ignore')")
    other.plain("warnings.filterwarnings('ignore', message='of a library')")

    assert other.cell(step) == RESTORED


@pytest.mark.parametrize("line", ["cat parts/*.csv", "ls parts", "sh run.sh parts"])
def test_what_is_in_a_folder_counts_that_a_program_is_given(
    start: Start, line: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "parts").mkdir()
    (tmp_path / "parts" / "a.csv").write_text("a", "utf-8")
    (tmp_path / "run.sh").write_text("cat $1/*", "utf-8")
    step = f"import subprocess\nx = subprocess.getoutput({line!r})"

    turns = [start().cell(step), start().cell(step)]
    (tmp_path / "parts" / "b.csv").write_text("b", "utf-8")
    turns += [start().cell(step), start().cell(step)]

    assert turns == [RAN, RESTORED, RAN, RESTORED]


def test_a_folder_that_a_program_writes_is_no_input(
    start: Start, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    step = "import os\nos.system('mkdir -p made && echo 1 > made/a.txt')"

    assert [start().cell(step), start().cell(step)] == [RAN, RESTORED]
