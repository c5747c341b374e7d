"""The artifact store in a folder: extents by digest, in append-only packs."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator, Mapping
from pathlib import Path

from kitaru_nb.artifacts.extent_store import ExtentStore
from kitaru_nb.artifacts.pack import Packs, pack_path, storage_error
from kitaru_nb.errors import StoreError
from kitaru_nb.model.artifact import Location, PackFile

__all__ = ["LocalStore"]


class LocalStore(ExtentStore):
    """Keeps extents in pack files below a folder. Safe for threads, forks and many processes.

    A refused write or flush is kind ``disk-full``, ``disk-error`` or ``store-read-only``.

    Args:
        folder: Where the packs are; made (mode 0700) when the first byte is written.
        read_only: Refuse to write, with a clear error; reading needs no write access at all.
    """

    def __init__(self, folder: Path, *, read_only: bool = False) -> None:
        self._folder = Path(folder)
        super().__init__(read_only=read_only)

    @property
    def folder(self) -> Path:
        """Where the packs are."""
        return self._folder

    def packs(self) -> list[PackFile]:
        """Every pack in the folder.

        Raises:
            StoreError: the folder cannot be listed.
        """
        try:
            return list(self._files())
        except OSError as error:
            raise self._told(error, "the packs cannot be listed") from error

    def remove(self, name: str) -> None:
        """Remove a pack; one that is gone is no error. What has it open goes on reading it.

        Raises:
            StoreError: it could not be removed.
        """
        path = pack_path(self._folder, name)
        if path is None:
            return
        try:
            path.unlink(missing_ok=True)
        except OSError as error:
            raise self._told(error, f"the pack `{path.name}` cannot be removed") from error

    def _files(self) -> Iterator[PackFile]:
        try:
            parts = list(os.scandir(self._folder / "packs"))
        except FileNotFoundError:
            return
        for part in parts:
            for file in os.scandir(part) if part.is_dir(follow_symlinks=False) else ():
                if pack_path(self._folder, file.name) is not None:
                    try:
                        known = file.stat(follow_symlinks=False)
                    except FileNotFoundError:  # another process removed it meanwhile
                        continue
                    yield PackFile(file.name, known.st_size, known.st_mtime)

    def _new_packs(self) -> Packs:
        return Packs(self._folder)

    def _lengths(self, packs: set[str]) -> Mapping[str, int]:
        return {name: self._length(name) for name in packs}

    def _length(self, name: str) -> int:
        path = pack_path(self._folder, name)
        try:
            return path.stat().st_size if path else -1
        except OSError:
            return -1

    def _fetch(self, location: Location, target: memoryview) -> None:
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

    def _place(self, pack: str) -> str:
        return str(pack_path(self._folder, pack) or pack)

    def _told(self, error: OSError, what: str) -> StoreError:
        return storage_error(error, what, where=self._folder)

    def _read_only_error(self) -> StoreError:
        return self._told(OSError(errno.EROFS, ""), "the values cannot be written")


def _read_fully(fd: int, target: memoryview, offset: int) -> bool:
    """Fill `target` from `offset` on; False when the file ends first."""
    at = 0
    while at < len(target):
        got = os.preadv(fd, [target[at:]], offset + at)
        if got == 0:
            return False
        at += got
    return True
