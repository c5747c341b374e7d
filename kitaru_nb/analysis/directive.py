"""The ``%%checkpoint`` line: found, read, and carried through IPython's transforms.

The input transformer puts a string literal in its place (`mark_source`), so the line count
stays and tracebacks are right; the AST transformer meets that literal as the first statement
and takes it out again (`directive_of`). A cell that begins with such a literal typed by hand
looks the same, so an AST transformer should only be in place for cells with a directive.

Words are split as in a shell, but a backslash is an ordinary character: quote instead, and
Windows paths stay whole.
"""

from __future__ import annotations

import ast
import difflib
import math
import re
import shlex
import unicodedata
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass, field
from typing import Any

from kitaru_nb.errors import UsageError

__all__ = [
    "CHECKPOINT",
    "NO_CHECKPOINT",
    "Directive",
    "checked_name",
    "directive_of",
    "find_directive",
    "is_marked",
    "mark_source",
    "parse_directive",
    "parse_duration",
]

CHECKPOINT = "checkpoint"
"""The tag of a cell that is a checkpoint without a magic."""

NO_CHECKPOINT = "no-checkpoint"
"""The tag of a cell that is run plainly."""

NAME_LENGTH = 100
"""A checkpoint's name has at most this many characters."""


@dataclass(frozen=True, slots=True)
class Directive:
    """What the ``%%checkpoint`` line asks for.

    Attributes:
        name: The checkpoint's name in Unicode form NFC, or None when it is to get one.
        fresh: Run it even when a record fits.
        reuse: Also take records of other executions.
        retries: How often it is run again after a failure.
        timeout: Seconds it may take, or None.
        budget: US dollars its model calls may cost, or None.
        exclude: Names that are not stored.
        depends: Files and URLs it depends on beside what it is seen to read.
        all: Store also what would be cheaper to make again.
        strict: A value that cannot be stored is an error.
        strict_env: A changed package version is a miss.
        trust: Load values that others have signed.
        line: 1-based line of the directive in the cell.
    """

    name: str | None = None
    fresh: bool = False
    reuse: bool = False
    retries: int = 0
    timeout: float | None = None
    budget: float | None = None
    exclude: tuple[str, ...] = ()
    depends: tuple[str, ...] = ()
    all: bool = False
    strict: bool = False
    strict_env: bool = False
    trust: bool = False
    line: int = field(default=1, compare=False)


def find_directive(source: str) -> Directive | None:
    """The directive of a cell: its first line that is neither blank nor a comment, if it is one.

    ``%%checkpoint?`` and anything else that ends in ``?`` asks for help and is none.

    Raises:
        UsageError: the line is a directive that cannot be taken.
    """
    found = _directive_line(source.splitlines())
    if found is None:
        return None
    index, text = found
    return parse_directive(text, line=index + 1)


def is_marked(source: str, tags: Collection[str]) -> bool:
    """Whether a cell asks to be a checkpoint, by its first line or by a tag."""
    try:
        directive = find_directive(source)
    except UsageError:
        directive = None  # said when the cell runs
    return directive is not None or CHECKPOINT in tags


def mark_source(lines: list[str], *, cell_magic: Callable[[list[str]], list[str]] | None = None) -> list[str]:
    """Replace the directive line by a string literal that carries it; other cells stay as they are.

    Pure and cheap, since IPython transforms a cell several times. A directive with errors is
    marked too: `directive_of` tells what is wrong with it.

    Args:
        lines: The cell's lines with their line ends.
        cell_magic: Turns lines that begin with a cell magic into Python. It gets what is below
            the directive, when that is a cell magic (``%%time``), which is then not at the top
            of the cell where IPython looks for it.
    """
    found = _directive_line(lines)
    if found is None:
        return lines
    index, text = found
    head, rest = [*lines[:index], repr(text) + "\n"], lines[index + 1 :]
    first = next(_code_lines(rest), None)
    if cell_magic is not None and first is not None and first[1].startswith("%%"):
        return [*head, *rest[: first[0]], *cell_magic(rest[first[0] :])]
    return head + rest


