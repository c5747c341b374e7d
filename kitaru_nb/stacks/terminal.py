"""Asking a person in the terminal that a script runs in."""

from __future__ import annotations

import json
import select
import sys
import threading
from collections.abc import Callable, Mapping
from typing import Any

from kitaru_nb.engine.showing import as_words
from kitaru_nb.errors import ConflictError, UsageError
from kitaru_nb.model.schema import wanted
from kitaru_nb.model.wait import OnWait, Wait

__all__ = ["TerminalFront", "ask_there", "is_terminal"]

_LOOK = 0.5  # seconds between two looks whether the answer has come from elsewhere
_YES, _NO = ("y", "yes", "true", "approve"), ("n", "no", "false", "reject")
_asking = threading.Lock()


def is_terminal() -> bool:
    """Whether somebody sits at this process and can type."""
    try:
        return sys.stdin.isatty() and sys.stderr.isatty()
    except (AttributeError, ValueError):  # no standard input at all, or a closed one
        return False


class TerminalFront:
    """Asks at a terminal; without one it only says what waits, where that is held for."""

    on_wait: OnWait | None = None

    def __init__(self, *, is_over: Callable[[Wait], bool] = lambda _wait: False) -> None:
        """`is_over` says of a wait whether its answer has come from elsewhere."""
        self._is_over = is_over

    def ask(self, wait: Wait, give: Callable[[Any], object]) -> bool:
        """See `engine.wait.Front`."""
        if not is_terminal():
            return False
        return ask_there(
            wait.question,
            wait.schema or {},
            give,
            show=wait.show,
            is_over=lambda: self._is_over(wait),
            default=(wait.default,) if wait.has_default else (),
        )

    def tell(self, wait: Wait, show: object, *, held: float) -> None:
        """See `engine.wait.Front`; one that suspends at once is told of when the script ends."""
        del show
        if held:
            _say(f"kitaru: waits {held:g} s for an answer to `{wait.address}`: {wait.question}")

    def answered(self, wait: Wait) -> None:
        """See `engine.wait.Front`."""
        if wait.answered_by is None:
            _say(f"kitaru: nobody answered `{wait.address}` in time")
        else:
            _say(f"kitaru: `{wait.address}` was answered by {wait.answered_by}: {json.dumps(wait.answer)}")


def ask_there(
    question: str,
    schema: Mapping[str, Any],
    give: Callable[[Any], object],
    *,
    show: Any = None,
    is_over: Callable[[], bool] = lambda: False,
    default: tuple[Any, ...] = (),
) -> bool:
    """Ask until `give` takes what is typed; False where the input ends first.

    One question at a time: threads that ask at the same time take turns.
    """
    with _asking:
        if is_over():
            return True
        if show is not None:
            _say(as_words(show))
        hint = "y/n" if schema == {"type": "boolean"} else wanted(schema)
        hint = f"{hint}; Enter for {json.dumps(default[0])}" if default else hint
        while True:
            print(f"{question} [{hint}] ", end="", file=sys.stderr, flush=True)  # noqa: T201 - a prompt
            line = _line(is_over)
            if line is None:
                _say("")
                return is_over()
            try:
                give(_answer(line.strip(), schema, default))
            except (UsageError, ValueError) as error:
                _say(f"  {getattr(error, 'message', error)}")
            except ConflictError as error:
                _say(f"  {error.message}")
                return True
            else:
                return True


def _line(is_over: Callable[[], bool]) -> str | None:
    """What is typed; None where the input has ended or the answer has come from elsewhere."""
    while True:
        try:
            ready = select.select([sys.stdin], [], [], _LOOK)[0]
        except (OSError, ValueError):  # Windows waits on sockets only
            ready = [sys.stdin]
        if ready:
            return sys.stdin.readline() or None
        if is_over():
            return None


def _answer(typed: str, schema: Mapping[str, Any], default: tuple[Any, ...]) -> Any:
    """What is typed as JSON, with the shorthands of a terminal: `y`, text without quotes, `Enter`.

    Raises:
        ValueError: it is no JSON, where the question wants that.
    """
    if not typed and default:
        return default[0]
    if schema.get("type") == "boolean" and typed.lower() in (*_YES, *_NO):
        return typed.lower() in _YES
    if schema.get("type") == "string":
        return typed
    try:
        return json.loads(typed)
    except ValueError:
        if typed in schema.get("enum", ()):
            return typed
        raise ValueError(f"`{typed}` is not {wanted(schema)}") from None


def _say(text: str) -> None:
    print(text, file=sys.stderr)  # noqa: T201 - a script's user reads it there
