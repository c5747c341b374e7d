"""Bugs put in on purpose. Each must be found by the test that is named beside it."""

from __future__ import annotations

import contextlib
import sqlite3
import sys
from collections.abc import Callable
from pathlib import Path

from kitaru_nb.artifacts import census, pack
from kitaru_nb.artifacts.extent_store import ExtentStore
from kitaru_nb.artifacts.verify import Verification
from kitaru_nb.engine.session import Outcome, Session
from kitaru_nb.engine.steps import Run
from kitaru_nb.journal import connection, lease, ledger
from kitaru_nb.journal.integrity import HeadFile
from kitaru_nb.journal.lease import Leases
from kitaru_nb.journal.ledger import Ledger
from kitaru_nb.journal.rows import AttemptRow, State
from kitaru_nb.model.checkpoint import Checkpoint
from kitaru_nb.model.execution import Attempt

__all__ = ["BUGS", "seed"]


def _record_before_bytes() -> None:
    ExtentStore.flush = lambda self: None  # type: ignore[method-assign]


def _no_data_sync() -> None:
    pack._sync_data = lambda fd: None


def _no_folder_sync() -> None:
    pack.sync_folder = lambda folder: None


def _journal_in_normal_mode() -> None:
    _pragma("synchronous = FULL", "synchronous = NORMAL")


def _journal_without_sync() -> None:
    _pragma("synchronous = FULL", "synchronous = OFF")


def _pragma(old: str, new: str) -> None:

    class Loose(sqlite3.Connection):
        def execute(self, sql: str, *args: object) -> sqlite3.Cursor:
            return super().execute(sql.replace(old, new), *args)  # type: ignore[arg-type]

    real = sqlite3.connect
    connection.sqlite3.connect = lambda *a, **k: real(*a, **k, factory=Loose)  # type: ignore[assignment, misc]


def _done_before_commit() -> None:
    real = Session.commit

    def eager(self: Session, run: Run, outcome: Outcome) -> Checkpoint:
        with Path(sys.argv[2]).open("ab", buffering=0) as acknowledged:
            acknowledged.write(b".")
        return real(self, run, outcome)

    Session.commit = eager  # type: ignore[method-assign]


def _failed_sync_is_ignored() -> None:

    real = pack._sync_data

    def careless(fd: int) -> None:
        with contextlib.suppress(OSError):
            real(fd)

    pack._sync_data = careless


def _arrays_by_identity() -> None:

    census.content = lambda array: memoryview(id(array).to_bytes(8, "little"))


def _extents_unchecked() -> None:
    ExtentStore._check = lambda self, location, data: None  # type: ignore[method-assign]


def _rows_unchecked() -> None:
    ledger.checksum = lambda table, columns: _Any()  # type: ignore[assignment]


class _Any(bytes):
    def __eq__(self, other: object) -> bool:
        return True

    def __ne__(self, other: object) -> bool:
        return False

    __hash__ = bytes.__hash__


def _mapped_unchecked() -> None:
    Verification.wait = lambda self: None  # type: ignore[method-assign]


def _head_unchecked() -> None:
    HeadFile.read = lambda self: None  # type: ignore[method-assign]


def _anyone_may_commit() -> None:
    def unfenced(_self: Leases, ledger: Ledger, attempt: Attempt) -> tuple[State, AttemptRow]:
        state = ledger.state(ledger.known(attempt.execution))
        return state, ledger.fetch(AttemptRow, state.attempt)

    Leases.fenced = unfenced  # type: ignore[method-assign]


def _every_owner_counts_as_dead() -> None:
    lease.is_held = lambda *args, **kwargs: False


BUGS: dict[str, tuple[str, Callable[[], None]]] = {
    "record before bytes": ("power", _record_before_bytes),
    "no data sync": ("power", _no_data_sync),
    "no folder sync": ("power", _no_folder_sync),
    "journal in normal mode": ("power", _journal_in_normal_mode),
    "journal without sync": ("power", _journal_without_sync),
    "done before commit": ("power", _done_before_commit),
    "arrays by identity": ("power", _arrays_by_identity),
    "failed sync is ignored": ("failing sync", _failed_sync_is_ignored),
    "extents unchecked": ("damage", _extents_unchecked),
    "rows unchecked": ("damage", _rows_unchecked),
    "mapped values unchecked": ("damage", _mapped_unchecked),
    "head unchecked": ("damage", _head_unchecked),
    "anyone may commit": ("owners", _anyone_may_commit),
    "every owner counts as dead": ("owners", _every_owner_counts_as_dead),
}
"""Each bug, the test that must find it, and how it is put in."""


def seed(bug: str) -> None:
    """Put a bug into this process."""
    BUGS[bug][1]()
