"""Every error a user can meet, and the words they are told in.

The tree::

    KitaruError
    ├── UsageError (ValueError)         fix the call or the cell
    ├── NotFoundError (LookupError)     name something else
    ├── UnstorableError (TypeError)     change the value, or say how to make it again
    ├── DivergenceError (RuntimeError)  choose a replay point
    ├── ConflictError (RuntimeError)    read again and retry, or take over
    ├── StoreError (OSError)            check the disk or bucket
    │   └── CorruptError                the stored bytes are damaged
    ├── UntrustedError (PermissionError) say whom you trust
    ├── KernelError (RuntimeError)      the kernel died or could not be started
    ├── StackError (RuntimeError)       look at the scheduler or machine that was to run it
    └── TimedOutError (TimeoutError)    give it more time

Classes are grouped by what the reader does next; `kind` names the exact case and is
append-only, so programs test `kind`, never the words. A message has three parts: what
failed with the user's own names, why, and in `hint` what to type now.

Signals are not errors and derive from `BaseException`, so that a user's
``except Exception`` does not swallow them: `Suspended`, and `SuspendedExit` which ends a script.
"""

from __future__ import annotations

import copyreg
import re
import sys
from collections.abc import Callable
from typing import Any, ClassVar

__all__ = [
    "BudgetWarning",
    "ConflictError",
    "CorruptError",
    "DivergenceError",
    "KernelError",
    "KitaruError",
    "NotFoundError",
    "StackError",
    "StoreError",
    "Suspended",
    "SuspendedExit",
    "TimedOutError",
    "UnstorableError",
    "UntrustedError",
    "UsageError",
]