def directive_of(tree: ast.Module) -> tuple[Directive | None, ast.Module]:
    """The directive that `mark_source` left in a cell, and the cell without it.

    `tree` itself is not changed.

    Raises:
        UsageError: the line is a directive that cannot be taken.
    """
    match tree.body:
        case [ast.Expr(value=ast.Constant(value=str() as text, lineno=line)), *rest] if _is_directive(text):
            return parse_directive(text, line=line), ast.Module(rest, tree.type_ignores)
    return None, tree


def parse_directive(text: str, *, line: int = 1) -> Directive:
    """Read one ``%%checkpoint`` line.

    Raises:
        UsageError: kind ``unknown-option``, ``bad-option``, ``bad-name`` or ``bad-syntax``.
    """
    rest = text.strip().removeprefix(_MAGIC)
    words = iter(_split(rest) if rest else ())  # most directives are nothing but the word
    name: str | None = None
    given: dict[str, Any] = {}
    for word in words:
        if word.startswith("--"):
            _read_option(word, words, given)
        elif word.startswith("#"):
            raise UsageError(
                f"the line `{_MAGIC}` takes no comment",
                kind="bad-syntax",
                hint="put the comment on a line of its own, above or below",
            )
        elif name is None:
            name = checked_name(word)
        else:
            raise UsageError(
                f"a checkpoint has one name, and `{name}` and `{word}` were given",
                kind="bad-name",
                hint=f"%%checkpoint {shlex.quote(f'{name} {word}')}",
            )
    return Directive(name=name, line=line, **given)


def checked_name(name: str) -> str:
    """`name` in Unicode form NFC, if a checkpoint can be called that.

    Letters of any script, digits, blanks inside and emoji are fine, and `latest` is: it only
    means something in the place of an execution. Refused is what could not be typed again in
    ``EXECUTION/CHECKPOINT#n/NAME`` or would not be seen: ``/``, ``#``, control characters, marks
    that turn the writing direction, blanks at the ends, ``-`` in front, the names ``.`` and
    ``..``, and more than 100 characters.

    Raises:
        UsageError: kind ``bad-name``.
    """
    if not isinstance(name, str):
        raise UsageError(f"`{name!r}` cannot be a name: it is no text", kind="bad-name", hint='name="load"')
    name = unicodedata.normalize("NFC", name)
    reason = _name_fault(name)
    if reason is None:
        return name
    shown = name if len(name) <= _SHOWN else name[:_SHOWN] + "…"
    proposal = re.sub(r"[^\w.-]+", "-", name).strip("-.")[:NAME_LENGTH] or "load"
    raise UsageError(
        f"`{_visible(shown)}` cannot be the name of a checkpoint: {reason}",
        kind="bad-name",
        hint=f"%%checkpoint {proposal}",
    )


def parse_duration(text: str) -> float:
    """Seconds in ``90s``, ``10m``, ``1h30m``, ``2d``, ``1.5h`` or ``45`` (seconds).

    Raises:
        ValueError: it is none of these, or not more than zero.
    """
    if _NUMBER.fullmatch(text):
        seconds = float(text)
    elif text and _DURATION.fullmatch(text):
        seconds = sum(float(number) * _UNITS[unit] for number, unit in _PART.findall(text))
    else:
        raise ValueError(text)
    if not 0 < seconds < math.inf:
        raise ValueError(text)
    return seconds


_MAGIC = "%%checkpoint"
_SHOWN = 40  # characters of a refused name that an error repeats
_UNITS = {"d": 86400.0, "h": 3600.0, "m": 60.0, "s": 1.0, "ms": 0.001}
_NUMBER = re.compile(r"[0-9]+(?:\.[0-9]+)?|\.[0-9]+")
_PART = re.compile(r"([0-9]+(?:\.[0-9]+)?)(ms|[dhms])")
_DURATION = re.compile("".join(rf"(?:[0-9]+(?:\.[0-9]+)?{unit}(?![a-z]))?" for unit in _UNITS))

_BIDI = frozenset("\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")


def _is_directive(text: str) -> bool:
    rest = text.removeprefix(_MAGIC)
    return rest is not text and (not rest or rest[0].isspace()) and not text.endswith("?")


def _code_lines(lines: list[str]) -> Iterator[tuple[int, str]]:
    for index, line in enumerate(lines):
        text = line.strip()
        if text and not text.startswith("#"):
            yield index, text


