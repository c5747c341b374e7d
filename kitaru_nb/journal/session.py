"""One process's connection to a journal file: its lock, its transactions, and what a fork does to it."""

from __future__ import annotations

import contextlib
import os
import sqlite3
import tempfile
import threading
from collections.abc import Iterator
from contextlib import AbstractContextManager
from pathlib import Path

from kitaru_nb.errors import CorruptError, StoreError
from kitaru_nb.journal.connection import (
    in_our_words,
    open_to_read,
    open_to_write,
    read_only_error,
    translated,
)
from kitaru_nb.journal.forks import leave_open, minding_forks
from kitaru_nb.journal.integrity import HeadFile, damaged, recovery_hint
from kitaru_nb.journal.ledger import Known, Ledger
from kitaru_nb.journal.rows import Head

__all__ = ["SqliteSession"]

_FAULTS = (sqlite3.Error, UnicodeDecodeError, OSError)


class SqliteSession:
    """Runs transactions on the journal at `path`, from any thread of any process.

    There is one connection, guarded by a lock. SQLite connections must not cross a fork,
    so it is closed before one and opened again on the next use, on both sides.
    """

    def __init__(self, path: Path, *, read_only: bool) -> None:
        self.path = path
        self.read_only = read_only
        self._lock = threading.RLock()
        self._process = os.getpid()
        self._connection: sqlite3.Connection | None = None
        self._copy: tempfile.TemporaryDirectory[str] | None = None
        self._head_file = HeadFile(path)
        self._events_seen = 0
        self._damage: StoreError | None = None
        self._held: Ledger | None = None
        self._held_head: Head | None = None
        self._numbers: dict[str, int] = {}
        self._known: Known = {}
        self._version = 0  # of the database when `_known` was right
        minding_forks(self)
        with self.reading():
            pass  # a store that cannot be used says so now, not after the first paid step

    def reading(self) -> AbstractContextManager[Ledger]:
        """One consistent view of the journal."""
        return self._begun("BEGIN")

    def writing(self) -> AbstractContextManager[Ledger]:
        """One transaction, durable when the block has ended, undone when it raises."""
        if self.read_only:
            raise read_only_error(self.path)
        if self._damage is not None:  # writing to broken tables would spread the damage
            raise self._damage
        return self._begun("BEGIN IMMEDIATE")

    @contextlib.contextmanager
    def holding(self) -> Iterator[None]:
        """One transaction around all that this thread reads and writes inside the block."""
        with self._lock:
            try:
                with self.writing() as ledger:
                    self._held, self._held_head = ledger, None
                    yield
            finally:
                self._held = None
            if self._held_head is not None:
                self.remember(self._held_head)

    def remember(self, head: Head) -> None:
        """Note beside the database, after a commit, how far the journal goes."""
        if self._held is not None:
            self._held_head = head  # not committed yet: the note must never be ahead
            return
        with self._lock:
            self._events_seen = max(self._events_seen, head.events)
            # What is committed is on record: a caller that were told otherwise would do it again. A
            # note that is behind is as after a power cut.
            with contextlib.suppress(OSError):
                self._head_file.write(head.events, head.chain)

    def space(self) -> tuple[int, int]:
        """Bytes of the database, and how many of them are free inside it."""
        with self._lock, translated(self.path):
            connection = self._open()
            page, pages, free = (
                int(connection.execute(f"PRAGMA {what}").fetchone()[0])
                for what in ("page_size", "page_count", "freelist_count")
            )
        return page * pages, page * free

    def fold(self) -> None:
        """Take the write-ahead log into the database and give its room back to the disk."""
        with self._lock, self._faults_noted():
            self._open().execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()

    def compact(self) -> None:
        """Give the free space inside the database back to the disk."""
        if self.read_only:
            raise read_only_error(self.path)
        with self._lock, self._faults_noted():
            connection = self._open()
            connection.execute("VACUUM")
            connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()

    def integrity_problems(self) -> list[CorruptError]:
        """What SQLite itself finds wrong with the file's structure."""
        with self._lock, self._faults_noted():
            found = self._open().execute("PRAGMA integrity_check").fetchall()
        return [
            CorruptError(
                f"the journal `{self.path}` is damaged: {line}",
                kind="corrupt-record",
                hint=recovery_hint(self.path),
            )
            for (line,) in found
            if line != "ok"
        ]

    def close(self) -> None:
        """Give back open files. The next use opens them again."""
        with self._lock, translated(self.path):
            self._forget_connection()

    @contextlib.contextmanager
    def _begun(self, begin: str) -> Iterator[Ledger]:
        if self._process != os.getpid():
            self.in_child()  # forked by code that does not tell Python
        # All in one block: this is run at each step, and each context of its own costs.
        with self._lock:
            try:
                if self._held is not None:
                    yield self._held
                    return
                connection = self._open()
                if connection.in_transaction:  # an interrupt hit between BEGIN and the `try` below
                    connection.rollback()
                try:
                    connection.execute(begin)
                    yield self._ledger(connection)
                    connection.execute("COMMIT")
                except BaseException:
                    self._known.clear()
                    self._numbers.clear()
                    _undo(connection)
                    raise
            except _FAULTS as error:
                ours = in_our_words(error, self.path)
                if ours is error:
                    self._note_fault(error, error.__cause__)
                    raise
                self._note_fault(ours, error)
                raise ours from error

    def _ledger(self, connection: sqlite3.Connection) -> Ledger:
        """The rows as this transaction sees them; those that are known are not read again."""
        version = connection.execute("PRAGMA data_version").fetchone()[0]
        if version != self._version:  # another connection has written
            self._version = version
            self._known.clear()
        return Ledger(connection, self.path, self._numbers, self._known)

    def _note_fault(self, ours: BaseException, cause: BaseException | None) -> None:
        if isinstance(ours, CorruptError) and isinstance(cause, sqlite3.Error | UnicodeDecodeError):
            self._damage = ours

    @contextlib.contextmanager
    def _faults_noted(self) -> Iterator[None]:
        try:
            with translated(self.path):
                yield
        except CorruptError as error:
            self._note_fault(error, error.__cause__)
            raise

    def _open(self) -> sqlite3.Connection:
        if self._connection is None:
            # The head file first: others may append between the two looks, never remove.
            noted = self._head_file.read()
            if self.read_only:
                connection, self._copy = open_to_read(self.path)
            else:
                connection = open_to_write(self.path)
            self._connection = connection
            try:
                self._compare(connection, noted)
            except BaseException:
                self._forget_connection()
                raise
        return self._connection

    def _compare(self, connection: sqlite3.Connection, noted: tuple[int, bytes] | None) -> None:
        """Refuse a journal that ends before an event known to be durable."""
        ledger = Ledger(connection, self.path, {})
        connection.execute("BEGIN")
        try:
            head = ledger.head()
            events, chain = noted or (0, b"")
            reached = head.events >= max(events, self._events_seen)
            if reached and events:
                reached = ledger.event_checksum(events) == chain
        finally:
            connection.execute("COMMIT")
        if not reached:
            raise damaged(
                f"what was recorded last (event {max(events, self._events_seen)})",
                self.path,
                why=f"the journal ends at event {head.events}; its write-ahead log `{self.path.name}-wal` "
                "was cut short or removed, or an older copy was put in its place",
            )
        self._events_seen = max(self._events_seen, head.events)

    def _forget_connection(self) -> None:
        connection, self._connection = self._connection, None
        self._known.clear()
        if connection is not None:
            connection.close()
        self._head_file.close()
        if self._copy is not None:
            self._copy.cleanup()
            self._copy = None

    def before_fork(self) -> None:
        """Wait for the transaction under way, and close: an SQLite connection must not cross a fork."""
        self._lock.acquire()
        with contextlib.suppress(sqlite3.Error, OSError):
            self._forget_connection()

    def after_fork(self) -> None:
        """Go on in the parent."""
        self._lock.release()

    def in_child(self) -> None:
        """Begin anew in the child."""
        if self._connection is not None:
            leave_open(self._connection)  # closing it here could remove the parent's log
            self._connection = None
        self._known = {}
        self._process = os.getpid()
        self._lock = threading.RLock()


def _undo(connection: sqlite3.Connection) -> None:
    # A failed COMMIT may have ended the transaction already; the first error is the one to tell.
    with contextlib.suppress(sqlite3.Error):
        if connection.in_transaction:
            connection.rollback()