class KitaruError(Exception):
    """The base of every error kitaru_nb raises.

    Args:
        message: What failed and why: lower-case start, no full stop, names in backticks.
        kind: The exact case, for programs, such as ``"unknown-checkpoint"``.
        hint: What to type now, shown on a line of its own after ``Try:``.

    An error survives pickling with all its attributes, since errors cross processes.
    """

    # How a hint is put where a notebook shows an error; a kernel that a person runs sets `typed_in_a_cell`.
    in_cells: ClassVar[Callable[[str], str]] = staticmethod(str)

    def __init__(self, message: str = "", *, kind: str = "error", hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.kind = kind
        self.hint = hint

    def __str__(self) -> str:
        """The message, and the hint on the next line."""
        return f"{self.message}\n  Try: {self.hint}" if self.hint else self.message

    @property
    def document(self) -> dict[str, Any]:
        """The error as JSON: what failed, why, and what to type now."""
        return {"error": {"kind": self.kind, "message": self.message, "hint": self.hint or None}}

    def __reduce__(self) -> tuple[Any, ...]:
        """Rebuild from class, arguments and attributes, so any constructor survives."""
        return copyreg.__newobj__, (type(self), *self.args), self.__dict__  # type: ignore[attr-defined] # typeshed lacks it

    def _render_traceback_(self) -> list[str]:
        """What a notebook shows instead of a traceback: two plain lines. ``%tb`` has the rest."""
        lines = [f"{type(self).__name__}: {self.message}"]
        if self.hint:
            lines.append(f"  Try: {KitaruError.in_cells(self.hint)}")
        return lines


class UsageError(KitaruError, ValueError):
    """The call, option, name or cell is not one kitaru_nb can take."""


class NotFoundError(KitaruError, LookupError):
    """No execution, checkpoint, artifact or wait has that name."""


class UnstorableError(KitaruError, TypeError):
    """A value cannot be stored, or a name holds a value that could not be."""


class DivergenceError(KitaruError, RuntimeError):
    """What is recorded and what the code does no longer fit together."""


class ConflictError(KitaruError, RuntimeError):
    """Somebody else holds the execution, or answered first; `execution` is the one that is held."""

    execution: str | None = None


class StoreError(KitaruError, OSError):
    """The store could not be read or written. Nothing committed earlier is lost.

    Attributes:
        lacking: The bytes for which there was no room under the disk limit.
    """

    lacking = 0

    @property
    def may_pass(self) -> bool:
        """Whether what is stored may well be whole: it was the place that could not be used."""
        return self.kind not in ("values-removed", "unloadable-value")


class CorruptError(StoreError):
    """Stored bytes do not have the digest they were stored under."""

    @property
    def may_pass(self) -> bool:
        """No: damage stays."""
        return False


class UntrustedError(KitaruError, PermissionError):
    """Putting this back could run code, and nobody whom you trust has signed it."""


class KernelError(KitaruError, RuntimeError):
    """The kernel died or could not be started."""


class StackError(KitaruError, RuntimeError):
    """A scheduler or machine that was to run something does not answer, or refuses."""


class TimedOutError(KitaruError, TimeoutError):
    """A step took longer than it was given; it left no commit."""


class Suspended(BaseException):
    """The execution waits for an answer, more money or more room, and holds no compute meanwhile.

    Args:
        message: What it waits for.
        wait: The address of the wait, as `kitaru-nb answer` takes it; nothing where it is no answer.

    Attributes:
        kind: ``"waiting"``, for a budget ``"over-budget"`` or ``"no-price"``, for room ``"disk-limit"``.
        lacking: The bytes for which there is no room.
        unrecorded: Seconds of work above it in its cell that runs again, since no record holds it.
    """

    def __init__(self, message: str = "", *, wait: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.wait = wait
        self.kind = "waiting"
        self.lacking = 0
        self.unrecorded = 0.0

    def __reduce__(self) -> tuple[Any, ...]:
        """Rebuild from class, arguments and attributes."""
        return copyreg.__newobj__, (type(self), *self.args), self.__dict__  # type: ignore[attr-defined] # typeshed lacks it


_TYPED = re.compile(
    r"""(?P<shell>!?(?:\b[A-Z_]+=(?:'[^']*'|[^\s'])+\ )+)kitaru-nb\ (?=[a-z])
    | (?<!%env\ )\b(?:export\ )?(?P<setting>KITARU_NB_[A-Z_]+=)
    | (?<![\w%/-])(?P<command>kitaru-nb\ )(?=[a-z]|--help\b)
    | (?<!-m\ )(?<![\w%])(?P<pip>pip\ install)""",
    re.VERBOSE,
)


def typed_in_a_cell(text: str) -> str:
    """What is to be typed in a terminal, as it is typed in a cell: a command is a magic there."""

    def magic(found: re.Match[str]) -> str:
        match found.lastgroup:
            case "shell":
                return f"!{found['shell'].removeprefix('!')}{_command()} "
            case "command":
                return "%kitaru "
            case "setting":
                return f"%env {found['setting']}"
            case _:
                return f"%{found[0]}"

    return _TYPED.sub(magic, text)


def _command() -> str:
    """The command for a shell that a kernel starts, on whose path it need not be."""
    import shlex  # noqa: PLC0415 - only for what is told to somebody
    import shutil  # noqa: PLC0415 - as above

    return "kitaru-nb" if shutil.which("kitaru-nb") else f"{shlex.quote(sys.executable)} -m kitaru_nb"


class BudgetWarning(UserWarning):
    """The end of a budget is near: 80 % of it is spent."""


class SuspendedExit(Suspended, SystemExit):
    """The same, where a script has nothing around it: it ends the process with exit code 75."""

    def __init__(self, message: str = "", *, wait: str = "") -> None:
        super().__init__(message, wait=wait)
        self.code = 75


def suspended_in(error: BaseException | None) -> Suspended | None:
    """The signal that `error` is, or is nothing but a group of, as task groups raise it; else None."""
    if isinstance(error, Suspended):
        return error
    if not isinstance(error, BaseExceptionGroup):
        return None
    found = [suspended_in(each) for each in error.exceptions]
    return found[0] if all(each is not None for each in found) else None


def stop_in(error: BaseException | None) -> Suspended | None:
    """The signal that `error` amounts to, or a group of nothing but such, where nobody can make room."""
    if isinstance(error, BaseExceptionGroup):
        found = [stop_in(each) for each in error.exceptions]
        return found[0] if all(each is not None for each in found) else None
    if isinstance(error, StoreError) and error.kind == "disk-limit":
        stopped = Suspended(f"{error.message}\n  Try: {error.hint}")
        stopped.kind, stopped.lacking = error.kind, error.lacking
        return stopped
    return suspended_in(error)


for _name in __all__:
    globals()[_name].__module__ = "kitaru_nb.errors"
