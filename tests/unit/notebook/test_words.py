"""The line of a magic, as words."""

from __future__ import annotations

import pytest

from kitaru_nb.errors import UsageError, typed_in_a_cell
from kitaru_nb.notebook.replaying import parse_line
from kitaru_nb.notebook.words import words_of
from tests.unit.notebook.shell import Shell


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ('plan        # what would run, and "why', ["plan"]),
        ("# which line", []),
        ("fetch#2", ["fetch#2"]),
        ("latest/fetch#2/result #2", ["latest/fetch#2/result"]),
        ("'# a' \"b # c\" d\\ # e", ["# a", "b # c", "d #", "e"]),
        ("", []),
    ],
)
def test_a_comment_behind_the_words_counts_for_nothing(line: str, words: list[str]) -> None:
    assert words_of("%kitaru", line) == words


def test_a_replay_takes_a_comment_too() -> None:
    asked = parse_line("latest --from fetch#2 --set tone='# loud'  # what if")

    assert (asked.execution, asked.from_, asked.changes) == ("latest", "fetch#2", {"tone": "'# loud'"})


@pytest.mark.parametrize(
    "line", ["%why it's", '%kitaru show "latest', "%resume 'x", "%rewind it's", "%checkpoint it's"]
)
def test_a_quote_that_is_not_closed_is_said_without_a_traceback(line: str) -> None:
    shell = Shell()

    outcome = shell.ip.run_cell(line)

    shell.stop()
    assert isinstance(outcome.error_in_exec, UsageError)
    assert outcome.error_in_exec.kind == "bad-syntax"
    assert line in outcome.error_in_exec.message


def test_the_help_of_the_command_is_a_magic_in_a_cell() -> None:
    assert typed_in_a_cell("kitaru-nb --help") == "%kitaru --help"
    assert words_of("%kitaru", 'reject x --reason "it\'s long"')[-1] == "it's long"
