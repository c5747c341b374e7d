"""Reading and writing verified rows inside one transaction.

Everything here runs between BEGIN and COMMIT. A row that is missing or does not match its
checksum raises `CorruptError` that names it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import groupby
from pathlib import Path
from typing import Any, Protocol, TypeVar, cast

from blake3 import blake3

from kitaru_nb.errors import CorruptError, NotFoundError
from kitaru_nb.journal import rows
from kitaru_nb.journal.integrity import checksum, damaged
from kitaru_nb.journal.rows import (
    ArtifactRow,
    AttemptRow,
    CheckpointRow,
    CondemnedRow,
    EventRow,
    ExecutionRow,
    ExtentRow,
    Head,
    State,
    SweepRow,
    TombstoneRow,
)
from kitaru_nb.model.execution import ExecutionId

__all__ = ["TABLES", "Cursor", "Known", "Ledger", "Sql"]

Row = TypeVar(
    "Row",
    Head,
    ExecutionRow,
    State,
    AttemptRow,
    CheckpointRow,
    ArtifactRow,
    ExtentRow,
    EventRow,
    SweepRow,
    TombstoneRow,
    CondemnedRow,
)

TABLES: dict[type, str] = {
    Head: "head",
    ExecutionRow: "executions",
    State: "states",
    AttemptRow: "attempts",
    CheckpointRow: "checkpoints",
    ArtifactRow: "artifacts",
    ExtentRow: "extents",
    EventRow: "events",
    SweepRow: "sweeps",
    TombstoneRow: "tombstones",
    CondemnedRow: "condemned",
}

_EMPTY = (b"", b"")  # a row of `newest` that nothing was put into
_NAME_BYTES = 16
_ENTRY_BYTES = _NAME_BYTES + 8
_MANY = 500  # digests per statement

Known = dict[tuple[object, object], Any]
"""Rows by kind and number."""

_SMALL = frozenset([Head, State, AttemptRow, ExecutionRow])  # what every commit asks for
_REMEMBERED = 256


def _fields(kind: type) -> tuple[str, ...]:
    return cast("tuple[str, ...]", kind._fields)  # type: ignore[attr-defined] # every kind is a NamedTuple


def _insert_sql(kind: type) -> str:
    marks = ", ".join("?" * (len(_fields(kind)) + 1))
    return f"INSERT INTO {TABLES[kind]} VALUES ({marks})"


def _replace_sql(kind: type) -> str:
    """The end of an insert that takes the place of a row with the same digest, if it says something else."""
    columns = [*_fields(kind)[1:], "checksum"]
    old, new = (
        ", ".join(f'{table}."{column}"' for column in columns) for table in (TABLES[kind], "excluded")
    )
    changes = ", ".join(f'"{column}" = excluded."{column}"' for column in columns)
    return f" ON CONFLICT ({_KEY[kind]}) DO UPDATE SET {changes} WHERE ({old}) IS NOT ({new})"


def _update_sql(kind: type) -> str:
    changes = ", ".join(f'"{field}" = ?' for field in [*_fields(kind)[1:], "checksum"])
    return f"UPDATE {TABLES[kind]} SET {changes} WHERE {_KEY[kind]} = ?"


_KEY = {kind: _fields(kind)[0] for kind in TABLES}
_SELECT = {kind: f"SELECT * FROM {table} WHERE {_KEY[kind]} = ?" for kind, table in TABLES.items()}
_INSERT = {kind: _insert_sql(kind) for kind in TABLES}
_KEEP: dict[type, str] = {
    kind: _insert_sql(kind) + _replace_sql(kind)
    for kind in (ArtifactRow, ExtentRow, TombstoneRow, CondemnedRow)
}
_UPDATE = {kind: _update_sql(kind) for kind in TABLES}


class Cursor(Protocol):
    """What a statement found."""

    def fetchone(self) -> Any:
        """The next row, None when there is none."""
        ...

    def fetchall(self) -> list[Any]:
        """The rows that are left."""
        ...

    def __iter__(self) -> Iterator[Any]: ...


class Sql(Protocol):
    """A connection inside a transaction. Statements are in SQLite's dialect, parameters are ``?``."""

    def execute(self, statement: str, parameters: Sequence[Any] = (), /) -> Cursor:
        """Run one statement."""
        ...

    def executemany(self, statement: str, parameters: Iterable[Sequence[Any]], /) -> object:
        """Run one statement for each row of parameters; a server is not waited for in between."""
        ...


