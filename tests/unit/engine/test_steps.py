"""The decision: restored or run, and what an unnamed step is called."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any, cast

from kitaru_nb.engine.namespace import State
from kitaru_nb.engine.steps import Pending, Restore, Run, choose, unmet
from kitaru_nb.model.checkpoint import Checkpoint
from kitaru_nb.model.execution import ExecutionId
from kitaru_nb.testing import a_draft
from tests.unit.engine.kernel import cell_of


def pending(step: str | None = None) -> Pending:
    needs = cast("Any", None)
    return Pending(cell_of("x = 1", step=step), "x", needs, State(), {}, False, datetime.now(UTC), 0.0)


def recorded(seq: int, step: str | None = None, **conditions: str) -> Checkpoint:
    draft = a_draft(step=step, conditions={f"names:{name}": value for name, value in conditions.items()})
    return Checkpoint(seq, ExecutionId("ex_1"), 1, 1, draft)


def decide(now: Pending, *records: Checkpoint, **options: Any) -> int | None:
    """The `seq` of what is restored, None for a run."""
    decision = choose(
        now,
        records,
        holds=options.get("holds", lambda _what, _digest: True),
        allowed=options.get("allowed", lambda _checkpoint: True),
    )
    assert decision.pending is now
    match decision:
        case Restore(checkpoint=checkpoint):
            return checkpoint.seq
        case Run():
            return None


def test_nothing_on_record_runs() -> None:
    assert decide(pending()) is None


def test_the_first_record_is_restored() -> None:
    assert decide(pending(), recorded(2), recorded(1)) == 2


def test_another_cells_record_does_not_count() -> None:
    assert decide(pending("a"), recorded(2, "cell:b"), recorded(1, "cell:a")) == 1


def test_a_record_whose_conditions_do_not_hold_does_not_count() -> None:
    def holds(what: str, digest: str) -> bool:
        return (what, digest) == ("names:a", "old")

    assert decide(pending(), recorded(2, a="new"), recorded(1, a="old"), holds=holds) == 1
    assert decide(pending(), recorded(2, a="old", b="old"), holds=holds) is None


def test_a_record_that_is_not_allowed_does_not_count() -> None:
    assert decide(pending(), recorded(2), recorded(1), allowed=lambda found: found.seq == 1) == 1


def test_unmet_conditions_are_named() -> None:
    checkpoint = recorded(1, a="1", b="2")

    assert unmet(checkpoint, lambda what, _: what == "names:a") == ["names:b"]
    assert unmet(checkpoint, lambda *_: True) == []
