"""Which results the processes on both sides of a fork were given: each has a copy of the book."""

from __future__ import annotations

import os
import tempfile
import weakref
from pathlib import Path

try:
    import fcntl
except ImportError:  # where nothing forks
    fcntl = None  # type: ignore[assignment] # it is looked at before it is used

__all__ = ["Forks"]


class Forks:
    """Gives each result to one of the processes that have come of a fork.

    They share a file without a name, with one byte for each result. A process that dies leaves
    no lock behind. Before the first fork there is nothing to be shared, and nothing is done.
    """

    def __init__(self) -> None:
        self._file: int | None = None
        self._ended = False

    def begin(self) -> None:
        """A fork is about to happen."""
        if self._file is not None or self._ended or fcntl is None:
            return
        self._file, path = tempfile.mkstemp(prefix="kitaru-nb-")
        Path(path).unlink()
        self._close = weakref.finalize(self, os.close, self._file)

    def end(self) -> None:
        """This process asks for nothing more."""
        self._ended = True
        if self._file is not None:
            self._file = None
            self._close()

    def take(self, number: int) -> bool:
        """Whether no other process was given this result in this attempt; from now on it is this one's."""
        file = self._file
        if file is None:
            return True
        fcntl.lockf(file, fcntl.LOCK_EX, 1, number)
        try:
            free = os.pread(file, 1, number) in (b"", b"\0")
            os.pwrite(file, b"\1", number)
        finally:
            fcntl.lockf(file, fcntl.LOCK_UN, 1, number)
        return free
