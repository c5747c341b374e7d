"""One at a time has an effect: of threads, of coroutines in any event loop, of processes that were forked."""

from __future__ import annotations

import asyncio
import os
import threading
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from typing import Any

from kitaru_nb.engine.book import Book
from kitaru_nb.errors import UsageError

__all__ = ["alone", "alone_async"]

_SHORTEST, _LONGEST = 0.001, 0.1


@dataclass(eq=False, slots=True)
class _Owner:
    """Who has an effect: a thread, and the task in it, if there is one."""

    thread: int
    task: asyncio.Task[Any] | None
    times: int = 1

    def is_running_this(self) -> bool:
        """Whether the running code is inside of it; so is a loop that its thread runs meanwhile."""
        return self.thread == threading.get_ident() and self.task in (None, _task())

    def is_gone(self) -> bool:
        """Whether its task or loop ended before it could say so."""
        return self.task is not None and (self.task.done() or self.task.get_loop().is_closed())

    def is_blocked_here(self) -> bool:
        """Whether it could not go on while this thread waits for it."""
        return self.task is not None and self.task.get_loop() is _loop()


class _Here:
    """Who has which effect in this process; there only while anybody does."""

    def __init__(self) -> None:
        self.owners: dict[str, _Owner] = {}
        self.changed = threading.Condition()

    def take(self, what: str) -> _Owner | None:
        """Whoever runs this code has the effect from now on; None where somebody else has it."""
        with self.changed:
            owner = self.owners.get(what)
            if owner is None or owner.is_gone():
                owner = self.owners[what] = _Owner(threading.get_ident(), _task())
            elif owner.is_running_this():
                owner.times += 1
            else:
                return None
            return owner

    def wait(self, what: str) -> _Owner:
        """As `take`, once nobody else has it. The thread waits.

        Raises:
            UsageError: kind ``would-block``: a task of the event loop that runs here has it.
        """
        while (owner := self.take(what)) is None:
            with self.changed:
                other = self.owners.get(what)
                if other is None:
                    continue
                if other.is_blocked_here():
                    key = what.partition("\n")[2]
                    message = (
                        f'`once("{key}", ...)` waits for a task that cannot go on while its event loop waits'
                    )
                    hint = f'await once("{key}", fn) with a coroutine function, as the task does'
                    raise UsageError(message, kind="would-block", hint=hint)
                self.changed.wait(_LONGEST)  # and look again: a loop that was closed tells nobody
        return owner

    def give_back(self, what: str, owner: _Owner) -> None:
        """It had the effect, once less now."""
        with self.changed:
            owner.times -= 1
            if not owner.times and self.owners.get(what) is owner:  # else it was taken for gone
                del self.owners[what]
                self.changed.notify_all()


_here = _Here()
if hasattr(os, "register_at_fork"):
    # The threads and tasks that had an effect in the parent are not there in the child.
    os.register_at_fork(after_in_child=_here.__init__)  # type: ignore[misc] # made anew


@contextmanager
def alone(book: Book, key: str) -> Iterator[None]:
    """Nobody else who works in the execution has the effect `key` meanwhile; the others wait.

    Raises:
        UsageError: kind ``would-block``: a task of the event loop that runs here has it.
    """
    what = f"{book.execution}\n{key}"
    owner = _here.wait(what)
    try:
        pause = _SHORTEST
        while not book.hold(key):
            time.sleep(pause)
            pause = min(2 * pause, _LONGEST)
        try:
            yield
        finally:
            book.let_go(key)
    finally:
        _here.give_back(what, owner)


@asynccontextmanager
async def alone_async(book: Book, key: str) -> AsyncIterator[None]:
    """As `alone`, for a coroutine: its event loop goes on while it waits."""
    what, pause = f"{book.execution}\n{key}", _SHORTEST
    while (owner := _here.take(what)) is None:
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
        _here.give_back(what, owner)


def _loop() -> asyncio.AbstractEventLoop | None:
    try:
        return asyncio.get_running_loop()
    except RuntimeError:
        return None


def _task() -> asyncio.Task[Any] | None:
    return None if _loop() is None else asyncio.current_task()
