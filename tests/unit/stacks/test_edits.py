"""Which cells were edited since they completed."""

from __future__ import annotations

from dataclasses import replace

import pytest

from kitaru_nb.model.checkpoint import Checkpoint, CheckpointStatus
from kitaru_nb.model.execution import ExecutionId
from kitaru_nb.stacks.edits import edited_cells
from kitaru_nb.stacks.notebooks import PARAMETERS, Step
from kitaru_nb.testing import a_draft


def ran(
    step: str, source: str, *, seq: int = 1, status: CheckpointStatus = CheckpointStatus.COMPLETED
) -> Checkpoint:
    draft = replace(a_draft("fit"), step=step, source=source, status=status)
    return Checkpoint(seq, ExecutionId("ex_1"), 1, seq, draft)


def cell(source: str, step: str = "cell:a") -> Step:
    return Step(2, step, source, ())


@pytest.mark.parametrize("source", ["x = 1", "x=1  # one", "%%checkpoint fit --fresh\nx = 1"])
def test_the_same_code_is_no_edit(source: str) -> None:
    assert edited_cells([cell(source)], [ran("cell:a", "x = 1")]) == []


def test_another_code_is_an_edit_of_what_ran_last() -> None:
    first, last = ran("cell:a", "x = 1"), ran("cell:a", "x = 2", seq=2)

    (found,) = edited_cells([cell("x = 3")], [first, last])

    assert found.ran is last
    assert str(found) == "cell 3 (`fit`)"


def test_a_code_that_ran_once_is_no_edit() -> None:
    assert edited_cells([cell("x = 1")], [ran("cell:a", "x = 1"), ran("cell:a", "x = 2", seq=2)]) == []


@pytest.mark.parametrize(
    "recorded",
    [[], [ran("cell:b", "x = 1")], [ran("cell:a", "x = 1", status=CheckpointStatus.FAILED)]],
)
def test_what_never_came_to_its_end_was_not_edited(recorded: list[Checkpoint]) -> None:
    assert edited_cells([cell("x = 3")], recorded) == []


def test_parameters_are_none_of_the_users_cells() -> None:
    assert edited_cells([cell("x = 3", PARAMETERS)], [ran(PARAMETERS, "x = 1")]) == []


def test_a_record_of_a_release_that_missed_a_secret_in_it_is_no_edit() -> None:
    source = "connect({'user': 'ana', 'client_secret': 'hunter2-Zq9xWv7'})"

    assert edited_cells([cell(source)], [ran("cell:a", source)]) == []
