"""What commands print, in a pipe and on a terminal."""

from __future__ import annotations

import io
import json
import re
import sys
from datetime import UTC, datetime, timedelta

import pytest

from kitaru_nb.cli.output import (
    age,
    clean,
    counted,
    duration,
    money,
    print_error,
    print_json,
    print_table,
    size,
    tidy_path,
)
from kitaru_nb.errors import StoreError


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def on_terminal(monkeypatch: pytest.MonkeyPatch, width: int, **environment: str) -> Terminal:
    terminal = Terminal()
    monkeypatch.setattr(sys, "stdout", terminal)
    monkeypatch.setenv("COLUMNS", str(width))
    monkeypatch.setenv("TERM", "xterm-256color")
    for name in ("NO_COLOR", "FORCE_COLOR"):
        monkeypatch.delenv(name, raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    return terminal


ROWS = [["ex_1", "completed", "a/very/long/path/to/a/notebook.ipynb", ""], ["ex_2", "failed", "b.ipynb", ""]]
COLUMNS = ("id", "status", "what", "cost")


def test_a_duration_that_is_not_known_is_not_told() -> None:
    assert duration(None) == ""
    assert duration(200) == "3 min 20 s"


@pytest.mark.parametrize(
    ("count", "text"),
    [(None, ""), (0, "0 B"), (999, "999 B"), (4200, "4.2 kB"), (123_456, "123 kB"), (2 * 10**12, "2.0 TB")],
)
def test_a_size_is_in_powers_of_1000(count: int | None, text: str) -> None:
    assert size(count) == text


@pytest.mark.parametrize(
    ("seconds", "text"), [(-5, "0 s ago"), (59, "59 s ago"), (7300, "2 h ago"), (200_000, "2 d ago")]
)
def test_an_age_has_one_unit(seconds: float, text: str) -> None:
    assert age(datetime.now(UTC) - timedelta(seconds=seconds)) == text


def test_a_name_cannot_steer_the_terminal() -> None:
    assert clean("a\x1b[31mb\nc\u202ed") == "a\\x1b[31mb\\nc\\u202ed"
    assert clean("größe 🦆") == "größe 🦆"


def test_into_a_pipe_a_table_is_plain_and_never_cut(capsys: pytest.CaptureFixture[str]) -> None:
    print_table(COLUMNS, ROWS)

    assert capsys.readouterr().out.splitlines() == [
        "ID    STATUS     WHAT",
        "ex_1  completed  a/very/long/path/to/a/notebook.ipynb",
        "ex_2  failed     b.ipynb",
    ]


def test_on_a_terminal_a_status_has_a_colour(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = on_terminal(monkeypatch, 100)

    print_table(COLUMNS, ROWS)

    assert "\x1b[32mcompleted" in terminal.getvalue()


def test_under_no_color_there_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = on_terminal(monkeypatch, 100, NO_COLOR="1")

    print_table(COLUMNS, ROWS)

    assert "\x1b[3" not in terminal.getvalue()
    assert "completed" in terminal.getvalue()


def test_a_flexible_column_is_wrapped_before_rows_become_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = on_terminal(monkeypatch, 40, NO_COLOR="1")

    print_table(COLUMNS, ROWS, flexible=("what",))

    lines = re.sub(r"\x1b\[\d*m", "", terminal.getvalue()).splitlines()
    assert lines[1].startswith("ex_1  completed  a/very")
    assert all(len(line) <= 40 for line in lines)


def test_on_a_very_narrow_terminal_each_row_is_a_block(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = on_terminal(monkeypatch, 24, NO_COLOR="1")

    print_table(COLUMNS, ROWS, flexible=("what",))

    assert terminal.getvalue().splitlines()[0] == "ex_1 completed"
    assert "  what: b.ipynb" in terminal.getvalue()


def test_an_error_is_two_lines_on_stderr(capsys: pytest.CaptureFixture[str]) -> None:
    print_error(StoreError("the disk is full", kind="disk-full", hint="df -h"), as_json=False)

    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err == "error: the disk is full\n  Try: df -h\n"


def test_an_error_is_a_document_when_asked(capsys: pytest.CaptureFixture[str]) -> None:
    print_error(StoreError("the disk is full", kind="disk-full"), as_json=True)

    captured = capsys.readouterr()
    assert json.loads(captured.out) == {
        "error": {"kind": "disk-full", "message": "the disk is full", "hint": None}
    }
    assert captured.err == ""


def test_json_is_ascii_so_that_no_locale_spoils_it(capsys: pytest.CaptureFixture[str]) -> None:
    print_json({"name": "größe \udcff"})

    printed = capsys.readouterr().out
    assert printed.isascii()
    assert json.loads(printed) == {"name": "größe \udcff"}


def test_a_path_is_as_short_as_it_can_be_typed(monkeypatch: pytest.MonkeyPatch, tmp_path) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "work").mkdir()
    monkeypatch.chdir(tmp_path / "work")

    assert tidy_path(str(tmp_path / "work" / "a.ipynb")) == "a.ipynb"
    assert tidy_path(str(tmp_path / "b.ipynb")) == "~/b.ipynb"
    assert tidy_path("/elsewhere/c.ipynb") == "/elsewhere/c.ipynb"
    assert tidy_path("s3://bucket/d.ipynb") == "s3://bucket/d.ipynb"


def test_counts_of_nothing_are_left_out() -> None:
    assert counted({"restored": 3, "failed": 0, "completed": 1}) == "3 restored, 1 completed"


@pytest.mark.parametrize(
    ("cost", "shown"),
    [(None, ""), (0.0, "$0.0000"), (0.000028, "<$0.0001"), (0.00006, "$0.0001"), (1.5, "$1.50")],
)
def test_a_cost_that_is_not_nothing_is_not_shown_as_nothing(cost: float | None, shown: str) -> None:
    assert money(cost) == shown
