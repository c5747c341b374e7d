"""Threads of ours for which a process that comes to its end waits, while everything still works for them.

Python waits for all threads, but only after it has closed every thread pool: from then on event
loops find no address, clients no thread, and an answer of a model that is paid comes too late.
"""

from __future__ import annotations

import concurrent.futures.thread  # noqa: F401 - first: what registers later is asked earlier
import contextlib
import threading
import weakref

__all__ = ["start"]

_started: weakref.WeakSet[threading.Thread] = weakref.WeakSet()
_lock = threading.Lock()
_registered = False


def start(thread: threading.Thread) -> None:
    """Start a thread; the process does not end before it."""
    global _registered  # noqa: PLW0603 - one a process
    with _lock:
        _started.add(thread)
        if not _registered:
            _registered = True
            with contextlib.suppress(AttributeError, RuntimeError):  # no such Python, or it ends already
                threading._register_atexit(_wait)  # type: ignore[attr-defined] # noqa: SLF001 - there is no other
    thread.start()


def _wait() -> None:
    """Wait for all of them, also for those that they start."""
    while running := [thread for thread in list(_started) if thread.is_alive()]:
        running[0].join()
