"""One at a time has an effect: of threads, of coroutines in any event loop, of processes that were forked."""

from __future__ import annotations

import asyncio
import os
import threading
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Any

from kitaru_nb.engine.scope import Book

__all__ = ["alone", "alone_async"]

_SHORTEST, _LONGEST = 0.001, 0.1


class _Here:
    """Who has which effect in this process, or waits for it; there only while any does."""

    def __init__(self) -> None:
        self.locks: dict[str, tuple[threading.RLock, list[int]]] = {}  # with how many there are
        self.tasks: dict[str, asyncio.Task[Any] | None] = {}
        self.lock = threading.Lock()

    @contextmanager
    def locked(self, what: str) -> Iterator[None]:
        """One thread at a time inside; the others wait."""
        with self.lock:
            lock, users = self.locks.setdefault(what, (threading.RLock(), [0]))
            users[0] += 1
        try:
            with lock:
                yield
        finally:
            with self.lock:
                users[0] -= 1
                if not users[0]:
                    self.locks.pop(what, None)  # in a process that was forked inside it may be gone


_here = _Here()
if hasattr(os, "register_at_fork"):
    # The threads and tasks that had an effect in the parent are not there in the child.
    os.register_at_fork(after_in_child=_here.__init__)  # type: ignore[misc] # made anew


@contextmanager
def alone(book: Book, key: str) -> Iterator[None]:
    """Nobody else who works in the execution has the effect `key` meanwhile; the others wait."""
    with _here.locked(f"{book.execution}\n{key}"):
        pause = _SHORTEST
        while not book.hold(key):
            time.sleep(pause)
            pause = min(2 * pause, _LONGEST)
        try:
            yield
        finally:
            book.let_go(key)


@asynccontextmanager
async def alone_async(book: Book, key: str) -> AsyncIterator[None]:
    """As `alone`, for a coroutine: its event loop goes on while it waits."""
    what, me = f"{book.execution}\n{key}", asyncio.current_task()
    pause = _SHORTEST
    while (owner := _here.tasks.setdefault(what, me)) is not me:
        if owner is not None and owner.done():
            _here.tasks.pop(what, None)  # its loop ended before it could say so
            continue
        await asyncio.sleep(pause)
        pause = min(2 * pause, _LONGEST)
    try:
        while not book.hold(key):
            await asyncio.sleep(pause)
            pause = min(2 * pause, _LONGEST)
        try:
            yield
        finally:
            book.let_go(key)
    finally:
        _here.tasks.pop(what, None)
