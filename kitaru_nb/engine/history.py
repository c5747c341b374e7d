"""Who changed a file: what the recorded steps of a notebook left in files below its folder."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from kitaru_nb.engine.observe import ABSENT, FOLDER
from kitaru_nb.journal.journal import Journal
from kitaru_nb.model.checkpoint import Checkpoint, CheckpointStatus
from kitaru_nb.model.execution import Execution, Identity

__all__ = ["History", "history_of", "last_executions", "left_later", "origin_of"]

_LOOKED_AT = 20


@dataclass(slots=True)
class History:
    """What recorded steps left in files, by path below the notebook's folder.

    Attributes:
        left: For each path, (`seq` of the step, digest after it), oldest first.
        created: For each path that a step made, the `seq` of those steps.
        rewritten: (path, `seq`) of each step that wrote a file from its beginning.
    """

    left: dict[str, list[tuple[int, str]]] = field(default_factory=dict)
    created: dict[str, list[int]] = field(default_factory=dict)
    rewritten: set[tuple[str, int]] = field(default_factory=set)

    def add(self, checkpoint: Checkpoint) -> None:
        """Take in one step. A restored one left nothing new."""
        if checkpoint.draft.status is CheckpointStatus.RESTORED:
            return
        for file in checkpoint.draft.files:
            below = file.get("below")
            if below is None:
                continue
            self.left.setdefault(below, []).append((checkpoint.seq, file["digest"] or ABSENT))
            if file.get("whole"):
                self.rewritten.add((below, checkpoint.seq))
            if file.get("created") or file["mode"] == FOLDER:
                self.created.setdefault(below, []).append(checkpoint.seq)

    def is_later(self, below: str, digest: str, seq: int) -> bool:
        """Whether a step after `seq` left the file with that digest."""
        return any(at > seq and left == digest for at, left in self.left.get(below, ()))

    def is_rewritten(self, below: str, seq: int) -> bool:
        """Whether the first step after `seq` that changed the file wrote it from its beginning.

        That step leaves the same again, whatever is there when it is restored.
        """
        following = min((at for at, _ in self.left.get(below, ()) if at > seq), default=0)
        return (below, following) in self.rewritten

    def came_later(self, below: str, seq: int) -> bool:
        """Whether a step after `seq` made the file."""
        return any(at > seq for at in self.created.get(below, ()))


def last_executions(journal: Journal, identity: Identity) -> list[Execution]:
    """Those of the notebook, or of what else the identity is, the newest first."""
    if identity.notebook:
        return journal.executions(notebook=identity.notebook, limit=_LOOKED_AT)
    return journal.executions(identity=identity, limit=_LOOKED_AT)


def history_of(journal: Journal, identity: Identity) -> History:
    """What all recorded steps of a notebook left in files, in its last executions."""
    history = History()
    executions = last_executions(journal, identity)
    steps = [step for execution in executions for step in journal.checkpoints(execution.id)]
    for execution in executions[:1]:  # what calls did in earlier ones, their cells or results stand for
        for served in _with_replayed(journal, execution):
            steps += [step for step in journal.steps_within(served.id) if step.draft.files]
    for step in sorted(steps, key=lambda step: step.seq):
        history.add(step)
    return history


def _with_replayed(journal: Journal, execution: Execution) -> Iterator[Execution]:
    """An execution, the one that it replays, and so on: calls of all of them are served in it."""
    yield execution
    while execution.parent is not None:
        execution = journal.execution(execution.parent)
        yield execution


def left_later(checkpoint: Checkpoint, path: str, digest: str, recorded: Iterable[Checkpoint]) -> bool:
    """Whether a step of `recorded` after `checkpoint` left the file at the absolute `path` with `digest`."""
    seq = origin_of(checkpoint)
    return any(
        file["path"] == path and file["digest"] == digest
        for later in recorded
        if later.seq > seq and later.draft.status is not CheckpointStatus.RESTORED
        for file in later.draft.files
        if file.get("below") is not None
    )


def origin_of(checkpoint: Checkpoint) -> int:
    """`seq` of the step that ran, also for one that was restored from it."""
    return checkpoint.seq if checkpoint.draft.origin is None else checkpoint.draft.origin
