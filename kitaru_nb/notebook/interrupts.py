"""The stop button must not tear a commit: SIGINT is noted while one is under way.

`Guard` holds for a whole marked cell and lets an interrupt through where it ends the user's own
code or the decision on it; `Shield` holds for a block and lets none through.
"""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Collection
from contextlib import suppress
from types import CodeType, FrameType, TracebackType
from typing import Any, Self

__all__ = ["Guard", "Shield", "leave_out_handler", "stop_queue"]

# The C functions, at each step: the others make enums of what goes in and comes out.
_INTERRUPT = int(signal.SIGINT)
_handle_with: Callable[[int, Any], Any] = signal._signal.signal  # type: ignore[attr-defined] # noqa: SLF001
_handler_of: Callable[[int], Any] = signal._signal.getsignal  # type: ignore[attr-defined] # noqa: SLF001


def stop_queue(shell: Any) -> None:
    """Have the kernel drop the cells that wait behind the running one, as it does after an error."""
    kernel: Any = getattr(shell, "kernel", None)
    abort = getattr(kernel, "_abort_queues", None)
    if abort is None:
        return  # a terminal, or a kernel without a queue
    header = (kernel.get_parent("shell") or {}).get("header", {})
    with suppress(TypeError, AttributeError, LookupError):  # another kernel's idea of it
        abort(header.get("subshell_id"))


def leave_out_handler(error: BaseException) -> None:
    """Let the traceback of the stop button end where the user's code was, not in our handler."""
    trace = error.__traceback__
    while trace is not None:
        if trace.tb_next is not None and trace.tb_next.tb_frame.f_code is Guard._handle.__code__:  # noqa: SLF001 - it is ours
            trace.tb_next = None
        trace = trace.tb_next


class Guard:
    """Handles SIGINT from before a cell's hooks to after them.

    It raises `KeyboardInterrupt` only while one of the functions `through` is on the stack and
    none of `never` is nearer; else it notes it in `pressed`. Where another handler than Python's
    own is in place (ipykernel's for cells with `await`, which cancels the task), it does nothing.

    Args:
        through: Code objects under which an interrupt ends what runs.
        never: Code objects under which it waits.
        lasting: It stays in place after `stop`, since a kernel sets the handler anew with each
            request. So an interrupt between the cell's end and its reply does not lose the reply.
    """

    def __init__(
        self, *, through: Collection[CodeType], never: Collection[CodeType], lasting: bool = False
    ) -> None:
        self.pressed = False
        self._lasting = lasting
        self._through = frozenset(through)
        self._never = frozenset(never)
        self._active = False

    def start(self) -> None:
        """The cell's hooks begin."""
        self.pressed = False
        if (
            not self._active
            and threading.current_thread() is threading.main_thread()
            and _handler_of(_INTERRUPT) is signal.default_int_handler
        ):
            _handle_with(_INTERRUPT, self._handle)
            self._active = True

    def stop(self) -> bool:
        """The cell's hooks have ended; whether an interrupt was noted."""
        if self._active:
            # the cell may have set its own
            if not self._lasting and _handler_of(_INTERRUPT) == self._handle:
                _handle_with(_INTERRUPT, signal.default_int_handler)
            self._active = False
        pressed, self.pressed = self.pressed, False
        return pressed

    def hold_in(self, code: CodeType) -> None:
        """From now on an interrupt waits under `code`, too."""
        self._never |= {code}

    def _handle(self, _number: int, frame: FrameType | None) -> None:
        while frame is not None:
            if frame.f_code in self._never:
                break
            if frame.f_code in self._through:
                raise KeyboardInterrupt
            frame = frame.f_back
        self.pressed = True


class Shield:
    """Holds SIGINT back inside the block; `pressed` says afterwards whether it came.

    Only the main thread can do that; elsewhere (subshells) the block runs unshielded.
    """

    def __init__(self) -> None:
        self.pressed = False
        self._before: Any = None
        self._active = False

    def __enter__(self) -> Self:
        if threading.current_thread() is threading.main_thread():
            self._before = _handle_with(_INTERRUPT, self._note)
            self._active = True
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._active:
            _handle_with(_INTERRUPT, self._before)

    def _note(self, _number: int, _frame: FrameType | None) -> None:
        self.pressed = True
