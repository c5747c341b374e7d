"""What stays the same about a file when it is renamed, and is another in a copy of it.

That is its number on the volume together with when it was made: a number alone is given to a new
file as soon as the old one is removed. Saving in place, as Jupyter and VS Code do, keeps both.
"""

from __future__ import annotations

import ctypes
import os
import struct
import sys
from pathlib import Path
from typing import NamedTuple

__all__ = ["FileMark", "mark_of"]

_AT_FDCWD = -100
_INODE, _BORN = 0x100, 0x800
_SIZE = 256  # of Linux's `struct statx`
_MASK, _NUMBER, _TIME = (0, "=I"), (32, "=Q"), (80, "=qI")
_SECOND = 1_000_000_000


class FileMark(NamedTuple):
    """A file, whatever it is called.

    Attributes:
        number: Its number on the volume (the inode).
        born: When it was made, in nanoseconds since 1970.
    """

    number: int
    born: int


def mark_of(path: str | os.PathLike[str]) -> FileMark | None:
    """The mark of a file; None where there is none, or where the volume does not tell when it was made."""
    try:
        if sys.platform == "linux":
            return _on_linux(os.fsencode(path))
        found = Path(path).stat()
    except (OSError, ValueError):  # no such file, or nothing that can be the name of one
        return None
    born = getattr(found, "st_birthtime_ns", None) or int(getattr(found, "st_birthtime", 0) * _SECOND)
    return FileMark(found.st_ino, born) if born else None


def _on_linux(path: bytes) -> FileMark | None:
    """As `os.stat`, which does not give the time, from the C library (glibc 2.28, musl 1.2)."""
    ask = getattr(ctypes.CDLL(None), "statx", None)
    told = ctypes.create_string_buffer(_SIZE)
    if ask is None or b"\0" in path or ask(_AT_FDCWD, path, 0, _INODE | _BORN, told):
        return None
    (known,) = _read(told.raw, _MASK)
    (number,) = _read(told.raw, _NUMBER)
    seconds, nanoseconds = _read(told.raw, _TIME)
    return FileMark(number, seconds * _SECOND + nanoseconds) if known & _BORN else None


def _read(told: bytes, field: tuple[int, str]) -> tuple[int, ...]:
    at, form = field
    return struct.unpack_from(form, told, at)
