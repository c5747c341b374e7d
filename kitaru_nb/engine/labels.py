"""What to type for a saved value while its execution still grows, without reading all of that each time."""

from __future__ import annotations

import threading
from bisect import bisect_left

from kitaru_nb.engine.refs import holds_named, numbered, standing_cells
from kitaru_nb.journal.journal import Journal
from kitaru_nb.model.checkpoint import Checkpoint, CheckpointStatus, StepKind
from kitaru_nb.model.execution import ExecutionId

__all__ = ["Labels"]


class Labels:
    """Numbers named steps as `refs.checkpoint_names` does those of `refs.named_steps`.

    The record is read once, and from then on what was added to it, by whomever.
    """

    def __init__(self, journal: Journal) -> None:
        self._journal = journal
        self._lock = threading.Lock()
        self._forget(None)

    def _forget(self, execution: ExecutionId | None) -> None:
        self._execution = execution
        self._seen_event = self._seen_step = 0
        self._at: dict[str, list[int]] = {}  # by name: where its steps are, those of cells and failures aside
        self._done: set[tuple[str, str]] = set()  # calls that came to their end
        self._failed: dict[str, list[Checkpoint]] = {}
        self._cells: dict[str, list[int]] = {}

    def label(self, step: Checkpoint) -> str:
        """What to type for a step that is on record: its name, from the second of a name on with ``#n``."""
        with self._lock:
            if self._execution != step.execution:
                self._forget(step.execution)
            self._read(step.execution)
            name = step.draft.name
            before = bisect_left(self._at.get(name, []), step.seq)
            before += sum(seq < step.seq for seq in self._cells.get(name, ()))
            before += sum(each.seq < step.seq for each in self._still_failed(name, step.execution))
            return numbered(name, before + 1)

    def _read(self, execution: ExecutionId) -> None:
        # Events first: what is recorded in between is seen the next time.
        events = self._journal.events(execution, after=self._seen_event)
        if not self._seen_event or any(event.kind.startswith("checkpoint.") for event in events):
            self._cells = {}
            for cell in standing_cells(self._journal, execution):
                self._cells.setdefault(cell.draft.name, []).append(cell.seq)
        for step in self._journal.steps_within(execution, after=self._seen_step):
            self._take(step)
            self._seen_step = step.seq
        if events:
            self._seen_event = events[-1].seq

    def _take(self, step: Checkpoint) -> None:
        draft = step.draft
        if draft.kind is StepKind.CALL and draft.status is CheckpointStatus.FAILED:
            self._failed.setdefault(draft.name, []).append(step)
            return
        if draft.kind is StepKind.CALL:
            self._done.add((draft.scope, draft.key))
        if draft.kind is StepKind.CALL or holds_named(step):
            self._at.setdefault(draft.name, []).append(step.seq)

    def _still_failed(self, name: str, execution: ExecutionId) -> list[Checkpoint]:
        """Calls of that name that failed in the newest attempt and were not made good."""
        left = [
            each
            for each in self._failed.get(name, ())
            if (each.draft.scope, each.draft.key) not in self._done
        ]
        if not left:
            return left
        epoch = self._journal.execution(execution).epoch
        return [each for each in left if each.epoch == epoch]
