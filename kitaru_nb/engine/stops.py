"""Executions that wait for a larger budget, or for room: waits that money or room ends, and no answer."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime

from kitaru_nb.journal.journal import Journal
from kitaru_nb.model.event import Event
from kitaru_nb.model.execution import Execution, ExecutionId, ExecutionStatus
from kitaru_nb.model.wait import Address, Wait, WaitKind, WaitStatus

__all__ = ["PASSED", "STOPPED", "awaited_by", "is_lifted", "stop_as_wait", "stop_of", "stops_as_waits"]

PASSED = "budget.passed"
"""The kind of event that says: a cell that such a stop had ended has come to its end."""

STOPPED = "budget.stopped"
"""The kind of event that says: a model call was not made, with the ``limit`` that it would exceed."""


def awaited_by(kind: str) -> WaitKind:
    """What a stop waits for, by the kind of its signal."""
    return WaitKind.ROOM if kind == "disk-limit" else WaitKind.BUDGET


def stop_of(journal: Journal, execution: Execution) -> Event | None:
    """The stop at which it stands, if that waits for no answer; None where it has gone on since, too."""
    if execution.status not in (ExecutionStatus.WAITING, ExecutionStatus.RUNNING):
        return None
    event = journal.suspended(execution.id)
    if event is None or event.data["wait"]:
        return None
    if execution.status is ExecutionStatus.WAITING:
        return event
    if event.data["epoch"] != journal.attempts(execution.id)[-1].epoch:
        return None  # another attempt has taken over
    later = journal.events(execution.id, after=event.seq)
    return None if any(_went_on(each, event) for each in later) else event


def _went_on(later: Event, stop: Event) -> bool:
    return later.kind == PASSED and later.data["scope"] == stop.data["scope"]


def is_lifted(journal: Journal, execution: Execution, limit: float | None, room: int | None = None) -> bool:
    """Whether an execution that such a stop has ended may come further; so may any other.

    Args:
        journal: Where it is on record.
        execution: The one that is asked about.
        limit: Its budget now, in US dollars.
        room: Bytes that its store may take in addition; None for any number.
    """
    stop = stop_of(journal, execution)
    if stop is None:
        return True
    if awaited_by(stop.data.get("kind", "")) is WaitKind.ROOM:
        return room is None or room > stop.data.get("lacking", 0)
    limits = [each.data["limit"] for each in journal.events(execution.id) if each.kind == STOPPED]
    return limit is not None and all(limit > each for each in limits[-1:])


def stop_as_wait(journal: Journal, execution: Execution) -> Wait | None:
    """The same as a wait, whose question is what was said: how much of what there may be, what to type."""
    event = stop_of(journal, execution)
    if event is None:
        return None
    kind = awaited_by(event.data.get("kind", ""))
    return Wait(
        str(Address(execution.id, kind)),
        execution.id,
        kind,
        1,
        WaitStatus.PENDING,
        scope=event.data["scope"],
        question=event.data["message"],
        kind=kind,
        asked_at=event.at,
    )


def stops_as_waits(journal: Journal, execution: ExecutionId | None = None) -> list[Wait]:
    """Those of one execution or of all, in the order in which they were stopped."""
    chosen: Iterable[Execution]
    if execution is not None:
        chosen = [journal.execution(execution)]
    else:
        states = (ExecutionStatus.WAITING, ExecutionStatus.RUNNING)
        chosen = [each for status in states for each in journal.executions(status=status)]
    found = [wait for each in chosen if (wait := stop_as_wait(journal, each)) is not None]
    return sorted(found, key=_stopped)


def _stopped(wait: Wait) -> datetime:
    assert wait.asked_at is not None
    return wait.asked_at
