"""What cells log goes after a restore where it went before, or the cell that arranged it runs again."""

# ruff: noqa: ISC004 - a cell of several lines is one string

from __future__ import annotations

import logging
import logging.handlers
from collections.abc import Iterator
from pathlib import Path

import pytest

from kitaru_nb.engine.live import ran_again
from tests.unit.engine.kernel import RAN, RESTORED, Kernel

NAME = "loggers.of.a.test"
HEAD = f"import io, logging, logging.handlers\nlog = logging.getLogger('{NAME}')\n"
CELLS = {
    "both have a name": HEAD + "buf = io.StringIO()\nh = logging.StreamHandler(buf)\nlog.addHandler(h)",
    "the text has a name": HEAD
    + "buf = io.StringIO()\nlog.addHandler(logging.StreamHandler(buf))\n"
    + "log.handlers[0].setFormatter(logging.Formatter('%(message)s'))",
    "the handler has a name": HEAD + "h = logging.StreamHandler(io.StringIO())\nlog.addHandler(h)",
    "the name of the text is gone": HEAD
    + "buf = io.StringIO()\nlog.addHandler(logging.StreamHandler(buf))\nmade = buf",
}


@pytest.fixture(autouse=True)
def _as_it_was() -> Iterator[None]:
    yield
    forget()


def forget() -> None:
    """A new process has none of the handlers, and none of the filters."""
    logging.getLogger(NAME).handlers.clear()
    logging.getLogger(NAME).filters.clear()


def told(kernel: Kernel) -> list[str]:
    """What a record that is logged now makes of the texts of all handlers."""
    kernel.plain("log.error('now')")
    return [handler.stream.getvalue() for handler in logging.getLogger(NAME).handlers]  # type: ignore[attr-defined]


@pytest.mark.parametrize("case", CELLS)
@pytest.mark.parametrize("way", ["restored", "resumed"])
def test_a_handler_to_a_text_in_memory_is_put_back_with_what_names_share_with_it(
    tmp_path: Path, case: str, way: str
) -> None:
    kernel = Kernel(tmp_path / "home")
    kernel.cells(CELLS[case], "log.error('before')")
    if case.endswith("gone"):
        kernel.cell("del buf, made")
    forget()

    again = Kernel(tmp_path / "home").take_over()
    if way == "restored":
        assert again.cells(CELLS[case], "log.error('before')") == [RESTORED, RESTORED]
        if case.endswith("gone"):
            assert again.cell("del buf, made") == RESTORED
    else:
        assert again.session.resume().restored.problems == []

    (handler,) = logging.getLogger(NAME).handlers
    assert told(again) == ["before\nnow\n"]
    if "buf" in again.live:
        assert again["buf"].getvalue() == "before\nnow\n"
    assert again.live.get("h", handler) is handler


def test_an_added_handler_is_undone_with_the_cell_that_failed(tmp_path: Path) -> None:
    kernel = Kernel(tmp_path / "home")
    kernel.plain(HEAD)
    with pytest.raises(ZeroDivisionError):
        kernel.cell("buf = io.StringIO(); log.addHandler(logging.StreamHandler(buf)); 1 / 0", step="a")

    kernel.cell("buf = io.StringIO(); log.addHandler(logging.StreamHandler(buf))", step="a")

    assert told(kernel) == ["now\n"]


def test_a_rewind_to_before_it_was_added_takes_a_handler_out(tmp_path: Path) -> None:
    kernel = Kernel(tmp_path / "home")
    kernel.cell("%%checkpoint first\nx = 1")
    kernel.cell(CELLS["the text has a name"])

    kernel.session.resume(at="first")

    assert logging.getLogger(NAME).handlers == []


OTHERS = {
    "of the standard library": ("log.addHandler(logging.handlers.MemoryHandler(10))", "MemoryHandler"),
    "to a text without a name": (
        "class Kept:\n    def __init__(self): self.text = io.StringIO()\nkept = Kept()\n"
        "log.addHandler(logging.StreamHandler(kept.text))",
        "StreamHandler",
    ),
    "to something else": (
        "class Tee:\n    def write(self, text): pass\nlog.addHandler(logging.StreamHandler(Tee()))",
        "StreamHandler",
    ),
    "made before": ("log.addHandler(made)", "MemoryHandler"),
}


