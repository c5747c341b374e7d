from __future__ import annotations

from typing import Any

import pytest

from kitaru_nb.engine.changes import Changes
from kitaru_nb.errors import UsageError
from kitaru_nb.stacks.local import Job
from kitaru_nb.stacks.notebooks import PARAMETERS, Step
from kitaru_nb.stacks.replay_notebook import _parameters, _Where

TAGGED = Step(0, "cell:a", "rate = 1\nsteps = 2", ("parameters",))
INJECTED = Step(1, PARAMETERS, "rate = 3", ("injected-parameters",))
TRAIN = Step(2, "cell:b", "rate * steps", ())


def parameters(
    cells: list[Step], first: Step, given: dict[str, Any], changed: dict[str, Any]
) -> dict[str, Any]:
    where = _Where(cells, first, None, first)
    return dict(_parameters(Job("a.ipynb", "b.ipynb", parameters=given), where, Changes(changed)))


@pytest.mark.parametrize(
    ("cells", "given", "expected"),
    [
        ([TAGGED, TRAIN], {}, {"rate": 5}),
        ([TAGGED, INJECTED, TRAIN], {"steps": 3}, {"steps": 3, "rate": 5}),
        ([INJECTED, TRAIN], {"rate": 3}, {"rate": 5}),
        ([TRAIN], {}, {}),
    ],
)
def test_a_changed_parameter_is_set_where_the_cell_runs_that_sets_it(
    cells: list[Step], given: dict[str, Any], expected: dict[str, Any]
) -> None:
    assert parameters(cells, cells[0], given, {"rate": 5, "other": 1}) == expected


def test_parameters_stay_where_their_cell_does_not_run() -> None:
    assert parameters([TAGGED, TRAIN], TRAIN, {}, {"rate": 5}) == {}


def test_what_cannot_be_written_as_a_parameter_is_refused() -> None:
    with pytest.raises(UsageError, match="`rate` is set by the notebook's cell of parameters") as refused:
        parameters([TAGGED, TRAIN], TAGGED, {}, {"rate": {1, 2}})

    assert refused.value.kind == "bad-parameter"


def test_a_cell_that_papermill_injected_into_the_notebook_itself_is_not_replaced() -> None:
    with pytest.raises(UsageError, match="papermill has put there") as refused:
        parameters([TAGGED, INJECTED, TRAIN], TAGGED, {}, {"rate": 5})

    assert refused.value.kind == "bad-parameter"
