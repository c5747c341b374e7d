"""One process's connection to a journal in PostgreSQL: transactions, lost connections, and the clock.

Writers take turns on the row of `head`, which every commit changes anyway. A connection that breaks
at COMMIT leaves open whether it happened; then the events are looked at, with that row locked, so
that the old transaction has ended: the chain of checksums tells whether ours is among them.
"""

from __future__ import annotations

import contextlib
import os
import threading
import time
from collections.abc import Iterable, Iterator, Sequence
from functools import cache
from typing import Any, TypeVar
from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit

import psycopg
from psycopg import Connection, Cursor, RawCursor
from psycopg.pq import PGconn, Ping, TransactionStatus

from kitaru_nb.errors import CorruptError, StoreError, UsageError
from kitaru_nb.journal.forks import leave_open, minding_forks
from kitaru_nb.journal.integrity import damaged
from kitaru_nb.journal.ledger import TABLES, Ledger
from kitaru_nb.journal.postgres_errors import (
    BUSY_SECONDS,
    lost,
    read_only_error,
    translated,
    unreachable,
)
from kitaru_nb.journal.postgres_schema import prepare
from kitaru_nb.journal.rows import Head

__all__ = ["PATIENCE", "PostgresSession", "named"]

Row = TypeVar("Row")

PATIENCE = 60.0
"""Seconds for which a server that has gone away is waited for, unless somebody says otherwise."""

_SCHEMA = "kitaru_nb"
# Now; when the transaction was begun, which may have been long before it got the row; when the server was.
_NOW = "SELECT " + ", ".join(
    f"(extract(epoch FROM {moment}()) * 1e6)::bigint"
    for moment in ("clock_timestamp", "transaction_timestamp", "pg_postmaster_start_time")
)
_WRITE = f"BEGIN; SELECT id FROM head WHERE id = 1 FOR UPDATE; {_NOW}"
_READ = f"BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY; {_NOW}"
# A commit that has returned survives a power cut, whatever the server's default. One that froze
# half-way must not keep the others waiting for ever.
_SETTINGS = (
    f"SET lock_timeout = '{BUSY_SECONDS}s'; SET idle_in_transaction_session_timeout = '{BUSY_SECONDS}s'; "
    "SELECT set_config('synchronous_commit', 'on', false) "
    "WHERE current_setting('synchronous_commit') IN ('off', 'local')"
)
_KEEPALIVE = {"connect_timeout": 10, "keepalives_idle": 20, "keepalives_interval": 5, "keepalives_count": 3}


def named(url: str) -> tuple[str, str, str]:
    """The URL for the driver, the name for messages (no password, no options), and the schema.

    Raises:
        UsageError: kind ``bad-journal-url``.
    """
    try:
        parts = urlsplit(url)
        host = parts.hostname or ""
        port = f":{parts.port}" if parts.port else ""
    except ValueError as error:
        raise _bad_url(str(error)) from error
    if parts.scheme not in ("postgresql", "postgres"):
        raise _bad_url(f"it begins with `{parts.scheme}:`")
    options = dict(parse_qsl(parts.query))
    schema = options.pop("schema", _SCHEMA)
    user = f"{parts.username}@" if parts.username else ""
    shown = f"postgresql://{user}{host}{port}{parts.path}"
    return urlunsplit(parts._replace(query=urlencode(options))), shown, schema


