"""Opening the journal's file: permissions, pragmas, read-only media, and SQLite's errors in our words."""

from __future__ import annotations

import contextlib
import errno
import os
import shutil
import sqlite3
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TypeVar
from urllib.parse import quote

from kitaru_nb.errors import CorruptError, NotFoundError, StoreError
from kitaru_nb.journal.integrity import HeadFile, recovery_hint
from kitaru_nb.journal.mounts import file_system, is_network
from kitaru_nb.journal.schema import check_format, is_blank, migrate, stand_in
from kitaru_nb.model.private import make_durable, sync_folder

__all__ = [
    "BUSY_SECONDS",
    "in_our_words",
    "open_to_read",
    "open_to_write",
    "read_only_error",
    "refuse_if_emptied",
    "translated",
]

T = TypeVar("T")

BUSY_SECONDS = 60.0
"""How long a writer waits for another process's transaction."""

PAGE_BYTES = 1024
"""Of a new journal. A commit changes a dozen rows in as many tables: with pages of 4 KiB most of what
it writes, and most of a small journal, would be what stands beside them."""

FOLD_PAGES = 80
"""The write-ahead log is folded into the database at this many pages, every few commits: a long log
would be the larger part of a small store, and each fold costs a few fsyncs."""

_PRIMARY = 0xFF  # extended result codes keep the primary one in the low byte
_DAMAGE = {sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB}
# Our SQL is fixed and fits the tables, so these mean that the file is not as it was written.
_NOT_AS_WRITTEN = {
    sqlite3.SQLITE_ERROR,
    sqlite3.SQLITE_CONSTRAINT,
    sqlite3.SQLITE_MISMATCH,
    sqlite3.SQLITE_TOOBIG,
    sqlite3.SQLITE_FORMAT,
    sqlite3.SQLITE_RANGE,
}


def open_to_write(path: Path, *, before: Callable[[int], None] = lambda _: None) -> sqlite3.Connection:
    """A connection that may write; makes the folder, the file and its tables when missing.

    A journal of an older format is brought to this one's; `before` is called with the older one first.

    Raises:
        StoreError: the place cannot be written (kind ``journal-read-only``, ``journal-full``,
            ``journal-unreadable``), or a later release wrote the journal (``journal-newer``).
        CorruptError: what is there is damaged; it is left as it is.
    """
    _make(path)
    if not _may(path, os.W_OK) or not _may(path.parent, os.W_OK):
        raise read_only_error(path)
    connection = _connect(path, "mode=rw")
    try:
        if is_blank(connection):
            refuse_if_emptied(path)
            connection.execute(f"PRAGMA page_size = {PAGE_BYTES}")
        elif path.stat().st_size:
            check_format(connection, path)
        # The log's index is memory shared by all who have the file open: on one machine only.
        wanted = "TRUNCATE" if is_network(file_system(path)) else "WAL"
        mode = _patiently(lambda: connection.execute(f"PRAGMA journal_mode = {wanted}").fetchone()[0])
        # Where the file system allows no log, only EXTRA keeps the last commit over a power cut.
        connection.execute(f"PRAGMA synchronous = {'FULL' if mode == 'wal' else 'EXTRA'}")
        connection.execute(f"PRAGMA wal_autocheckpoint = {FOLD_PAGES}")
        _patiently(lambda: migrate(connection, path, before=before))
    except BaseException:
        connection.close()
        raise
    return connection


