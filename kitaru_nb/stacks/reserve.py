"""Room set aside beside the journal, so that room can be made on a disk that has none.

To remove values the journal first has to write down that they are gone, and on a full disk it
cannot. So a few MiB are taken while there is plenty, and given up when `gc` needs them.
"""

from __future__ import annotations

import os
import shutil
from contextlib import suppress
from pathlib import Path

__all__ = ["BYTES", "give_up", "keep", "reserve_of"]

BYTES = 4 << 20
"""Enough to take some hundred values off the records, which frees room for the next."""

_PLENTY = 32 << 20  # free bytes without which nothing is set aside


def reserve_of(journal: Path) -> Path:
    """The file that holds the room."""
    return journal.with_name(f"{journal.name}-reserve")


def keep(journal: Path) -> None:
    """Set the room aside, unless it is already or the disk has little left. Never an error.

    Killed half-way it leaves a file that is too small, which the next call makes anew.
    """
    path = reserve_of(journal)
    with suppress(OSError):
        if path.exists():
            if path.stat().st_size >= BYTES:
                return
            path.unlink()
        if shutil.disk_usage(path.parent).free >= _PLENTY:
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
