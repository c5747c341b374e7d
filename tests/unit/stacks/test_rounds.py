from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import replace
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from kitaru_nb.engine.engine import Engine
from kitaru_nb.errors import ConflictError
from kitaru_nb.model.execution import (
    Execution,
    ExecutionStatus,
    Identity,
    current_owner,
    new_execution_id,
)
from kitaru_nb.stacks.grid_hold import GridHold
from kitaru_nb.stacks.grid_run import settled
from kitaru_nb.stacks.open import open_engine
from kitaru_nb.stacks.rounds import (
    Begin,
    GoOn,
    Keep,
    Round,
    decide,
    find_round,
    join,
    joined,
    note_told,
    was_told,
)
from kitaru_nb.stacks.settings import resolve

COMPLETED, FAILED, CANCELLED, RUNNING = (
    ExecutionStatus.COMPLETED,
    ExecutionStatus.FAILED,
    ExecutionStatus.CANCELLED,
    ExecutionStatus.RUNNING,
)


def execution(status: ExecutionStatus, *tags: str) -> Execution:
    return Execution(new_execution_id(), Identity(notebook="nb"), status, datetime.now(UTC), tags=tags)


def test_a_grid_that_was_never_begun_is_in_its_first_round() -> None:
    found = find_round([execution(FAILED, "nightly")], "ab", count=2)

    assert (found.tag, found.executions) == ("grid:ab", {})
    assert found.tags_of(2) == ("grid:ab", "point:2")


def test_a_round_goes_on_until_every_point_has_completed() -> None:
    one, two = execution(COMPLETED, "grid:ab", "point:1"), execution(FAILED, "grid:ab", "point:2", "mine")

    begun = find_round([two, one], "ab", count=3)
    done = find_round([replace(two, status=COMPLETED), one], "ab", count=2)

    assert (begun.tag, begun.executions) == ("grid:ab", {1: one, 2: two})
    assert (done.tag, done.executions) == ("grid:ab-2", {})


def test_a_round_that_nobody_was_told_of_goes_on_until_somebody_was() -> None:
    with closing(open_engine(resolve())) as engine:
        identity, tags = Identity(notebook="nb"), ("grid:ab", "point:1")
        attempt, _ = engine.journal.start(identity, owner=current_owner(), tags=tags)
        engine.journal.finish(attempt, COMPLETED)

        def found(*, new: bool = False) -> Round:
            recorded = engine.journal.executions()
            told = partial(was_told, engine.journal)
            return find_round(recorded, "ab", count=1, told=told, new=new)

        kept = found()
        assert (kept.tag, [decide(each) for each in kept.executions.values()]) == (
            "grid:ab",
            [Keep(engine.journal.execution(attempt.execution))],
        )
        assert found(new=True).tag == "grid:ab-2"

        note_told(engine.journal, "grid:ab", attempt.execution)

        assert found().tag == "grid:ab-2"


def test_the_newest_round_and_in_it_the_newest_execution_of_a_point_counts() -> None:
    first = execution(FAILED, "grid:ab", "point:1")
    cancelled, newer = (execution(s, "grid:ab-12", "point:1") for s in (CANCELLED, FAILED))
    strange = [execution(FAILED, tag, "point:1") for tag in ("grid:abc", "grid:ab-x", "grid:ab-0", "grid:a")]

    found = find_round([*strange, newer, cancelled, first], "ab", count=1)

    assert (found.tag, found.executions) == ("grid:ab-12", {1: newer})


def test_new_begins_the_next_round_only_where_there_is_one() -> None:
    left = execution(FAILED, "grid:ab", "point:1")

    assert find_round([left], "ab", count=1, new=True) == Round(
        "grid:ab-2", {}, frozenset({"grid:ab", "grid:ab-2"})
    )
    assert find_round([], "ab", count=1, new=True).tag == "grid:ab"


def test_a_round_of_which_the_last_points_joined_is_over_when_they_have_completed() -> None:
    one, other = execution(COMPLETED, "grid:ab", "point:1"), execution(COMPLETED)

    found = find_round([one], "ab", count=2, others=lambda r: {2: other} if r.tag == "grid:ab" else {})

    assert (found.tag, found.executions) == ("grid:ab-2", {})


@pytest.mark.parametrize(
    ("status", "decision"),
    [
        (None, Begin),
        (CANCELLED, Begin),
        (COMPLETED, Keep),
        (FAILED, GoOn),
        (ExecutionStatus.INTERRUPTED, GoOn),
        (ExecutionStatus.WAITING, GoOn),
    ],
)
def test_what_is_done_about_a_point_follows_from_its_status(
    status: ExecutionStatus | None, decision: type
) -> None:
    assert type(decide(None if status is None else execution(status))) is decision


@pytest.fixture
def engine() -> Iterator[Engine]:
    with closing(open_engine(resolve())) as opened:
        yield opened


POINT = Identity(notebook="nb", output="out", parameters={"a": 1})


