"""Cells that wait, without a kernel: quiet, undone before they run again, gone on with."""

from __future__ import annotations

import gc
import time
from pathlib import Path
from typing import Any

import pytest

from kitaru_nb.errors import ConflictError, Suspended
from kitaru_nb.model.execution import Execution, ExecutionStatus
from kitaru_nb.model.wait import Wait, WaitStatus
from kitaru_nb.notebook.suspending import may_wait
from kitaru_nb.stacks.flows import here
from tests.unit.notebook.shell import Shell, Start

CAPTURE = pytest.CaptureFixture[str]


@pytest.fixture
def start(start: Start) -> Start:
    """The same, where a cell has imported what asks."""

    def begin() -> Shell:
        shell = start()
        shell.run("import kitaru_nb as kt", "imports")
        return shell

    return begin


def waits() -> list[Wait]:
    return here.engine().journal.waits()


def answer(value: Any) -> None:
    (pending,) = [wait for wait in waits() if wait.status is WaitStatus.PENDING]
    here.engine().journal.answer_wait(pending.address, value, by="ana@lab", source="cli")


def execution() -> Execution:
    return here.engine().journal.execution("latest")


def suspended(shell: Shell, source: str, cell: str) -> Suspended:
    result = shell.run(source, cell)
    assert isinstance(result.error_in_exec, Suspended), result
    assert not result.success
    return result.error_in_exec


ASK = "log.append('asked')\nok = kt.wait('Publish?', show='a draft', name='publish')\nlog.append('went on')"


@pytest.mark.parametrize("mark", ["", "%%checkpoint publish\n"])
def test_a_cell_waits_quietly_and_goes_on_with_the_answer(start: Start, capsys: CAPTURE, mark: str) -> None:
    shell = start()
    shell.run("log = []", "a")

    stopped = suspended(shell, mark + ASK, "b")

    shown = capsys.readouterr()
    (wait,) = waits()
    assert stopped.wait == wait.address
    assert "Traceback" not in shown.out + shown.err
    assert "Suspended" not in shown.out + shown.err
    assert "a draft" in shown.out
    assert f"%kitaru approve {wait.address}, or reject" in shown.out
    assert shell["log"] == ["asked"], "what it did is there to be looked at"
    assert "ok" not in shell

    answer(True)
    result = shell.run(mark + ASK, "b")

    assert result.success
    assert (shell["ok"], shell["log"]) == (True, ["asked", "went on"])
    assert [each.label for each in waits()] == ["publish"]


def test_a_question_is_shown_to_the_letter(start: Start, capsys: CAPTURE) -> None:
    shell = start()

    suspended(shell, "kt.wait('Run pip install x and kitaru-nb gc?')", "a")

    assert (
        "waits for an answer: Run pip install x and kitaru-nb gc?\n  %kitaru approve ex_"
        in capsys.readouterr().out
    )


def test_what_the_user_changes_meanwhile_is_theirs(start: Start) -> None:
    shell = start()
    shell.run("log, mine = [], []", "a")
    suspended(shell, ASK, "b")
    shell.run("mine.append('while it waits')", "c")
    answer(True)

    shell.run(ASK, "b")

    assert shell["mine"] == ["while it waits"]
    assert shell["log"] == ["asked", "went on"]


def test_a_cell_that_waits_and_cannot_be_undone_is_not_run_again_without_asking(start: Start) -> None:
    shell = start()
    shell.run("log = []", "a")
    suspended(shell, ASK, "b")
    shell.run("log.append('changed since')", "c")
    answer(True)

    result = shell.run(ASK, "b")

    assert isinstance(result.error_before_exec, ConflictError)
    assert result.error_before_exec.kind == "half-done"
    shell.run("%rewind --keep", "d")
    assert shell.run(ASK, "b").success
    assert shell["log"] == ["asked", "changed since", "asked", "went on"]


def test_a_function_of_the_notebook_may_ask(start: Start) -> None:
    shell = start()
    shell.run("log = []\ndef ask():\n    return kt.wait('Publish?')\ndef run():\n    return ask()", "a")
    suspended(shell, "log.append(1)\nrun()", "b")
    answer(True)

    assert shell.run("log.append(1)\nrun()", "b").result is True
    assert shell["log"] == [1]


