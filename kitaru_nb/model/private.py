"""Folders and small files for their owner alone, names that survive a power cut, and files in the making.

A file's bytes are synced with the file, its name with the folder that it is in; so is a folder's.
"""

from __future__ import annotations

import contextlib
import errno
import os
import re
import secrets
import shutil
import time
from collections.abc import Iterator
from pathlib import Path

_KNOWS_NO_SYNC = frozenset({errno.EINVAL, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS})
"""How a file system says that a folder cannot be synced, as SMB does: it keeps names in a way of its own."""

_PARTIAL = re.compile(r"\..+\.\d+\.[0-9a-f]{8}\.part")
_NOBODYS = 24 * 3600.0
"""Seconds since its last change after which nobody writes to what was to be a file any more."""

__all__ = ["changing", "make_durable", "make_private", "partial_of", "sync_folder", "write_private"]


def make_durable(folder: Path) -> None:
    """As `make_private`; what was made is there after a power cut, too."""
    for made in make_private(folder):
        sync_folder(made.parent)


def make_private(folder: Path) -> list[Path]:
    """Make `folder` and its missing parents, each with mode 0700 whatever the umask; those it made.

    Others who could write to one above it could put another in its place.
    """
    if folder.is_dir():
        return []
    made = make_private(folder.parent)
    try:
        folder.mkdir(mode=0o700)
    except FileExistsError:
        if not folder.is_dir():
            raise
        return made  # by another process, meanwhile
    folder.chmod(0o700)
    return [*made, folder]


def sync_folder(folder: Path) -> None:
    """Return when the names in `folder` survive a power cut, as far as its file system can say so."""
    try:
        handle = os.open(folder, os.O_RDONLY | getattr(os, "O_DIRECTORY", 0))
    except PermissionError:
        return  # Windows, or a folder that may be entered but not read
    try:
        os.fsync(handle)
    except OSError as error:
        if error.errno not in _KNOWS_NO_SYNC:
            raise
    finally:
        os.close(handle)


def write_private(path: Path, data: bytes, *, replace: bool) -> None:
    """Put `data` into a file of mode 0600, whole or not at all, whatever happens meanwhile.

    Raises:
        FileExistsError: without `replace`: it is there already.
        OSError: it could not be written.
    """
    partial = path.with_name(f".{path.name}.{os.getpid()}.{secrets.token_hex(4)}")
    try:
        handle = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(handle, "wb") as file:
            os.fchmod(file.fileno(), 0o600)  # whatever the umask
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        if replace:
            partial.replace(path)
        else:
            os.link(partial, path)  # unlike a rename, it fails where the file is there
        sync_folder(path.parent)
    finally:
        with contextlib.suppress(OSError):
            partial.unlink()


@contextlib.contextmanager
def changing(path: Path) -> Iterator[None]:
    """Alone in changing the file at `path`: what is read inside the block is what is there at its end.

    Makes the folder where it is missing. Where a file system knows no locks, nobody is kept out.
    """
    make_durable(path.parent)
    try:
        import fcntl  # noqa: PLC0415 - not on Windows
    except ImportError:
        yield
        return
    handle = os.open(path.parent, os.O_RDONLY)  # the file itself is replaced by each change
    try:
        with contextlib.suppress(OSError):
            fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)


def partial_of(path: Path) -> Path:
    """What is written until it is whole, and then becomes `path`; nothing is there yet.

    What others left beside it, who were killed before they had finished, goes after a day.
    """
    with contextlib.suppress(OSError):
        for found in path.parent.iterdir():
            if _PARTIAL.fullmatch(found.name) and time.time() - _last_change(found) > _NOBODYS:
                _remove(found)
    return path.with_name(f".{path.name}.{os.getpid()}.{secrets.token_hex(4)}.part")


def _last_change(path: Path) -> float:
    inside = path.rglob("*") if path.is_dir() and not path.is_symlink() else ()
    times: list[float] = [found.lstat().st_mtime for found in (path, *inside)]
    return max(times)


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        with contextlib.suppress(OSError):
            path.unlink()
