"""What the processes that work in one attempt share: each has a book of its own.

That is which results each was given, and which effect one of them has just now.
"""

from __future__ import annotations

import errno
import os
import tempfile
import threading
import weakref
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from blake3 import blake3

try:
    import fcntl
except ImportError:  # where nothing forks
    fcntl = None  # type: ignore[assignment] # it is looked at before it is used

__all__ = ["RUNS", "Handle", "Shares"]

RUNS = 255
"""So many runs are told apart by the byte of a result; then their numbers come again."""

_EFFECTS = 1 << 40
"""In the file, behind the bytes of all results: a place for each effect, which is only ever locked."""

_FILES = Path("/proc/self/fd")
"""Where it is there, another process comes to a file that has no name."""

_RECORD = _EFFECTS - 1
"""A place that is locked while results are recorded, by each for itself, or read, by one alone."""


@dataclass(frozen=True, slots=True)
class Handle:
    """Where a process comes to what others share, and which file that is."""

    path: str
    device: int
    number: int


class Shares:
    """Gives each result, and each effect, to one of the processes that work in an attempt.

    They share a file with one byte for each result: the number of the run that it was given to.
    A process that dies leaves no lock behind. Before the first other process there is nothing to
    be shared, and nothing is done.
    """

    def __init__(self) -> None:
        self._file: int | None = None
        self._path = ""
        self._ended = False
        self._held: dict[str, list[int]] = {}  # effects, with the thread of each time it is held

    def begin(self) -> None:
        """Another process is about to work in the attempt."""
        if self._file is not None or self._ended or fcntl is None:
            return
        file, path = tempfile.mkstemp(prefix="kitaru-nb-")
        self._open(file, path)
        if _FILES.exists():
            Path(path).unlink()  # then nothing is left of it, however this process ends
            self._path = ""

    def join(self, handle: Handle) -> None:
        """Share what the process that gave `handle` does.

        Raises:
            OSError: it has ended.
        """
        file = os.open(handle.path, os.O_RDWR | os.O_CLOEXEC)
        if (found := os.fstat(file)).st_dev != handle.device or found.st_ino != handle.number:
            os.close(file)  # another process has that one's number now
            raise FileNotFoundError(handle.path)
        self._open(file)

    def _open(self, file: int, path: str = "") -> None:
        self._file, self._path = file, path
        self._close = weakref.finalize(self, _close, file, path, os.getpid())
        for effect in list(self._held):
            self._lock(effect)

    @property
    def handle(self) -> Handle | None:
        """What another process joins with while this one lives; None where none can."""
        if self._file is None:
            return None
        found = os.fstat(self._file)
        return Handle(self._path or f"/proc/{os.getpid()}/fd/{self._file}", found.st_dev, found.st_ino)

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

    def take(self, number: int, run: int) -> bool:
        """Whether no other process was given this result in this run; from now on it is this one's."""
        file = self._file
        if file is None:
            return True
        fcntl.lockf(file, fcntl.LOCK_EX, 1, number)
        try:
            free = not self.is_taken(number, run)
            self.mark([number], run)
        finally:
            fcntl.lockf(file, fcntl.LOCK_UN, 1, number)
        return free

    def is_taken(self, number: int, run: int) -> bool:
        """Whether this run, in whatever process, was given a result or has recorded it."""
        return self._file is not None and os.pread(self._file, 1, number) == bytes([run])

    def mark(self, numbers: Iterable[int], run: int) -> None:
        """These results are this run's, and this process has them."""
        if self._file is not None:
            for number in numbers:
                os.pwrite(self._file, bytes([run]), number)

    @contextmanager
    def recording(self) -> Iterator[None]:
        """Inside the block a result is recorded and marked: to the others that is one step."""
        with self._turn(write=False):
            yield

    @contextmanager
    def reading(self) -> Iterator[None]:
        """Inside the block every result that is on record is marked as well, if it is anybody's."""
        with self._turn(write=True):
            yield

    @contextmanager
    def _turn(self, *, write: bool) -> Iterator[None]:
        file = self._file
        if file is None:
            yield
            return
        fcntl.lockf(file, fcntl.LOCK_EX if write else fcntl.LOCK_SH, 1, _RECORD)
        try:
            yield
        finally:
            fcntl.lockf(file, fcntl.LOCK_UN, 1, _RECORD)


def _close(file: int, path: str, owner: int) -> None:
    os.close(file)
    if path and os.getpid() == owner:
        with suppress(OSError):
            Path(path).unlink()


def _place(effect: str) -> int:
    return _EFFECTS + int.from_bytes(blake3(effect.encode("utf-8", "surrogatepass")).digest(length=5))