def ended(engine: Engine, status: ExecutionStatus, *tags: str) -> Execution:
    attempt, _ = engine.journal.start(POINT, owner=current_owner(), tags=tags, new=True)
    engine.journal.finish(attempt, status)
    return engine.journal.execution(attempt.execution)


def test_a_run_without_the_tags_joins_when_it_did_not_complete(engine: Engine) -> None:
    round_ = find_round([], "ab", count=1)
    left = ended(engine, FAILED, "grid:other", "point:1")

    found = joined(engine.journal, round_, POINT, 1)

    assert found == left
    assert joined(engine.journal, round_, replace(POINT, output="else"), 1) is None


def test_a_run_that_joined_and_completed_counts_in_that_round_and_in_no_other(engine: Engine) -> None:
    round_ = find_round([], "ab", count=1)
    done = ended(engine, COMPLETED)
    before = joined(engine.journal, round_, POINT, 1)

    join(engine.journal, round_, done.id, 1)
    join(engine.journal, round_, done.id, 1)

    assert before is None
    assert joined(engine.journal, round_, POINT, 1) == done
    assert joined(engine.journal, round_, POINT, 2) is None
    assert joined(engine.journal, replace(round_, tag="grid:ab-2"), POINT, 1) is None
    assert [event.kind for event in engine.journal.events(done.id)].count("grid.joined") == 1


def test_what_an_earlier_round_gave_up_does_not_join_the_next(engine: Engine) -> None:
    ended(engine, FAILED, "grid:ab", "point:1")
    following = find_round(engine.journal.executions(), "ab", count=1, new=True)

    assert joined(engine.journal, following, POINT, 1) is None


def waited_for(find: Callable[[bool], Round], home: Path, **options: Any) -> Round:
    """What `settled` gives a process that would begin whatever has not completed."""

    def begins(found: Round) -> bool:
        return any(each.status is not COMPLETED for each in found.executions.values())

    with GridHold(home, "ab") as hold:
        return settled(find, hold=hold, begins=begins, **options)


def test_a_round_is_waited_for_until_nobody_runs_a_point_of_it(tmp_path: Path) -> None:
    held = Round("grid:ab", {1: execution(RUNNING)}, frozenset())
    free = Round("grid:ab", {1: execution(FAILED)}, frozenset())
    rounds, said = iter([held, held, free, free]), list[str]()

    found = waited_for(lambda _waited: next(rounds), tmp_path, say=said.append)

    assert found is free
    assert said == ["another process is at 1 of the points; waiting for it to end"]


def test_a_round_that_somebody_goes_on_running_is_refused(tmp_path: Path) -> None:
    held = Round("grid:ab", {1: execution(RUNNING)}, frozenset())

    with pytest.raises(ConflictError) as caught:
        waited_for(lambda _waited: held, tmp_path, patience=0)

    assert caught.value.kind == "execution-held"


def test_what_runs_on_its_stack_is_followed_and_not_waited_for(tmp_path: Path) -> None:
    queued = Round("grid:ab", {1: execution(RUNNING)}, frozenset())

    assert (
        waited_for(lambda _waited: queued, tmp_path, followed=lambda _execution: True, patience=0) is queued
    )
    assert type(decide(queued.executions[1])) is GoOn


def test_who_would_begin_a_point_waits_for_whoever_begins_others(tmp_path: Path) -> None:
    left = Round("grid:ab", {1: execution(FAILED)}, frozenset())
    done = Round("grid:ab", {1: execution(COMPLETED)}, frozenset())
    said = list[str]()

    with GridHold(tmp_path, "ab") as other, GridHold(tmp_path, "cd") as another_grid:
        assert other.take()
        assert another_grid.take()
        with pytest.raises(ConflictError, match="another process is at this grid"):
            waited_for(lambda _waited: left, tmp_path, patience=0)
        assert waited_for(lambda _waited: done, tmp_path, patience=0) is done
        # what was waited for counts, though the other one told it
        found = waited_for(lambda waited: done if waited else left, tmp_path, say=said.append)

    assert found is done
    assert said == ["another process is at this grid; waiting for it to end"]
    assert waited_for(lambda _waited: left, tmp_path, patience=0) is left


def test_what_is_given_is_what_stood_once_nobody_else_could_begin_a_point(tmp_path: Path) -> None:
    """Between a first look and the lock the other process may have begun and ended."""
    left = Round("grid:ab", {1: execution(FAILED)}, frozenset())
    done = Round("grid:ab", {1: execution(COMPLETED)}, frozenset())
    rounds = iter([left, done])

    assert waited_for(lambda _waited: next(rounds), tmp_path) is done


def test_a_home_in_which_nothing_can_be_put_keeps_nobody_from_a_grid(tmp_path: Path) -> None:
    (tmp_path / "home").touch()

    with GridHold(tmp_path / "home", "ab") as hold:
        assert hold.take()