def _directive_line(lines: list[str]) -> tuple[int, str] | None:
    first = next(_code_lines(lines), None)
    return first if first is not None and _is_directive(first[1]) else None


def _split(text: str) -> list[str]:
    lexer = shlex.shlex(text, posix=True, punctuation_chars=False)
    lexer.whitespace_split = True
    lexer.commenters = lexer.escape = ""
    try:
        return list(lexer)
    except ValueError:
        raise UsageError(
            f"the line `{_MAGIC}{text}` has a quote that is not closed",
            kind="bad-syntax",
            hint="put a name with a quote in it between quotes of the other kind",
        ) from None


def _name_fault(name: str) -> str | None:
    if not name or name.isspace():
        return "it is empty"
    if len(name) > NAME_LENGTH:
        return f"it has {len(name)} characters, and {NAME_LENGTH} are the most"
    for character in name:
        if character in "/#":
            return f"`{character}` separates the parts of a reference"
        if character in _BIDI or unicodedata.category(character) in ("Cc", "Cs", "Zl", "Zp"):
            return f"U+{ord(character):04X} would not be seen"
    if name != name.strip():
        return "it begins or ends with a blank"
    if name.startswith("-"):
        return "it looks like an option"
    return "it looks like a folder" if name in (".", "..") else None


def _visible(text: str) -> str:
    return "".join(c if c.isprintable() and c not in _BIDI else f"\\u{ord(c):04x}" for c in text)


def _read_option(word: str, words: Iterator[str], given: dict[str, Any]) -> None:
    option, equals, value = word.partition("=")
    field_name = option[2:].replace("-", "_")
    if option in _FLAGS:
        if equals:
            raise _bad_option(option, f"takes no value, and `{value}` was given", option)
        given[field_name] = True
        return
    if option not in _VALUES:
        raise _unknown_option(option)
    read, example = _VALUES[option]
    if not equals:
        value = next(words, "")
        if value.startswith("--"):
            value = ""
    if not value:
        raise _bad_option(option, "needs a value", example)
    if field_name in given and option not in _LISTS:
        raise _bad_option(option, "was given twice", example)
    try:
        given[field_name] = given.get(field_name, ()) + read(value) if option in _LISTS else read(value)
    except ValueError as fault:
        reason = f"cannot take `{_visible(value)}`{f': {fault}' if option in _LISTS else ''}"
        raise _bad_option(option, reason, example) from None


def _unknown_option(option: str) -> UsageError:
    known = [*_FLAGS, *_VALUES]
    close = difflib.get_close_matches(option, known, n=1)
    hint = close[0] if close else "one of " + " ".join(known)
    return UsageError(f"%%checkpoint has no option `{_visible(option)}`", kind="unknown-option", hint=hint)


def _bad_option(option: str, reason: str, example: str) -> UsageError:
    return UsageError(f"the option `{option}` {reason}", kind="bad-option", hint=example)


def _count(text: str) -> int:
    if not (text.isascii() and text.isdigit() and len(text) <= 6):  # a million retries is a typing error
        raise ValueError(text)
    return int(text)


def _dollars(text: str) -> float:
    if not _NUMBER.fullmatch(text):
        raise ValueError(text)
    return float(text)


def _items(text: str) -> tuple[str, ...]:
    items = tuple(item.strip() for item in text.split(","))
    if not all(items):
        raise ValueError("an item is empty; write the items without blanks between them")
    return items


def _names(text: str) -> tuple[str, ...]:
    names = _items(text)
    for name in names:
        if not name.isidentifier():
            raise ValueError(f"`{_visible(name)}` is not a name")
    return names


_FLAGS = ("--fresh", "--reuse", "--all", "--strict", "--strict-env", "--trust")
_VALUES: dict[str, tuple[Callable[[str], Any], str]] = {
    "--retries": (_count, "--retries 3"),
    "--timeout": (parse_duration, "--timeout 10m"),
    "--budget": (_dollars, "--budget 2.50"),
    "--exclude": (_names, "--exclude conn,client"),
    "--depends": (_items, "--depends data/rows.csv"),
}
_LISTS = ("--exclude", "--depends")
