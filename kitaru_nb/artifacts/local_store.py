"""The artifact store in a folder: extents by digest, in append-only packs."""

from __future__ import annotations

import contextlib
import errno
import os
import secrets
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cache
from pathlib import Path
from shlex import quote

from kitaru_nb.artifacts.extent_store import ExtentStore
from kitaru_nb.artifacts.memory import PAGE, Memory
from kitaru_nb.artifacts.pack import Packs, pack_path, storage_error
from kitaru_nb.artifacts.store import NOTHING_BEFORE, Before, ExtentIndex
from kitaru_nb.errors import StoreError
from kitaru_nb.model.artifact import Location, PackFile
from kitaru_nb.model.private import make_private

__all__ = ["LocalStore"]

_OWNER = "owner"
_LOOK = 0.2


class LocalStore(ExtentStore):
    """Keeps extents in pack files below a folder. Safe for threads, forks and many processes.

    A refused write or flush is kind ``disk-full``, ``disk-error`` or ``store-read-only``.

    Args:
        folder: Where the packs are; made (mode 0700) when the first byte is written.
        read_only: Refuse to write, with a clear error; reading needs no write access at all.
        room: Told how many bytes are about to be written; raises a StoreError when they may not be.
        owner: Names the journal this store belongs to. The first one to write marks the folder as
            its own, and others are refused: what one journal does not know, its `gc` would take
            for left over, and it may be all that another one has. None asks nobody.
        anchor: A file that is there whenever the folder's disk is. Where a disk is unmounted, the folder
            it was mounted on is left: what was written there would be gone when it is mounted again.
        patience: Seconds for which `anchor` is waited for.
        mappable: Asked before the first file is mapped: whether what is mapped stays readable when it
            is deleted. On a network file system it does not, where another machine's `gc` deletes it:
            the next look at it would kill the process.
    """

    def __init__(
        self,
        folder: Path,
        *,
        read_only: bool = False,
        room: Callable[[int], None] = lambda _bytes: None,
        owner: str | None = None,
        anchor: Path | None = None,
        patience: float = 0.0,
        mappable: Callable[[], bool] = lambda: True,
    ) -> None:
        self._folder = Path(folder)
        self._anchor = anchor
        self._patience = patience
        self._owner = owner
        self._mappable = cache(mappable)
        super().__init__(read_only=read_only, room=room)

    @property
    def folder(self) -> Path:
        """Where the packs are."""
        return self._folder

    def write(
        self,
        chunks: Sequence[memoryview],
        *,
        index: ExtentIndex,
        before: Before = NOTHING_BEFORE,
    ) -> list[Location]:
        """As every store of packs; see there.

        Raises:
            StoreError: kind ``foreign-store``: the folder belongs to another journal. Kind
                ``store-gone``: its disk is not there. And as there.
        """
        self._claim()
        return super().write(chunks, index=index, before=before)

    def packs(self) -> list[PackFile]:
        """Every pack in the folder.

        Raises:
            StoreError: the folder cannot be listed, or belongs to another journal.
        """
        self._claim()
        try:
            return list(self._files())
        except OSError as error:
            raise self._told(error, "the packs cannot be listed") from error

    def remove(self, name: str) -> None:
        """Remove a pack; one that is gone is no error. What has it open goes on reading it.

        Raises:
            StoreError: it could not be removed, or belongs to another journal.
        """
        self._claim()
        path = pack_path(self._folder, name)
        if path is None:
            return
        try:
            path.unlink(missing_ok=True)
        except OSError as error:
            raise self._told(error, f"the pack `{path.name}` cannot be removed") from error

    def _claim(self) -> None:
        """Mark the folder as this journal's, or make sure that it is."""
        if self._owner is None:
            return
        mark = self._folder / _OWNER
        try:
            found = _owner_in(mark)
            if found is None and not self._read_only:
                found = _put_owner(mark, self._owner)
        except OSError as error:
            raise self._told(error, "whose the values are cannot be told") from error
        if found not in (None, self._owner):
            raise StoreError(
                f"`{self._folder}` belongs to another journal: each journal needs a place of its own",
                kind="foreign-store",
                hint=f"another folder, such as {self._folder}-2 (or rm {quote(str(mark))}, "
                "when that journal is gone)",
            )
        if found is not None:
            self._owner = None  # asked once
            self._anchor = mark  # it is on the very disk that the packs are on

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
        return Packs(self._folder, self._await_disk)

    def _await_disk(self) -> None:
        until = time.monotonic() + self._patience
        while self._anchor is not None and not os.path.lexists(self._anchor):
            if time.monotonic() > until:
                raise StoreError(
                    f"the values could not be written in `{self._folder}`: its disk is gone, "
                    f"`{self._anchor}` is not there",
                    kind="store-gone",
                    hint=f"mount the disk of `{self._anchor.parent}` again, then run the cell again",
                )
            time.sleep(_LOOK)

    def _lengths(self, packs: set[str]) -> Mapping[str, int]:
        return {name: self._length(name) for name in packs}

    def _length(self, name: str) -> int:
        path = pack_path(self._folder, name)
        try:
            return path.stat().st_size if path else -1
        except OSError:
            return -1

    def _fetch(self, location: Location, target: memoryview) -> None:
        with self._opened(location) as file:
            if not _read_fully(file, target, location.offset):
                self._refuse(location, "the file is cut short")

    def map_into(self, places: Sequence[Location], memory: Memory) -> bool:
        """Lay the extents at `places` over `memory`, one behind the other. Their bytes are not checked.

        Costs microseconds for each stretch of a pack, whatever its length. False, with nothing
        laid, where they do not lie in pages of their own or in too many pieces, or nothing may be mapped.

        Raises:
            CorruptError: as `read`: a file is gone or cut short.
            StoreError: it cannot be read.
        """
        runs = _runs(places)
        if runs is None or not memory.takes(len(runs)) or not self._mappable():
            return False
        at = 0
        for first, length in runs:
            if first.data is not None:
                memory.view[at : at + length] = first.data
                at += length
                continue
            with self._opened(first) as file:
                if os.fstat(file).st_size < first.offset + length:
                    self._refuse(first, "the file is cut short")
                if not memory.lay(file, first.offset, at, length):
                    return False
            at += length
        return True

    @contextlib.contextmanager
    def _opened(self, location: Location) -> Iterator[int]:
        """The pack that an extent is in, open for reading."""
        path = pack_path(self._folder, location.pack or "")
        if path is None:
            self._refuse(location, "its recorded place is not a pack")
        try:
            file = os.open(path, os.O_RDONLY | getattr(os, "O_CLOEXEC", 0))
        except FileNotFoundError:
            self._refuse(location, "the file is gone")
        except OSError as error:
            raise storage_error(error, "stored values cannot be read", where=path) from error
        try:
            yield file
        except OSError as error:
            if isinstance(error, StoreError):
                raise
            raise storage_error(error, "stored values cannot be read", where=path) from error
        finally:
            os.close(file)

    def _place(self, pack: str) -> str:
        return str(pack_path(self._folder, pack) or pack)

    def _told(self, error: OSError, what: str) -> StoreError:
        return storage_error(error, what, where=self._folder)

    def _read_only_error(self) -> StoreError:
        return self._told(OSError(errno.EROFS, ""), "the values cannot be written")


