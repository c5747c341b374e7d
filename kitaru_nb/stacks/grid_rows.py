"""One line per point of a grid: how it stands, how long it took, what it cost, what it measured."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from kitaru_nb.errors import KitaruError
from kitaru_nb.journal.journal import Journal
from kitaru_nb.model.checkpoint import Checkpoint, StepKind
from kitaru_nb.model.execution import Execution, ExecutionId, ExecutionStatus
from kitaru_nb.stacks.outcome import Exit, Outcome, exit_code_of

if TYPE_CHECKING:
    from kitaru_nb.stacks.grid import Point

__all__ = ["PENDING", "Row", "counted", "exit_of", "measured", "status_of"]

PENDING = "pending"
"""The status of a point of which nothing has begun."""

_COUNTED = (
    ExecutionStatus.COMPLETED,
    ExecutionStatus.FAILED,
    ExecutionStatus.WAITING,
    ExecutionStatus.INTERRUPTED,
    ExecutionStatus.CANCELLED,
    ExecutionStatus.RUNNING,
)


@dataclass(frozen=True, slots=True)
class Row:
    """A point as it stands.

    Attributes:
        point: Which.
        output: Where its notebook is saved; nothing for a flow.
        execution: Its execution as last looked at.
        kept: Whether it had completed before, and was not run.
        running: Whether a worker is at it.
        outcome: How its attempt ended.
        error: Why it could not begin.
        lost: Why the process that ran it died.
        metrics: What its code noted last with ``log``, by name.
        saved: The names of values it saved with ``save``.
    """

    point: Point
    output: str | None = None
    execution: Execution | None = None
    kept: bool = False
    running: bool = False
    outcome: Outcome | None = None
    error: KitaruError | None = None
    lost: str = ""
    metrics: Mapping[str, Any] = field(default_factory=dict)
    saved: tuple[str, ...] = ()

    @property
    def reason(self) -> str:
        """Why it did not complete, for a person; empty when it did or nothing is known."""
        if self.error is not None:
            return self.error.message
        if self.execution is None or status_of(self) == ExecutionStatus.COMPLETED:
            return ""
        return (self.outcome.reason if self.outcome else "") or self.execution.reason or ""


def status_of(row: Row) -> str:
    """``pending``, or the status of the point's execution."""
    if row.running:
        return ExecutionStatus.RUNNING.value
    if row.error is not None:
        return ExecutionStatus.FAILED.value
    return PENDING if row.execution is None else row.execution.status.value


def exit_of(row: Row, *, suspend_exit: int | None, stopped: int | None) -> int:
    """The exit code that the point asks for."""
    if row.error is not None:
        return int(exit_code_of(row.error))
    if row.outcome is not None:
        waits = row.outcome.exit is Exit.WAITING and suspend_exit is not None
        return int(suspend_exit) if waits and suspend_exit is not None else int(row.outcome.exit)
    if row.kept:
        return int(Exit.COMPLETED)
    if stopped is not None:
        return 128 + stopped
    return int(Exit.KERNEL_DIED)


def counted(rows: list[Row]) -> dict[str, int]:
    """How many points stand how; the first three always, the others where there are any."""
    statuses = [status_of(row) for row in rows]
    found = {status.value: statuses.count(status) for status in _COUNTED}
    found[PENDING] = statuses.count(PENDING)
    always = {status.value for status in _COUNTED[:3]}
    return {status: number for status, number in found.items() if number or status in always}


def measured(journal: Journal, execution: ExecutionId) -> tuple[dict[str, Any], tuple[str, ...]]:
    """What an execution's code noted last with ``log``, and the names of what it saved with ``save``.

    A cell that another point of the grid ran has noted there what it would have noted here.
    """
    noted: list[tuple[int, Mapping[str, Any]]] = []
    saved: dict[str, None] = {}
    for step in journal.steps_within(execution):
        if (told := _noted(step)) is not None:
            noted.append((step.seq, told))
        elif _is_saved(step):
            saved[step.draft.name] = None
    for cell in journal.checkpoints(execution):
        noted += [(cell.seq, told) for told in _noted_elsewhere(journal, cell)]
    metrics: dict[str, Any] = {}
    for _, told in sorted(noted, key=lambda each: each[0]):
        metrics |= told
    return metrics, tuple(saved)


def _noted(step: Checkpoint) -> Mapping[str, Any] | None:
    told = step.draft.data.get("log") if step.draft.name == "log" else None
    return told if isinstance(told, Mapping) else None


def _noted_elsewhere(journal: Journal, cell: Checkpoint) -> list[Mapping[str, Any]]:
    """What a restored cell has noted in the execution that ran it, where that is another one."""
    ran = cell
    while ran.draft.origin is not None:
        ran = journal.checkpoint(ran.draft.origin)
    if ran.execution == cell.execution or not ran.draft.step:
        return []
    within = (
        step
        for step in journal.steps_within(ran.execution)
        if step.seq < ran.seq and step.draft.scope.partition("/")[0].partition("@")[0] == ran.draft.step
    )
    return [told for step in within if (told := _noted(step)) is not None]


def _is_saved(step: Checkpoint) -> bool:
    draft = step.draft
    own = [group.names for group in draft.groups] == [(draft.name,)]
    return draft.kind is StepKind.VALUE and own and "qualname" not in draft.data
