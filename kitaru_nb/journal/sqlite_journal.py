"""The journal in one SQLite file: write-ahead log, synchronous=FULL, one fsync per commit."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

from kitaru_nb.journal.session import SqliteSession
from kitaru_nb.journal.sql_journal import SqlJournal

__all__ = ["SqliteJournal"]


class SqliteJournal(SqlJournal):
    """The metadata store in one file. See `journal.Journal` for what each method promises.

    May be called from any thread and used on both sides of a fork. Every process opens
    its own; they take turns writing. Network file systems are not safe for it.

    Args:
        path: The database file; made with its folder when missing, 0600 and 0700.
        read_only: Open without writing anything, also on read-only media and with a log
            that was never folded. What is read then is the state at the time of opening
            if the folder is not writable.
        lease: Seconds without a heartbeat after which an owner on another host is dead.
        clock: Seconds since 1970, UTC; a test may bring its own.

    Raises:
        StoreError: kind ``journal-read-only``, ``journal-full``, ``journal-unreadable``,
            ``journal-newer`` or ``journal-foreign``.
        CorruptError: the file is damaged. It is left as it is.
    """

    def __init__(
        self,
        path: Path,
        *,
        read_only: bool = False,
        lease: float = 30.0,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.path = Path(path)
        super().__init__(SqliteSession(self.path, read_only=read_only), lease=lease, clock=clock)
