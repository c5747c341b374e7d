"""Looks at many objects while nobody looks for garbage: the collector would walk them again and again.

The collector is one for all threads. Each that switches it off for itself and on again as it found it
can find it off because of another one, and leave it off for good; so they are counted.
"""

from __future__ import annotations

import gc
import os
import threading

__all__ = ["is_collecting", "uncollected"]

_lock = threading.RLock()  # a finalizer or a signal's handler may come here from inside
_inside: list[int] = []  # a thread for each block
_wanted = True  # as it was before the first


class uncollected:  # noqa: N801 - a context manager; a generator would cost each small value as much again
    """Inside the block no garbage is collected. Afterwards it is, unless somebody had switched that off."""

    __slots__ = ()

    def __enter__(self) -> None:
        global _wanted  # noqa: PLW0603 - of the process, as the collector is
        with _lock:
            if not _inside:
                _wanted = gc.isenabled()
                gc.disable()
            _inside.append(threading.get_ident())

    def __exit__(self, *_: object) -> None:
        with _lock:
            _inside.remove(threading.get_ident())
            if not _inside and _wanted:
                gc.enable()


def is_collecting() -> bool:
    """Whether garbage is collected, but for the blocks that threads are in just now."""
    with _lock:
        return _wanted if _inside else gc.isenabled()


def _in_child() -> None:
    """The threads of the parent are not here, and none of them comes to its end."""
    global _lock  # noqa: PLW0603 - another thread may have had it
    _lock = threading.RLock()
    others = bool(_inside)
    _inside[:] = [each for each in _inside if each == threading.get_ident()]
    if others and not _inside and _wanted:
        gc.enable()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_in_child)
