"""A grid's points, as they stand when what runs them ends."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from typing import Any

import pytest

from kitaru_nb.engine.engine import Engine
from kitaru_nb.stacks.batch import Began, Event, Lost
from kitaru_nb.stacks.grid import Point
from kitaru_nb.stacks.grid_page import NoPage
from kitaru_nb.stacks.grid_rows import exit_of, status_of
from kitaru_nb.stacks.grid_run import GridRun, Planned
from kitaru_nb.stacks.open import open_engine
from kitaru_nb.stacks.rounds import Round
from kitaru_nb.stacks.settings import resolve


@pytest.fixture
def engine() -> Iterator[Engine]:
    with_journal = open_engine(resolve())
    yield with_journal
    with_journal.close()


class _Pool:
    """Its one worker dies before it has begun anything."""

    def __init__(self, stopped: int | None) -> None:
        self.stopped = stopped
        self._events: list[Event] = []

    def add(self, key: int, _work: Any) -> None:
        self._events = [Began(key), Lost(key, "killed by signal 15 (SIGTERM)")]

    def next(self) -> Event | None:
        return self._events.pop(0) if self._events else None


@pytest.mark.parametrize(
    ("stopped", "status", "code"), [(signal.SIGTERM, "pending", 143), (None, "failed", 1)]
)
def test_a_point_whose_process_ends_before_it_has_begun_is_still_to_be_run_where_the_grid_was_ended(
    engine: Engine, stopped: int | None, status: str, code: int
) -> None:
    planned = Planned(Point(1), "out.ipynb", work=object())  # type: ignore[arg-type] # the pool does not look
    grid = GridRun(engine, Round("grid:a", {}, frozenset()), [planned], retries=1, page=NoPage())
    pool: Any = _Pool(stopped)

    list(grid.run(pool))

    (row,) = grid.list()
    assert (status_of(row), exit_of(row, suspend_exit=None, stopped=stopped)) == (status, code)
