"""The journal's tables in PostgreSQL: the same numbered files, in that dialect, all in one transaction.

They live in a schema of their own, so that a journal can share a database with anything else.
"""

from __future__ import annotations

import re
from typing import Any

from blake3 import blake3
from psycopg import Connection
from psycopg.sql import SQL, Identifier

from kitaru_nb.errors import CorruptError, NotFoundError, StoreError
from kitaru_nb.journal.integrity import checksum, damaged
from kitaru_nb.journal.schema import EMPTY_HEAD, migrations, newest_format

__all__ = ["in_postgres", "prepare"]

_LOCK = 0x6B74726E  # one migration at a time in a database
_WORDS = {"INTEGER": "BIGINT", "REAL": "DOUBLE PRECISION", "BLOB": "BYTEA", "x''": "''::bytea"}
_LAYOUT = """
    SELECT table_name, ordinal_position::int, column_name, data_type FROM information_schema.columns
    WHERE table_schema = current_schema() ORDER BY table_name, ordinal_position
"""


def in_postgres(script: str) -> str:
    """A migration in PostgreSQL's words. Migrations use no type and no function beyond these."""
    return re.sub(r"\b(INTEGER|REAL|BLOB)\b|\bx''", lambda found: _WORDS[found[0]], script)


def prepare(connection: Connection[Any], schema: str, name: str, *, read_only: bool) -> None:
    """Bring the tables in `schema` to this code's format, and make them when they are missing.

    All or nothing, and one process at a time. The connection's statements mean this schema after it.

    Raises:
        StoreError: kind ``journal-newer``: a later release wrote the journal;
            kind ``journal-foreign``: another program's tables are in that schema.
        NotFoundError: kind ``nothing-recorded``: `read_only`, and there are no tables yet.
        CorruptError: the tables are not as they were made.
    """
    connection.execute(SQL("SET search_path = {}").format(Identifier(schema)))
    version = _format(connection, name)
    if version == newest_format():
        return
    if read_only:
        raise _not_yet(name, version)
    with connection.transaction():
        connection.execute("SELECT pg_advisory_xact_lock(%s)", (_LOCK,))
        if connection.execute("SELECT 1 FROM pg_namespace WHERE nspname = %s", (schema,)).fetchone() is None:
            connection.execute(SQL("CREATE SCHEMA {}").format(Identifier(schema)))
        version = _format(connection, name)  # another process may have done it meanwhile
        for number, script in sorted(migrations().items()):
            if number > version:
                connection.execute(in_postgres(script).encode())
                _stamp(connection, number)


def _format(connection: Connection[Any], name: str) -> int:
    """The journal's format version, 0 when there is none yet."""
    found = connection.execute("SELECT tablename FROM pg_tables WHERE schemaname = current_schema()")
    tables = {table for (table,) in found}
    if not tables:
        return 0
    if "meta" not in tables:
        raise _broken(name) if {"newest", "states", "checkpoints"} <= tables else _foreign(name)
    row = connection.execute("SELECT * FROM meta WHERE id = 1", binary=True).fetchone()
    if row is None or row[3] != checksum("meta", row[:3]):
        raise _broken(name)
    version = int(row[1])
    if version > newest_format():
        raise StoreError(
            f"the journal `{name}` has format {version}; this release reads up to {newest_format()}",
            kind="journal-newer",
            hint="`pip install --upgrade kitaru-nb`",
        )
    if row[2] != _layout(connection):
        raise _broken(name)
    return version


def _stamp(connection: Connection[Any], version: int) -> None:
    """Record the version and what the tables look like, in the same transaction."""
    if version == 1:
        head = (*EMPTY_HEAD, checksum("head", EMPTY_HEAD))
        connection.execute("INSERT INTO head VALUES (%s, %s, %s, %s, %s, %s, %s)", head)
    meta = (1, version, _layout(connection))
    connection.execute("DELETE FROM meta")
    connection.execute("INSERT INTO meta VALUES (%s, %s, %s, %s)", (*meta, checksum("meta", meta)))


def _layout(connection: Connection[Any]) -> bytes:
    return blake3(repr(connection.execute(_LAYOUT).fetchall()).encode()).digest()


def _broken(name: str) -> CorruptError:
    return damaged("the description of the tables", name, why="it is not the one that was written")


def _foreign(name: str) -> StoreError:
    return StoreError(
        f"the schema of the journal `{name}` holds tables of another program",
        kind="journal-foreign",
        hint="give the journal a schema of its own: add `?schema=kitaru_nb` to its URL",
    )


def _not_yet(name: str, version: int) -> StoreError | NotFoundError:
    if version == 0:
        return NotFoundError(
            f"nothing is recorded in the journal `{name}` yet",
            kind="nothing-recorded",
            hint="kitaru-nb run NOTEBOOK, or a `%%checkpoint` cell",
        )
    return StoreError(
        f"the journal `{name}` has format {version}, which this release brings to {newest_format()} first",
        kind="journal-unreadable",
        hint="kitaru-nb stack check, by someone who may write to it",
    )
