"""What every store of packs does alike: find what is stored, write the rest, check what is read.

A store brings the place: how a pack is written there, how long the packs are, how bytes of one
are fetched, and how its errors are told.
"""

from __future__ import annotations

import contextlib
import os
import threading
import weakref
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from typing import NoReturn, Protocol

from kitaru_nb.artifacts.extent_save import (
    UNASKED_BYTES,
    ExtentSave,
    PackWriters,
    digest_of,
    inline,
)
from kitaru_nb.artifacts.fingerprints import Fingerprints
from kitaru_nb.artifacts.store import NOTHING_BEFORE, Before, ExtentIndex
from kitaru_nb.errors import CorruptError, StoreError
from kitaru_nb.model.artifact import Digest, Location
from kitaru_nb.model.crash import crash_point

__all__ = ["ExtentStore", "WrittenPacks"]

_REDO = "run the cell again with --fresh to store its values anew"

_stores: weakref.WeakSet[ExtentStore] = weakref.WeakSet()


class WrittenPacks(PackWriters, Protocol):
    """The packs one process writes. Not safe for threads: their store holds a lock."""

    @property
    def dirty(self) -> bool:
        """Whether something written is not yet durable."""
        ...

    def savepoint(self) -> Callable[[], None]:
        """A function that takes back what is written from now on."""
        ...

    def sync(self) -> None:
        """Return when everything written is durable.

        Raises:
            OSError: something is not, and will not be.
        """
        ...

    def close(self) -> None:
        """Give back what is open, whether or not it is durable; the next pack is a new one."""
        ...