class Ledger:
    """The rows of one journal, as one transaction sees them.

    Args:
        connection: Runs the statements.
        path: Names the journal in errors.
        numbers: Remembers the number of each execution id across transactions.
        known: Rows that are on record as they are here: verified when they were read, or written
            by this connection. Whoever gives one that is not empty knows that nobody else has
            written since, and forgets it where the transaction is undone.
    """

    def __init__(
        self, connection: Sql, path: Path | str, numbers: dict[str, int], known: Known | None = None
    ) -> None:
        self._sql = connection
        self._path = path
        self._numbers = numbers
        self._known: Known = {} if known is None else known

    # Rows by number

    def fetch(self, kind: type[Row], number: int | None, what: str = "") -> Row:
        """The row with this number. It must be there."""
        known = self._known.get((kind, number))
        if known is not None:
            return cast("Row", known)
        found = self._sql.execute(_SELECT[kind], (number,)).fetchone()
        if found is None:
            label = what or f"row {number} of `{TABLES[kind]}`"
            raise damaged(label, self._path, why="it is not where it must be")
        row = self.verified(kind, found)
        if kind in _SMALL:
            self._know((kind, number), row)
        return row

    def verified(self, kind: type[Row], found: Sequence[Any]) -> Row:
        """The row, once its checksum agrees."""
        if found[-1] != checksum(TABLES[kind], found[:-1]):
            raise self._damaged_row(kind, found)
        return kind(*found[:-1])

    def insert(self, row: Row) -> bytes:
        """Add a row; its checksum comes back."""
        kind = type(row)
        seal = checksum(TABLES[kind], row)
        self._sql.execute(_INSERT[kind], (*row, seal))
        self._known.pop((kind, None), None)
        return seal

    def keep(
        self,
        stored: Iterable[ArtifactRow] | Iterable[ExtentRow] | Iterable[TombstoneRow] | Iterable[CondemnedRow],
    ) -> None:
        """Add content-addressed rows. A row that says something else about the same content gives way.

        A store that finds an extent damaged or gone writes it anew, and the old place must not
        be found again.
        """
        for kind, some in groupby(stored, type):
            self._sql.executemany(_KEEP[kind], [(*row, checksum(TABLES[kind], row)) for row in some])

    def update(self, row: Row) -> None:
        """Replace the row with the same number."""
        kind = type(row)
        self._sql.execute(_UPDATE[kind], (*row[1:], checksum(TABLES[kind], row), row[0]))
        if kind in _SMALL:
            self._know((kind, row[0]), row)

    def _know(self, key: tuple[object, object], row: Any) -> None:
        if len(self._known) >= _REMEMBERED:
            self._known.clear()
        self._known[key] = row

    def by_digest(self, kind: type[Row], digests: Iterable[str]) -> Iterator[Row]:
        """The content-addressed rows with these digests; unknown ones are left out."""
        wanted = [bytes.fromhex(digest) for digest in dict.fromkeys(digests)]
        for at in range(0, len(wanted), _MANY):
            some = wanted[at : at + _MANY]
            marks = ", ".join("?" * len(some))
            query = f"SELECT * FROM {TABLES[kind]} WHERE digest IN ({marks})"
            for found in self._sql.execute(query, some).fetchall():
                yield self.verified(kind, found)

    def every(self, kind: type[Row]) -> Iterator[Row]:
        """Every row of a table that has no numbers, in no order, each verified."""
        for found in self._sql.execute(f"SELECT * FROM {TABLES[kind]}"):
            yield self.verified(kind, found)

    def keys(self, kind: type[Row]) -> Iterator[str]:
        """The digest of every row of a table of content, in no order."""
        for (key,) in self._sql.execute(f"SELECT {_KEY[kind]} FROM {TABLES[kind]}"):
            yield key.hex()

    def drop(self, kind: type[Row], keys: Iterable[bytes]) -> None:
        """Remove content-addressed rows. Only a sweep does that, and says so in the same transaction."""
        gone = list(keys)
        for at in range(0, len(gone), _MANY):
            some = gone[at : at + _MANY]
            marks = ", ".join("?" * len(some))
            self._sql.execute(f"DELETE FROM {TABLES[kind]} WHERE {_KEY[kind]} IN ({marks})", some)

    def sweeps(self) -> int:
        """How many sweeps there were, from the table itself: cheap, and only good to see a new one."""
        known = self._known.get((SweepRow, None))
        if known is None:
            known = self._sql.execute("SELECT max(n) FROM sweeps").fetchone()[0] or 0
            self._know((SweepRow, None), known)
        return cast("int", known)

    def condemned(self, packs: Iterable[str]) -> set[str]:
        """Which of `packs` are removed or about to be."""
        wanted, found = sorted(set(packs)), set()
        for at in range(0, len(wanted), _MANY):
            some = wanted[at : at + _MANY]
            marks = ", ".join("?" * len(some))
            query = f"SELECT * FROM condemned WHERE pack IN ({marks})"
            found |= {self.verified(CondemnedRow, row).pack for row in self._sql.execute(query, some)}
        return found

    def packs_in_use(self) -> set[str]:
        """The packs that any extent is in."""
        query = "SELECT DISTINCT pack FROM extents WHERE pack IS NOT NULL"
        return {pack for (pack,) in self._sql.execute(query)}

    def numbers_of(self, kind: type[Row], newest: int) -> Iterator[Row]:
        """Rows `newest` down to 1. Each of them must be there."""
        expected = newest
        query = f"SELECT * FROM {TABLES[kind]} WHERE {_KEY[kind]} <= ? ORDER BY {_KEY[kind]} DESC"
        for found in self._sql.execute(query, (newest,)):
            if found[0] != expected:
                break
            yield self.verified(kind, found)
            expected -= 1
        if expected:
            raise damaged(f"row {expected} of `{TABLES[kind]}`", self._path, why="it is not where it must be")

    # The hash table

    def newest(self, name: str) -> int | None:
        """Number of the newest row that was put under `name`."""
        short = _short(name)
        entries = self._bucket(short)
        at = _position(entries, short)
        return None if at < 0 else int.from_bytes(entries[at + _NAME_BYTES : at + _ENTRY_BYTES])

    def put_newest(self, name: str, number: int) -> int | None:
        """Put `number` under `name`; what was there before comes back."""
        short = _short(name)
        entries = self._bucket(short)
        at = _position(entries, short)
        record = short + number.to_bytes(8)
        before = None
        if at < 0:
            entries += record
        else:
            before = int.from_bytes(entries[at + _NAME_BYTES : at + _ENTRY_BYTES])
            entries = entries[:at] + record + entries[at + _ENTRY_BYTES :]
        bucket = _bucket_number(short)
        self._sql.execute(
            "UPDATE newest SET entries = ?, checksum = ? WHERE bucket = ?",
            (entries, checksum("newest", (bucket, entries)), bucket),
        )
        self._know(("newest", bucket), entries)
        return before

    def _bucket(self, short: bytes) -> bytes:
        number = _bucket_number(short)
        known = self._known.get(("newest", number))
        if known is not None:
            return cast("bytes", known)
        found = self._sql.execute(
            "SELECT entries, checksum FROM newest WHERE bucket = ?", (number,)
        ).fetchone()
        if found is None or (found != _EMPTY and found[1] != checksum("newest", (number, found[0]))):
            raise damaged(f"row {number} of `newest`, which says what is on record,", self._path)
        self._know(("newest", number), found[0])
        return cast("bytes", found[0])

    # Executions

    def head(self) -> Head:
        """How far each list goes."""
        return self.fetch(Head, 1)

    def number(self, execution: str) -> int | None:
        """The number of the execution with that id, None when there is none."""
        known = self._numbers.get(execution)
        if known is None and (known := self.newest("execution:" + execution)) is not None:
            self._numbers[execution] = known
        return known

    def known(self, execution: str) -> int:
        """The number of the execution with that id.

        Raises:
            NotFoundError: kind ``unknown-execution``.
        """
        number = self.number(execution)
        if number is None:
            raise NotFoundError(
                f"there is no execution `{execution}` in the journal `{self._path}`",
                kind="unknown-execution",
                hint="`kitaru-nb executions` lists them; `latest` is the newest",
            )
        return number

    def execution_id(self, number: int) -> ExecutionId:
        """The id of an execution."""
        return ExecutionId(self.fetch(ExecutionRow, number).id)

    def state(self, number: int) -> State:
        """Where an execution stands."""
        return self.fetch(State, number)

    def attempts(self, state: State) -> list[AttemptRow]:
        """An execution's attempts, oldest first."""
        found: list[AttemptRow] = []
        number: int | None = state.attempt
        while number is not None:
            row = self.fetch(AttemptRow, number)
            found.append(row)
            number = row.previous
        return found[::-1]

    # Steps and events

    def step(self, seq: int) -> CheckpointRow:
        """The step with that number, which must exist."""
        return self.fetch(CheckpointRow, seq, f"checkpoint {seq}")

    def known_step(self, seq: int) -> CheckpointRow:
        """The step with that number.

        Raises:
            NotFoundError: kind ``unknown-checkpoint``.
        """
        if not 0 < seq <= self.head().checkpoints:
            raise NotFoundError(
                f"there is no checkpoint {seq} in the journal `{self._path}`",
                kind="unknown-checkpoint",
                hint="`kitaru-nb show EXECUTION` lists the checkpoints of an execution",
            )
        return self.step(seq)

    def append_event(
        self, head: Head, state: State, kind: str, data: object, *, at: int
    ) -> tuple[Head, State, EventRow]:
        """Add an event to the chain. The new head and state come back; the caller updates them."""
        row = EventRow(head.events + 1, at, state.n, state.last_event, kind, rows.dumps(data), head.chain)
        seal = self.insert(row)
        return head._replace(events=row.seq, chain=seal), state._replace(last_event=row.seq), row

    def event_checksum(self, seq: int) -> bytes:
        """The checksum of an event, which must exist and be whole."""
        row = self.fetch(EventRow, seq)
        return checksum("events", row)

    def events(self, newest: int | None, *, after: int) -> list[EventRow]:
        """The execution's events above `after`, oldest first; `newest` is its last one."""
        found: list[EventRow] = []
        while newest is not None and newest > after:
            row = self.fetch(EventRow, newest)
            found.append(row)
            newest = row.previous
        return found[::-1]

    def all_events(self, head: Head, *, after: int) -> list[EventRow]:
        """Every event above `after`, oldest first, with the chain between them verified."""
        found: list[EventRow] = []
        query = "SELECT * FROM events WHERE seq > ? ORDER BY seq"
        chain = None
        for raw in self._sql.execute(query, (after,)):
            row = self.verified(EventRow, raw)
            if row.seq != after + 1 + len(found) or (chain is not None and row.chained != chain):
                break
            chain = raw[-1]
            found.append(row)
        if len(found) != max(0, head.events - after) or (found and chain != head.chain):
            missing = after + 1 + len(found)
            raise damaged(f"the chain of events at event {missing}", self._path, why="it is broken")
        return found

    def scan(self) -> Iterator[CorruptError]:
        """Every row that is not as it was written."""
        for kind, table in TABLES.items():
            for found in self._sql.execute(f"SELECT * FROM {table}"):
                if found[-1] != checksum(table, found[:-1]):
                    yield self._damaged_row(kind, found)

    def otherwise(self, found: Iterable[str]) -> Iterator[CorruptError]:
        """The errors for what is looked up otherwise than its events tell."""
        return (damaged(what, self._path, why="its events tell something else") for what in found)

    def _damaged_row(self, kind: type, found: Sequence[Any]) -> CorruptError:
        """The error for a row, with the user's own names as far as they can still be read."""
        if kind is CheckpointRow:
            name = rows.name_in(found[-2])
            what = f"checkpoint `{name}` ({found[0]})" if name else f"checkpoint {found[0]}"
            return damaged(what + self._of_execution(found[1]), self._path)
        if kind in (ExecutionRow, State):
            return damaged("the record" + self._of_execution(found[0]), self._path)
        if kind in (AttemptRow, EventRow):
            return damaged(f"row {found[0]} of `{TABLES[kind]}`" + self._of_execution(found[1]), self._path)
        label = found[0].hex() if isinstance(found[0], bytes) else found[0]
        return damaged(f"row `{label}` of `{TABLES[kind]}`", self._path)

    def _of_execution(self, number: object) -> str:
        found = self._sql.execute("SELECT id FROM executions WHERE n = ?", (number,)).fetchone()
        return f" of execution `{found[0]}`" if found else ""


def _short(name: str) -> bytes:
    return blake3(name.encode("utf-8", "surrogatepass")).digest(length=_NAME_BYTES)


def _bucket_number(short: bytes) -> int:
    return (short[0] << 2) | (short[1] >> 6)


def _position(entries: bytes, short: bytes) -> int:
    """Byte offset of the entry for `short`, -1 when there is none."""
    at = entries.find(short)
    while at >= 0 and at % _ENTRY_BYTES:
        at = entries.find(short, at + 1)
    return at
