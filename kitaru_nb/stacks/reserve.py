"""Room set aside beside the journal, so that room can be made on a disk that has none.

To remove values the journal first has to write down that they are gone, and on a full disk it
cannot. So a few MiB are taken while there is still some, and given up when `gc` needs them. They
are taken only when it may come to that: beside a small store on a disk with plenty they would be
most of what there is.
"""

from __future__ import annotations

import os
from contextlib import suppress
from functools import lru_cache
from pathlib import Path

from kitaru_nb.stacks.quotas import space_of

__all__ = ["BYTES", "SCARCE", "give_up", "is_wanted", "keep", "reserve_of"]

BYTES = 4 << 20
"""Enough to take some hundred values off the records, which frees room for the next."""

SCARCE = 4 << 30
"""Free bytes below which the room is taken. It is looked at before each step, before values are
written and with each heartbeat: so much is not written to a disk between two looks."""

_LARGE = 100 * BYTES  # a store beside which it is nothing
_PLENTY = 32 << 20  # free bytes without which nothing is set aside


@lru_cache(maxsize=8)
def reserve_of(journal: Path) -> Path:
    """The file that holds the room."""
    return journal.with_name(f"{journal.name}-reserve")


def is_wanted(free: int, *, stored: int) -> bool:
    """Whether room should be set aside on a disk with `free` bytes left, of a store of `stored` bytes."""
    return free < SCARCE or stored >= _LARGE


def keep(journal: Path, *, stored: int = 0, more: int = 0) -> None:
    """Set the room aside when it may be needed, and give it back when not. Never an error.

    Costs some microseconds where nothing is to be done. Killed half-way it leaves a file that is
    too small, which the next call makes anew.

    Args:
        journal: What it is for.
        stored: Bytes that the store takes.
        more: Bytes that are about to be written to that disk.
    """
    path = reserve_of(journal)
    with suppress(OSError):
        free = space_of(path.parent).free
        held = _size(path)
        if not is_wanted(free - more, stored=stored):
            if held is not None and free - more >= 2 * SCARCE:  # not back and forth at the border
                path.unlink(missing_ok=True)
        elif held is None or held < BYTES:
            path.unlink(missing_ok=True)
            if free >= _PLENTY:
                _take(path)


def give_up(journal: Path) -> bool:
    """Give the room back to the disk; whether there was any.

    Raises:
        OSError: it cannot be removed.
    """
    path = reserve_of(journal)
    there = path.exists()
    path.unlink(missing_ok=True)
    return there


def _size(path: Path) -> int | None:
    try:
        return os.stat(path).st_size  # noqa: PTH116 - asked before each step
    except FileNotFoundError:
        return None


def _take(path: Path) -> None:
    file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_CLOEXEC", 0), 0o600)
    try:
        if hasattr(os, "posix_fallocate"):
            os.posix_fallocate(file, 0, BYTES)
        else:
            os.write(file, bytes(BYTES))
    except OSError:
        path.unlink()
        raise
    finally:
        os.close(file)
