"""The journal in PostgreSQL, for teams: many hosts record in one place."""

from __future__ import annotations

import functools
import time
from collections.abc import Callable
from typing import Concatenate, ParamSpec, TypeVar

from kitaru_nb.journal.lost import LostConnectionError
from kitaru_nb.journal.postgres_session import PATIENCE, PostgresSession
from kitaru_nb.journal.sql_journal import SqlJournal

__all__ = ["PostgresJournal"]

P = ParamSpec("P")
T = TypeVar("T")


def _again(method: Callable[Concatenate[SqlJournal, P], T]) -> Callable[Concatenate[SqlJournal, P], T]:
    """The method, done again when the connection broke and left nothing of it on record."""

    @functools.wraps(method)
    def patient(self: SqlJournal, /, *args: P.args, **kwargs: P.kwargs) -> T:
        until = 0.0
        while True:
            try:
                return method(self, *args, **kwargs)
            except LostConnectionError:
                assert isinstance(self, PostgresJournal)
                until = until or time.monotonic() + self.session.patience
                if self.session.held or time.monotonic() > until:
                    raise

    return patient


class PostgresJournal(SqlJournal):
    """The metadata store in a PostgreSQL database. See `journal.Journal` for what each method promises.

    May be called from any thread and used on both sides of a fork. Writers of all hosts take
    turns. Time is the server's, so that hosts whose clocks differ agree when a lease has run out.
    A server that restarts is waited for: what it had recorded is found, what it had not is
    recorded then, never twice.

    Args:
        url: ``postgresql://USER@HOST[:PORT]/DATABASE[?schema=NAME]`` and the options of libpq.
            The tables are made in the schema ``kitaru_nb`` unless another is named.
        password: The user's password; by default libpq looks for it (``PGPASSWORD``, ``.pgpass``).
        read_only: Open without writing anything, also on a standby.
        lease: Seconds without a heartbeat after which an owner on another host is dead.
        clock: Seconds since 1970, UTC; the server's unless a test brings its own.
        patience: Seconds for which a server that has gone away is waited for.
        awaited: Wait for it from the first, as where it is known to have been there.

    Raises:
        UsageError: kind ``bad-journal-url``.
        StoreError: kind ``journal-unreachable``, ``journal-refused``, ``journal-read-only``,
            ``journal-full``, ``journal-newer`` or ``journal-foreign``.
        CorruptError: what is on record is damaged. It is left as it is.
    """

    def __init__(
        self,
        url: str,
        *,
        password: str | None = None,
        read_only: bool = False,
        lease: float = 30.0,
        clock: Callable[[], float] | None = None,
        patience: float = PATIENCE,
        awaited: bool = False,
    ) -> None:
        self.session = PostgresSession(
            url, password=password, read_only=read_only, patience=patience, awaited=awaited
        )
        super().__init__(
            self.session,
            lease=lease,
            clock=clock or self.session.clock,
            listened=self.session.listened if clock is None else None,
        )

    @property
    def url(self) -> str:
        """Where it is, without the password."""
        return self.session.name

    start = _again(SqlJournal.start)
    resume = _again(SqlJournal.resume)
    adopt = _again(SqlJournal.adopt)
    heartbeat = _again(SqlJournal.heartbeat)
    finish = _again(SqlJournal.finish)
    commit = _again(SqlJournal.commit)
    commit_restored = _again(SqlJournal.commit_restored)
    pin = _again(SqlJournal.pin)
    unpin = _again(SqlJournal.unpin)
    guests = _again(SqlJournal.guests)
    record_event = _again(SqlJournal.record_event)
    note_shown = _again(SqlJournal.note_shown)
    execution = _again(SqlJournal.execution)
    executions = _again(SqlJournal.executions)
    notebook_of = _again(SqlJournal.notebook_of)
    name_of_file = _again(SqlJournal.name_of_file)
    number_of_file = _again(SqlJournal.number_of_file)
    names_before = _again(SqlJournal.names_before)
    name_now = _again(SqlJournal.name_now)
    rename = _again(SqlJournal.rename)
    attempts = _again(SqlJournal.attempts)
    find = _again(SqlJournal.find)
    newest_of_key = _again(SqlJournal.newest_of_key)
    of_key = _again(SqlJournal.of_key)
    some_checkpoints = _again(SqlJournal.some_checkpoints)
    checkpoints = _again(SqlJournal.checkpoints)
    checkpoint = _again(SqlJournal.checkpoint)
    line = _again(SqlJournal.line)
    artifacts = _again(SqlJournal.artifacts)
    locate = _again(SqlJournal.locate)
    events = _again(SqlJournal.events)
    note_served = _again(SqlJournal.note_served)
    claim = _again(SqlJournal.claim)
    claim_step = _again(SqlJournal.claim_step)
    unclaim_step = _again(SqlJournal.unclaim_step)
    claimed_by = _again(SqlJournal.claimed_by)
    roll_up = _again(SqlJournal.roll_up)
    take_in = _again(SqlJournal.take_in)
    ask = _again(SqlJournal.ask)
    answer_wait = _again(SqlJournal.answer_wait)
    note_suspended = _again(SqlJournal.note_suspended)
    suspended = _again(SqlJournal.suspended)
    wait = _again(SqlJournal.wait)
    waits = _again(SqlJournal.waits)
    steps_within = _again(SqlJournal.steps_within)
    removed = _again(SqlJournal.removed)
    pinned = _again(SqlJournal.pinned)
    artifact_digests = _again(SqlJournal.artifact_digests)
    every_extent = _again(SqlJournal.every_extent)
    every_tombstone = _again(SqlJournal.every_tombstone)
    sweep = _again(SqlJournal.sweep)
    now = _again(SqlJournal.now)
    number = _again(SqlJournal.number)
    space = _again(SqlJournal.space)