class PostgresSession:
    """Runs transactions on the journal at `url`, from any thread of any process."""

    def __init__(
        self,
        url: str,
        *,
        password: str | None,
        read_only: bool,
        patience: float = PATIENCE,
        awaited: bool = False,
    ) -> None:
        self._url, self.name, self._schema = named(url)
        self._password = password
        self.read_only = read_only
        self.patience = patience
        self._lock = threading.RLock()
        self._process = os.getpid()
        self._connection: Connection[Any] | None = None
        self._awaited = awaited
        self._seen: Head | None = None
        self._held: _Ledger | None = None
        self._held_head: Head | None = None
        self._numbers: dict[str, int] = {}
        self._server_time = (0, 0.0)
        self._listened = (0, 0)
        self._unheard: float | None = None  # when it was tried in vain to connect
        minding_forks(self)
        with self.reading():
            pass  # a journal that cannot be used says so now, not after the first paid step

    @property
    def held(self) -> bool:
        """Whether a transaction is held open around several calls."""
        return self._held is not None

    def clock(self) -> float:
        """Seconds since 1970 by the server's clock, the one that all hosts share."""
        at, looked = self._server_time
        return at / 1e6 + (time.monotonic() - looked)

    def listened(self) -> tuple[int, int]:
        """From when to when signs of life could be recorded, as far as the transaction under way knows.

        Not before the server was started and could be reached from here, and not while the
        transaction waited for others to end.
        """
        return self._listened

    @contextlib.contextmanager
    def reading(self) -> Iterator[Ledger]:
        """One consistent view of the journal."""
        with self._begun(_READ) as ledger:
            yield ledger

    @contextlib.contextmanager
    def writing(self) -> Iterator[Ledger]:
        """One transaction, alone in writing, durable when the block has ended, undone when it raises."""
        if self.read_only:
            raise read_only_error(self.name)
        with self._begun(_WRITE) as ledger:
            yield ledger

    @contextlib.contextmanager
    def holding(self) -> Iterator[None]:
        """One transaction around all that this thread reads and writes inside the block."""
        with self._lock:
            try:
                with self.writing() as ledger:
                    assert isinstance(ledger, _Ledger)
                    self._held, self._held_head = ledger, None
                    yield
            finally:
                self._held = None
            if self._held_head is not None:
                self.remember(self._held_head)

    def remember(self, head: Head) -> None:
        """Take note, after a commit, of how far the journal goes."""
        if self._held is not None:
            self._held_head = head
        elif self._seen is None or head.events >= self._seen.events:
            self._seen = head

    def space(self) -> tuple[int, int]:
        """Bytes of the journal's tables; how many of them are free is the server's business."""
        query = "SELECT coalesce(sum(pg_total_relation_size(c.oid)), 0)::bigint FROM pg_class c "
        query += "JOIN pg_namespace n ON n.oid = c.relnamespace WHERE c.relkind = 'r' AND n.nspname = %s"
        with self._lock, translated(self.name):
            row = self._open().execute(query, (self._schema,)).fetchone()
        return (int(row[0]) if row else 0), 0

    def fold(self) -> None:
        """Nothing: the server's log is its own business."""

    def compact(self) -> None:
        """Have the server reuse the free space; it does so by itself as well, later."""
        if self.read_only:
            raise read_only_error(self.name)
        with self._lock, translated(self.name):
            for table in TABLES.values():
                self._open().execute(f"VACUUM {table}".encode())

    def risks(self) -> list[str]:
        """What about the server's own settings puts recorded things in danger."""
        query = "SELECT name FROM pg_settings WHERE name IN ('fsync', 'full_page_writes') AND setting = 'off'"
        with self._lock, translated(self.name):
            found = self._open().execute(query.encode()).fetchall()
        return [
            f"the server has {name} = off: a power cut there can lose what is recorded" for (name,) in found
        ]

    def integrity_problems(self) -> list[CorruptError]:
        """Nothing: the server checks its own pages as it reads them."""
        return []

    def close(self) -> None:
        """Give the connection back. The next use opens another."""
        with self._lock:
            self._drop()

    def before_fork(self) -> None:
        """Wait for the transaction under way."""
        self._lock.acquire()

    def after_fork(self) -> None:
        """Go on in the parent, on the same connection."""
        self._lock.release()

    def in_child(self) -> None:
        """Leave the parent's connection alone and begin anew."""
        if self._connection is not None:
            leave_open(self._connection)
            self._connection = None
        self._process = os.getpid()
        self._lock = threading.RLock()

    @contextlib.contextmanager
    def _begun(self, begin: str) -> Iterator[_Ledger]:
        if self._process != os.getpid():
            self.in_child()  # forked by code that does not tell Python
        with self._lock, self._in_our_words():
            if self._held is not None:
                yield self._held
                return
            ledger = self._begin(begin)
            try:
                try:
                    yield ledger
                except BaseException:
                    self._undo()
                    raise
                self._end(ledger)
            except BaseException:
                self._numbers.clear()  # an execution that was begun here is not there
                raise

    @contextlib.contextmanager
    def _in_our_words(self) -> Iterator[None]:
        """Translate what the driver raises; where the connection is gone, that is what counts."""
        with translated(self.name):
            try:
                yield
            except psycopg.Error as error:
                if self._connection is not None and _broken(self._connection):
                    raise lost(self.name) from error
                raise

    def _begin(self, statement: str) -> _Ledger:
        """A transaction. One that the server's restart kept from beginning is begun on a new connection."""
        connection = self._open()
        try:
            cursor = self._ask(connection, statement)
        except psycopg.Error:
            if not _broken(connection):
                self._undo()
                raise
            connection = self._open()
            cursor = self._ask(connection, statement)
        while cursor.nextset():
            pass
        row = cursor.fetchone()
        assert row is not None
        now, begun, started = map(int, row)
        since, self._server_time = self._listened[0], (now, time.monotonic())
        if self._unheard is not None:
            since, self._unheard = now - int((time.monotonic() - self._unheard) * 1e6), None
        self._listened = (max(since, started), begun)
        return _Ledger(connection, self.name, self._numbers)

    def _ask(self, connection: Connection[Any], statement: str) -> Cursor[Any]:
        if connection.info.transaction_status is not TransactionStatus.IDLE:
            connection.execute("ROLLBACK")  # an interrupt hit right after BEGIN
        return connection.execute(statement.encode())

    def _end(self, ledger: _Ledger) -> None:
        connection = ledger.connection
        try:
            done = connection.execute("COMMIT").statusmessage
        except psycopg.Error as error:
            if not _broken(connection):
                self._undo()
                raise
            if ledger.written is None or not self._arrived(ledger.written, error):
                raise lost(self.name) from error
            return
        if done != "COMMIT":
            raise StoreError(
                f"the journal `{self.name}` did not commit ({done}): nothing was recorded",
                kind="journal-unreadable",
                hint="run the cell again",
            )

    def _arrived(self, written: Head, error: psycopg.Error) -> bool:
        """Whether a transaction whose COMMIT was not answered has happened after all."""
        until = time.monotonic() + self.patience
        while True:
            try:
                return self._is_there(written)
            except (psycopg.Error, StoreError) as again:
                passing = isinstance(again, psycopg.OperationalError) and self._connection_is_broken()
                if passing and time.monotonic() < until:
                    continue
                raise StoreError(
                    f"the connection to the journal `{self.name}` broke while it recorded, and whether it "
                    f"did cannot be seen now: {error}; {again}",
                    kind="journal-unreachable",
                    hint="kitaru-nb stack check; then run the cell again: what was recorded is restored",
                ) from error

    def _is_there(self, written: Head) -> bool:
        ledger = self._begin(_WRITE)  # waits until the old transaction has ended
        try:
            head = ledger.head()
            return head.events >= written.events and ledger.event_checksum(written.events) == written.chain
        finally:
            self._undo()

    def _connection_is_broken(self) -> bool:
        return self._connection is None or _broken(self._connection)

    def _undo(self) -> None:
        connection = self._connection
        if connection is None:
            return
        # What went wrong first is what there is to tell.
        with contextlib.suppress(psycopg.Error):
            if not connection.closed and connection.info.transaction_status is not TransactionStatus.IDLE:
                connection.execute("ROLLBACK")

    def _open(self) -> Connection[Any]:
        if self._connection is not None and self._connection.closed:
            self._drop()
        if self._connection is None:
            self._connection = self._connect()
            try:
                self._compare(self._connection)
            except BaseException:
                self._drop()
                raise
            self._awaited = True
        return self._connection

    def _connect(self) -> Connection[Any]:
        """A new connection. A server that was there before is waited for."""
        began = time.monotonic()
        while True:
            try:
                return self._connected()
            except psycopg.OperationalError as error:
                self._unheard = time.monotonic()
                if error.sqlstate is not None and not error.sqlstate.startswith("57"):
                    raise
                awaited = self._awaited or PGconn.ping(self._url.encode()) == Ping.REJECT  # it is starting
                if time.monotonic() >= began + (self.patience if awaited else 0):
                    raise unreachable(self.name, error) from error
            time.sleep(0.1)

    def _connected(self) -> Connection[Any]:
        options: dict[str, Any] = {"fallback_application_name": "kitaru_nb", **_KEEPALIVE}
        if self._password is not None:
            options["password"] = self._password
        connection: Connection[Any] = Connection.connect(self._url, autocommit=True, **options)
        self._awaited = True  # it is there: what breaks off from here on comes back
        try:
            connection.execute(_SETTINGS.encode())
            prepare(connection, self._schema, self.name, read_only=self.read_only)
        except BaseException:
            connection.close()
            raise
        return connection

    def _compare(self, connection: Connection[Any]) -> None:
        """Refuse a journal that ends before an event known to be durable: another server, or a backup."""
        if self._seen is None or not self._seen.events:
            return
        ledger = _Ledger(connection, self.name, {})
        head = ledger.head()
        if head.events < self._seen.events or ledger.event_checksum(self._seen.events) != self._seen.chain:
            raise damaged(
                f"what was recorded last (event {self._seen.events})",
                self.name,
                why=f"the journal ends at event {head.events}; an older copy of the database is in its place",
            )

    def _drop(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()


class _Ledger(Ledger):
    """A ledger that knows which head its transaction has written."""

    def __init__(self, connection: Connection[Any], name: str, numbers: dict[str, int]) -> None:
        super().__init__(_Statements(connection), name, numbers)
        self.connection = connection
        self.written: Head | None = None

    def update(self, row: Any) -> None:
        """Replace the row with the same number."""
        super().update(row)
        if isinstance(row, Head):
            self.written = row


class _Statements:
    """Runs the ledger's statements in PostgreSQL's dialect."""

    def __init__(self, connection: Connection[Any]) -> None:
        self._connection = connection

    def execute(self, statement: str, parameters: Sequence[Any] = (), /) -> Cursor[Any]:
        """Run one statement."""
        cursor = RawCursor(self._connection)
        return cursor.execute(_translated(statement), parameters, prepare=True, binary=True)

    def executemany(self, statement: str, parameters: Iterable[Sequence[Any]], /) -> None:
        """Run one statement for each row of parameters, all under way at once."""
        RawCursor(self._connection).executemany(_translated(statement), parameters)


@cache
def _translated(statement: str) -> bytes:
    pieces = statement.replace(" IS NOT (", " IS DISTINCT FROM (").split("?")
    return "".join([*(f"{piece}${n}" for n, piece in enumerate(pieces[:-1], 1)), pieces[-1]]).encode()


def _broken(connection: Connection[Any]) -> bool:
    return connection.closed or connection.broken


def _bad_url(why: str) -> UsageError:
    return UsageError(
        f"the journal's URL cannot be used: {why}",
        kind="bad-journal-url",
        hint="journal = postgresql://USER@HOST/DATABASE",
    )
