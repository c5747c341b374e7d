"""%why, closer: which line of a function, what kind of value."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from kitaru_nb.cli.main import main
from tests.unit.notebook.shell import Shell


@pytest.fixture
def shell(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Shell]:
    monkeypatch.setenv("KITARU_NB_NOTEBOOK", str(tmp_path / "nb.ipynb"))
    monkeypatch.chdir(tmp_path)
    shell = Shell()
    yield shell
    shell.stop()


def why(shell: Shell, capsys: pytest.CaptureFixture[str], define: str, then: str) -> str:
    """What `%why` says of a step that reads `it`, made by a cell that was edited."""
    for source in (define, then):
        shell.run(source, "a")
        shell.run("%%checkpoint use\ny = [it]", "b")
    capsys.readouterr()
    shell.run("%why use")
    return capsys.readouterr().out


@pytest.mark.parametrize(
    ("define", "then", "said"),
    [
        ("def it():\n    return 1", "def it():\n    return 2", "line 2: `return 1` became `return 2`"),
        ("def it():\n    return 1", "def it():\n    x = 0\n    return 1", "line 2 is new: `x = 0`"),
        ("class it:\n    a = 1", "class it:\n    a = 2", "`it` changed: `a` is `2` now and was `1`"),
        ("class it:\n    a = 1", "it.a = 2", "`it` changed: `a` is `2` now and was `1`"),
        ("def it(k=1):\n    return k", "def it(k=1):\n    return k\nit.__defaults__ = (2,)", "defaults"),
        ("it = 1", "it = 5", "`it` holds another value: `5` now, `1` before"),
        ("it = [1]", "it = [1, 2]", "a list of length 2 now, a list of length 1 before"),
        ("it = 1", "it = True", "`True` now, `1` before"),
        ("it = 'hush'", "it = 'hush!'", "a str of length 5 now, a str of length 4 before"),
        ("it = [1]", "it = [2]", "`it` holds another value"),
    ],
)
def test_why_says_what_exactly_is_different(
    shell: Shell, capsys: pytest.CaptureFixture[str], define: str, then: str, said: str
) -> None:
    text = why(shell, capsys, define, then)

    assert said in text
    assert " before, " in text
    assert "hush" not in text


def test_an_array_is_told_by_type_and_shape(shell: Shell, capsys: pytest.CaptureFixture[str]) -> None:
    define = "import numpy as np\nit = np.zeros((2, 3), {!r})"

    text = why(shell, capsys, define.format("float64"), define.format("float32"))

    assert "of float32 with shape (2, 3) now, a ndarray of float64 with shape (2, 3) before" in text


def test_a_function_behind_a_function_is_named(shell: Shell, capsys: pytest.CaptureFixture[str]) -> None:
    outer = "def it():\n    return inner()\n"
    one, two = (f"def inner():\n    return {n}\n" + outer for n in (1, 2))

    text = why(shell, capsys, one, two)

    assert "`inner` changed: line 2: `return 1` became `return 2`" in text


def test_the_command_says_the_same(shell: Shell, capsys: pytest.CaptureFixture[str]) -> None:
    why(shell, capsys, "def it():\n    return 1", "def it():\n    return 2")
    execution = shell.hooks.session.attempt.execution
    capsys.readouterr()

    main(["why", execution, "use", "--json"])

    shown = capsys.readouterr().out
    assert '"kind": "function"' in shown
    assert "`return 1` became `return 2`" in shown
