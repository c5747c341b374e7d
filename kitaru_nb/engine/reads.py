"""What steps on record depended on of a group of names of which they read a part."""

from __future__ import annotations

from kitaru_nb.engine.namespace import Names
from kitaru_nb.journal.journal import Journal
from kitaru_nb.model.artifact import Digest
from kitaru_nb.model.checkpoint import Checkpoint, CheckpointStatus
from kitaru_nb.model.execution import Identity

__all__ = ["parts_read"]


def parts_read(journal: Journal, identity: Identity, names: Names, value: Digest) -> dict[str, Digest]:
    """As what steps of the notebook read a part of the group `names` while it held `value`.

    A part of what holds the same is the same. So this tells the digest of a part also where its
    type gives it another one after it was loaded.
    """
    executions = journal.executions(notebook=identity.notebook, limit=20) if identity.notebook else ()
    steps = [step for execution in executions for step in journal.checkpoints(execution.id)]
    found: dict[str, Digest] = {}
    held: dict[int | None, Digest | None] = {}  # by the number of a step: what the group held after it
    for step in sorted(steps, key=lambda step: step.seq):
        before, held[step.seq] = _around(step, names, held.get(step.draft.parent))
        if before == value:
            for key, digest in step.draft.reads.items():
                if set(key.split(",")) < set(names):
                    found.setdefault(key, digest)
    return found


def _around(step: Checkpoint, names: Names, before: Digest | None) -> tuple[Digest | None, Digest | None]:
    """What the group held before a step and after it; None where that does not show."""
    draft = step.draft
    if draft.status is CheckpointStatus.FAILED:
        return None, before
    touching = [group for group in draft.groups if not set(names).isdisjoint(group.names)]
    after = next((group.value for group in touching if group.names == names), None)
    if not touching and set(names).isdisjoint(draft.deleted):
        return before, before
    changed = draft.conditions.get(f"names:{','.join(names)}")
    if changed is not None:
        return Digest(changed), after
    if any(not group.written for group in touching):  # plain cells changed it before the step
        return (None if any(group.written for group in touching) else after), after
    return before, after
