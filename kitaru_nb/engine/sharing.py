"""What the points of one grid share: a cell that several of them would run alike is run once.

A point finds what the others have on record, and before it runs a cell that is on no record it takes
that cell for the whole grid. Whoever comes second waits until the first has recorded it. A claim ends
with the cell or with the process that runs it, see `journal.claims`, so nobody waits for the dead.

No two points wait for each other: a point has at most the claim on the cell that it is about to run,
it runs that cell without waiting for any other, and it has none while it waits.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence

from kitaru_nb.engine.engine import Engine
from kitaru_nb.engine.step_names import same_step
from kitaru_nb.engine.steps import Pending, Restore, Run
from kitaru_nb.errors import StoreError
from kitaru_nb.model.checkpoint import Checkpoint, CheckpointKey, CheckpointStatus
from kitaru_nb.model.event import AWAITED
from kitaru_nb.model.execution import Attempt, ExecutionId, Identity

__all__ = ["GRID", "Sharing", "grid_of"]

GRID = "grid:"
"""What the tag begins with that the executions of one grid have in common."""

"""The event of an execution that waits for another one's cell."""

_POLLS = (0.02, 0.5)  # seconds between two looks at the record: at first, and at most
_SLOWER = 1.5
_FAULTY = 60.0  # seconds for which a record that cannot be read keeps a point waiting


def grid_of(tags: Iterable[str]) -> str | None:
    """The tag of the grid that an execution with these tags is a point of."""
    return next((tag for tag in tags if tag.startswith(GRID)), None)


class Sharing:
    """One point's part in it.

    Args:
        engine: Journal and store.
        identity: What the point runs; cells of other notebooks are none of its own.
        attempt: Gives the attempt that runs it.
        tag: The grid's tag.
    """

    def __init__(self, engine: Engine, identity: Identity, attempt: Callable[[], Attempt], tag: str) -> None:
        self._journal = engine.journal
        self._identity = identity
        self._attempt = attempt
        self._tag = tag
        self._siblings: dict[ExecutionId, bool] = {}
        self._claimed: str | None = None

    def __contains__(self, execution: ExecutionId) -> bool:
        """Whether an execution is a point of the grid. A replay is none: it may have been given results."""
        if execution not in self._siblings:
            found = self._journal.execution(execution)
            point = self._tag in found.tags and found.identity.replay is None
            self._siblings[execution] = point
        return self._siblings[execution]

    def found(self, keys: Sequence[CheckpointKey]) -> list[Checkpoint]:
        """What the points have on record under these keys: of each the newest first."""
        notebook = self._identity.notebook
        return [
            step
            for key in keys
            for step in self._journal.find(key, notebook=notebook, tag=self._tag)
            if step.draft.key == key and step.execution in self  # the journal's own lists are not signed
        ]

    def beside(self, recorded: Sequence[Checkpoint], keys: Sequence[CheckpointKey]) -> list[Checkpoint]:
        """As `found`, without those that are known."""
        known = {step.seq for step in recorded}
        return [step for step in self.found(keys) if step.seq not in known]

    def settle(self, run: Run, again: Callable[[], Restore | Run]) -> Restore | Run:
        """Run a cell that this point has found on no record, or restore it from whoever runs it now.

        A point waits only for a cell that nobody has recorded or failed at: what is on record and
        does not hold here would not hold after the next run either.

        Args:
            run: The cell.
            again: Decides on it once more.
        """
        pending = run.pending
        while not self._is_on_record(pending):
            holder = self._claim(pending)
            decided = again()  # it may have come on record just before it was claimed
            if holder is None or isinstance(decided, Restore):
                return decided
            self._await(holder, pending)
            decided = again()
            if isinstance(decided, Restore) or self._failed(holder, pending):
                return decided
        return again()

    def give_back(self) -> None:
        """The cell that runs holds on for somebody: others need not wait for that, too."""
        claimed, self._claimed = self._claimed, None
        if claimed is not None:
            self._journal.unclaim_step(self._attempt(), claimed)

    def _is_on_record(self, pending: Pending) -> bool:
        found = self.found(pending.needs.keys)
        return any(same_step(pending.cell.step, each.draft.step) for each in found)

    def _claim(self, pending: Pending) -> ExecutionId | None:
        """Take the cell for the grid; who has it, if this point does not."""
        name = self._name(pending)
        told = {"checkpoint": pending.name, "grid": self._tag}
        holder = self._journal.claim_step(self._attempt(), name, told)
        if holder is None:
            self._claimed = name
        else:
            self.give_back()  # one on a cell that was stopped before it ran: no cell is on record since
        return holder

    def _await(self, holder: ExecutionId, pending: Pending) -> None:
        """Returns once `holder` has recorded the cell, given it back, or ended.

        Raises:
            StoreError: the record could not be read for a minute.
        """
        told = {"checkpoint": pending.name, "runs_in": holder}
        self._journal.record_event(self._attempt().execution, AWAITED, told)
        name = self._name(pending)
        pause, longest = _POLLS
        faulty = 0.0
        while True:
            try:
                if self._journal.claimed_by(name) != holder:
                    return
                faulty = 0.0
            except StoreError:
                if faulty >= _FAULTY:
                    raise
                faulty += pause
            time.sleep(pause)
            pause = min(pause * _SLOWER, longest)

    def _failed(self, holder: ExecutionId, pending: Pending) -> bool:
        """Whether the cell raised there: then each point runs it, and none waits for the next to fail."""
        last = [each.draft for each in self._journal.checkpoints(holder)[-1:]]
        keys = pending.needs.keys
        return any(draft.status is CheckpointStatus.FAILED and draft.key in keys for draft in last)

    def _name(self, pending: Pending) -> str:
        return f"{self._tag}:{pending.needs.keys[0]}:{pending.cell.step}"