class ExtentStore(ABC):
    """The part of an `ArtifactStore` that is the same wherever the packs are.

    Safe for threads, forks and many processes.

    Args:
        read_only: Refuse to write, with a clear error; reading needs no write access at all.
        room: Told how many bytes are about to be written; raises a StoreError when they may not be.
    """

    def __init__(self, *, read_only: bool, room: Callable[[int], None] = lambda _bytes: None) -> None:
        self._read_only = read_only
        self._room = room
        self._known = Fingerprints()
        self._damaged: set[Location] = set()
        self._distrusting = False
        self.start_over()
        _stores.add(self)

    def write(
        self,
        chunks: Sequence[memoryview],
        *,
        index: ExtentIndex,
        before: Before = NOTHING_BEFORE,
    ) -> list[Location]:
        """Keep `chunks` and say where each is, in order.

        A chunk whose bytes are known already (to `index`, to this call or since the last
        `flush`) is not written again, provided that the pack it is in is still there and
        long enough. Chunks of at most `INLINE_BYTES` come back inline, the first 1 MiB of
        them per call; so little that looking for it would cost more than keeping it is
        not looked for. Costs one copy, one XXH3 and one BLAKE3 pass over new bytes, and
        one XXH3 pass over bytes this process has stored before.

        A chunk that differs in at most half of its parts of 128 KiB from what `before` names for
        its number comes back in parts.

        Raises:
            StoreError: they could not be written. Nothing stored earlier is touched, and
                the next call starts on a fresh pack.
        """
        if self._read_only:
            raise self._read_only_error()
        if sum(chunk.nbytes for chunk in chunks) <= UNASKED_BYTES:
            return [inline(chunk) for chunk in chunks]
        with self._lock:
            save = ExtentSave(self._packs, self._known, partial(self._find, index, {}), self._room)
            undo = self._packs.savepoint()
            try:
                found = save.keep([chunk.cast("B") for chunk in chunks], before)
            except BaseException as error:
                undo()
                self._unflushed.clear()
                if isinstance(error, OSError) and not isinstance(error, StoreError):
                    raise self._told(error, "the values could not be written") from error
                raise
            self._unflushed.update(save.written)
        return found

    def flush(self) -> None:
        """Return when everything written so far is durable.

        Does nothing at all when nothing was written since the last flush.

        Raises:
            StoreError: it is not; what was written since the last flush is written anew by
                the next `write`.
        """
        with self._lock:
            if not self._packs.dirty:
                self._unflushed.clear()
                return
            crash_point("before-flush")
            try:
                self._packs.sync()
            except BaseException as error:
                # After a failed fsync the kernel may have dropped the pages and call them clean.
                self._packs.close()
                if isinstance(error, OSError) and not isinstance(error, StoreError):
                    raise self._told(error, "the values could not be made durable") from error
                raise
            finally:
                self._unflushed.clear()
            crash_point("after-flush")

    def read(self, location: Location) -> memoryview:
        """The bytes at `location`, checked against their digest; writable unless inline.

        Raises:
            CorruptError: kind ``corrupt-artifact``: they are damaged, cut short or gone;
                the message names the pack.
            StoreError: they could not be read.
        """
        if location.data is not None:
            self._check(location, memoryview(location.data))
            return memoryview(location.data)
        target = memoryview(bytearray(location.extent.length))
        self.read_into(location, target)
        return target

    def read_into(self, location: Location, target: memoryview) -> None:
        """Put the bytes at `location` into `target`, which has their length, then check them.

        Raises:
            CorruptError: as `read`; what is in `target` must not be used then.
            StoreError: they could not be read.
        """
        if location.data is not None:
            self._check(location, memoryview(location.data))
            target[:] = location.data
            return
        self._fetch(location, target)
        self._check(location, target)

    def close(self) -> None:
        """Close the packs. Bytes that were not flushed are not safe. A later `write` starts a pack."""
        with self._lock:
            self._unflushed.clear()
            self._packs.close()

    def start_over(self) -> None:
        """Begin as a fresh process does, with a lock and packs of its own; for a forked child."""
        self._lock = threading.Lock()
        self._packs = self._new_packs()
        self._unflushed: dict[Digest, Location] = {}

    @abstractmethod
    def _new_packs(self) -> WrittenPacks:
        """Packs for this process to write to; touches nothing yet."""

    @abstractmethod
    def _lengths(self, packs: set[str]) -> Mapping[str, int]:
        """How long each of `packs` is now, -1 where it is gone or not to be seen."""

    @abstractmethod
    def _fetch(self, location: Location, target: memoryview) -> None:
        """Fill `target` with what is stored at `location` in a pack; not checked yet.

        Raises:
            CorruptError: through `_refuse`.
            StoreError: it could not be read.
        """

    @abstractmethod
    def _place(self, pack: str) -> str:
        """What to call a pack in a message."""

    @abstractmethod
    def _told(self, error: OSError, what: str) -> StoreError:
        """What to tell the user when `error` was the answer to `what`."""

    @abstractmethod
    def _read_only_error(self) -> StoreError:
        """What to tell who writes to a store that was opened to be read."""

    def _find(
        self, index: ExtentIndex, lengths: dict[str, int], digests: set[Digest]
    ) -> Mapping[Digest, Location]:
        """Where `digests` are, as far as they are stored and can be trusted to be there."""
        found = {digest: self._unflushed[digest] for digest in digests if digest in self._unflushed}
        left = digests - found.keys()
        located = index.locate(left) if left else {}
        unseen = {place.pack for place in located.values() if place.pack is not None} - lengths.keys()
        if unseen:
            lengths.update(self._lengths(unseen))
        found.update((digest, place) for digest, place in located.items() if self._usable(place, lengths))
        if self._distrusting:
            found = {digest: place for digest, place in found.items() if self._is_whole(place)}
        return found

    @contextlib.contextmanager
    def distrusting(self) -> Iterator[None]:
        """What is written in here leans on nothing stored that is not read and found to be right."""
        self._distrusting = True
        try:
            yield
        finally:
            self._distrusting = False

    def _is_whole(self, location: Location) -> bool:
        try:
            self.read(location)
        except StoreError:
            return False
        return True

    def _usable(self, location: Location, lengths: Mapping[str, int]) -> bool:
        """Whether the extent seems to be where it was: a look at its pack's length, not at its bytes."""
        if location in self._damaged:
            return False
        if location.data is not None:
            return len(location.data) == location.extent.length
        return location.offset + location.extent.length <= lengths.get(location.pack or "", -1)

    def _check(self, location: Location, data: memoryview) -> None:
        if len(data) != location.extent.length or digest_of(data) != location.extent.digest:
            self._refuse(location, "its bytes do not have the digest they were stored under")

    def _refuse(self, location: Location, why: str) -> NoReturn:
        # A later save of the same bytes must not lean on this copy.
        self._damaged.add(location)
        where = f"pack `{self._place(location.pack or '')}` at byte {location.offset}"
        if location.data is not None:
            where = "the journal"
        extent = location.extent
        message = f"the extent `{extent.digest[:12]}` ({extent.length} bytes) in {where} is damaged: {why}"
        raise CorruptError(message, kind="corrupt-artifact", hint=_REDO)


def _after_fork() -> None:
    """A child writes to packs of its own: two processes in one file would overwrite each other."""
    for store in _stores:
        store.start_over()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
