"""Lists of executions page by page, so that ten thousand of them are as quick to look at as ten."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime

from kitaru_nb.errors import NotFoundError
from kitaru_nb.journal.sql_journal import SqlJournal
from kitaru_nb.model.execution import Execution, ExecutionId, ExecutionStatus

__all__ = ["ExecutionList", "Page", "Wanted"]

_STRIDE = 200  # executions read at a time
_IMPORTED = "execution.imported"


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which executions are asked for.

    Attributes:
        status: Only those that stand like this.
        tag: Only those with this tag.
        since: Only those begun since then.
        notebook: Only those of this notebook.
        text: Only those with this in their id, notebook, flow or tags; upper and lower case are alike.
        before: Only those that come after this one in the list.
    """

    status: ExecutionStatus | None = None
    tag: str | None = None
    since: datetime | None = None
    notebook: str | None = None
    text: str | None = None
    before: ExecutionId | None = None

    @property
    def may_be_rare(self) -> bool:
        """Whether many may have to be looked at for one that fits."""
        return any(each is not None for each in (self.status, self.tag, self.since, self.text))

    def fits(self, execution: Execution) -> bool:
        """Whether it is one of those, `before` aside."""
        return (
            (self.status is None or execution.status is self.status)
            and (self.tag is None or self.tag in execution.tags)
            and (self.since is None or execution.started_at >= self.since)
            and (self.notebook is None or execution.identity.notebook == self.notebook)
            and (self.text is None or _holds(execution, self.text.casefold()))
        )


@dataclass(frozen=True, slots=True)
class Page:
    """Some executions, newest first, and whether there are more after them."""

    executions: Sequence[Execution]
    more: bool


class ExecutionList:
    """The executions of one journal, a page at a time; may be asked from any thread.

    A page of all, or of a notebook, is read from the journal. For other filters the list is kept and
    brought up to date from the journal's events: then the first page costs a quarter of a
    millisecond for each execution on record, and a later one as much for what has changed.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._seq: int | None = None
        self._known: dict[ExecutionId, Execution] = {}

    def page(self, journal: SqlJournal, wanted: Wanted, *, limit: int) -> Page:
        """The first `limit` of the executions that are wanted.

        Raises:
            NotFoundError: kind ``unknown-execution``: there is no `wanted.before`.
        """
        if wanted.may_be_rare:
            listed: Iterable[Execution] = self._after(self._now(journal), wanted.before)
        else:
            listed = _read(journal, wanted, stride=min(limit + 1, _STRIDE))
        found: list[Execution] = []
        for execution in listed:
            if wanted.fits(execution):
                if len(found) == limit:
                    return Page(found, more=True)
                found.append(execution)
        return Page(found, more=False)

    def _after(self, listed: Sequence[Execution], before: ExecutionId | None) -> Sequence[Execution]:
        if before is None:
            return listed
        place = next((number for number, each in enumerate(listed) if each.id == before), None)
        if place is None:
            message = f"there is no execution `{before}`"
            raise NotFoundError(message, kind="unknown-execution", hint="kitaru-nb executions")
        return listed[place + 1 :]

    def _now(self, journal: SqlJournal) -> list[Execution]:
        """All of them as they stand now, newest first."""
        with self._lock:
            newest, _ = journal.newest_event()
            seq = self._seq
            events = journal.events(after=seq) if seq is not None and newest > seq else []
            again = seq is None or newest < seq or any(event.kind == _IMPORTED for event in events)
            if again:
                self._known = {each.id: each for each in reversed(journal.executions())}
            else:
                # what runs is looked at again: its owner may have died, which is no event
                changed = {each.id for each in self._known.values() if each.status is ExecutionStatus.RUNNING}
                for execution in sorted(changed | {event.execution for event in events}):
                    self._known[execution] = journal.execution(execution)
            self._seq = newest
            return list(self._known.values())[::-1]


def _read(journal: SqlJournal, wanted: Wanted, *, stride: int) -> Iterator[Execution]:
    """What fits, as the journal has it; each stride is a transaction of its own."""
    before = wanted.before
    while True:
        listed = journal.executions(notebook=wanted.notebook, before=before, limit=stride)
        yield from listed
        if len(listed) < stride:
            return
        before = listed[-1].id


def _holds(execution: Execution, text: str) -> bool:
    identity = execution.identity
    told = (execution.id, identity.notebook or "", identity.flow or "", *execution.tags)
    return any(text in each.casefold() for each in told)