def test_what_cannot_be_foreseen_to_wait_says_that_it_is_done_again(
    start: Start, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: CAPTURE
) -> None:
    installed = tmp_path / "site-packages"
    installed.mkdir()
    (installed / "review_tools.py").write_text(
        "import kitaru_nb as kt\ndef ask():\n    return kt.wait('Publish?')\n"
    )
    monkeypatch.syspath_prepend(installed)
    shell = start()
    shell.run("log = []\nimport review_tools", "a")

    suspended(shell, "log.append(1)\nreview_tools.ask()", "b")

    assert "is done again when it runs again" in capsys.readouterr().err


def test_a_cell_that_catches_everything_waits_all_the_same(start: Start, capsys: CAPTURE) -> None:
    shell = start()

    stopped = suspended(shell, "try:\n    kt.wait('Publish?')\nexcept BaseException:\n    pass", "a")

    assert stopped.wait == waits()[0].address
    assert "Traceback" not in capsys.readouterr().out


def test_a_cell_that_fails_has_failed_though_something_in_it_waits(start: Start, capsys: CAPTURE) -> None:
    shell = start()

    result = shell.run("try:\n    kt.wait('Publish?')\nexcept BaseException:\n    pass\n1 / 0", "a")

    assert isinstance(result.error_in_exec, ZeroDivisionError)
    assert "ZeroDivisionError" in capsys.readouterr().out


@pytest.mark.parametrize("above", ["%%time\n", "%%capture shown\n"])
def test_a_magic_above_does_not_make_it_an_error(start: Start, capsys: CAPTURE, above: str) -> None:
    shell = start()

    suspended(shell, above + "kt.wait('Publish?')", "a")

    assert "Traceback" not in capsys.readouterr().out
    answer(True)
    assert shell.run(above + "kt.wait('Publish?')", "a").success


def test_top_level_await_waits_too(start: Start) -> None:
    shell = start()
    source = "answer = await kt.wait.async_('Which?', str)"
    suspended(shell, source, "a")
    answer("b")

    assert shell.run(source, "a").success
    assert shell["answer"] == "b"


def test_a_task_group_is_no_red_error_either(start: Start, capsys: CAPTURE) -> None:
    shell = start()
    source = (
        "import asyncio\nasync with asyncio.TaskGroup() as g:\n    g.create_task(kt.wait.async_('Publish?'))"
    )

    suspended(shell, source, "a")

    shown = capsys.readouterr()
    assert "ExceptionGroup" not in shown.out + shown.err


def test_errors_of_other_cells_are_shown_as_ever(start: Start, capsys: CAPTURE) -> None:
    shell = start()
    suspended(shell, "kt.wait('Publish?')", "a")
    capsys.readouterr()

    shell.run("1 / 0", "b")

    assert "ZeroDivisionError" in capsys.readouterr().out


def test_somebody_elses_way_of_showing_errors_is_asked_after_ours(start: Start) -> None:
    shell = start()
    shown: list[object] = []
    shell.ip.showtraceback = lambda *args, **_: shown.append(args)

    suspended(shell, "kt.wait('Publish?')", "a")
    assert shown == []
    shell.run("1 / 0", "b")

    assert len(shown) == 1


def test_the_next_kernel_says_that_it_waits_and_goes_on_there(start: Start, capsys: CAPTURE) -> None:
    shell = start()
    shell.run("%%checkpoint base\nlog = []", "a")
    suspended(shell, ASK, "b")
    first = execution().id

    shell = start()

    assert execution().status is ExecutionStatus.WAITING
    assert "the last execution stopped to wait" in capsys.readouterr().out
    shell.run("%%checkpoint base\nlog = []", "a")
    answer(True)
    assert shell.run(ASK, "b").success
    assert shell["log"] == ["asked", "went on"]
    start()
    assert (execution().id, execution().status) == (first, ExecutionStatus.COMPLETED)


def test_it_still_waits_after_a_kernel_that_did_not_come_to_that_cell(start: Start) -> None:
    shell = start()
    shell.run("%%checkpoint base\nlog = []", "a")
    suspended(shell, ASK, "b")
    shell = start()
    shell.run("%%checkpoint base\nlog = []", "a")

    start()

    assert execution().status is ExecutionStatus.WAITING
    assert waits()[0].status is WaitStatus.PENDING


def test_a_cell_that_does_not_ask_any_more_does_not_wait_any_more(start: Start) -> None:
    shell = start()
    shell.run("log = []", "a")
    suspended(shell, ASK, "b")
    shell.run("ok = False", "b")

    start()

    assert execution().status is ExecutionStatus.COMPLETED


