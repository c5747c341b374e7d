from __future__ import annotations

import pytest

from kitaru_nb.errors import ConflictError, KernelError, KitaruError, NotFoundError, UsageError
from kitaru_nb.model.execution import ExecutionId, ExecutionStatus
from kitaru_nb.stacks.outcome import Exit, Outcome, exit_code_of, status_line

ID = ExecutionId("ex_1")


@pytest.mark.parametrize(
    ("outcome", "line"),
    [
        (Outcome(ExecutionStatus.COMPLETED, Exit.COMPLETED, ID), "kitaru: completed execution=ex_1"),
        (
            Outcome(ExecutionStatus.FAILED, Exit.FAILED, ID, "fit"),
            "kitaru: failed execution=ex_1 checkpoint=fit",
        ),
        (Outcome(ExecutionStatus.INTERRUPTED, Exit.SUPERSEDED, ID), "kitaru: superseded execution=ex_1"),
    ],
)
def test_the_last_line_says_status_execution_and_checkpoint(outcome: Outcome, line: str) -> None:
    assert status_line(outcome) == line


def test_the_exit_codes_are_those_of_the_reference() -> None:
    assert [int(code) for code in Exit] == [0, 1, 2, 75, 76, 124, 130, 138, 143]


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (UsageError("x"), 2),
        (NotFoundError("x"), 1),
        (KernelError("x"), 1),
        (ConflictError("x", kind="execution-held"), 1),
        (ConflictError("x", kind="superseded"), 76),
    ],
)
def test_an_error_before_the_run_has_its_exit_code(error: KitaruError, code: int) -> None:
    assert exit_code_of(error) == code
