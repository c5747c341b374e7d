"""Bringing an old store to this release's format on purpose, with a copy of what it was."""

from __future__ import annotations

import os
import sqlite3
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from kitaru_nb.journal.connection import open_to_read, open_to_write, translated
from kitaru_nb.journal.schema import newest_format
from kitaru_nb.journal.sqlite_journal import SqliteJournal
from kitaru_nb.model.private import sync_folder
from kitaru_nb.stacks.doctor import journal_format

__all__ = ["Migrated", "migrate"]


@dataclass(frozen=True, slots=True)
class Migrated:
    """What was done: from which format to which, and where the copy is (None when nothing was)."""

    before: int
    after: int
    backup: Path | None


def migrate(journal: Path) -> Migrated:
    """Bring the journal to the newest format; a copy of what it was stays beside it.

    All or nothing, and the copy is complete before anything is changed. The copy is made while nobody
    else can write: where several do this at a time, one does and the others find it done.

    Raises:
        StoreError: it cannot be read or written, or a later release wrote it.
        CorruptError: it is damaged; nothing was changed.
    """
    before = journal_format(journal)
    if before == newest_format():
        return Migrated(before, before, None)
    copies: list[Path] = []

    def keep(version: int) -> None:
        copies.append(journal.with_name(f"{journal.name}.format-{version}"))
        _copy(journal, copies[-1])

    with translated(journal):
        open_to_write(journal, before=keep).close()
    SqliteJournal(journal).close()
    after = journal_format(journal)
    return Migrated(before, after, copies[-1]) if copies else Migrated(after, after, None)


def _copy(journal: Path, backup: Path) -> None:
    """A whole copy, log included, safe against power cuts."""
    partial = backup.with_name(backup.name + ".part")
    for end in ("", "-journal", "-wal", "-shm"):  # of a copy that was cut short: SQLite would go on with it
        partial.with_name(partial.name + end).unlink(missing_ok=True)
    os.close(os.open(partial, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))
    source, copied = open_to_read(journal)
    try:
        with closing(sqlite3.connect(partial)) as target:
            source.backup(target)
    finally:
        source.close()
        if copied is not None:
            copied.cleanup()
    with partial.open("rb") as file:
        os.fsync(file.fileno())
    partial.replace(backup)
    sync_folder(backup.parent)
