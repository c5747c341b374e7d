"""What the processes on both sides of a fork share: each has a copy of the book.

That is which results each was given, and which effect one of them has just now.
"""

from __future__ import annotations

import errno
import os
import tempfile
import threading
import weakref
from pathlib import Path

from blake3 import blake3

try:
    import fcntl
except ImportError:  # where nothing forks
    fcntl = None  # type: ignore[assignment] # it is looked at before it is used

__all__ = ["Forks"]


_EFFECTS = 1 << 40
"""In the file, behind the bytes of all results: a place for each effect, which is only ever locked."""


class Forks:
    """Gives each result, and each effect, to one of the processes that have come of a fork.

    They share a file without a name, with one byte for each result. A process that dies leaves
    no lock behind. Before the first fork there is nothing to be shared, and nothing is done.
    """

    def __init__(self) -> None:
        self._file: int | None = None
        self._ended = False
        self._held: dict[str, list[int]] = {}  # effects, with the thread of each time it is held

    def begin(self) -> None:
        """A fork is about to happen."""
        if self._file is not None or self._ended or fcntl is None:
            return
        self._file, path = tempfile.mkstemp(prefix="kitaru-nb-")
        Path(path).unlink()
        self._close = weakref.finalize(self, os.close, self._file)
        for effect in list(self._held):
            self._lock(effect)

    def in_child(self) -> None:
        """What other threads of the parent have is theirs; what this one has, it is inside of."""
        me = threading.get_ident()
        self._held = {effect: holders for effect, holders in self._held.items() if me in holders}

    @property
    def are_shared(self) -> bool:
        """Whether another process may have put something on record that is not in this one's book."""
        return self._file is not None

    def hold(self, effect: str) -> bool:
        """Begin to have an effect, unless another process has it: then False.

        Within one process, who calls this sees to it that only one has it, or one inside itself.
        """
        holders = self._held.setdefault(effect, [])
        holders.append(threading.get_ident())  # and then the lock: a fork in between takes it, see `begin`
        if len(holders) > 1 or self._lock(effect):
            return True
        self._forget(effect)
        return False

    def let_go(self, effect: str) -> None:
        """End to have it."""
        self._forget(effect)
        if effect not in self._held and self._file is not None:
            fcntl.lockf(self._file, fcntl.LOCK_UN, 1, _place(effect))

    def _forget(self, effect: str) -> None:
        self._held[effect].pop()
        if not self._held[effect]:
            del self._held[effect]

    def _lock(self, effect: str) -> bool:
        """Whether no other process has it; it has not either until this one lets go."""
        if self._file is None:
            return True
        try:
            fcntl.lockf(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB, 1, _place(effect))
        except OSError as error:
            if error.errno in (errno.EACCES, errno.EAGAIN):
                return False
            raise
        return True

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


def _place(effect: str) -> int:
    return _EFFECTS + int.from_bytes(blake3(effect.encode("utf-8", "surrogatepass")).digest(length=5))
