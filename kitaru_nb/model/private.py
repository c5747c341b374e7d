"""Folders and small files for their owner alone, and names that survive a power cut.

A file's bytes are synced with the file, its name with the folder that it is in; so is a folder's.
"""

from __future__ import annotations

import contextlib
import errno
import os
import secrets
from pathlib import Path

_KNOWS_NO_SYNC = frozenset({errno.EINVAL, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS})
"""How a file system says that a folder cannot be synced, as SMB does: it keeps names in a way of its own."""

__all__ = ["make_durable", "make_private", "sync_folder", "write_private"]


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
