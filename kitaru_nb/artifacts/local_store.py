"""The artifact store in a folder: extents by digest, in append-only packs."""

from __future__ import annotations

import errno
import os
import threading
import weakref
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import NoReturn

from kitaru_nb.artifacts.extent_save import SMALL_BYTES, ExtentSave, Fingerprints, digest_of, inline
from kitaru_nb.artifacts.pack import Packs, pack_path, storage_error
from kitaru_nb.artifacts.store import ExtentIndex
from kitaru_nb.errors import CorruptError, StoreError
from kitaru_nb.model.artifact import Digest, Location
from kitaru_nb.model.crash import crash_point

__all__ = ["LocalStore"]

_REDO = "run the cell again with --fresh to store its values anew"

_stores: weakref.WeakSet[LocalStore] = weakref.WeakSet()


class LocalStore:
    """Keeps extents in pack files below a folder. Safe for threads, forks and many processes.

    Args:
        folder: Where the packs are; made (mode 0700) when the first byte is written.
        read_only: Refuse to write, with a clear error; reading needs no write access at all.
    """

    def __init__(self, folder: Path, *, read_only: bool = False) -> None:
        self._folder = Path(folder)
        self._read_only = read_only
        self._known = Fingerprints()
        self._damaged: set[Location] = set()
        self.start_over()
        _stores.add(self)

    def write(self, chunks: Sequence[memoryview], *, index: ExtentIndex) -> list[Location]:
        """Keep `chunks` and say where each is, in order.

        A chunk whose bytes are known already (to `index`, to this call or since the last
        `flush`) is not written again, provided that the pack it is in is still there and
        long enough. Chunks of at most `INLINE_BYTES` come back inline, the first 1 MiB of
        them per call; so little that looking for it would cost more than keeping it is
        not looked for. Costs one copy, one XXH3 and one BLAKE3 pass over new bytes, one
        XXH3 pass over bytes this process has stored before, and at most 32 MiB of memory.

        Raises:
            StoreError: kind ``disk-full``, ``disk-error`` or ``store-read-only``. Nothing
                stored earlier is touched, and the next call starts on a fresh pack.
        """
        if self._read_only:
            raise storage_error(OSError(errno.EROFS, ""), "the values cannot be written", where=self._folder)
        if sum(chunk.nbytes for chunk in chunks) <= SMALL_BYTES:
            return [inline(chunk) for chunk in chunks]
        with self._lock:
            save = ExtentSave(self._packs, self._known, partial(self._find, index, {}))
            mark = self._packs.mark()
            try:
                found = save.keep([chunk.cast("B") for chunk in chunks])
            except BaseException as error:
                self._packs.undo(mark)
                self._unflushed.clear()
                if isinstance(error, OSError) and not isinstance(error, StoreError):
                    raise storage_error(
                        error, "the values could not be written", where=self._folder
                    ) from error
                raise
            self._unflushed.update(save.written)
        return found

    def flush(self) -> None:
        """Return when everything written so far survives a power cut.

        Does nothing, not even an fsync, when nothing was written since the last flush.

        Raises:
            StoreError: the disk refused; what was written since the last flush is not
                safe and is written anew by the next `write`.
        """
        with self._lock:
            if not self._packs.dirty:
                self._unflushed.clear()
                return
            crash_point("before-flush")
            try:
                self._packs.sync()
            except OSError as error:
                # After a failed fsync the kernel may have dropped the pages and call them clean.
                self._packs.close()
                raise storage_error(
                    error, "the values could not be made durable", where=self._folder
                ) from error
            finally:
                self._unflushed.clear()
            crash_point("after-flush")

    def read(self, location: Location) -> memoryview:
        """The bytes at `location`, checked against their digest; writable unless inline.

        Raises:
            CorruptError: kind ``corrupt-artifact``: they are damaged, cut short or gone;
                the message names the pack file.
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
        path = pack_path(self._folder, location.pack or "")
        if path is None:
            self._refuse(location, "its recorded place is not a pack")
        try:
            fd = os.open(path, os.O_RDONLY | getattr(os, "O_CLOEXEC", 0))
        except FileNotFoundError:
            self._refuse(location, "the file is gone")
        except OSError as error:
            raise storage_error(error, "stored values cannot be read", where=path) from error
        try:
            if not _read_fully(fd, target, location.offset):
                self._refuse(location, "the file is cut short")
        except OSError as error:
            if isinstance(error, StoreError):
                raise
            raise storage_error(error, "stored values cannot be read", where=path) from error
        finally:
            os.close(fd)
        self._check(location, target)

    def close(self) -> None:
        """Close the packs. Bytes that were not flushed are not safe. A later `write` starts a pack."""
        with self._lock:
            self._unflushed.clear()
            self._packs.close()

    @property
    def folder(self) -> Path:
        """Where the packs are."""
        return self._folder

    def start_over(self) -> None:
        """Begin as a fresh process does, with a lock and packs of its own; for a forked child."""
        self._lock = threading.Lock()
        self._packs = Packs(self._folder)
        self._unflushed: dict[Digest, Location] = {}

    def _find(
        self, index: ExtentIndex, sizes: dict[str, int], digests: set[Digest]
    ) -> Mapping[Digest, Location]:
        """Where `digests` are, as far as they are stored and can be trusted to be there."""
        found = {digest: self._unflushed[digest] for digest in digests if digest in self._unflushed}
        located = index.locate(digests - found.keys())
        found.update((digest, place) for digest, place in located.items() if self._usable(place, sizes))
        return found

    def _usable(self, location: Location, sizes: dict[str, int]) -> bool:
        """Whether the extent seems to be where it was: a look at its file's size, not at its bytes."""
        if location in self._damaged:
            return False
        if location.data is not None:
            return len(location.data) == location.extent.length
        name = location.pack or ""
        if name not in sizes:
            path = pack_path(self._folder, name)
            try:
                sizes[name] = path.stat().st_size if path else -1
            except OSError:
                sizes[name] = -1
        return location.offset + location.extent.length <= sizes[name]

    def _check(self, location: Location, data: memoryview) -> None:
        if len(data) != location.extent.length or digest_of(data) != location.extent.digest:
            self._refuse(location, "its bytes do not have the digest they were stored under")

    def _refuse(self, location: Location, why: str) -> NoReturn:
        # A later save of the same bytes must not lean on this copy.
        self._damaged.add(location)
        path = pack_path(self._folder, location.pack or "")
        where = f"pack `{path or location.pack}` at byte {location.offset}"
        if location.data is not None:
            where = "the journal"
        extent = location.extent
        message = f"the extent `{extent.digest[:12]}` ({extent.length} bytes) in {where} is damaged: {why}"
        raise CorruptError(message, kind="corrupt-artifact", hint=_REDO)


def _read_fully(fd: int, target: memoryview, offset: int) -> bool:
    """Fill `target` from `offset` on; False when the file ends first."""
    at = 0
    while at < len(target):
        got = os.preadv(fd, [target[at:]], offset + at)
        if got == 0:
            return False
        at += got
    return True


def _after_fork() -> None:
    """A child appends to packs of its own: two processes in one file would overwrite each other."""
    for store in _stores:
        store.start_over()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
