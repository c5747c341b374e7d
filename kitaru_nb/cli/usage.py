"""A command line that cannot be understood, in our words instead of the parser's."""

from __future__ import annotations

import difflib
import shlex
from collections.abc import Collection
from enum import Enum
from typing import get_args

from cyclopts import (
    CoercionError,
    CycloptsError,
    MissingArgumentError,
    UnknownOptionError,
    UnusedCliTokensError,
)
from cyclopts.exceptions import RepeatArgumentError, UnknownCommandError

from kitaru_nb.errors import UsageError

__all__ = ["usage_error"]


def usage_error(error: CycloptsError, *, verbs: Collection[str]) -> UsageError:
    """What is wrong with the command line and what to type instead."""
    verb = " ".join(error.command_chain or ())
    help_line = f"kitaru-nb {verb} --help" if verb else "kitaru-nb --help"
    match error:
        case UnknownCommandError():
            return _unknown_verb((error.unused_tokens or [""])[0], verbs)
        case UnknownOptionError():
            return _unknown_option(error, verb, help_line)
        case MissingArgumentError():
            return UsageError(_missing(error, verb), kind="missing-argument", hint=_pair(error) or help_line)
        case UnusedCliTokensError():
            extra = " ".join(error.unused_tokens or ())
            return UsageError(f"`{verb}` does not take `{extra}`", kind="unexpected-argument", hint=help_line)
        case CoercionError():
            return _unfit(error, verb, help_line)
        case RepeatArgumentError():
            return UsageError(_plain(error), kind="repeated-option", hint=help_line)
    return UsageError(_plain(error), kind="bad-argument", hint=help_line)


def _unknown_verb(word: str, verbs: Collection[str]) -> UsageError:
    what = "option" if word.startswith("-") else "verb"
    close = difflib.get_close_matches(word, verbs, n=1)
    return UsageError(
        f"there is no {what} `{word}`",
        kind=f"unknown-{what}",
        hint=f"kitaru-nb {close[0]}" if close else "kitaru-nb --help",
    )


def _unknown_option(error: UnknownOptionError, verb: str, help_line: str) -> UsageError:
    word = (error.token.keyword or error.token.value).partition("=")[0]
    names = [name for argument in error.argument_collection for name in argument.names]
    close = difflib.get_close_matches(word, names, n=1)
    if word == "--stack" and "--stack" not in names:
        help_line = f"KITARU_NB_STACK=NAME {help_line.removesuffix(' --help')}, or kitaru-nb stack use NAME"
        close = []
    return UsageError(
        f"`{verb}` has no option `{word}`",
        kind="unknown-option",
        hint=f"{close[0]}, or {help_line}" if close else help_line,
    )


def _unfit(error: CoercionError, verb: str, help_line: str) -> UsageError:
    """A value of another kind than the option or argument takes."""
    if error.token is None:
        return UsageError(_plain(error), kind="bad-argument", hint=help_line)
    option, value = (error.token.keyword or "").partition("=")[0], error.token.value
    if option and error.target_type in _NUMBERS:
        what, example = _NUMBERS[error.target_type]
        message = f"{option} is `{value}`, which is no {what}"
        return UsageError(message, kind="bad-argument", hint=f"{option} {example}")
    kind = error.target_type
    choices = [*map(str, kind if isinstance(kind, type) and issubclass(kind, Enum) else get_args(kind))]
    if not choices:
        return UsageError(_plain(error), kind="bad-argument", hint=help_line)
    *others, last = difflib.get_close_matches(value, choices, n=1) or choices
    hint = f"{', '.join(others)} or {last}" if others else last
    return UsageError(_plain(error), kind="bad-argument", hint=f"{option or f'kitaru-nb {verb}'} {hint}")


_NUMBERS: dict[object, tuple[str, str]] = {int: ("whole number", "2"), float: ("number", "0.5")}


def _pair(error: MissingArgumentError) -> str:
    """The option as it is to be typed, where NAME=VALUE was given to one that takes NAME VALUE."""
    if len(error.tokens_so_far) != 1:
        return ""
    name, equals, value = error.tokens_so_far[0].partition("=")
    return f"{_as_typed(error)} {name} {shlex.quote(value)}" if equals and name.isidentifier() else ""


def _missing(error: MissingArgumentError, verb: str) -> str:
    name = _as_typed(error)
    if error.tokens_so_far:
        return f"`{verb}` needs more than `{' '.join(error.tokens_so_far)}` after `{name}`"
    return f"`{verb}` needs a value for `{name}`" if name.startswith("-") else f"`{verb}` needs {name}"


def _as_typed(error: MissingArgumentError) -> str:
    """The option as the user spelled it, such as ``-p``; else the argument's name."""
    if error.argument is None:
        return "a value"
    typed = (token.keyword for token in error.argument.tokens if token.keyword)
    return error.keyword or next(typed, error.argument.name)


def _plain(error: CycloptsError) -> str:
    text = str(error).strip().removesuffix(".").replace('"', "`")
    return text[:1].lower() + text[1:]
