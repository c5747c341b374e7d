"""What model calls have cost and what the record has saved, added up by what people ask for.

Money is counted at the model call, where it was paid, once. What was served from the record was
paid before: it counts as saved, and never as spent.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any

from kitaru_nb.journal.journal import Journal
from kitaru_nb.model.checkpoint import Checkpoint, CheckpointStatus, StepKind
from kitaru_nb.model.execution import Execution, ExecutionId
from kitaru_nb.model.served import unranged

__all__ = ["By", "CostRow", "costs"]


class By(StrEnum):
    """What costs are added up by."""

    EXECUTION = "execution"
    CHECKPOINT = "checkpoint"
    TAG = "tag"
    MODEL = "model"
    DAY = "day"


@dataclass(slots=True)
class CostRow:
    """One sum.

    Attributes:
        label: The execution's id, the checkpoint's name, the tag, the model, or the day in UTC.
        calls: Model calls that were paid.
        input_tokens: Their input, `output_tokens` their output.
        cost: What they cost in US dollars; None when none of them has a price.
        unpriced: How many of them have no price: they are missing in `cost`.
        saved: What calls would have cost that were served from the record instead.
        served: How many those were.
    """

    label: str
    calls: int = 0
    input_tokens: int = 0
    output_tokens: int = 0
    cost: float | None = None
    unpriced: int = 0
    saved: float | None = None
    served: int = 0

    def pay(self, call: Checkpoint) -> None:
        """Add a call that was paid."""
        usage = call.draft.data.get("usage") or {}
        self.calls += 1
        self.input_tokens += usage.get("input", 0)
        self.output_tokens += usage.get("output", 0)
        if call.draft.cost is None:
            self.unpriced += 1
        else:
            self.cost = round((self.cost or 0.0) + call.draft.cost, 12)

    def save(self, call: Checkpoint) -> None:
        """Add a call that was served from the record."""
        self.served += 1
        if call.draft.cost is not None:
            self.saved = round((self.saved or 0.0) + call.draft.cost, 12)

    def to_json(self, by: By) -> dict[str, Any]:
        """Its fields, the label under the name of what the sums are by."""
        return {
            by.value: self.label,
            "calls": self.calls,
            "input_tokens": self.input_tokens,
            "output_tokens": self.output_tokens,
            "tokens": self.input_tokens + self.output_tokens,
            "cost": self.cost,
            "unpriced_calls": self.unpriced,
            "saved_cost": self.saved,
            "served_calls": self.served,
        }


def costs(
    journal: Journal,
    *,
    by: By,
    execution: ExecutionId | None = None,
    tag: str | None = None,
    since: datetime | None = None,
) -> list[CostRow]:
    """Sums over the executions that fit, the most expensive first; days in their order.

    Args:
        journal: Where to look.
        by: What to add up by. An execution with several tags counts under each.
        execution: This one alone.
        tag: Executions with this tag.
        since: Executions begun since then.
    """
    if execution is not None:
        chosen = [journal.execution(execution)]
    else:
        chosen = journal.executions(tag=tag, since=since)
    rows: dict[str, CostRow] = {}
    for each in chosen:
        book = _Book(journal, each)
        for call in book.paid():
            for label in book.labels(call, by, call.draft.started_at):
                rows.setdefault(label, CostRow(label)).pay(call)
        for call, at in book.served():
            for label in book.labels(call, by, at):
                rows.setdefault(label, CostRow(label)).save(call)
    if by is By.DAY:
        return [rows[label] for label in sorted(rows)]
    return sorted(rows.values(), key=lambda row: (-(row.cost or 0.0), -(row.saved or 0.0), row.label))


class _Book:
    """The model calls of one execution."""

    def __init__(self, journal: Journal, execution: Execution) -> None:
        self._journal = journal
        self._execution = execution
        self._steps = journal.steps_within(execution.id)
        self._cells = journal.checkpoints(execution.id)
        self._names = {cell.draft.step: cell.draft.name for cell in self._cells if cell.draft.step}

    def paid(self) -> Iterator[Checkpoint]:
        """Calls that were made, the cut ones included of which the provider said what they used."""
        for step in self._steps:
            if step.draft.kind is StepKind.MODEL and step.draft.status is not CheckpointStatus.RESTORED:
                yield step

    def served(self) -> Iterator[tuple[Checkpoint, datetime]]:
        """Calls that were not made again, each with when that was."""
        known = {step.seq: step for step in self._steps}
        for event in self._journal.events(self._execution.id):
            if event.kind == "served":
                for seq in sorted(unranged(event.data["steps"])):
                    for call in self._in(known.get(seq), self._steps):
                        yield call, event.at
        for cell in self._cells:
            if cell.draft.status is CheckpointStatus.RESTORED and cell.draft.origin is not None:
                origin = self._journal.checkpoint(cell.draft.origin)
                if origin.draft.cost is not None:
                    steps = self._journal.steps_within(origin.execution)
                    for call in _inside(origin.draft.scope, steps):
                        yield call, cell.draft.started_at

    def _in(self, step: Checkpoint | None, steps: Iterable[Checkpoint]) -> Iterator[Checkpoint]:
        if step is None:
            return
        if step.draft.kind is StepKind.MODEL:
            yield step
        elif step.draft.cost is not None and "path" in step.draft.data:
            yield from _inside(step.draft.data["path"], steps)

    def labels(self, call: Checkpoint, by: By, at: datetime) -> list[str]:
        """What a call is added up under."""
        match by:
            case By.EXECUTION:
                return [self._execution.id]
            case By.TAG:
                return list(self._execution.tags) or ["(no tag)"]
            case By.MODEL:
                return [str(call.draft.data.get("model") or call.draft.name)]
            case By.DAY:
                return [at.date().isoformat()]
            case By.CHECKPOINT:
                return [self._checkpoint(call.draft.scope)]

    def _checkpoint(self, scope: str) -> str:
        """The name of the innermost checkpoint around a call."""
        root, _, rest = scope.partition("/")
        if rest:
            return rest.rpartition("/")[2].split(":")[0]
        root = root.partition("@")[0]
        if root == "flow":
            flow = self._execution.identity.flow or ""
            return flow.rpartition(":")[2].rpartition(".")[2] or "flow"
        return self._names.get(root, root.removeprefix("name:"))


def _inside(path: str, steps: Iterable[Checkpoint]) -> Iterator[Checkpoint]:
    for step in steps:
        scope = step.draft.scope
        if (
            step.draft.kind is StepKind.MODEL
            and step.draft.status is not CheckpointStatus.FAILED
            and (scope == path or scope.startswith(path + "/"))
        ):
            yield step