def _owner_in(mark: Path) -> str | None:
    try:
        return mark.read_text(encoding="utf-8")
    except FileNotFoundError:
        return None


def _put_owner(mark: Path, owner: str) -> str | None:
    """Write `mark` unless somebody else does so first; whose it is then."""
    make_private(mark.parent)
    part = mark.with_name(f".{mark.name}.{os.getpid()}.{secrets.token_hex(4)}")
    try:
        with open(os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8") as file:  # noqa: PTH123 - its mode
            file.write(owner)
            file.flush()
            os.fsync(file.fileno())
        try:
            os.link(part, mark)  # whole or not at all, and never over another one's
        except FileExistsError:
            pass
        except OSError:  # a file system without links
            with contextlib.suppress(FileExistsError), mark.open("x", encoding="utf-8") as file:
                file.write(owner)
    finally:
        part.unlink(missing_ok=True)
    return _owner_in(mark)


def _runs(places: Sequence[Location]) -> list[tuple[Location, int]] | None:
    """Stretches of packs, each with its first extent and its length; None where they cannot be mapped."""
    runs: list[tuple[Location, int]] = []
    at = 0
    for place in places:
        if place.offset % PAGE or at % PAGE:
            return None
        first, length = runs[-1] if runs else (place, -1)
        if length >= 0 and first.pack == place.pack is not None and first.offset + length == place.offset:
            runs[-1] = first, length + place.extent.length
        else:
            runs.append((place, place.extent.length))
        at += place.extent.length
    return runs


def _read_fully(fd: int, target: memoryview, offset: int) -> bool:
    """Fill `target` from `offset` on; False when the file ends first."""
    at = 0
    while at < len(target):
        got = os.preadv(fd, [target[at:]], offset + at)
        if got == 0:
            return False
        at += got
    return True
