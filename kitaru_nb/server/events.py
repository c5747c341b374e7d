"""Live updates: one watcher per server looks for new records and says so on Jupyter's event stream.

It looks often while somebody listens, and now and then when nobody does, for the runs that an
answer makes go on. Each look is one row of the journal. Deadlines of waits are kept in memory: when
one passes, which nobody records, it looks by itself.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

from jupyter_events import EventLogger

from kitaru_nb.engine.engine import Engine
from kitaru_nb.engine.wait_list import address_in
from kitaru_nb.errors import KitaruError
from kitaru_nb.journal.sql_journal import SqlJournal
from kitaru_nb.model.event import Event
from kitaru_nb.model.execution import Execution, ExecutionId, ExecutionStatus
from kitaru_nb.model.wait import WaitStatus
from kitaru_nb.server.handler import Service
from kitaru_nb.server.places import Place

__all__ = ["CHANGED", "Seen", "Watcher", "changes", "register"]

CHANGED = "https://kitaru-nb.dev/events/changed/v1"
"""The schema of the event that says what has changed."""

_SCHEMA = Path(__file__).parent / "schemas" / "changed.yaml"
_LISTENING = 300.0  # seconds after a request during which somebody is taken to listen
_IDLE = 5.0  # seconds between two looks while nobody does, and between two at what nobody records
_AFTER_ERROR = 1.0, 30.0  # seconds after the first failed look at a place, and at most; each one doubles them
_NEWEST = 500  # executions that are looked at when a place is first met

GoOn = Callable[[Place, ExecutionId], None]
"""Makes an execution go on that waited, if its wait has its answer and it ran on this machine."""


def register(logger: EventLogger) -> None:
    """Make the event known to a server; once for each server."""
    if CHANGED not in logger.schemas:
        logger.register_event_schema(_SCHEMA)


def changes(
    events: Sequence[Event], gone: Sequence[ExecutionId], over: Mapping[str, ExecutionId], *, seq: int
) -> dict[str, Any]:
    """What the event on the stream says.

    Args:
        events: What was recorded since the event before.
        gone: Executions whose process has died, which nobody records.
        over: Waits whose deadline has passed, which nobody records either, with their executions.
        seq: The number of the newest event.
    """
    waits = [address for event in events if (address := address_in(event)) is not None]
    executions = [*(event.execution for event in events), *gone, *over.values()]
    return {
        "executions": list(dict.fromkeys(executions)),
        "waits": list(dict.fromkeys([*waits, *over])),
        "seq": seq,
    }


@dataclass(slots=True)
class Seen:
    """What was seen of one place so far.

    Attributes:
        seq: The newest event.
        running: Executions that ran when they were last looked at.
        deadlines: Waits that nobody has answered, with their execution and when their time is over.
    """

    seq: int
    running: set[ExecutionId] = field(default_factory=set)
    deadlines: dict[str, tuple[ExecutionId, datetime]] = field(default_factory=dict)

    def take(self, events: Sequence[Event]) -> list[ExecutionId]:
        """Take note of new events; the executions that may be able to go on now."""
        ready: list[ExecutionId] = []
        for event in events:
            match event.kind:
                case "execution.started" | "attempt.started":
                    self.running.add(event.execution)
                case "wait.asked":
                    self._asked(event)
                case "wait.answered" | "wait.expired":
                    self.deadlines.pop(address_in(event) or "", None)
                    ready.append(event.execution)
                case "execution.waiting":
                    ready.append(event.execution)
            if event.kind.startswith("execution.") and event.kind != "execution.started":
                self.running.discard(event.execution)
            if event.kind in ("execution.completed", "execution.cancelled"):  # nothing waits there any more
                self.deadlines = {
                    a: found for a, found in self.deadlines.items() if found[0] != event.execution
                }
        return ready

    def _asked(self, event: Event) -> None:
        """A question is asked, or asked anew: then what was its deadline before counts no more."""
        address = address_in(event)
        if address is None:
            return
        self.deadlines.pop(address, None)
        deadline = event.data.get("deadline")
        if isinstance(deadline, int):
            with suppress(OverflowError, ValueError, OSError):  # no time that there is: it never passes
                self.deadlines[address] = event.execution, datetime.fromtimestamp(deadline / 1e6, UTC)

    def overdue(self, now: datetime) -> dict[str, ExecutionId]:
        """Waits that have passed their deadline, with their executions; each is told once."""
        found = {address: execution for address, (execution, at) in self.deadlines.items() if at <= now}
        for address in found:
            del self.deadlines[address]
        return found

    def next_deadline(self) -> datetime | None:
        """When the first of the deadlines is."""
        return min((at for _, at in self.deadlines.values()), default=None)


class Watcher:
    """Looks for what is new in every place that is known, and emits what it is about.

    Args:
        logger: Where to emit.
        service: Places and threads.
        go_on: Called for executions that may be able to go on, in a thread.
        log: The server's.
        pause: Seconds between two looks while somebody listens.
    """

    def __init__(
        self, logger: EventLogger, service: Service, *, go_on: GoOn, pause: float, log: logging.Logger
    ) -> None:
        self._logger = logger
        self._service = service
        self._go_on = go_on
        self._log = log
        self._pause = pause
        self._heard = float("-inf")
        self._seen: dict[Place, Seen] = {}
        self._unreadable: dict[Place, tuple[float, float]] = {}  # not before when, and how long that is
        self._woken = asyncio.Event()
        self._slow = 0.0  # when the places were last looked at for what nobody records
        self._task: asyncio.Task[None] | None = None

    def begin(self) -> None:
        """Watch from now on, on the running loop."""
        self._task = asyncio.get_running_loop().create_task(self._watch())

    def heard(self) -> None:
        """Somebody has asked for something: they listen for a while."""
        if not self._is_heard():
            self._woken.set()
        self._heard = time.monotonic()

    def wake(self) -> None:
        """Something was recorded just now: look at once."""
        self._woken.set()

    def _is_heard(self) -> bool:
        return time.monotonic() - self._heard < _LISTENING

    async def _watch(self) -> None:
        while True:
            pause: float | None = None
            try:
                found = await self._service.in_thread(self._look)
            except Exception:  # noqa: BLE001 - a defect of ours must not end the updates for as long as the server lives
                self._log.exception("kitaru_nb: a look at the records failed")
                found, pause = [], _AFTER_ERROR[1]
            for data in found:
                self._logger.emit(schema_id=CHANGED, data=data)
            try:
                await asyncio.wait_for(self._woken.wait(), pause or self._until_next(datetime.now(UTC)))
            except TimeoutError:
                continue
            self._woken.clear()

    def _until_next(self, now: datetime) -> float:
        """Seconds until it looks again: at the next deadline at the latest."""
        pause = self._pause if self._is_heard() else _IDLE
        deadlines = (seen.next_deadline() for seen in self._seen.values())
        left = min(((at - now).total_seconds() for at in deadlines if at is not None), default=pause)
        return min(pause, max(left, 0.0))

    def _look(self) -> list[dict[str, Any]]:
        """What to emit for what is new in each place."""
        now = time.monotonic()
        slow = now - self._slow >= _IDLE
        if slow:
            self._slow = now
        found = []
        known = self._service.places.known()
        self._seen = {place: seen for place, seen in self._seen.items() if place in known}
        for place in known:
            not_before, pause = self._unreadable.get(place, (0.0, 0.0))
            if not_before > now:
                continue
            try:
                news = place.found(partial(self._news, place, slow=slow), None)
            except KitaruError as error:  # whoever asks for something there is told the same
                pause = min(max(2 * pause, _AFTER_ERROR[0]), _AFTER_ERROR[1])
                self._log.info("kitaru_nb: no updates for %g s: %s", pause, error.message)
                self._unreadable[place] = now + pause, pause
                continue
            except Exception:  # noqa: BLE001 - what harms the look at one place must not keep the others unseen
                pause = _AFTER_ERROR[1]
                self._log.exception("kitaru_nb: no updates for %g s", pause)
                self._unreadable[place] = now + pause, pause
                continue
            self._unreadable.pop(place, None)
            if news is not None:
                found.append(news)
        return found

    def _news(self, place: Place, engine: Engine, *, slow: bool) -> dict[str, Any] | None:
        journal = engine.journal
        assert isinstance(journal, SqlJournal)
        newest, _ = journal.newest_event()
        seen = self._seen.get(place)
        if seen is None or newest < seen.seq:  # met first, or another journal is in its place
            listed = journal.executions(limit=_NEWEST)
            # what was recorded since somebody was first answered from there is news to them
            running = {each.id for each in listed if _runs(each)}
            seen = self._seen[place] = Seen(min(place.since, newest), running, _deadlines(place))
            for each in listed:
                if each.status is ExecutionStatus.WAITING:
                    self._go_on(place, each.id)
        events = journal.events(after=seen.seq) if newest > seen.seq else []
        ready = seen.take(events)
        gone = _gone(journal, seen) if slow else []
        over = seen.overdue(datetime.now(UTC))
        seen.seq = events[-1].seq if events else seen.seq
        for execution in dict.fromkeys([*ready, *over.values()]):
            self._go_on(place, execution)
        return changes(events, gone, over, seq=seen.seq) if events or gone or over else None


def _deadlines(place: Place) -> dict[str, tuple[ExecutionId, datetime]]:
    """The deadlines of what is waited for when a place is first met: no event tells of them any more."""
    return {
        wait.address: (wait.execution, wait.deadline)
        for wait in place.waits()
        if wait.status is WaitStatus.PENDING and wait.deadline is not None
    }


def _gone(journal: SqlJournal, seen: Seen) -> list[ExecutionId]:
    found = [each for each in seen.running if not _runs(journal.execution(each))]
    seen.running.difference_update(found)
    return found


def _runs(execution: Execution) -> bool:
    return execution.status is ExecutionStatus.RUNNING
