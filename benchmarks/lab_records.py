"""Records for a panel to show: many executions of a notebook, of every kind there is."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path

from kitaru_nb.journal.sql_journal import SqlJournal
from kitaru_nb.model.checkpoint import CheckpointStatus, Draft
from kitaru_nb.model.execution import ExecutionStatus, Identity, current_owner
from kitaru_nb.model.settings import Settings
from kitaru_nb.stacks.open import open_engine
from kitaru_nb.testing import a_draft

__all__ = ["fill"]

_ENDS = (
    ExecutionStatus.COMPLETED,
    ExecutionStatus.COMPLETED,
    ExecutionStatus.FAILED,
    ExecutionStatus.COMPLETED,
    ExecutionStatus.INTERRUPTED,
)


def fill(home: Path, notebook: Path, count: int) -> None:
    """Put executions of a notebook on record, each with a few steps."""
    with closing(open_engine(Settings(home=home))) as engine:
        assert isinstance(engine.journal, SqlJournal)
        for number in range(count):
            attempt, _ = engine.journal.start(
                Identity(notebook=str(notebook)), owner=current_owner(), tags=_tags(number), new=True
            )
            for draft in _steps(number):
                engine.journal.commit(attempt, engine.trust.signed(draft, attempt.execution))
            engine.journal.finish(attempt, _ENDS[number % len(_ENDS)])


def _tags(number: int) -> tuple[str, ...]:
    return ("nightly", f"seed-{number}") if number % 3 == 0 else ()


def _steps(number: int) -> list[Draft]:
    cost = 0.01 * (number % 7) or None
    return [
        a_draft("load", duration=1.5 + number % 5),
        a_draft("clean", duration=0.2, status=CheckpointStatus.RESTORED),
        a_draft("train", duration=40.0 + number % 60, cost=cost),
    ]
