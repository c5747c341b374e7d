"""What PostgreSQL and its driver say, in our words: what happened, and what to type."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import psycopg

from kitaru_nb.errors import StoreError
from kitaru_nb.journal.integrity import damaged
from kitaru_nb.journal.lost import LostConnectionError

__all__ = ["BUSY_SECONDS", "lost", "read_only_error", "translated", "unreachable"]

BUSY_SECONDS = 60
"""How long a writer waits for another one's transaction."""

_READ_ONLY = "25006"
_DISK_FULL = "53100"
_BUSY = {"55P03", "40P01"}  # lock not available, deadlock
_REFUSED = {"28000", "28P01", "42501"}
_GOING_DOWN = {"57P01", "57P02", "57P03"}
_CONNECTION = "08"  # the class of errors of the connection
# Our statements are fixed and fit the tables: these classes mean that the tables are not as they were made.
_NOT_AS_MADE = ("22", "23", "42", "XX")


@contextlib.contextmanager
def translated(name: str) -> Iterator[None]:
    """Turn what the driver raises inside into `StoreError` or `CorruptError`."""
    try:
        yield
    except psycopg.Error as error:
        raise _in_our_words(error, name) from error


def lost(name: str) -> LostConnectionError:
    """The error for a transaction that the connection broke, and that left nothing."""
    return LostConnectionError(
        f"the connection to the journal `{name}` broke: nothing was recorded, "
        "nothing recorded earlier is lost",
        kind="journal-unreachable",
        hint="kitaru-nb stack check, then run the cell again",
    )


def unreachable(name: str, error: psycopg.Error, *, what: str = "") -> StoreError:
    """The error for a server that cannot be reached, or lets nobody in."""
    said = " ".join(str(error).split())
    message = f"the journal `{name}` cannot be reached{what}: {said}"
    connection = error.pgconn
    if connection is not None and (connection.needs_password or connection.used_password):
        return StoreError(
            message,
            kind="journal-refused",
            hint='journal_password = "secret:env:NAME" in the stack, or PGPASSWORD, with the right password',
        )
    return StoreError(
        message, kind="journal-unreachable", hint="start the server, or mend the stack's `journal` URL"
    )


def read_only_error(name: str) -> StoreError:
    """The error for writing where nothing can be written."""
    return StoreError(
        f"the journal `{name}` is read-only: what is on record can be listed and resumed from, "
        "nothing new can be recorded",
        kind="journal-read-only",
        hint="point the stack's `journal` at the primary server, not at a standby",
    )


def _in_our_words(error: psycopg.Error, name: str) -> StoreError:
    state = error.sqlstate
    if state == _READ_ONLY:
        return read_only_error(name)
    if state == _DISK_FULL:
        return StoreError(
            f"the disk of the journal `{name}` is full: nothing was recorded, "
            "nothing recorded earlier is lost",
            kind="journal-full",
            hint="make room on the database server, then run the cell again",
        )
    if state in _BUSY:
        return StoreError(
            f"the journal `{name}` was held by another process for {BUSY_SECONDS} s",
            kind="journal-busy",
            hint="run the cell again; `kitaru-nb executions --status running` shows who writes",
        )
    if state in _REFUSED:
        return StoreError(
            f"the journal `{name}` refuses this user: {_said(error)}",
            kind="journal-refused",
            hint="GRANT CREATE ON DATABASE … TO …, or ask for a user that owns the journal's schema",
        )
    if state is None or state in _GOING_DOWN or state.startswith(_CONNECTION):
        return lost(name)
    if state.startswith(_NOT_AS_MADE):
        return damaged("what was asked for", name, why=_said(error))
    return StoreError(
        f"the journal `{name}` could not be read or written: {_said(error)}",
        kind="journal-unreadable",
        hint="kitaru-nb stack check",
    )


def _said(error: psycopg.Error) -> str:
    return f"{' '.join(str(error).split())} ({error.sqlstate})"
