"""Which executions are listed where, and which are guests.

An execution that was imported is a *guest* until somebody takes its lease here. It is found by its
id and in the list of all, but it is nobody's latest, and neither its notebook nor the keys of its
steps lead to it: what a stranger recorded must not meet one's own cells by itself.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterator
from itertools import dropwhile, islice

from kitaru_nb.journal import rows
from kitaru_nb.journal.ledger import Ledger
from kitaru_nb.journal.rows import EventRow, ExecutionRow
from kitaru_nb.model.execution import ExecutionId, Identity

__all__ = ["Guests", "candidates", "latest", "receive"]

_ANY = "imports"  # under this name `newest` has the event of the last import, if there was one


class Guests:
    """Which executions came from elsewhere and have not been gone on with here.

    Costs one look where nothing was ever imported.
    """

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger
        self._any = ledger.newest(_ANY) is not None
        self._known: dict[str, int] = {}

    def __bool__(self) -> bool:
        """Whether there ever was one."""
        return self._any

    def __contains__(self, execution: str) -> bool:
        """Whether this is one."""
        return bool(self._event(execution))

    def _event(self, execution: str) -> int:
        if self._any and execution not in self._known:
            self._known[execution] = self._ledger.newest(_name(execution)) or 0
        return self._known.get(execution, 0)

    def since(self) -> dict[ExecutionId, int]:
        """Every guest, and when it was imported, in microseconds since 1970."""
        if not self._any:
            return {}
        ledger = self._ledger
        listed = (ExecutionId(row.id) for row in ledger.numbers_of(ExecutionRow, ledger.head().executions))
        found = {execution: self._event(execution) for execution in listed}
        return {each: ledger.fetch(EventRow, event).at for each, event in found.items() if event}

    def welcome(self, execution: str) -> None:
        """Somebody goes on with it here: from now on it is one of this place, and its children are."""
        if execution not in self:
            return
        ledger, welcome = self._ledger, {execution}
        for row in list(ledger.numbers_of(ExecutionRow, ledger.head().executions))[::-1]:
            if row.id == execution or (row.parent in welcome and row.id in self):
                welcome.add(row.id)
                ledger.put_newest(_name(row.id), 0)
                self._known[row.id] = 0


def receive(ledger: Ledger, execution: ExecutionId, event: int) -> None:
    """An execution has just been imported, as event number `event` says."""
    ledger.put_newest(_name(execution), event)
    ledger.put_newest(_ANY, event)


def candidates(
    ledger: Ledger, identity: Identity | None, notebook: str | None, *, before: ExecutionId | None = None
) -> Iterator[ExecutionRow]:
    """The shortest list on record that holds every execution asked for, newest first.

    Guests are only in the list of all, each at its time. With `before` it begins after that one.
    """
    if before is None:
        yield from _listed(ledger, identity, notebook)
        return
    number = ledger.known(before)
    if identity is None and notebook is None and not Guests(ledger):
        yield from ledger.numbers_of(ExecutionRow, number - 1)
        return
    later = dropwhile(lambda row: row.n != number, _listed(ledger, identity, notebook))
    yield from islice(later, 1, None)


def _listed(ledger: Ledger, identity: Identity | None, notebook: str | None) -> Iterator[ExecutionRow]:
    guests = Guests(ledger)
    if identity is not None:
        number = ledger.newest("identity:" + rows.identity_digest(identity).hex())
        while number:  # 0 where what was on record was renamed
            row = ledger.fetch(ExecutionRow, number)
            if row.id not in guests:
                yield row
            number = row.previous_of_identity
    elif notebook is not None:
        number = ledger.newest("notebook:" + notebook)
        while number:
            row = ledger.fetch(ExecutionRow, number)
            if row.id not in guests:
                yield row
            number = row.previous_of_notebook
    elif guests:
        listed = list(ledger.numbers_of(ExecutionRow, ledger.head().executions))
        own = (row for row in listed if row.id not in guests)
        visiting = sorted((row for row in listed if row.id in guests), key=_age)
        yield from heapq.merge(own, visiting, key=_age)
    else:
        yield from ledger.numbers_of(ExecutionRow, ledger.head().executions)


def latest(ledger: Ledger) -> int:
    """Number of the newest execution of this place; 0 when there is none."""
    guests = Guests(ledger)
    number = ledger.head().executions
    while guests and number and ledger.execution_id(number) in guests:
        number -= 1
    return number


def _age(row: ExecutionRow) -> int:
    return -row.started_at


def _name(execution: str) -> str:
    return "imported:" + execution
