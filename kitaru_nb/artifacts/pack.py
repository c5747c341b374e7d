"""Packs: append-only files of page-aligned extents, each written by one process.

A pack only grows. What a failed or interrupted write left behind is cut off again when it
can be, and the pack is not written to any more: the next save starts a fresh one.
"""

from __future__ import annotations

import contextlib
import errno
import os
import re
import sys
import uuid
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from kitaru_nb.artifacts.memory import PAGE
from kitaru_nb.errors import StoreError
from kitaru_nb.model.crash import crash_point
from kitaru_nb.model.private import make_private, sync_folder

__all__ = [
    "PACK_BYTES",
    "Pack",
    "Packs",
    "new_pack_name",
    "pack_key",
    "pack_path",
    "padded",
    "storage_error",
]

PACK_BYTES = 256 << 20
"""A pack that has reached this size is not appended to any more."""

_MOST_VIEWS = 512  # below IOV_MAX everywhere
_NAME = re.compile(r"[0-9a-f]{32}\.pack")
_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
_REFUSED = {errno.EROFS, errno.EACCES, errno.EPERM}


def padded(length: int) -> int:
    """`length` rounded up to whole pages."""
    return -(-length // PAGE) * PAGE


def new_pack_name() -> str:
    """A name no pack had before."""
    return f"{uuid.uuid4().hex}.pack"


def pack_key(name: str) -> str | None:
    """Where the pack called `name` is below its store, with slashes; None when that is no pack's name.

    Names come back from the journal, and no stored name may become any other path.
    """
    return f"packs/{name[:2]}/{name}" if _NAME.fullmatch(name) else None


def pack_path(folder: Path, name: str) -> Path | None:
    """As `pack_key`, for a store in `folder`."""
    key = pack_key(name)
    return folder / key if key else None


def storage_error(error: OSError, what: str, *, where: Path) -> StoreError:
    """What to tell the user when the disk refused `what`."""
    reason = os.strerror(error.errno) if error.errno else str(error)
    message = f"{what} in `{where}`: {reason}"
    if error.errno in _FULL:
        hint = "free some space (df -h shows where), then run the cell again"
        if error.errno == errno.EFBIG:
            hint = "raise the file size limit (ulimit -f), then run the cell again"
        return StoreError(message, kind="disk-full", hint=hint)
    if error.errno in _REFUSED:
        hint = "make the folder writable; or set KITARU_NB_HOME to one that is, in a new kernel"
        return StoreError(message, kind="store-read-only", hint=hint)
    hint = (
        "check the disk (dmesg) and run the cell again, or set KITARU_NB_HOME to another one in a new kernel"
    )
    return StoreError(message, kind="disk-error", hint=hint)


class Pack:
    """A pack file open for appending. Not safe for threads: its store holds a lock.

    Args:
        folder: The artifact store's folder; the pack is made below ``packs/`` in it.

    Raises:
        OSError: the file cannot be made.
    """

    def __init__(self, folder: Path) -> None:
        self.name = new_pack_name()
        self.end = 0
        self.dirty = False
        self._folder = folder
        self._path = folder / "packs" / self.name[:2] / self.name
        self._new = True
        self._lost: OSError | None = None
        make_private(self._path.parent)
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_CLOEXEC", 0)
        self._fd = os.open(self._path, flags, 0o600)
        os.fchmod(self._fd, 0o600)  # a umask can take away the owner's bits too

    def reserve(self, length: int) -> int:
        """The page-aligned offset where the next `length` bytes go."""
        offset = padded(self.end)
        self.end = offset + length
        return offset

    def write(self, pieces: Sequence[tuple[int, memoryview]]) -> None:
        """Write each piece at its reserved offset; what is written survives kill -9 from now on."""
        self.dirty = True
        for offset, views in _runs(pieces):
            crash_point("before-extent-write")
            _write_fully(self._fd, views, offset)
            crash_point("after-extent-write")

    def sync(self) -> None:
        """Return when every byte, and the file's own name, survive a power cut.

        Once it has failed it always fails: the kernel tells of lost pages only once.
        """
        if not self.dirty:
            return
        self.sync_early()
        if not self.is_there():
            self._lost = FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), str(self._path))
            raise self._lost
        if self._new:
            # Another process may have made these folders and not synced their names yet.
            for folder in (self._path.parent, self._folder / "packs", self._folder, self._folder.parent):
                sync_folder(folder)
            self._new = False
        self.dirty = False

    def is_there(self) -> bool:
        """Whether the file still has its name: what is written to one that was deleted is lost."""
        return os.fstat(self._fd).st_nlink > 0

    def sync_early(self) -> None:
        """Sync the bytes written so far, beside writes that go on; `sync` is still due."""
        if self._lost is not None:
            raise self._lost
        try:
            _sync_data(self._fd)
        except OSError as error:
            self._lost = error
            raise

    def cut(self, end: int) -> None:
        """Give back the space after `end`, which nothing refers to."""
        with contextlib.suppress(OSError):
            os.ftruncate(self._fd, end)
            if end == 0:
                self._path.unlink()
        self.end = end

    def close(self) -> None:
        """Close the file."""
        os.close(self._fd)