def open_to_read(path: Path) -> tuple[sqlite3.Connection, tempfile.TemporaryDirectory[str] | None]:
    """A connection that only reads, also on read-only media and with a log that is not folded.

    The second result is the temporary folder that a copy had to be made in, if any; it
    must live as long as the connection.

    Raises:
        NotFoundError: kind ``nothing-recorded``: there are no tables yet.
        StoreError: there is no journal, or it may not be read.
        CorruptError: what is there is damaged.
    """
    if not _exists(path):
        refuse_if_emptied(path)
        raise StoreError(
            f"there is no journal at `{path}`",
            kind="journal-unreadable",
            hint="`kitaru-nb doctor` says where it is looked for and why",
        )
    if not _may(path, os.R_OK):
        raise StoreError(
            f"the journal `{path}` cannot be read: permission denied",
            kind="journal-unreadable",
            hint=f"ask its owner for read access to the folder `{path.parent}`",
        )
    if _may(path.parent, os.W_OK):
        with contextlib.suppress(_CannotOpenError):
            return _checked(_connect(path, "mode=ro"), path), None
    log = path.with_name(path.name + "-wal")
    if not log.exists() or not log.stat().st_size:
        return _checked(_connect(path, "mode=ro&immutable=1"), path), None
    copy = tempfile.TemporaryDirectory(prefix="kitaru-nb-")
    try:
        for file in (path, log):
            shutil.copyfile(file, Path(copy.name) / file.name)
        return _checked(_connect(Path(copy.name) / path.name, "mode=rw"), path), copy
    except BaseException:
        copy.cleanup()
        raise


_NO_ROOM_BESIDE = (
    sqlite3.SQLITE_CANTOPEN,
    sqlite3.SQLITE_READONLY,
    sqlite3.SQLITE_FULL,
    sqlite3.SQLITE_IOERR,
)


class _CannotOpenError(Exception):
    """SQLite needs a file beside the database that it cannot make."""


def _checked(connection: sqlite3.Connection, path: Path) -> sqlite3.Connection:
    try:
        if is_blank(connection):
            refuse_if_emptied(path)
            raise NotFoundError(  # somebody is making it, or died while they did
                f"nothing is recorded in the journal `{path}` yet",
                kind="nothing-recorded",
                hint="kitaru-nb run NOTEBOOK, or kitaru-nb demo",
            )
        stand_in(connection, check_format(connection, path))
    except sqlite3.OperationalError as error:
        connection.close()
        if error.sqlite_errorcode & _PRIMARY in _NO_ROOM_BESIDE:
            raise _CannotOpenError from error
        raise
    except BaseException:
        connection.close()
        raise
    return connection


def _connect(path: Path, options: str) -> sqlite3.Connection:
    connection = sqlite3.connect(
        f"file:{quote(str(path))}?{options}",
        uri=True,
        timeout=BUSY_SECONDS,
        isolation_level=None,
        check_same_thread=False,  # one lock in the journal guards the one connection
        cached_statements=256,
    )
    # Bytes that are no text must fail their checksum, not the driver.
    connection.text_factory = _text
    connection.execute("PRAGMA trusted_schema = OFF")
    connection.execute("PRAGMA cell_size_check = ON")
    return connection


def _text(raw: bytes) -> str:
    return raw.decode("utf-8", "surrogateescape")


def _make(path: Path) -> None:
    """Make what is missing of the folder (0700) and the file (0600), whatever the umask."""
    if path.exists():
        if path.stat().st_mode & 0o077:
            with contextlib.suppress(PermissionError):  # another user's file: theirs to decide
                path.chmod(0o600)
        return
    refuse_if_emptied(path)
    make_durable(path.parent)
    file = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        os.fchmod(file, 0o600)
    finally:
        os.close(file)
    sync_folder(path.parent)


def _exists(path: Path) -> bool:
    try:
        return path.exists()
    except PermissionError:
        return True  # in a folder that may not be entered: the permission is what to tell


def _may(path: Path, mode: int) -> bool:
    return os.access(path, mode, effective_ids=os.access in os.supports_effective_ids)


def refuse_if_emptied(path: Path) -> None:
    """Raise where the journal's file is gone or empty, though it held something.

    Raises:
        CorruptError: kind ``corrupt-record``.
    """
    if (head := HeadFile(path).read()) is not None and head[0]:
        state = "empty" if path.exists() else "gone"
        raise CorruptError(
            f"the journal `{path}` is {state}, though {head[0]} events were recorded in it",
            kind="corrupt-record",
            hint=f"put a backup of it back, or remove `{HeadFile(path).path}` to begin anew",
        )


