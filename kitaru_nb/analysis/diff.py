"""The first difference between two sources of a cell, in one line for a person."""

from __future__ import annotations

import ast
import difflib
import io
import tokenize

from kitaru_nb.analysis.directive import mark_source
from kitaru_nb.analysis.normal import normal_form
from kitaru_nb.errors import UsageError

__all__ = ["first_difference"]


def first_difference(old: str, new: str) -> str | None:
    """Where `new` first says something else than `old`; None when only comments or formatting differ.

    Returns:
        ``"line 3: `x = 1` became `x = 2`"``, or a line that was added or removed. Line numbers
        are those of `new`, of `old` for a removed line. The ``%%checkpoint`` line does not count.
    """
    before, after = _form(old), _form(new)
    if before is not None and before == after:
        return None
    was, now = _lines(old), _lines(new)
    matcher = difflib.SequenceMatcher(
        None, [text for _, text, _ in was], [text for _, text, _ in now], autojunk=False
    )
    for tag, i, end, j, _ in matcher.get_opcodes():
        if tag == "replace":
            return f"line {now[j][0]}: `{_short(was[i][2])}` became `{_short(now[j][2])}`"
        if tag == "insert":
            return f"line {now[j][0]} is new: `{_short(now[j][2])}`"
        if tag == "delete" and end > i:
            return f"line {was[i][0]} is gone: `{_short(was[i][2])}`"
    return None


_Line = tuple[int, str, str]  # 1-based number, the text in normal layout, and as typed

_SHOWN = 80
_SKIPPED = frozenset({tokenize.COMMENT, tokenize.NL, tokenize.DEDENT, tokenize.ENDMARKER})


def _short(text: str) -> str:
    text = " ".join(text.split())
    return text if len(text) <= _SHOWN else text[: _SHOWN - 1] + "…"


def _without_directive(source: str) -> list[str]:
    lines = source.splitlines(keepends=True)
    marked = mark_source(lines)
    return ["\n" if one is not other else one for one, other in zip(lines, marked, strict=True)]


def _form(source: str) -> bytes | None:
    try:
        return normal_form(ast.parse("".join(_without_directive(source))))
    except (SyntaxError, ValueError, UsageError):
        return None


def _lines(source: str) -> list[_Line]:
    text = "".join(_without_directive(source))
    try:
        return _logical_lines(text)
    except (tokenize.TokenError, SyntaxError):  # magics and shell lines: compare the text
        plain = ((number, line.strip()) for number, line in enumerate(text.splitlines(), start=1))
        return [(number, line, line) for number, line in plain if line and not line.startswith("#")]


def _logical_lines(text: str) -> list[_Line]:
    """Each statement's text on one line, behind as many blanks as it is blocks deep."""
    found: list[_Line] = []
    physical = text.splitlines()
    depth, start = 0, 0
    parts: list[str] = []
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        if token.type == tokenize.INDENT:
            depth += 1
        elif token.type == tokenize.DEDENT:
            depth -= 1
        elif token.type == tokenize.ERRORTOKEN and not token.string.isspace():
            raise tokenize.TokenError(token.string)
        elif token.type == tokenize.NEWLINE:
            found.append((start, " " * depth + " ".join(parts), _shown(physical[start - 1 : token.end[0]])))
            parts = []
        elif token.type not in _SKIPPED:
            start = start if parts else token.start[0]
            parts.append(_spelling(token))
    return found


def _shown(lines: list[str]) -> str:
    """A statement as typed, without its comments."""
    tokens = tokenize.generate_tokens(io.StringIO("\n".join(lines).strip() + "\n").readline)
    comments = {(token.start[0], token.string) for token in tokens if token.type == tokenize.COMMENT}
    plain = [line.strip() for line in lines]
    for row, comment in comments:
        plain[row - 1] = plain[row - 1].removesuffix(comment)
    return " ".join(plain)


def _spelling(token: tokenize.TokenInfo) -> str:
    if token.type != tokenize.STRING:
        return token.string
    try:
        return repr(ast.literal_eval(token.string))
    except (ValueError, SyntaxError):  # an f-string, on 3.11
        return token.string
