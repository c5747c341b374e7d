"""All waits of a journal, kept up to date from its events: looking them all up again costs too much."""

from __future__ import annotations

import threading
from collections.abc import Iterable
from contextlib import suppress
from datetime import UTC, datetime

from kitaru_nb.errors import NotFoundError, UsageError
from kitaru_nb.journal.sql_journal import SqlJournal
from kitaru_nb.model.event import Event
from kitaru_nb.model.wait import Wait, WaitStatus

__all__ = ["WaitList", "address_in"]

_OVER = ("execution.completed", "execution.cancelled")


def address_in(event: Event) -> str | None:
    """The wait that an event is about, if any: those of an imported execution may hold anything."""
    data: object = event.data
    found = data.get("address") if event.kind.startswith("wait.") and isinstance(data, dict) else None
    return found if isinstance(found, str) else None


class WaitList:
    """What was known of each wait at the last look; may be asked from any thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._seq: int | None = None
        self._waits: dict[str, Wait] = {}

    def now(self, journal: SqlJournal) -> list[Wait]:
        """The waits as they stand now: those that are pending, oldest first, then the others, newest first.

        The first look costs a millisecond for each two waits on record, a later one as much for
        what has changed.
        """
        with self._lock:
            newest, _ = journal.newest_event()
            if self._seq is None or newest < self._seq:
                self._waits = {wait.address: wait for wait in journal.waits()}
            else:
                for address in self._touched(journal.events(after=self._seq) if newest > self._seq else ()):
                    with suppress(NotFoundError, UsageError):  # an imported event may name anything
                        self._waits[address] = journal.wait(address)
            self._seq = newest
            found = list(self._waits.values())
        pending = [wait for wait in found if wait.status is WaitStatus.PENDING]
        return pending + [wait for wait in reversed(found) if wait.status is not WaitStatus.PENDING]

    def _touched(self, events: Iterable[Event]) -> list[str]:
        """Waits that may not stand as they did: by events, or by the time."""
        found: dict[str, None] = {}
        over = set()
        for event in events:
            address = address_in(event)
            if address is not None:
                found[address] = None
            elif event.kind in _OVER:
                over.add(event.execution)
        now = datetime.now(UTC)
        for address, wait in self._waits.items():
            late = wait.deadline is not None and wait.deadline <= now
            if wait.status is WaitStatus.PENDING and (late or wait.execution in over):
                found[address] = None
        return list(found)
