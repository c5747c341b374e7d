"""`--timeout` and `--retries`: a marked cell's body in a loop of tries, each with a deadline.

The body stays the cell's own code with its own line numbers; only a loop is put around it. A
try that fails is put on record, undone in the same live objects, and the body runs again in
the same request. A deadline interrupts the body as the stop button does.
"""

from __future__ import annotations

import ast
import asyncio
import inspect
import sys
import time
from collections.abc import Callable, Sequence
from shlex import quote
from typing import Any, Protocol

from kitaru_nb.engine.deadline import Deadline
from kitaru_nb.errors import TimedOutError

__all__ = ["StepTries", "Tries", "awaits", "in_tries"]

_LONGEST_PAUSE = 30.0
_TRIES = "__import__('kitaru_nb.notebook.extension', fromlist=['hooks']).hooks().tries"


class StepTries:
    """What `Tries` needs of a running step, from the shell's hooks."""

    def __init__(self, hooks: Any, frame: Any) -> None:
        self._hooks = hooks
        self._frame = frame

    def start(self) -> None:
        """See `Retrying`."""
        self._frame.plan.pending.started = time.perf_counter()

    def undo(self, error: BaseException) -> bool:
        """See `Retrying`."""
        undone: bool = self._hooks.undo_try(self._frame, error)
        return undone

    def say(self, text: str) -> None:
        """On stderr, where a failing program speaks; it is in no record."""
        self._hooks.sink.end()
        print(f"kitaru: {text}", file=sys.stderr, flush=True)  # noqa: T201 - as above
        self._hooks.sink.begin()


class Retrying(Protocol):
    """What `Tries` asks of the step that it tries."""

    def start(self) -> None:
        """A try begins now: its time counts from here."""
        ...

    def undo(self, error: BaseException) -> bool:
        """Put the failed try on record and undo it; whether all is exactly as it was before."""
        ...

    def say(self, text: str) -> None:
        """Tell the user."""
        ...


class Tries:
    """The tries of one step.

    Args:
        name: Of the step.
        step: Undoes a try.
        retries: How often it is tried again.
        timeout: Seconds that each try may take, or None.
        awaits: Whether the body has an `await` at its top.
        pause: Waits that many seconds.

    Attributes:
        value: What the last expression of the body gave.
    """

    def __init__(
        self,
        name: str,
        step: Retrying,
        *,
        retries: int,
        timeout: float | None,
        awaits: bool = False,
        pause: Callable[[float], None] = time.sleep,
    ) -> None:
        self.value: object = None
        self._name = name
        self._step = step
        self._left = retries
        self._retries = retries
        self._pause = pause
        self._deadline = Deadline(timeout, awaits=awaits) if timeout is not None else None

    @property
    def expired(self) -> bool:
        """Whether the deadline of the last try has passed."""
        return self._deadline is not None and self._deadline.expired

    def go(self) -> bool:
        """A try starts."""
        self._step.start()
        if self._deadline is not None:
            self._deadline.arm()
        return True

    def __enter__(self) -> None:
        """The body of a try begins."""

    def __exit__(self, _kind: object, error: BaseException | None, _traceback: object) -> bool:
        """It is over; true where it failed and is to be tried again. See `failed`."""
        if error is not None:
            return self.failed()
        self.done()
        return False

    def done(self) -> None:
        """The try has succeeded, or the cell is over."""
        if self._deadline is not None:
            self._deadline.disarm()

    def failed(self) -> bool:
        """The exception being handled ended a try; whether there is to be another one.

        Raises:
            TimedOutError: it was the deadline, and there is no try left.
        """
        error = sys.exception() if hasattr(sys, "exception") else sys.exc_info()[1]
        assert error is not None
        self.done()
        late = self.timed_out(error)
        if late is not None and self._deadline is not None and self._deadline._task is not None:  # noqa: SLF001 - same module
            self._deadline._task[1].uncancel()  # noqa: SLF001 - the cancellation was ours
        stopped = late is None and not isinstance(error, Exception)
        if stopped or self._left == 0 or not self._again(late or error):
            if late is not None:
                raise late from None
            return False
        return True

    def timed_out(self, error: BaseException) -> TimedOutError | None:
        """The error to tell for `error` where it was the deadline's doing."""
        if not self.expired or not isinstance(error, KeyboardInterrupt | asyncio.CancelledError):
            return None
        assert self._deadline is not None
        message = f"`{self._name}` ran longer than {self._deadline.seconds:g} s and was stopped"
        hint = f"%%checkpoint {quote(self._name)} --timeout {2 * self._deadline.seconds:g}s, or longer"
        return TimedOutError(message, kind="timeout", hint=hint)

    def _again(self, error: BaseException) -> bool:
        tried = self._retries - self._left + 1
        seen = f"try {tried} of {self._retries + 1} of `{self._name}` failed: {_first_line(error)}"
        if not self._step.undo(error):
            self._step.say(f"{seen}; not tried again, since what it changed cannot be undone exactly")
            return False
        seconds = min(2.0 ** (tried - 1), _LONGEST_PAUSE)
        self._left -= 1
        self._step.say(f"{seen}; again in {seconds:g} s")
        self._pause(seconds)
        return True


def awaits(body: ast.Module) -> bool:
    """Whether `body` is a coroutine when IPython runs it."""
    try:
        code = compile(body, "<cell>", "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
    except (SyntaxError, ValueError):
        return False
    return bool(code.co_flags & inspect.CO_COROUTINE)


def in_tries(body: ast.Module) -> ast.Module:
    """`body` in a loop that `Tries` steers; as it is where it is no valid code, for IPython to say so."""
    try:
        compile(body, "<cell>", "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
    except (SyntaxError, ValueError):
        return body
    first = [s for s in body.body if isinstance(s, ast.ImportFrom) and s.module == "__future__"]
    rest = [s for s in body.body if s not in first]
    if not rest:
        return body
    tail: Sequence[ast.stmt] = ()
    if isinstance(rest[-1], ast.Expr):
        tail = _code(f"{_TRIES}.value", at=rest[-1])
        keep = _code(f"{_TRIES}.value = 0", at=rest[-1])[0]
        assert isinstance(keep, ast.Assign)
        keep.value = rest[-1].value
        rest = [*rest[:-1], keep]
    # A `with` passes an error on from the line that raised it; a bare `raise` leaves the frame at its own,
    # and that is the line that IPython shows where it does not find the source by file.
    loop = _code(f"while {_TRIES}.go():\n with {_TRIES}:\n  break", at=rest[0])[0]
    assert isinstance(loop, ast.While)
    assert isinstance(loop.body[0], ast.With)
    loop.body[0].body = [*rest, *loop.body[0].body]
    return ast.Module([*first, loop, *tail], type_ignores=[])


def _code(text: str, *, at: ast.stmt) -> list[ast.stmt]:
    """Our own statements, standing where `at` stands."""
    parsed = ast.parse(text).body
    for node in (each for statement in parsed for each in ast.walk(statement)):
        if hasattr(node, "lineno"):
            ast.copy_location(node, at)
    return parsed


def _first_line(error: BaseException) -> str:
    text = str(getattr(error, "message", error)).partition("\n")[0]
    return f"{type(error).__name__}: {text}" if text else type(error).__name__
