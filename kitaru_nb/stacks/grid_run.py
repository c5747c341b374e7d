"""A grid from its points on record to the end of its round, with a page that tells how it stands."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

from kitaru_nb.engine.engine import Engine
from kitaru_nb.errors import ConflictError, KitaruError
from kitaru_nb.model.execution import Execution, ExecutionStatus
from kitaru_nb.stacks.batch import Began, Ended, Event, Lost, Pool, Said
from kitaru_nb.stacks.batch_protocol import Again, Work
from kitaru_nb.stacks.grid import Point
from kitaru_nb.stacks.grid_hold import GridHold
from kitaru_nb.stacks.grid_page import Page
from kitaru_nb.stacks.grid_rows import Row, measured
from kitaru_nb.stacks.local import Job
from kitaru_nb.stacks.outcome import Exit, Outcome
from kitaru_nb.stacks.resuming import job_again
from kitaru_nb.stacks.rounds import Keep, Round, decide, join

__all__ = ["GridRun", "Planned", "settled", "work_again"]

_RETRIED = (Exit.FAILED, Exit.TIMED_OUT, Exit.KERNEL_DIED)
_PATIENCE = 15.0  # seconds; a worker whose batch was killed ends within 5
_LOOK = 0.2
_REWRITE = 1.0  # seconds between two versions of the page


@dataclass(frozen=True, slots=True)
class Planned:
    """A point, what runs it, and how it stands in this round.

    Attributes:
        point: Which.
        output: Where its notebook is saved; None for a flow.
        work: What a worker is told; None where it is not run.
        execution: Its execution in this round, if it has one.
        joins: Whether that has to be put on record, since its tags do not say so.
    """

    point: Point
    output: str | None
    work: Work | None
    execution: Execution | None = None
    joins: bool = False

    @property
    def runs_by_itself(self) -> bool:
        """Whether it was handed to a queue before, and goes on there."""
        return self.execution is not None and self.execution.status is ExecutionStatus.RUNNING


def settled(
    find: Callable[[bool], Round],
    *,
    hold: GridHold,
    begins: Callable[[Round], bool],
    followed: Callable[[Execution], bool] = lambda _execution: False,
    patience: float = _PATIENCE,
    say: Callable[[str], None] = lambda _line: None,
) -> Round:
    """The round, once no other process is at it but those that can be `followed` on their stack.

    The workers of a command that was just killed need a moment to end what they ran.

    Args:
        find: The round as it is now. Told whether another process was waited for: what that has completed
            counts, though it was told already.
        hold: Taken before a round is given of which this process would begin a point.
        begins: Whether it would.
        followed: Whether an execution goes on where it can be followed.
        patience: How long another process may take to end, in seconds.
        say: Told once that it is waited for.

    Raises:
        ConflictError: kind ``execution-held``: another process goes on running the grid.
    """
    until = time.monotonic() + patience
    waited = False
    while True:
        found = find(waited)
        running = [e for e in found.executions.values() if e.status is ExecutionStatus.RUNNING]
        held = [each for each in running if not followed(each)]
        if not held:
            if hold.taken or not begins(found):
                return found
            if hold.take():
                continue  # what is found from here on nobody else changes
        at = f"{len(held)} of the points" if held else "this grid"
        if time.monotonic() > until:
            message = f"another process runs `{held[0].id}`, a point of" if held else "another process is at"
            raise ConflictError(
                f"{message} this grid",
                kind="execution-held",
                hint="wait until it ends, or end it; then the same command",
            )
        if not waited:
            waited = True
            say(f"another process is at {at}; waiting for it to end")
        time.sleep(_LOOK)


def work_again(execution: Execution, *, budget: float | None = None) -> Job | Again:
    """What goes on with a replay that did not complete."""
    if execution.identity.flow is not None:
        return Again(execution.id, budget)
    return replace(job_again(execution), budget=budget)


class GridRun:
    """The points that are left, run by a pool, and a row for each point.

    Args:
        engine: Where they are recorded.
        round_: Which round this is.
        planned: Every point, in order.
        retries: How many more attempts one gets that failed, timed out or died.
        page: Where it is told how they stand.

    Attributes:
        rows: A row for each point, in order.
    """

    def __init__(
        self, engine: Engine, round_: Round, planned: Sequence[Planned], *, retries: int, page: Page
    ) -> None:
        self._engine = engine
        self._round = round_
        self._planned = {each.point.number: each for each in planned}
        self._left = dict.fromkeys(self._planned, retries)
        self._page = page
        self._written = 0.0
        self.rows: dict[int, Row] = {
            each.point.number: self._looked_at(
                Row(each.point, each.output, each.execution, kept=isinstance(decide(each.execution), Keep))
            )
            for each in planned
        }

    def run(self, pool: Pool) -> Iterator[tuple[Event, Row]]:
        """Run what is left to its end; each thing that happens, with the point's row after it."""
        for number, each in self._planned.items():
            if each.work is None:
                continue
            if each.joins and each.execution is not None:
                join(self._engine.journal, self._round, each.execution.id, number)
            pool.add(number, each.work)
        self._write()
        try:
            while (event := pool.next()) is not None:
                self._note(event, pool)
                yield event, self.rows[event.key]
                if not isinstance(event, Said) and time.monotonic() - self._written > _REWRITE:
                    self._write()
        finally:
            self.rows = {number: replace(row, running=False) for number, row in self.rows.items()}
            self._write()

    def list(self) -> list[Row]:
        """The rows, in the order of the points."""
        return [self.rows[number] for number in sorted(self.rows)]

    def _note(self, event: Event, pool: Pool) -> None:
        row = self.rows[event.key]
        match event:
            case Began():
                row = replace(row, running=True, outcome=None, error=None, lost="")
            case Ended(answer=Outcome() as outcome):
                row = self._ended(replace(row, running=False, outcome=outcome), pool)
            case Ended(answer=KitaruError() as error):
                row = replace(row, running=False, error=error)
            case Lost(reason=reason):
                row = self._lost(replace(row, running=False, lost=reason), pool)
            case Said():
                return
        self.rows[event.key] = row

    def _ended(self, row: Row, pool: Pool) -> Row:
        assert row.outcome is not None
        row = self._looked_at(replace(row, execution=self._execution(row.outcome.execution)))
        if row.outcome is not None and row.outcome.exit in _RETRIED:
            self._retry(row, pool)
        return row

    def _lost(self, row: Row, pool: Pool) -> Row:
        """Its process died; how far it came is on record."""
        found = self._begun(row.point.number) or row.execution
        if found is None and pool.stopped is not None:
            return row  # ended with the grid before there was anything to end: it is still to be run
        if found is None:
            message = f"the process of the point died before it began: {row.lost}"
            return replace(row, error=KitaruError(message, kind="no-process", hint="the same command again"))
        row = self._looked_at(replace(row, execution=self._execution(found.id)))
        self._retry(row, pool)
        return row

    def _retry(self, row: Row, pool: Pool) -> None:
        number = row.point.number
        work = self._planned[number].work
        if not self._left[number] or pool.stopped is not None or row.execution is None or work is None:
            return
        self._left[number] -= 1
        if isinstance(work, Job):
            more = self._left[number] > 0
            work = replace(work, execution=row.execution.id, new=False, retried=more)
        else:
            work = work_again(row.execution, budget=work.budget)
        pool.add(number, work)

    def _begun(self, number: int) -> Execution | None:
        tag, point = self._round.tags_of(number)
        found = self._engine.journal.executions(tag=tag)
        return next((each for each in found if point in each.tags), None)

    def _execution(self, execution: str) -> Execution:
        return self._engine.journal.execution(execution)

    def _looked_at(self, row: Row) -> Row:
        if row.execution is None:
            return row
        metrics, saved = measured(self._engine.journal, row.execution.id)
        return replace(row, metrics=metrics, saved=saved, output=row.execution.identity.output or row.output)

    def _write(self) -> None:
        self._written = time.monotonic()
        self._page.write(self.list())