@dataclass(frozen=True, slots=True)
class _Mark:
    """How far the packs of a store had come; everything after it can be taken back."""

    pack: Pack | None
    end: int
    dirty: bool
    full: int


class Packs:
    """The packs one process writes: the one it appends to, and full ones that wait for a sync.

    Not safe for threads: the store holds a lock.

    Args:
        folder: The artifact store's folder.
        ready: Called before a pack is made, raises where none should be.
    """

    def __init__(self, folder: Path, ready: Callable[[], None] = lambda: None) -> None:
        self._folder = folder
        self._ready = ready
        self._current: Pack | None = None
        self._full: list[Pack] = []

    @property
    def dirty(self) -> bool:
        """Whether something written is not yet safe from a power cut."""
        return any(pack.dirty for pack in self._open())

    def writable(self) -> Pack:
        """The pack to append to; a new one when there is none, or it is full or deleted."""
        if self._current and (self._current.end >= PACK_BYTES or not self._current.is_there()):
            self._full.append(self._current)
            self._current = None
        if self._current is None:
            self._ready()
            self._current = Pack(self._folder)
        return self._current

    def savepoint(self) -> Callable[[], None]:
        """A function that cuts off what is written from now on, and writes no more to that pack."""
        pack = self._current
        mark = _Mark(pack, pack.end if pack else 0, pack.dirty if pack else False, len(self._full))
        return partial(self._undo, mark)

    def _undo(self, mark: _Mark) -> None:
        since = [pack for pack in self._open()[mark.full :] if pack is not mark.pack]
        del self._full[mark.full :]
        self._current = None
        for pack in since:
            pack.cut(0)
            pack.close()
        if mark.pack is not None:
            mark.pack.cut(mark.end)
            if mark.dirty:
                self._full.append(mark.pack)
            else:
                mark.pack.close()

    def sync(self) -> None:
        """Return when everything written survives a power cut."""
        for pack in self._open():
            pack.sync()
        self._close_full()

    def close(self) -> None:
        """Close all packs; the next `writable` is a new one."""
        self._close_full()
        if self._current:
            self._current.close()
            self._current = None

    def _open(self) -> list[Pack]:
        return [*self._full, self._current] if self._current else list(self._full)

    def _close_full(self) -> None:
        while self._full:
            self._full.pop().close()


def _sync_data(fd: int) -> None:
    if sys.platform == "darwin":
        import fcntl  # noqa: PLC0415 - fsync on macOS stops at the drive's cache; only this goes through

        fcntl.fcntl(fd, fcntl.F_FULLFSYNC)
    else:
        os.fdatasync(fd)


def _runs(pieces: Sequence[tuple[int, memoryview]]) -> Iterator[tuple[int, list[memoryview]]]:
    """`pieces` joined where one ends exactly where the next begins, so that a run is one call."""
    views: list[memoryview] = []
    start, end = 0, -1
    for offset, view in pieces:
        if offset != end or len(views) == _MOST_VIEWS:
            if views:
                yield start, views
            start, views = offset, []
        views.append(view)
        end = offset + len(view)
    if views:
        yield start, views


def _write_fully(fd: int, views: list[memoryview], offset: int) -> None:
    while views:
        done = os.pwritev(fd, views, offset)
        offset += done
        while views and done >= len(views[0]):
            done -= len(views.pop(0))
        if views and done:
            views[0] = views[0][done:]
