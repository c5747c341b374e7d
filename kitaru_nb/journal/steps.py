"""Adding a step to an execution: its place, its key, what it cost and what it saved.

Cells are a chain that begins at the execution's state. All other steps belong to a cell or a
flow; they are a chain of their own, whose newest is on record under ``steps:EXECUTION``.
"""

from __future__ import annotations

import json

from kitaru_nb.errors import NotFoundError
from kitaru_nb.journal import rows
from kitaru_nb.journal.ledger import Ledger
from kitaru_nb.journal.rows import ArtifactRow, CheckpointRow, EventRow, Head, State, TombstoneRow
from kitaru_nb.model.artifact import Digest
from kitaru_nb.model.checkpoint import Checkpoint, CheckpointStatus, Draft, StepKind
from kitaru_nb.model.execution import Attempt, ExecutionId
from kitaru_nb.model.served import Served

__all__ = [
    "ROLLED_UP",
    "append_step",
    "note_served",
    "place_step",
    "require_artifacts",
    "roll_up",
    "rolled",
    "within",
]

ROLLED_UP = "child.cost"
"""The event that a child's cost was added to the execution around it."""


def append_step(
    ledger: Ledger, head: Head, state: State, draft: Draft, *, attempt: Attempt, ordinal: int, at: int
) -> tuple[Head, State, Checkpoint]:
    """Add one step and its event; the caller updates head and state."""
    step = Checkpoint(head.checkpoints + 1, attempt.execution, attempt.epoch, ordinal, draft)
    head, state = place_step(ledger, head, _counted(ledger, state, draft), step)
    data = {"seq": step.seq, "name": draft.name, "ordinal": ordinal, "epoch": attempt.epoch}
    kind = "checkpoint" if draft.kind is StepKind.CELL else draft.kind.value
    head, state, _ = ledger.append_event(head, state, f"{kind}.{draft.status.value}", data, at=at)
    return head, state, step


def place_step(ledger: Ledger, head: Head, state: State, step: Checkpoint) -> tuple[Head, State]:
    """Add the row of one step to the lists that it is found in; the caller updates head and state."""
    draft, seq = step.draft, step.seq
    completed = draft.status is CheckpointStatus.COMPLETED
    cell = draft.kind is StepKind.CELL
    ledger.insert(
        CheckpointRow(
            seq=seq,
            execution=state.n,
            epoch=step.epoch,
            ordinal=step.ordinal,
            previous=state.last_step if cell else ledger.put_newest(within(step.execution), seq),
            previous_of_key=ledger.put_newest("key:" + draft.key, seq) if completed else None,
            parent=draft.parent,
            origin=draft.origin,
            status=draft.status.value,
            key=draft.key,
            started_at=rows.microseconds(draft.started_at),
            duration=float(draft.duration),
            cost=None if draft.cost is None else float(draft.cost),
            tokens=draft.tokens,
            body=rows.body_of(draft),
        )
    )
    if cell:
        state = state._replace(steps=state.steps + 1, last_step=seq)
    return head._replace(checkpoints=seq), state


def within(execution: ExecutionId) -> str:
    """The name under which the newest step is that belongs to a cell or a flow of `execution`."""
    return "steps:" + execution


def note_served(
    ledger: Ledger, head: Head, state: State, served: Served, *, epoch: int, at: int
) -> tuple[Head, State]:
    """Add what an attempt did not have to do again; the caller updates head and state."""
    state = state._replace(
        saved_cost=_sum(state.saved_cost, served.cost),
        saved_duration=state.saved_duration + served.duration,
    )
    data = {"epoch": epoch, **served.to_json()}
    head, state, _ = ledger.append_event(head, state, "served", data, at=at)
    return head, state


def roll_up(
    ledger: Ledger, head: Head, state: State, spent: State, *, child: ExecutionId, at: int
) -> tuple[Head, State]:
    """Add to `state` what the child whose state is `spent` has cost and was not added yet."""
    before = ledger.newest(rolled(child))
    cost, tokens = 0.0, 0
    if before:
        known = json.loads(ledger.fetch(EventRow, before).data)
        cost, tokens = known["cost"] or 0.0, known["tokens"] or 0
    if spent.cost is not None:
        state = state._replace(cost=_sum(state.cost, spent.cost - cost))
    if spent.tokens is not None:
        state = state._replace(tokens=(state.tokens or 0) + spent.tokens - tokens)
    data = {"child": child, "cost": spent.cost, "tokens": spent.tokens}
    head, state, event = ledger.append_event(head, state, ROLLED_UP, data, at=at)
    ledger.put_newest(rolled(child), event.seq)
    return head, state


def rolled(child: ExecutionId) -> str:
    """The name under which the event is that last added a child's cost to the execution around it."""
    return "rolled:" + child


def require_artifacts(ledger: Ledger, draft: Draft, given: set[Digest], *, removed: bool = False) -> None:
    """Refuse a step that points at an artifact which is neither given nor on record.

    With `removed`, one of which it is on record that it is gone will do.

    Raises:
        NotFoundError: kind ``unknown-artifact``.
    """
    missing = draft.stored - given
    if missing:
        missing -= {Digest(row.digest.hex()) for row in ledger.by_digest(ArtifactRow, missing)}
    if missing and removed:
        missing -= {Digest(row.digest.hex()) for row in ledger.by_digest(TombstoneRow, missing)}
    if missing:
        names = [name for group in draft.groups if group.artifact in missing for name in group.names]
        shown = ", ".join(f"`{name}`" for name in names) or "what it showed, or files"
        raise NotFoundError(
            f"checkpoint `{draft.name}` refers to stored values that are not on record: {shown}",
            kind="unknown-artifact",
            hint="run the cell again with `--fresh`",
        )


def _counted(ledger: Ledger, state: State, draft: Draft) -> State:
    """The state with what the step cost, or what restoring it saved, added.

    Money is counted once, at the model call; what a cell or call cost tells of those inside it.
    """
    if draft.status is not CheckpointStatus.RESTORED:
        if draft.kind is not StepKind.MODEL:
            return state
        tokens = state.tokens if draft.tokens is None else (state.tokens or 0) + draft.tokens
        return state._replace(cost=_sum(state.cost, draft.cost), tokens=tokens)
    if draft.origin is None:
        return state
    origin = ledger.known_step(draft.origin)
    return state._replace(
        saved_cost=_sum(state.saved_cost, origin.cost), saved_duration=state.saved_duration + origin.duration
    )


def _sum(total: float | None, part: float | None) -> float | None:
    # Sums of dollars and seconds without the noise of floats: a picodollar is nothing.
    return total if part is None else round((total or 0.0) + part, 12)
