"""Who changed a file: what the recorded steps of a notebook left in files below its folder."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from kitaru_nb.engine.observe import ABSENT, FOLDER
from kitaru_nb.journal.journal import Journal
from kitaru_nb.model.checkpoint import Checkpoint, CheckpointStatus
from kitaru_nb.model.execution import Execution, Identity

__all__ = ["History", "history_of", "last_executions", "left_later", "origin_of", "place_of"]

_LOOKED_AT = 20


@dataclass(slots=True)
class History:
    """What recorded steps left in files, by path below the notebook's folder; of others by the whole path.

    Attributes:
        left: For each path, (`seq` of the step, digest after it, where it stands), oldest first.
        created: For each path that a step made, (`seq`, where it stands) of those steps.
        rewritten: (path, `seq`) of each step that wrote a file from its beginning.
        first: Where steps stand (see `place_of`), each with the `seq` under which it is first on record.
        met: Where those stand that this process has run or restored.
    """

    left: dict[str, list[tuple[int, str, str]]] = field(default_factory=dict)
    created: dict[str, list[tuple[int, str]]] = field(default_factory=dict)
    rewritten: set[tuple[str, int]] = field(default_factory=set)
    first: dict[str, int] = field(default_factory=dict)
    met: set[str] = field(default_factory=set)

    def add(self, checkpoint: Checkpoint) -> None:
        """Take in one step. A restored one left nothing new."""
        place = place_of(checkpoint)
        self.first.setdefault(place, checkpoint.seq)
        if checkpoint.draft.status is CheckpointStatus.RESTORED:
            return
        for file in checkpoint.draft.files:
            below = file.get("below") or file["path"]
            self.left.setdefault(below, []).append((checkpoint.seq, file["digest"] or ABSENT, place))
            if file.get("whole"):
                self.rewritten.add((below, checkpoint.seq))
            if file.get("created") or file["mode"] == FOLDER:
                self.created.setdefault(below, []).append((checkpoint.seq, place))

    def is_later(self, below: str, digest: str, seq: int) -> bool:
        """Whether a step after `seq` left the file with that digest."""
        return any(at > seq and left == digest for at, left, _ in self.left.get(below, ()))

    def is_rewritten(self, below: str, seq: int) -> bool:
        """Whether the first step after `seq` that changed the file wrote it from its beginning.

        That step leaves the same again, whatever is there when it is restored.
        """
        following = min((at for at, *_ in self.left.get(below, ()) if at > seq), default=0)
        return (below, following) in self.rewritten

    def is_left_below(self, below: str, digest: str, checkpoint: Checkpoint) -> bool:
        """Whether a step that stands below `checkpoint` left the file with that digest, after it."""
        seq = origin_of(checkpoint)
        return any(
            at > seq and left == digest and not self._is_above(place, checkpoint)
            for at, left, place in self.left.get(below, ())
        )

    def is_made_below(self, below: str, checkpoint: Checkpoint) -> bool:
        """Whether a step that stands below `checkpoint` made the file, after it."""
        seq = origin_of(checkpoint)
        return any(
            at > seq and not self._is_above(place, checkpoint) for at, place in self.created.get(below, ())
        )

    def is_changed_above(self, below: str, checkpoint: Checkpoint) -> bool:
        """Whether a step that stands above `checkpoint` has changed the file since."""
        seq = origin_of(checkpoint)
        return any(
            at > seq and self._is_above(place, checkpoint) for at, _, place in self.left.get(below, ())
        )

    def _is_above(self, place: str, checkpoint: Checkpoint) -> bool:
        """Whether the step there comes before the one of `checkpoint`, which may see what it leaves.

        A cell that was edited ran before the other did, when both were new. One that was put in since
        then has its turn before the other in a new kernel.
        """
        own = place_of(checkpoint)
        if place == own:
            return False
        if self.first.get(place, checkpoint.seq) < self.first.get(own, checkpoint.seq):
            return True
        return place in self.met and own not in self.met


def place_of(checkpoint: Checkpoint) -> str:
    """Where a step stands: its cell, also for what a cell has called; its name where cells have no ids."""
    draft = checkpoint.draft
    within = draft.scope.partition("/")[0].partition("@")[0]
    return draft.step or within or f"name:{draft.name}"


def last_executions(journal: Journal, identity: Identity) -> list[Execution]:
    """Those of the notebook, or of what else the identity is, the newest first."""
    if identity.notebook:
        return journal.executions(notebook=identity.notebook, limit=_LOOKED_AT)
    return journal.executions(identity=identity, limit=_LOOKED_AT)


def history_of(journal: Journal, identity: Identity, *, met: set[str]) -> History:
    """What all recorded steps of a notebook left in files, in its last executions; `met` see `History`."""
    history = History(met=met)
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
