"""Reads that are still under way in an event loop when the process ends.

Of a read of many chunks zarr raises the first error and lets the other chunks go on. If the process
ends then, it stops its loop under them, and asyncio complains of each one on standard error, below
the one error that matters.
"""

from __future__ import annotations

import asyncio
import atexit
import contextlib
import weakref

__all__ = ["settle_at_exit"]

_SECONDS = 2.0
_TURNS = 10_000

_loops: weakref.WeakSet[asyncio.AbstractEventLoop] = weakref.WeakSet()


def settle_at_exit() -> None:
    """Have what is under way in the running loop brought to an end before the process ends."""
    loop = asyncio.get_running_loop()
    if loop in _loops:
        return
    if not _loops:
        atexit.register(_settle)  # not at import: this has to come after zarr's own, to run before it
    _loops.add(loop)


def _settle() -> None:
    for loop in list(_loops):
        if loop.is_running():  # in a thread of its own; one of the main thread has ended by now
            with contextlib.suppress(TimeoutError, RuntimeError):
                asyncio.run_coroutine_threadsafe(_come_to_an_end(), loop).result(timeout=_SECONDS)


async def _come_to_an_end() -> None:
    """Wait for what is under way; by now there are no threads that could begin anything more."""
    own = asyncio.current_task()
    for _ in range(_TURNS):
        left = asyncio.all_tasks() - {own}
        if not left:
            return
        await asyncio.sleep(0)
    for task in left:
        task.cancel()
    await asyncio.gather(*left, return_exceptions=True)
