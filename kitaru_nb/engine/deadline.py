"""A deadline for code that runs: its time is up, and it is stopped as the stop button stops a cell."""

from __future__ import annotations

import _thread
import asyncio
import contextlib
import ctypes
import os
import signal
import threading
from collections.abc import Iterator
from typing import Any

from kitaru_nb.errors import TimedOutError

__all__ = ["Deadline", "within"]

_AGAIN = 5.0  # seconds after which a body that swallowed the interrupt gets another


class Deadline:
    """Interrupts the running body when its time is up.

    The main thread gets SIGINT, with its process group where it leads one, so that a `sleep`, a
    socket and a child process end, too; a running task is cancelled. Code inside one long call
    of a C library ends when that call does.

    Args:
        seconds: From `arm` on.
        awaits: The body is a coroutine: its task is cancelled. (An ordinary cell runs within a
            task, too: the kernel's own.)
        group: Its process group is stopped, too, where this process leads it.
    """

    def __init__(self, seconds: float, *, awaits: bool, group: bool = True) -> None:
        self.seconds = seconds
        self.awaits = awaits
        self.group = group
        self.expired = False
        self._lock = threading.Lock()
        self._timer: threading.Timer | None = None
        self._task: tuple[asyncio.AbstractEventLoop, asyncio.Task[Any]] | None = None

    def arm(self) -> None:
        """The body starts now."""
        self.expired = False
        if self.awaits:
            with contextlib.suppress(RuntimeError):  # another kind of loop than asyncio's
                loop = asyncio.get_running_loop()
                task = asyncio.current_task()
                self._task = (loop, task) if task is not None else None
        self._start(self.seconds)

    def disarm(self) -> None:
        """The body has ended; after this nothing is interrupted."""
        with self._lock:
            timer, self._timer = self._timer, None
        if timer is not None:
            timer.cancel()

    def _start(self, seconds: float) -> None:
        timer = threading.Timer(seconds, self._fire)
        timer.daemon = True
        self._timer = timer
        timer.start()

    def _fire(self) -> None:
        with self._lock:
            if self._timer is None:
                return
            self.expired = True
            self._start(_AGAIN)
            if self._task is not None:
                self._task[0].call_soon_threadsafe(self._task[1].cancel)
            else:
                _interrupt(group=self.group)


def _interrupt(*, group: bool) -> None:
    if group and hasattr(os, "getpgrp") and os.getpgrp() == os.getpid():
        os.killpg(os.getpgrp(), signal.SIGINT)
    else:
        _interrupt_main()


def _interrupt_main() -> None:
    if hasattr(signal, "pthread_kill"):  # wakes a sleep that the main thread sits in
        signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGINT)
    else:
        _thread.interrupt_main()


@contextlib.contextmanager
def within(seconds: float | None, called: str) -> Iterator[None]:
    """Stop the block when its time is up, in whichever thread it runs.

    Outside the main thread a call into C, such as a `sleep`, ends before it is stopped. What ends by
    itself after its time has failed, too.

    Raises:
        TimedOutError: kind ``timeout``.
    """
    if seconds is None:
        yield
        return
    if threading.current_thread() is not threading.main_thread():
        with _within_thread(seconds, called):
            yield
        return
    deadline = Deadline(seconds, awaits=False, group=False)
    with _hearing():
        deadline.arm()
        try:
            yield
        except KeyboardInterrupt:
            if deadline.expired:
                raise late(called, seconds) from None
            raise
        finally:
            deadline.disarm()
    if deadline.expired:  # it went on in spite of being stopped
        raise late(called, seconds, stopped=False)


@contextlib.contextmanager
def _hearing() -> Iterator[None]:
    """A process in the background may ignore SIGINT; inside the block it hears it."""
    if signal.getsignal(signal.SIGINT) is not signal.SIG_IGN:
        yield
        return
    signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, signal.SIG_IGN)


@contextlib.contextmanager
def _within_thread(seconds: float, called: str) -> Iterator[None]:
    thread, lock, state = threading.get_ident(), threading.Lock(), {"running": True, "late": False}

    def fire() -> None:
        with lock:
            if state["running"]:
                state["late"] = True
                ctypes.pythonapi.PyThreadState_SetAsyncExc(
                    ctypes.c_ulong(thread), ctypes.py_object(KeyboardInterrupt)
                )

    timer = threading.Timer(seconds, fire)
    timer.daemon = True
    timer.start()
    try:
        try:
            yield
        finally:
            with lock:
                state["running"] = False
            timer.cancel()
        if state["late"]:  # as above
            raise late(called, seconds, stopped=False)
    except KeyboardInterrupt:
        if state["late"]:
            raise late(called, seconds) from None
        raise


def late(called: str, seconds: float, *, stopped: bool = True) -> TimedOutError:
    """The error for a call that ran out of time, whether it was stopped or came to its end too late."""
    message = f"`{called}` ran longer than {seconds:g} s" + (" and was stopped" if stopped else "")
    return TimedOutError(
        message, kind="timeout", hint=f"@checkpoint(timeout=...) with a longer time on `{called}`"
    )
