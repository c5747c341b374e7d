"""Live updates: one watcher per server looks for new records and says so on Jupyter's event stream.

It looks often while somebody listens, and now and then when nobody does, for the runs that an
answer makes go on. Each look is one row of the journal.
"""

from __future__ import annotations

import asyncio
import time
from pathlib import Path
from typing import Any

from jupyter_events import EventLogger

from kitaru_nb.errors import KitaruError, NotFoundError
from kitaru_nb.journal.sql_journal import SqlJournal
from kitaru_nb.model.event import Event
from kitaru_nb.server.handler import Service
from kitaru_nb.stacks.open import open_journal

__all__ = ["CHANGED", "Watcher", "changes", "register"]

CHANGED = "https://kitaru-nb.dev/events/changed/v1"
"""The schema of the event that says what has changed."""

_SCHEMA = Path(__file__).parent / "schemas" / "changed.yaml"
_LISTENING = 300.0  # seconds after a request during which somebody is taken to listen
_IDLE = 5.0  # seconds between two looks while nobody does
_AFTER_ERROR = 30.0


def register(logger: EventLogger) -> None:
    """Make the event known to a server; once for each server."""
    if CHANGED not in logger.schemas:
        logger.register_event_schema(_SCHEMA)


def changes(events: list[Event]) -> dict[str, Any]:
    """What `events` are about, as the event on the stream says it."""
    waits = [event.data["address"] for event in events if event.kind.startswith("wait.")]
    return {
        "executions": list(dict.fromkeys(event.execution for event in events)),
        "waits": list(dict.fromkeys(waits)),
        "seq": events[-1].seq,
    }


class Watcher:
    """Looks for new events in the journal and emits what they are about.

    Args:
        logger: Where to emit.
        service: Settings and threads.
        pause: Seconds between two looks while somebody listens.
    """

    def __init__(self, logger: EventLogger, service: Service, *, pause: float) -> None:
        self._logger = logger
        self._service = service
        self._pause = pause
        self._heard = float("-inf")
        self._seen: int | None = None
        self._journal: SqlJournal | None = None
        self._woken = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    def begin(self) -> None:
        """Watch from now on, on the running loop."""
        self._task = asyncio.get_running_loop().create_task(self._watch())

    def heard(self) -> None:
        """Somebody has asked for something: they listen for a while."""
        self._heard = time.monotonic()
        self._woken.set()

    async def _watch(self) -> None:
        while True:
            pause = self._pause if time.monotonic() - self._heard < _LISTENING else _IDLE
            try:
                found = await self._service.in_thread(self._look)
            except NotFoundError:
                found = []
            except KitaruError:
                found, pause = [], _AFTER_ERROR
            if found:
                self._logger.emit(schema_id=CHANGED, data=changes(found))
            await self._rest(pause)

    async def _rest(self, pause: float) -> None:
        if pause <= self._pause:
            await asyncio.sleep(pause)
            return
        self._woken.clear()
        try:
            await asyncio.wait_for(self._woken.wait(), pause)
        except TimeoutError:
            return

    def _look(self) -> list[Event]:
        """The events since the last look; none the first time."""
        if self._journal is None:
            self._journal = open_journal(self._service.places.settings(), read_only=True)
        newest, _ = self._journal.newest_event()
        if self._seen is None or newest == self._seen:
            self._seen = newest
            return []
        found = self._journal.events(after=self._seen)
        self._seen = newest
        return found
