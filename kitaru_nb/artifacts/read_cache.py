"""A folder with extents that were read from afar: bounded, private, and never trusted.

Each extent is a file under its digest. Whoever reads one checks it like any other bytes, so
damage here costs a download and nothing else; the same goes for a full or read-only disk.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import threading
import uuid
from io import FileIO
from pathlib import Path

from kitaru_nb.model.artifact import Extent
from kitaru_nb.model.private import make_private

__all__ = ["CACHE_BYTES", "ReadCache"]

CACHE_BYTES = 8 << 30
"""What a cache holds at most; the extents that were not used for longest go first."""

_LEAST_FREE = 1 << 30


class ReadCache:
    """Extents in a folder, by digest. Safe for threads and for many processes.

    Args:
        folder: Made (mode 0700) when the first extent is kept.
        limit: Bytes it holds at most.
    """

    def __init__(self, folder: Path, *, limit: int = CACHE_BYTES) -> None:
        self._folder = Path(folder)
        self._limit = limit
        self._lock = threading.Lock()
        self._held = 0
        self._unseen = limit  # bytes kept since the folder was last looked at; others write to it too

    def read_into(self, extent: Extent, target: memoryview) -> bool:
        """Fill `target` with what is kept as `extent`, unchecked; False where that is not all there."""
        path = self._path(extent)
        try:
            with path.open("rb", buffering=0) as file:
                whole = os.fstat(file.fileno()).st_size == extent.length and _filled(target, file)
        except OSError:
            return False
        if not whole:
            self.drop(extent)
            return False
        with contextlib.suppress(OSError):
            os.utime(path)  # used just now
        return True

    def keep(self, extent: Extent, data: memoryview) -> None:
        """Keep `data`, which was checked, for the next time. What cannot be kept is not."""
        path = self._path(extent)
        with contextlib.suppress(OSError):
            make_private(path.parent)
            if path.exists() or not self._room(extent.length):
                return
            part = path.with_name(f"{uuid.uuid4().hex}.part")
            try:
                with open(os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:  # noqa: PTH123 - its mode
                    file.write(data)
                part.replace(path)
            except BaseException:
                part.unlink(missing_ok=True)
                raise

    def drop(self, extent: Extent) -> None:
        """Forget `extent`: what is kept is not it."""
        with contextlib.suppress(OSError):
            self._path(extent).unlink(missing_ok=True)

    def start_over(self) -> None:
        """Begin as a fresh process does; for a forked child."""
        self._lock = threading.Lock()

    def _path(self, extent: Extent) -> Path:
        return self._folder / extent.digest[:2] / extent.digest

    def _room(self, length: int) -> bool:
        if length > self._limit // 2 or shutil.disk_usage(self._folder).free < _LEAST_FREE + length:
            return False
        with self._lock:
            if self._held + length > self._limit or self._unseen > self._limit // 20:
                self._held, self._unseen = self._shrunk(), 0
            self._held += length
            self._unseen += length
        return True

    def _shrunk(self) -> int:
        """What is kept, once the oldest are gone where it was more than nine tenths of the limit."""
        found = []
        for path in self._folder.glob("*/*"):
            with contextlib.suppress(OSError):
                seen = path.stat()
                found.append((seen.st_mtime, seen.st_size, path))
        held = sum(size for _, size, _ in found)
        for _, size, path in sorted(found):
            if held <= self._limit * 9 // 10:
                break
            with contextlib.suppress(OSError):
                path.unlink()
            held -= size
        return held


def _filled(target: memoryview, file: FileIO) -> bool:
    at = 0
    while at < len(target):
        got = file.readinto(target[at:])
        if not got:
            return False
        at += got
    return True
