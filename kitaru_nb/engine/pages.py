"""Lists of executions page by page, so that ten thousand of them are as quick to look at as ten."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime

from kitaru_nb.journal.journal import Journal
from kitaru_nb.model.execution import Execution, ExecutionId, ExecutionStatus

__all__ = ["Page", "Wanted", "page"]

_STRIDE = 200  # executions read at a time


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


@dataclass(frozen=True, slots=True)
class Page:
    """Some executions, newest first, and whether there are more after them."""

    executions: Sequence[Execution]
    more: bool


def page(journal: Journal, wanted: Wanted, *, limit: int) -> Page:
    """The first `limit` of the executions that are wanted.

    Reads no more of the list than it must; each stride is a transaction of its own.

    Raises:
        NotFoundError: kind ``unknown-execution``: there is no `wanted.before`.
    """
    found: list[Execution] = []
    for execution in _fitting(journal, wanted, stride=min(limit + 1, _STRIDE)):
        if len(found) == limit:
            return Page(found, more=True)
        found.append(execution)
    return Page(found, more=False)


def _fitting(journal: Journal, wanted: Wanted, *, stride: int) -> Iterator[Execution]:
    before = wanted.before
    while True:
        listed = journal.executions(
            notebook=wanted.notebook,
            status=wanted.status,
            tag=wanted.tag,
            since=wanted.since,
            before=before,
            limit=stride,
        )
        yield from (each for each in listed if wanted.text is None or _holds(each, wanted.text))
        if len(listed) < stride:
            return
        before = listed[-1].id


def _holds(execution: Execution, text: str) -> bool:
    identity = execution.identity
    told = (execution.id, identity.notebook or "", identity.flow or "", *execution.tags)
    return any(text.casefold() in each.casefold() for each in told)