@pytest.mark.parametrize("case", OTHERS)
def test_a_cell_that_adds_another_handler_runs_again_in_a_new_kernel_and_says_so(
    tmp_path: Path, case: str
) -> None:
    source, kind = OTHERS[case]
    before = HEAD + "made = logging.handlers.MemoryHandler(10)"
    kernel = Kernel(tmp_path / "home", settings={"paranoid": False})
    kernel.cells(before, source)
    forget()

    again = Kernel(tmp_path / "home", settings={"paranoid": False}).take_over()
    resumed = again.session.resume()
    assert any(f"the log handler `{kind}` added by" in problem for problem in resumed.restored.problems)
    plan = again.plan(source)
    assert again.cell(source) == RAN

    assert ran_again(plan.pending.unmet) == (f"it added a log handler, `{kind}`, which cannot be stored",)
    assert [type(handler).__name__ for handler in logging.getLogger(NAME).handlers] == [kind]


def test_a_handler_that_a_library_adds_to_its_own_logger_makes_nothing_run_again(tmp_path: Path) -> None:
    own = logging.getLogger("hypothesis.of.a.test")
    source = "import hypothesis\ninstalled()"
    for expected in (RAN, RESTORED):
        kernel = Kernel(tmp_path / "home", settings={"paranoid": False}).take_over()
        kernel.live["installed"] = _added_by_a_library
        assert kernel.cell(source) == expected
        own.handlers.clear()


def _added_by_a_library() -> None:
    logging.getLogger("hypothesis.of.a.test").addHandler(logging.handlers.MemoryHandler(10))


FILTERS = {
    "a function": HEAD + "def quiet(record): return 'noise' not in record.getMessage()\nlog.addFilter(quiet)",
    "an object of a class of the notebook": HEAD
    + "class Quiet(logging.Filter):\n    def filter(s, record): return 'noise' not in record.getMessage()\n"
    + "log.addFilter(Quiet())",
    "one that has a name": HEAD + "named = logging.Filter('elsewhere')\nlog.addFilter(named)",
}


def lets_through(text: str) -> bool:
    return bool(logging.getLogger(NAME).filter(logging.makeLogRecord({"name": NAME, "msg": text})))


@pytest.mark.parametrize("case", FILTERS)
@pytest.mark.parametrize("way", ["restored", "resumed"])
def test_a_filter_of_the_notebook_is_put_back(tmp_path: Path, case: str, way: str) -> None:
    Kernel(tmp_path / "home").cell(FILTERS[case])
    assert not lets_through("noise")
    forget()

    again = Kernel(tmp_path / "home").take_over()
    if way == "restored":
        assert again.cell(FILTERS[case]) == RESTORED
    else:
        assert again.session.resume().restored.problems == []

    assert not lets_through("noise")
    assert len(logging.getLogger(NAME).filters) == 1


OTHER_FILTERS = {
    "of a logger": HEAD + "log.addFilter(logging.Filter('elsewhere'))",
    "of a handler": HEAD
    + "buf = io.StringIO()\nlog.addHandler(logging.StreamHandler(buf))\n"
    + "log.handlers[0].addFilter(logging.Filter('elsewhere'))",
}


@pytest.mark.parametrize("case", OTHER_FILTERS)
def test_a_cell_that_adds_any_other_filter_runs_again_and_says_so(tmp_path: Path, case: str) -> None:
    Kernel(tmp_path / "home").cell(OTHER_FILTERS[case])
    forget()

    again = Kernel(tmp_path / "home").take_over()
    (problem,) = [each for each in again.session.resume().restored.problems if "filter" in each]
    why = ran_again(again.plan(OTHER_FILTERS[case]).pending.unmet)

    assert "the log filter `Filter` added by checkpoint" in problem
    assert "it added a log filter, `Filter`, which cannot be stored" in why
    assert again.cell(OTHER_FILTERS[case]) == RAN


def test_a_filter_that_was_taken_off_again_is_off_after_a_restore(tmp_path: Path) -> None:
    cells = FILTERS["a function"], "log.removeFilter(quiet)"
    Kernel(tmp_path / "home").cells(*cells)
    forget()

    assert Kernel(tmp_path / "home").take_over().cells(*cells) == [RESTORED, RESTORED]

    assert lets_through("noise")


def test_a_plain_handler_that_has_a_name_is_that_one_after_a_restore(tmp_path: Path) -> None:
    source = HEAD + "h = logging.StreamHandler()\nlog.addHandler(h)"
    Kernel(tmp_path / "home").cell(source)
    forget()

    again = Kernel(tmp_path / "home").take_over()
    assert again.cell(source) == RESTORED

    assert logging.getLogger(NAME).handlers == [again["h"]]
