"""`--retries` and `--timeout` without a kernel: the loop around a body, and when it ends."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest

from kitaru_nb.errors import TimedOutError
from kitaru_nb.notebook import deadline
from kitaru_nb.notebook.deadline import Tries, awaits, in_tries
from tests.unit.notebook.shell import Shell


@pytest.fixture
def shell(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Shell]:
    monkeypatch.setenv("KITARU_NB_NOTEBOOK", str(tmp_path / "nb.ipynb"))
    monkeypatch.chdir(tmp_path)
    shell = Shell()
    yield shell
    shell.stop()


class Step:
    """A step whose tries are undone, or not."""

    def __init__(self, *, undone: bool = True) -> None:
        self.undone = undone
        self.said: list[str] = []

    def start(self) -> None:
        """Nothing to do."""

    def undo(self, _error: BaseException) -> bool:
        return self.undone

    def say(self, text: str) -> None:
        self.said.append(text)


def again(tries: Tries, error: BaseException) -> bool:
    """Whether another try follows one that ended with `error`."""
    try:
        raise error
    except BaseException:  # noqa: BLE001 - as the loop around a body does
        return tries.failed()


def statuses(shell: Shell) -> list[str]:
    session = shell.hooks.session
    return [c.draft.status.value for c in session.engine.journal.checkpoints(session.open().execution)]


def test_the_pauses_double_up_to_half_a_minute() -> None:
    pauses: list[float] = []
    tries = Tries("a", Step(), retries=7, timeout=None, pause=pauses.append)

    more = [again(tries, ValueError("x")) for _ in range(8)]

    assert more == [True] * 7 + [False]
    assert pauses == [1, 2, 4, 8, 16, 30, 30]


def test_the_stop_button_ends_the_tries() -> None:
    tries = Tries("a", Step(), retries=3, timeout=None, pause=lambda _: None)

    assert not again(tries, KeyboardInterrupt())


def test_what_cannot_be_undone_is_not_tried_again() -> None:
    step = Step(undone=False)
    tries = Tries("a", step, retries=3, timeout=None, pause=lambda _: None)

    assert not again(tries, ValueError("x"))
    assert "cannot be undone exactly" in step.said[0]


def test_code_that_is_no_code_is_left_for_the_shell_to_refuse() -> None:
    body = ast.parse("break")

    assert in_tries(body) is body


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("await x", True),
        ("async def f():\n    await x", False),
        ("async with a:\n    pass", True),
        ("1", False),
    ],
)
def test_only_an_await_at_the_top_makes_a_coroutine(source: str, expected: bool) -> None:
    assert awaits(ast.parse(source)) is expected


def test_the_last_expression_is_shown_and_the_lines_are_the_cells_own(shell: Shell) -> None:
    ran = shell.run("%%checkpoint a --retries 1\nfrom __future__ import annotations\nx = 4\nx + 1", "a")
    failed = shell.run("%%checkpoint b --timeout 1h\n\n\nboom()", "b")

    assert (ran.success, ran.result, shell["x"]) == (True, 5, 4)
    assert failed.error_in_exec.__traceback__.tb_next.tb_lineno == 4


def test_each_failed_try_is_on_record_and_undone(shell: Shell, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(deadline.Tries.__init__, "__kwdefaults__", {"awaits": False, "pause": lambda _: None})
    shell.run("rows = []\nalias = rows\ntries = iter(range(9))", "0")

    ran = shell.run("%%checkpoint a --retries 3\nrows.append(1)\nx = 1", "a")
    failed = shell.run("%%checkpoint b --retries 2\nrows.append(2)\n1 / 0", "b")

    assert ran.success
    assert isinstance(failed.error_in_exec, ZeroDivisionError)
    assert shell["rows"] == [1, 2]
    assert shell["alias"] is shell["rows"]
    assert statuses(shell) == ["completed", "failed", "failed", "failed"]


def test_a_deadline_ends_a_sleep_with_an_error_that_names_the_step(shell: Shell) -> None:
    failed = shell.run("%%checkpoint a --timeout 50ms\nimport time\ntime.sleep(6000)", "a")

    assert isinstance(failed.error_in_exec, TimedOutError)
    assert failed.error_in_exec.kind == "timeout"
    assert statuses(shell) == ["failed"]


def test_the_frame_of_a_failed_body_ends_at_the_line_that_failed() -> None:
    class Once:
        def go(self) -> bool:
            return True

        def __enter__(self) -> None: ...

        def __exit__(self, *_: object) -> bool:
            return False

    body = deadline.in_tries(ast.parse("a = 1\nb = 2\n\nd = 1 / 0\ne = 3"))
    for node in ast.walk(body):
        if isinstance(node, ast.Attribute) and node.attr == "tries":
            node.value = ast.copy_location(ast.Name("box", ast.Load()), node)

    with pytest.raises(ZeroDivisionError) as failed:
        exec(compile(body, "<cell>", "exec"), {"box": SimpleNamespace(tries=Once())})

    assert failed.tb.tb_next is not None
    assert failed.tb.tb_next.tb_lineno == 4
    assert failed.tb.tb_next.tb_frame.f_lineno == 4
