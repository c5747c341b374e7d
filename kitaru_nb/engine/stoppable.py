"""The stop button ends user code that runs in the middle of a restore, and only that."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager

__all__ = ["stoppable"]


@contextmanager
def stoppable() -> Iterator[None]:
    """Let an interrupt end the block as an `InterruptedError`, an error like any other.

    A restore holds interrupts back, so that it is never torn. What it calls of the user's own,
    a resource that tries to connect, say, may hang.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        yield
    except KeyboardInterrupt:
        raise InterruptedError("it was stopped") from None
    finally:
        signal.signal(signal.SIGINT, before if before is not None else signal.SIG_DFL)
