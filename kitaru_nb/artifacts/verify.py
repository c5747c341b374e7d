"""Checking stored bytes after they were mapped, in the background, before anyone may use them."""

from __future__ import annotations

import os
import threading
from collections import deque
from collections.abc import Sequence

from kitaru_nb.artifacts.extent_save import digest_of
from kitaru_nb.artifacts.memory import Memory
from kitaru_nb.artifacts.store import DirectReader
from kitaru_nb.errors import CorruptError, StoreError
from kitaru_nb.model.artifact import EXTENT_BYTES, Location

__all__ = ["Verification"]

_THREADS = min(4, os.cpu_count() or 1)
_PIECE = 8  # extents taken at a time

_Piece = tuple[int, Sequence[Location]]


class Verification:
    """The check of mapped extents against their digests; begins at once, on threads of its own.

    Args:
        store: Where the extents are.
        places: Which.
        memory: Where they are mapped, one behind the other.
    """

    def __init__(self, store: DirectReader, places: Sequence[Location], memory: Memory) -> None:
        self._store = store
        self._memory: Memory | None = memory
        self._waiting: deque[_Piece] = deque()
        at = 0
        for number in range(0, len(places), _PIECE):
            self._waiting.append((at, places[number : number + _PIECE]))
            at += sum(place.extent.length for place in places[number : number + _PIECE])
        self._open = len(self._waiting)
        self._error: StoreError | None = None
        self._changed = threading.Condition()
        _workers.add(self)

    @property
    def idle(self) -> bool:
        """Whether there is nothing in it that nobody has begun to check."""
        return not self._waiting or self._error is not None

    def wait(self) -> None:
        """Return when every byte is known to be right; the caller's thread lends a hand.

        Raises:
            CorruptError: some are damaged, cut short or gone.
            StoreError: some could not be read.
        """
        self.work()
        with self._changed:
            self._changed.wait_for(lambda: self._open == 0 or self._error is not None)
        self._memory = None  # an array that is referred to from here could not be resized
        if self._error is not None:
            raise self._error

    def work(self) -> None:
        """Check what nobody else has begun to check."""
        memory = self._memory  # keeps it, while it is looked at
        while memory is not None and self._error is None:
            try:
                piece = self._waiting.popleft()
            except IndexError:
                return
            error: StoreError | None = None
            try:
                self._check(memory, *piece)
            except StoreError as found:
                error = found
            except BaseException:
                self._waiting.appendleft(piece)  # the stop button: somebody else may go on
                raise
            self._finished(error)

    def _check(self, memory: Memory, at: int, places: Sequence[Location]) -> None:
        mapped = memory.populate(at, sum(place.extent.length for place in places))
        for place in places:
            view = memory.view[at : at + place.extent.length]
            if not (mapped and digest_of(view) == place.extent.digest):
                # What the file holds counts, and reading it gives errors where looking gives signals.
                self._store.read_into(place, memoryview(bytearray(EXTENT_BYTES))[: place.extent.length])
            at += place.extent.length

    def _finished(self, error: StoreError | None) -> None:
        with self._changed:
            self._open -= 1
            # Damage is what has to be said, whatever else went wrong.
            if error is not None and not isinstance(self._error, CorruptError):
                self._error = error
            if self._open == 0 or self._error is not None:
                self._memory = None
                self._changed.notify_all()


class _Workers:
    """Threads that check what is waiting, oldest first; they end when nothing is, or with the process."""

    def __init__(self) -> None:
        self.start_over()

    def start_over(self) -> None:
        """Begin as a fresh process does; for a forked child, whose threads stayed behind."""
        self._lock = threading.Lock()
        self._queue: deque[Verification] = deque()
        self._running = 0

    def add(self, verification: Verification) -> None:
        with self._lock:
            self._queue.append(verification)
            missing = _THREADS - self._running
            self._running += missing
        for _ in range(missing):
            threading.Thread(target=self._run, name="kitaru-nb-verify", daemon=True).start()

    def _run(self) -> None:
        while True:
            with self._lock:
                while self._queue and self._queue[0].idle:
                    self._queue.popleft()
                if not self._queue:
                    self._running -= 1
                    return
                verification = self._queue[0]
            verification.work()


_workers = _Workers()
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_workers.start_over)
