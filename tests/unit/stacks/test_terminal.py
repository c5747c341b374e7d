"""Questions in the terminal of a script."""

from __future__ import annotations

import io
import os
import pty
import subprocess
import sys
import textwrap
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from kitaru_nb.errors import ConflictError, UsageError
from kitaru_nb.model.schema import misfit
from kitaru_nb.stacks.terminal import ask_there

BOOL = {"type": "boolean"}


def asked(
    typed: str, schema: dict[str, Any], monkeypatch: pytest.MonkeyPatch, **options: Any
) -> tuple[bool, list[Any]]:
    """Whether the question came to its end, and what was given, with `typed` on the keyboard."""
    given: list[Any] = []

    def give(answer: Any) -> None:
        problem = misfit(answer, schema)
        if problem is not None:
            raise UsageError(problem)
        given.append(answer)

    monkeypatch.setattr(sys, "stdin", io.StringIO(typed))
    return ask_there("Publish?", schema, options.pop("give", give), **options), given


@pytest.mark.parametrize(
    ("typed", "schema", "answer"),
    [
        ("y\n", BOOL, True),
        ("No\n", BOOL, False),
        ("true\n", BOOL, True),
        ("a draft, as it is\n", {"type": "string"}, "a draft, as it is"),
        ("3\n", {"type": "integer"}, 3),
        ("b\n", {"enum": ["a", "b"], "type": "string"}, "b"),
        ("b\n", {"enum": ["b", 1]}, "b"),
        ('{"a": 1}\n', {"type": "object"}, {"a": 1}),
    ],
)
def test_what_is_typed_is_the_answer(
    typed: str, schema: dict[str, Any], answer: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert asked(typed, schema, monkeypatch) == (True, [answer])


def test_what_is_no_answer_is_asked_again(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert asked("perhaps\n3\nyes\n", BOOL, monkeypatch) == (True, [True])

    told = capsys.readouterr().err
    assert told.count("Publish? [y/n]") == 3
    assert "`perhaps` is not true or false" in told
    assert "3 is not of type" in told


def test_enter_takes_the_default(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    assert asked("\n", BOOL, monkeypatch, default=(False,), show={"a": 1}) == (True, [False])

    assert '"a": 1' in capsys.readouterr().err


def test_where_the_input_ends_there_is_no_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    assert asked("", BOOL, monkeypatch) == (False, [])


def test_an_answer_from_elsewhere_ends_the_question(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def late(_: Any) -> None:
        raise ConflictError("it was answered by ben@lab")

    assert asked("y\n", BOOL, monkeypatch, give=late) == (True, [])
    assert "ben@lab" in capsys.readouterr().err
    assert asked("", BOOL, monkeypatch, is_over=lambda: True) == (True, [])


SCRIPT = textwrap.dedent("""
    import kitaru_nb as kt

    @kt.flow
    def agent():
        return kt.wait("Publish?", show="a draft", name="publish")

    print("outside:", kt.wait("Which?", str))
    print("inside:", agent())
""")


@pytest.fixture
def script(tmp_path: Path) -> Callable[[bytes], tuple[int, str]]:
    path = tmp_path / "agent.py"
    path.write_text(SCRIPT)

    def run(typed: bytes) -> tuple[int, str]:
        """Run it at a terminal on which `typed` is typed ahead."""
        controller, terminal = pty.openpty()
        os.write(controller, typed)
        process = subprocess.Popen(
            [sys.executable, str(path)], stdin=terminal, stdout=terminal, stderr=terminal, close_fds=True
        )
        os.close(terminal)
        shown = b""
        while True:
            try:
                piece = os.read(controller, 4096)
            except OSError:  # the other end is closed
                break
            if not piece:
                break
            shown += piece
        os.close(controller)
        return process.wait(60), shown.decode()

    return run


def test_a_script_at_a_terminal_asks_there(script: Callable[[bytes], tuple[int, str]]) -> None:
    code, shown = script(b"this one\nmaybe\ny\n")

    assert code == 0
    assert "outside: this one" in shown
    assert "a draft" in shown
    assert "`maybe` is not true or false" in shown
    assert "inside: True" in shown


def test_the_end_of_input_suspends(script: Callable[[bytes], tuple[int, str]]) -> None:
    code, shown = script(b"this one\n\x04")

    assert code == 75
    assert shown.splitlines()[-1].startswith("kitaru: waiting execution=ex_")
