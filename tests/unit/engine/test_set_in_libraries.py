"""What cells put into libraries and builtins is an input of what may look at it."""

from __future__ import annotations

import builtins
import json
import string
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pandas as pd
import pytest

from kitaru_nb.engine.process import Process
from kitaru_nb.engine.reasons import condition_reasons
from tests.unit.engine.kernel import RAN, RESTORED, Start


@pytest.fixture(autouse=True)
def _as_they_were() -> Iterator[None]:
    """A new process has the libraries as they are installed."""
    held = json.dumps, string.Template.substitute
    yield
    json.dumps, string.Template.substitute = held  # type: ignore[method-assign]
    forget()


def forget() -> None:
    vars(builtins).pop("kt_name", None)
    for name in ("kt_own", "kt_key", "kt_open"):
        vars(json).pop(name, None)
    if hasattr(pd.Series, "kt_named"):
        del pd.Series.kt_named
        pd.Series._accessors.discard("kt_named")


ACCESSOR = "pd.api.extensions.register_series_accessor"
SETS = {
    "a function": ("import json", "json.dumps = lambda value: 'P'", "r = json.dumps([1])"),
    "in the cell that imports it": (
        "x = 1",
        "import json\njson.dumps = lambda value: 'P'",
        "import json\nr = json.dumps([1])",
    ),
    "by a function": (
        "import json\ndef patch(a, b, c): setattr(a, b, c)",
        "patch(json, 'dumps', lambda value: 'P')",
        "r = json.dumps([1])",
    ),
    "by a mock": (
        "import json",
        "from unittest import mock\nmock.patch('json.dumps', lambda v: 'P').start()",
        "r = json.dumps([1])",
    ),
    "a method": (
        "import string\nt = string.Template('x')",
        "string.Template.substitute = lambda self: 'P'",
        "r = t.substitute()",
    ),
    "an accessor": (
        "import pandas as pd\ns = pd.Series([1])",
        f"@{ACCESSOR}('kt_named')\nclass A:\n    x = 'P'\n    def __init__(self, s): pass",
        "r = getattr(s, 'kt_named', None) and s.kt_named.x",
    ),
    "a builtin": (
        "import builtins",
        "builtins.kt_name = 'P'",
        "try: r = kt_name\nexcept NameError: r = 'none'",
    ),
}  # fmt: skip


@pytest.mark.parametrize("what", SETS)
def test_what_a_plain_cell_puts_into_a_library_counts_for_records_from_before(
    start: Start, what: str
) -> None:
    before, sets, step = SETS[what]
    first = start()
    first.plain(before)
    first.cell(step, step="a")
    old = first.last.draft
    second = start()
    second.plain(before)

    second.plain(sets)

    assert second.cell(step, step="a") == RAN
    assert second["r"] == "P"
    assert len(list(condition_reasons(old, second.last.draft))) == 1
    assert second.cell(step, step="a") == RESTORED


@pytest.mark.parametrize("what", SETS)
def test_what_a_step_puts_into_a_library_runs_nothing_again_in_the_next_kernel(
    start: Start, what: str
) -> None:
    held = json.dumps, string.Template.substitute
    before, sets, step = SETS[what]
    cells = (before, step, sets, step.replace("r = ", "q = "))
    first = start()
    for number, cell in enumerate(cells):
        first.cell(cell, step=str(number))
    json.dumps, string.Template.substitute = held  # type: ignore[method-assign]
    forget()
    second = start()

    became = [second.cell(cell, step=str(number)) for number, cell in enumerate(cells)]

    assert became == [RESTORED] * len(cells)


def test_a_step_that_only_sets_an_attribute_is_restored_where_it_is_set(start: Start) -> None:
    kernel = start()
    kernel.plain("import json")
    cell = "json.kt_own = 3\nx = 1"
    kernel.cell(cell, step="a")

    assert kernel.cell(cell, step="a") == RESTORED


def test_names_that_a_function_put_there_reads_count_as_well(
    start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    sets, uses = "string.capwords = lambda text: K", "r = string.capwords('a')"

    def turn(k: int) -> list[str]:
        with monkeypatch.context() as patched:
            patched.setattr("string.capwords", string.capwords)  # and put back at the end
            kernel = start()
            kernel.plain(f"import string\nK = {k}")
            became = [kernel.cell(each, step=each) for each in (sets, uses, sets)]
        assert kernel["r"] == k
        return became

    assert turn(1) == [RAN, RAN, RESTORED]
    assert turn(1) == [RESTORED] * 3
    assert turn(2) == [RAN, RAN, RESTORED]


def test_what_is_put_into_another_library_is_no_input(start: Start) -> None:
    kernel = start()
    kernel.plain("import json, string")
    kernel.cell("r = string.capwords('a')", step="a")

    kernel.plain("json.dumps = None")

    assert kernel.cell("r = string.capwords('a')", step="a") == RESTORED


def test_what_is_set_in_a_package_is_told_as_far_as_it_can_be_read_and_is_no_secret() -> None:
    process = Process()
    names = ("kt_own", "kt_same", "kt_key", "kt_open")
    process.watch(
        {"json": json, "string": string}, [*(("json", name) for name in names), ("string", "digits")]
    )
    vars(json).update(kt_own=1, kt_key="secret", kt_open=(number for number in ()))
    state = process.snapshot()

    found = process.set_in({"json"}, state)

    assert found.keys() == {"json:kt_own", "json:kt_same"}
    assert process.replaced(found, state) == {"json:kt_own"}


def test_an_attribute_that_was_seen_too_late_may_hold_what_a_cell_has_put_there() -> None:
    process = Process()
    process.watch({"json": json}, [("json", "kt_own")], late=True)
    process.watch({"json": json}, [("json", "kt_own")])

    assert process.replaced(["json:kt_own"], process.snapshot()) == {"json:kt_own"}


TURN = """
import sys
from pathlib import Path
from tests.unit.engine.kernel import Kernel
kernel = Kernel(Path(sys.argv[1]), settings={"paranoid": False}).take_over()
if sys.argv[2] == "step first":
    kernel.cell("n = 1", step="n")
for cell in CELLS:
    kernel.session.saw(cell, has_run=sys.argv[2] == "plain first")
    exec(cell, kernel.live)
print(kernel.cell("r = json.dumps([1])", step="a"))
"""
CELLS = ("import json", "held = json.dumps\njson.dumps = str\njson.dumps = held")


@pytest.mark.parametrize("order", [("plain first", "step first"), ("step first", "plain first")])
def test_what_was_put_back_runs_nothing_again_whenever_the_session_began(
    tmp_path: Path, order: tuple[str, str]
) -> None:
    code = TURN.replace("CELLS", repr(CELLS))
    became = [
        subprocess.run(
            [sys.executable, "-c", code, str(tmp_path / "home"), how],
            capture_output=True,
            text=True,
            check=True,
            cwd=Path.cwd(),
        ).stdout.strip()
        for how in order
    ]

    assert became == [RAN, RESTORED]