def test_a_flow_called_in_a_cell_makes_the_cell_wait(start: Start) -> None:
    shell = start()
    shell.run("@kt.flow\ndef agent():\n    return kt.wait('Publish?', name='publish')", "a")
    suspended(shell, "%%checkpoint run\nresult = agent()", "b")
    start_again = shell.run("result if 'result' in globals() else None", "c")
    assert start_again.result is None
    answer(True)

    assert shell.run("%%checkpoint run\nresult = agent()", "b").success
    assert shell["result"] is True


def test_what_a_cell_recorded_before_it_waited_is_not_done_again(start: Start, tmp_path: Path) -> None:
    shell = start()
    side = tmp_path / "side.txt"
    shell.run(
        "@kt.checkpoint\ndef pay():\n"
        f"    with open({str(side)!r}, 'a') as file:\n        file.write('paid ')\n    return 3",
        "a",
    )
    source = "%%checkpoint buy\nprice = pay()\nok = kt.wait('Buy?', show=price)"
    suspended(shell, source, "b")
    answer(True)

    assert shell.run(source, "b").success
    assert side.read_text() == "paid "


def test_a_cell_with_tries_is_not_tried_again_because_it_waits(start: Start, capsys: CAPTURE) -> None:
    shell = start()
    shell.run("log = []", "a")

    suspended(shell, "%%checkpoint publish --retries 2\n" + ASK, "b")

    assert shell["log"] == ["asked"]
    assert "try 1 of 3" not in capsys.readouterr().err


@pytest.mark.parametrize(
    ("source", "may"),
    [
        ("kt.wait('x')", True),
        ("await kt.wait.async_('x')", True),
        ("asks()", True),
        ("outer()", True),
        ("harmless()", False),
        ("x = 1", False),
        ("import os\nos.getcwd()", False),
        ("awaited = 1", False),
    ],
)
def test_cells_that_may_wait_are_seen_by_what_they_call(source: str, may: bool) -> None:
    namespace: dict[str, Any] = {"__name__": "__main__"}
    exec(
        "def asks():\n    return kt.wait('x')\ndef outer():\n    return [asks() for _ in (1,)]\n"
        "def harmless():\n    return 1\n",
        namespace,
    )

    assert may_wait(source, namespace) is may


@pytest.fixture
def spent(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Seconds that a test lets pass."""
    clock, passed = time.perf_counter, [0.0]
    monkeypatch.setattr(time, "perf_counter", lambda: clock() + sum(passed))
    return passed


def test_of_much_work_above_a_wait_it_is_said_once_that_it_is_done_again(
    start: Start, capsys: CAPTURE, spent: list[float]
) -> None:
    shell = start()
    shell.ip.user_ns["spent"] = spent
    source = "spent.append(7200.0)\nok = kt.wait('Publish?', name='publish')"

    suspended(shell, source, "b")
    first = capsys.readouterr().out
    suspended(shell, source, "b")

    assert "what stands above the wait in this cell took 2 h 00 min and is done again" in first
    assert "stands above" not in capsys.readouterr().out


@pytest.mark.parametrize("mark", ["", "%%checkpoint publish\n"])
def test_work_that_is_on_record_is_no_reason_to_say_so(
    start: Start, capsys: CAPTURE, spent: list[float], mark: str
) -> None:
    shell = start()
    shell.ip.user_ns["spent"] = spent
    shell.run("@kt.checkpoint\ndef train():\n    spent.append(100.0)", "a")

    suspended(shell, mark + "train()\nok = kt.wait('Publish?', name='publish')", "b")

    assert sum(spent) == 100.0
    assert "stands above" not in capsys.readouterr().out


def test_a_figure_that_is_approved_is_undone_without_a_word(start: Start, capsys: CAPTURE) -> None:
    shell = start()
    shell.run("%%checkpoint figure\nfrom matplotlib.figure import Figure\nfig = Figure()", "a")
    shell.run("lines = fig.subplots().plot([1, 3, 2])", "b")
    source = "ok = kt.wait('Publish?', show=fig, name='publish')"
    suspended(shell, source, "c")
    answer(True)
    capsys.readouterr()

    assert shell.run(source, "c").success
    gc.collect()

    shown = capsys.readouterr()
    assert shell["ok"] is True
    assert "Exception ignored" not in shown.out + shown.err
