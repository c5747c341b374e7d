"""The line of a magic as words, as a shell would read it."""

from __future__ import annotations

import re
import shlex

from kitaru_nb.errors import UsageError

__all__ = ["without_comment", "words_of"]

_WORD = re.compile(r"""\s*((?:\\.|"(?:\\.|[^"\\])*"|'[^']*'|[^\s"'\\])+)""", re.DOTALL)


def without_comment(line: str) -> str:
    """`line` up to a word that begins with ``#``, outside of quotes: `NAME#2` is no comment."""
    at = 0
    while word := _WORD.match(line, at):
        if word[1].startswith("#"):
            return line[: word.start(1)].rstrip()
        at = word.end()
    return line


def words_of(magic: str, line: str) -> list[str]:
    """The words after `magic`; a comment behind them counts for nothing.

    Raises:
        UsageError: kind ``bad-syntax``: a quote is not closed.
    """
    try:
        return shlex.split(without_comment(line))
    except ValueError:
        raise UsageError(
            f"the line `{magic} {line}` has a quote that is not closed, or ends in a backslash",
            kind="bad-syntax",
            hint="put a word with a quote in it between quotes of the other kind",
        ) from None
