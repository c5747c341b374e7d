"""What may end a run from outside: a signal, a lost lease, the clock."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Callable
from types import FrameType, TracebackType
from typing import Any, ClassVar, Self

from kitaru_nb.errors import ConflictError, StoreError
from kitaru_nb.journal.journal import Journal
from kitaru_nb.model.execution import Attempt

__all__ = ["RunTimedOut", "Signals", "Stopped", "Superseded", "Watch"]

# only a handler that nobody has set is replaced: a host application's own one keeps its meaning
_DEFAULTS = {signal.SIGINT: signal.default_int_handler, signal.SIGTERM: signal.SIG_DFL}


class Stopped(BaseException):
    """The process was asked to end by signal `signum`."""

    def __init__(self, signum: int) -> None:
        super().__init__(signum)
        self.signum = signum


class Superseded(BaseException):
    """A later attempt has taken the execution over."""


class RunTimedOut(BaseException):
    """The whole run took longer than it was allowed to."""


class Signals:
    """Notes the signals that ask a process to end, instead of letting them end it.

    So they take effect where somebody looks, and never tear a save or a journal call apart.
    They are taken over in the main thread only. Within another one it notes what that has noted before,
    and both note what comes: between two parts of a process no signal is lost.

    Attributes:
        noted: The last signal that came, or None.
    """

    _open: ClassVar[list[Signals]] = []

    def __init__(self) -> None:
        self.noted: int | None = None
        self._previous: dict[int, Any] = {}

    def __enter__(self) -> Self:
        if threading.current_thread() is threading.main_thread():
            self._open.append(self)
            if len(self._open) > 1:
                self.noted = self._open[-2].noted
            for signum, default in _DEFAULTS.items():
                if signal.getsignal(signum) is default:
                    self._previous[signum] = signal.signal(signum, self._note)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for signum, previous in self._previous.items():
            signal.signal(signum, previous)
        if self in self._open:
            self._open.remove(self)

    @classmethod
    def _note(cls, signum: int, _frame: FrameType | None) -> None:
        for each in cls._open:
            each.noted = signum


class Watch:
    """Keeps the lease alive while a run is going on, and says when the run has to end.

    Args:
        attempt: The attempt whose lease is kept.
        journal: Where the lease is kept; it takes calls from any thread.
        every: Seconds between heartbeats.
        signals: What notes the signals; it may have been at it since before the attempt began.
        timeout: Seconds the whole run may take, or None.
        tend: Called with each heartbeat; never raises.
    """

    def __init__(
        self,
        attempt: Attempt,
        *,
        journal: Journal,
        every: float,
        signals: Signals,
        timeout: float | None = None,
        tend: Callable[[], None] = lambda: None,
    ) -> None:
        self._tend = tend
        self.timeout = timeout
        self._attempt = attempt
        self._journal = journal
        self._every = every
        self._deadline = None if timeout is None else time.monotonic() + timeout
        self._signals = signals
        self._superseded = False
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._beat, name="kitaru-nb-heartbeat", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._over.set()
        self._thread.join()  # the journal is closed after this

    def check(self) -> None:
        """Raise when the run has to end; otherwise cheap.

        Raises:
            Stopped: a signal came.
            Superseded: the lease is lost.
            RunTimedOut: the run has used up its time.
        """
        if self._signals.noted is not None:
            raise Stopped(self._signals.noted)
        if self._superseded:
            raise Superseded
        if self._deadline is not None and time.monotonic() > self._deadline:
            raise RunTimedOut

    def _beat(self) -> None:
        while not self._over.wait(self._every):
            self._tend()
            try:
                self._journal.heartbeat(self._attempt)
            except ConflictError:
                self._superseded = True
                return
            except StoreError:
                continue  # the disk may come back; until then the next commit tells the user
