"""The journal's format: numbered SQL files, run in order, all in one transaction."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator
from functools import cache
from importlib import resources
from pathlib import Path

from blake3 import blake3

from kitaru_nb.errors import CorruptError, StoreError
from kitaru_nb.journal.integrity import checksum, damaged

__all__ = [
    "APPLICATION_ID",
    "EMPTY_HEAD",
    "check_format",
    "is_blank",
    "migrate",
    "migrations",
    "newest_format",
    "stand_in",
]

APPLICATION_ID = 0x6B74726E  # "ktrn": tells our files from other SQLite files
_META_COLUMNS = 4  # in every format, so that each release can read the format of any other
EMPTY_HEAD = (1, 0, 0, 0, 0, b"")


@cache
def migrations() -> dict[int, str]:
    """The SQL of each format version, by number."""
    folder = resources.files("kitaru_nb.journal") / "migrations"
    files = sorted(item.name for item in folder.iterdir() if item.name.endswith(".sql"))
    return {int(name[:4]): (folder / name).read_text("utf-8") for name in files}


def newest_format() -> int:
    """The format version this code writes."""
    return max(migrations())


def is_blank(connection: sqlite3.Connection) -> bool:
    """Whether the file holds no table at all."""
    return bool(connection.execute("SELECT count(*) FROM sqlite_master").fetchone() == (0,))


def migrate(
    connection: sqlite3.Connection, path: Path, *, before: Callable[[int], None] = lambda _: None
) -> None:
    """Bring the journal to this code's format; a journal that has it already is left alone.

    All or nothing: a crash or an error half-way leaves the format as it was. An older format is told
    to `before` while nobody else can write and nothing is changed yet.

    Raises:
        StoreError: kind ``journal-newer``: a later release wrote it;
            kind ``journal-foreign``: another program wrote it. Neither is touched.
    """
    version = 0 if is_blank(connection) else check_format(connection, path)
    if version == newest_format():
        return
    connection.execute("BEGIN IMMEDIATE")
    try:
        # Another process may have done it between the look and the lock.
        version = 0 if is_blank(connection) else check_format(connection, path)
        if 0 < version < newest_format():
            before(version)
        for number, script in sorted(migrations().items()):
            if number > version:
                _run(connection, script)
                _stamp(connection, number)
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:
            connection.rollback()
        raise


def stand_in(connection: sqlite3.Connection, version: int) -> None:
    """Give a connection that only reads the empty tables that a journal of format `version` lacks.

    They are temporary and never reach the file, so that an old store is read as it is, also
    from media that cannot be written. Migrations therefore add tables and change none.
    """
    if version == newest_format():
        return
    connection.execute("PRAGMA temp_store = MEMORY")
    for number, script in sorted(migrations().items()):
        if number > version:
            for statement in _statements(script):
                at = statement.find("CREATE TABLE ")
                if at >= 0:
                    connection.execute("CREATE TEMP TABLE " + statement[at + len("CREATE TABLE ") :])


def check_format(connection: sqlite3.Connection, path: Path) -> int:
    """The journal's format version, once it is known to be one this code can read.

    Raises:
        StoreError: kind ``journal-newer`` or ``journal-foreign``.
        CorruptError: the description of the tables is damaged.
    """
    if not connection.in_transaction:
        connection.execute("BEGIN")  # one state: another process may bring it to a newer format meanwhile
        try:
            return check_format(connection, path)
        finally:
            connection.rollback()
    ours = connection.execute("PRAGMA application_id").fetchone()[0] == APPLICATION_ID
    tables = {name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
    if "meta" not in tables:
        if ours or {"newest", "states", "checkpoints"} & tables:
            raise _broken_layout(path)
        raise StoreError(
            f"`{path}` is a database of another program, not a journal",
            kind="journal-foreign",
            hint="set `KITARU_NB_HOME` to a folder of its own",
        )
    row = connection.execute("SELECT * FROM meta WHERE id = 1").fetchone()
    if row is None or len(row) != _META_COLUMNS or row[3] != checksum("meta", row[:3]):
        raise _broken_layout(path)
    version, layout = int(row[1]), row[2]
    if version > newest_format():
        raise StoreError(
            f"the journal `{path}` has format {version}; this release reads up to {newest_format()}",
            kind="journal-newer",
            hint="`pip install --upgrade kitaru-nb`",
        )
    if layout != _layout(connection):
        raise _broken_layout(path)
    return version


def _broken_layout(path: Path) -> CorruptError:
    return damaged("the description of the tables", path, why="it is not the one that was written")


def _run(connection: sqlite3.Connection, script: str) -> None:
    for statement in _statements(script):
        connection.execute(statement)


def _statements(script: str) -> Iterator[str]:
    # Not `executescript`: it commits the open transaction first.
    pending = ""
    for line in script.splitlines(keepends=True):
        pending += line
        if sqlite3.complete_statement(pending):
            yield pending
            pending = ""
    if pending.strip():
        yield pending


def _stamp(connection: sqlite3.Connection, version: int) -> None:
    """Record the version and what the tables look like, in the same transaction."""
    if version == 1:
        connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
        head = (*EMPTY_HEAD, checksum("head", EMPTY_HEAD))
        connection.execute("INSERT INTO head VALUES (?, ?, ?, ?, ?, ?, ?)", head)
    meta = (1, version, _layout(connection))
    connection.execute("INSERT OR REPLACE INTO meta VALUES (?, ?, ?, ?)", (*meta, checksum("meta", meta)))


def _layout(connection: sqlite3.Connection) -> bytes:
    """A digest of every table's definition as the file has it."""
    rows = connection.execute("SELECT type, name, tbl_name, sql FROM sqlite_master ORDER BY name").fetchall()
    return blake3(repr(rows).encode("utf-8", "surrogateescape")).digest()
