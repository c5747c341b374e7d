"""Adding a step to an execution: its place on the line, its key, what it cost and what it saved."""

from __future__ import annotations

from kitaru_nb.errors import NotFoundError
from kitaru_nb.journal import rows
from kitaru_nb.journal.ledger import Ledger
from kitaru_nb.journal.rows import ArtifactRow, CheckpointRow, Head, State
from kitaru_nb.model.artifact import Digest
from kitaru_nb.model.checkpoint import Checkpoint, CheckpointStatus, Draft
from kitaru_nb.model.execution import Attempt

__all__ = ["append_step", "require_artifacts"]


def append_step(
    ledger: Ledger, head: Head, state: State, draft: Draft, *, attempt: Attempt, ordinal: int, at: int
) -> tuple[Head, State, Checkpoint]:
    """Add one step and its event; the caller updates head and state."""
    seq = head.checkpoints + 1
    completed = draft.status is CheckpointStatus.COMPLETED
    ledger.insert(
        CheckpointRow(
            seq=seq,
            execution=state.n,
            epoch=attempt.epoch,
            ordinal=ordinal,
            previous=state.last_step,
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
    state = _counted(ledger, state, draft)._replace(steps=state.steps + 1, last_step=seq)
    head = head._replace(checkpoints=seq)
    data = {"seq": seq, "name": draft.name, "ordinal": ordinal, "epoch": attempt.epoch}
    head, state, _ = ledger.append_event(head, state, f"checkpoint.{draft.status.value}", data, at=at)
    return head, state, Checkpoint(seq, attempt.execution, attempt.epoch, ordinal, draft)


def require_artifacts(ledger: Ledger, draft: Draft, given: set[Digest]) -> None:
    """Refuse a step that points at an artifact which is neither given nor on record.

    Raises:
        NotFoundError: kind ``unknown-artifact``.
    """
    missing = draft.stored - given
    if missing:
        missing -= {Digest(row.digest.hex()) for row in ledger.by_digest(ArtifactRow, missing)}
    if missing:
        names = [name for group in draft.groups if group.artifact in missing for name in group.names]
        shown = ", ".join(f"`{name}`" for name in names) or "what it showed, or files"
        raise NotFoundError(
            f"checkpoint `{draft.name}` refers to stored values that are not on record: {shown}",
            kind="unknown-artifact",
            hint="run the cell again with `--fresh`",
        )


def _counted(ledger: Ledger, state: State, draft: Draft) -> State:
    """The state with what the step cost, or what restoring it saved, added."""
    if draft.status is not CheckpointStatus.RESTORED:
        tokens = state.tokens if draft.tokens is None else (state.tokens or 0) + draft.tokens
        return state._replace(cost=_sum(state.cost, draft.cost), tokens=tokens)
    if draft.origin is None:
        return state
    origin = ledger.known_step(draft.origin)
    return state._replace(
        saved_cost=_sum(state.saved_cost, origin.cost), saved_duration=state.saved_duration + origin.duration
    )


def _sum(total: float | None, part: float | None) -> float | None:
    return total if part is None else (total or 0.0) + part