def _patiently(action: Callable[[], T]) -> T:
    # SQLite does not call its own busy handler where two processes could wait for each other.
    deadline = time.monotonic() + BUSY_SECONDS
    while True:
        try:
            return action()
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode & _PRIMARY != sqlite3.SQLITE_BUSY or time.monotonic() > deadline:
                raise
            time.sleep(0.005)


def read_only_error(path: Path) -> StoreError:
    """The error for writing where nothing can be written."""
    return StoreError(
        f"the journal `{path}` is read-only: what is on record can be listed and resumed from, "
        "nothing new can be recorded",
        kind="journal-read-only",
        hint=f"make `{path.parent}` writable, or set `KITARU_NB_HOME` to a folder that is",
    )


@contextlib.contextmanager
def translated(path: Path) -> Iterator[None]:
    """Turn what SQLite and the operating system raise inside into `StoreError` or `CorruptError`."""
    try:
        yield
    except (sqlite3.Error, UnicodeDecodeError, OSError) as error:
        ours = in_our_words(error, path)
        if ours is error:
            raise
        raise ours from error


def in_our_words(error: Exception, path: Path) -> Exception:
    """The error that stands for one of SQLite or of the operating system; others stand for themselves."""
    match error:
        case sqlite3.Error():
            code = getattr(error, "sqlite_errorcode", None)
            # without one: a mistake in the use of the driver, not a fault of the store
            return error if code is None else _sqlite_error(error, code, path)
        case UnicodeDecodeError():  # SQLite quotes damaged bytes in its message; the driver chokes on it
            return _damage_error("its tables cannot be read", path)
        case OSError() if not isinstance(error, StoreError):
            return _system_error(error, path)
    return error


def _sqlite_error(error: sqlite3.Error, code: int, path: Path) -> StoreError:
    primary = code & _PRIMARY
    if primary in _DAMAGE or primary in _NOT_AS_WRITTEN:
        return _damage_error(f"{error} ({error.sqlite_errorname})", path)
    if primary == sqlite3.SQLITE_FULL or (primary == sqlite3.SQLITE_IOERR and _no_space(path)):
        return _full_error(path)
    if primary == sqlite3.SQLITE_READONLY:
        return read_only_error(path)
    if primary in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
        return StoreError(
            f"the journal `{path}` was held by another process for {BUSY_SECONDS:.0f} s",
            kind="journal-busy",
            hint="run the cell again; `kitaru-nb executions --status running` shows who writes",
        )
    return StoreError(
        f"the journal `{path}` could not be read or written: {error} ({error.sqlite_errorname})",
        kind="journal-unreadable",
        hint=f"check the disk and the permissions of `{path.parent}`, then run the cell again",
    )


def _damage_error(why: str, path: Path) -> CorruptError:
    return CorruptError(
        f"the journal `{path}` is damaged: {why}", kind="corrupt-record", hint=recovery_hint(path)
    )


def _system_error(error: OSError, path: Path) -> StoreError:
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return _full_error(path)
    if error.errno in (errno.EROFS, errno.EACCES, errno.EPERM):
        return read_only_error(path)
    return StoreError(
        f"the journal `{path}` could not be read or written: {error.strerror or error}",
        kind="journal-unreadable",
        hint=f"check `{path.parent}`; `kitaru-nb doctor` says where the journal is looked for and why",
    )


def _full_error(path: Path) -> StoreError:
    return StoreError(
        f"the disk of the journal `{path}` is full: nothing was recorded, nothing recorded earlier is lost",
        kind="journal-full",
        hint="make room on that disk, then run the cell again",
    )


def _no_space(path: Path) -> bool:
    try:
        usage = shutil.disk_usage(path.parent)
    except OSError:
        return False
    return usage.free < 1 << 20
