"""Who changed a file: what the recorded steps of a notebook left in files below its folder."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from kitaru_nb.engine.observe import ABSENT, FOLDER
from kitaru_nb.journal.journal import Journal
from kitaru_nb.model.checkpoint import Checkpoint, CheckpointStatus, StepKind
from kitaru_nb.model.execution import Execution, Identity

__all__ = ["History", "history_of", "last_executions", "left_later", "origin_of", "place_of", "says_all"]

_LOOKED_AT = 20


class Turn(NamedTuple):
    """A step that ran or was restored: its `seq`, in which attempt, where it stands, and what it follows."""

    seq: int
    attempt: tuple[str, int]
    place: str
    parent: int | None
    is_cell: bool


@dataclass(slots=True)
class History:
    """What recorded steps left in files, by path below the notebook's folder; of others by the whole path.

    Attributes:
        left: For each path, (`seq` of the step, digest after it, where it stands), oldest first.
        lost: What is nowhere else than in the file: (path, digest) that a step left which has failed.
        created: For each path that a step made, (`seq`, where it stands) of those steps.
        rewritten: (path, `seq`) of each step whose record says all that is in a file after it.
        first: Where steps stand (see `place_of`), each with the `seq` under which it is first on record.
        turns: Each step that ran or was restored, oldest first.
        met: Where those stand that this process has run or restored.
    """

    left: dict[str, list[tuple[int, str, str]]] = field(default_factory=dict)
    created: dict[str, list[tuple[int, str]]] = field(default_factory=dict)
    rewritten: set[tuple[str, int]] = field(default_factory=set)
    lost: set[tuple[str, str]] = field(default_factory=set)
    first: dict[str, int] = field(default_factory=dict)
    turns: list[Turn] = field(default_factory=list)
    met: set[str] = field(default_factory=set)

    def add(self, checkpoint: Checkpoint) -> None:
        """Take in one step. A restored one left nothing new."""
        place = place_of(checkpoint)
        self.first.setdefault(place, checkpoint.seq)
        attempt = checkpoint.execution, checkpoint.epoch
        draft = checkpoint.draft
        self.turns.append(Turn(checkpoint.seq, attempt, place, draft.parent, draft.kind is StepKind.CELL))
        if draft.status is CheckpointStatus.RESTORED:
            return
        for file in draft.files:
            if file["mode"] in ("read", "absent"):
                continue
            below = file.get("below") or file["path"]
            digest = file["digest"] or ABSENT
            self.left.setdefault(below, []).append((checkpoint.seq, digest, place))
            if draft.status is CheckpointStatus.FAILED:
                self.lost.add((below, digest))
            else:
                self.lost.discard((below, digest))
            if says_all(file):
                self.rewritten.add((below, checkpoint.seq))
            if file.get("created") or file["mode"] == FOLDER:
                self.created.setdefault(below, []).append((checkpoint.seq, place))

    def is_later(self, below: str, digest: str, seq: int) -> bool:
        """Whether a step after `seq` left the file with that digest."""
        return any(at > seq and left == digest for at, left, _ in self.left.get(below, ()))

    def is_known(self, below: str, digest: str) -> bool:
        """Whether any step left the file with that digest, and to replace it is no loss."""
        known = any(left == digest for _, left, _ in self.left.get(below, ()))
        return known and (below, digest) not in self.lost

    def is_rewritten(self, below: str, seq: int) -> bool:
        """Whether the record of the first step after `seq` that changed the file says all that is in it.

        That step leaves the same again, whatever is there when it is restored.
        """
        following = min((at for at, *_ in self.left.get(below, ()) if at > seq), default=0)
        return (below, following) in self.rewritten

    def is_left_below(self, below: str, digest: str, checkpoint: Checkpoint) -> bool:
        """Whether steps below `checkpoint` left the file with that digest after it, and none above."""
        seq = origin_of(checkpoint)
        places = {place for at, left, place in self.left.get(below, ()) if at > seq and left == digest}
        return bool(places) and not any(self._is_above(place, checkpoint) for place in places)

    def is_left_above(self, below: str, digest: str, checkpoint: Checkpoint) -> bool:
        """Whether a step that stands above `checkpoint` left the file with that digest, after it."""
        seq = origin_of(checkpoint)
        return any(
            at > seq and left == digest and self._is_above(place, checkpoint)
            for at, left, place in self.left.get(below, ())
        )

    def is_left_by(self, below: str, digest: str, place: str) -> bool:
        """Whether the step that stands there, or a call in it, left the file with that digest."""
        return any(left == digest and by == place for _, left, by in self.left.get(below, ()))

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

        It does where it came before the other when that was recorded, and when both were new. One that was
        put in since then has its turn before the other in a new kernel.
        """
        own = place_of(checkpoint)
        if place == own:
            return False
        if place in self.met and own not in self.met:
            return True
        new = self.first.get(place, checkpoint.seq) < self.first.get(own, checkpoint.seq)
        return new and self._came_before(place, origin_of(checkpoint))

    def _came_before(self, place: str, seq: int) -> bool:
        """Whether the step there has had its turn before `seq` in its kernel, or one that it went on from."""
        number = self._turn(seq)
        if number < 0:
            return True  # it is on no record any more what came before
        first = self.turns[number]  # of the steps of its attempt that were looked at
        while number > 0:
            number -= 1
            if self.turns[number].attempt != first.attempt:
                number = -1 if first.parent is None else self._turn(first.parent)
                if number < 0:
                    return False
            turn = self.turns[number]
            if turn.place == place:
                return True
            first = turn if turn.is_cell else first
        return False

    def _turn(self, seq: int) -> int:
        """The place of a step in `turns`, -1 where it is not there."""
        number = bisect_left(self.turns, seq, key=lambda turn: turn.seq)
        return number if number < len(self.turns) and self.turns[number].seq == seq else -1


def says_all(file: Mapping[str, Any]) -> bool:
    """Whether the record of a step says what stands in a file after it, and not only what it did to that.

    The step wrote it from its beginning, or the record only counts for what was there before.
    """
    return bool(file.get("whole", False) or file.get("exact", False))


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
