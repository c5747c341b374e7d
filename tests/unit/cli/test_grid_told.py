"""What is printed of a grid."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

import pytest

from kitaru_nb.cli.grid_told import document_of, line_of, print_rows, say, submitted_told
from kitaru_nb.errors import KernelError, StackError
from kitaru_nb.model.execution import Execution, ExecutionId, ExecutionStatus, Identity
from kitaru_nb.stacks.batch import Began, Ended, Said
from kitaru_nb.stacks.grid import Point
from kitaru_nb.stacks.grid_rows import Row
from kitaru_nb.stacks.outcome import Exit, Outcome

ONE, TWO = (ExecutionId(f"ex_{number}") for number in (1, 2))
DONE = Execution(ONE, Identity(), ExecutionStatus.COMPLETED, datetime(2026, 3, 1, tzinfo=UTC), duration=3.0)
WAITS = Execution(TWO, Identity(), ExecutionStatus.WAITING, datetime(2026, 3, 1, tzinfo=UTC), duration=1.0)
STOPPED = Outcome(
    ExecutionStatus.WAITING,
    Exit.WAITING,
    TWO,
    reason="waits",
    wait="ex_2/ok",
    hint="kitaru-nb approve ex_2/ok",
)
ROWS = [
    Row(Point(1, {"a": 1}, "/x/nb.ipynb"), "/x/1.ipynb", DONE, kept=True, metrics={"loss": 0.25}),
    Row(Point(2, {"a": "\x1b[31m"}, "/x/nb.ipynb"), "/x/2.ipynb", WAITS, outcome=STOPPED),
    Row(Point(3, {"a": 3}, "/x/nb.ipynb"), "/x/3.ipynb"),
]


def test_each_point_has_a_line_for_programs() -> None:
    assert [line_of(row) for row in ROWS] == [
        "kitaru: completed execution=ex_1",
        "kitaru: waiting execution=ex_2 wait=ex_2/ok",
        "kitaru: pending execution=none",
    ]


def test_what_a_queue_has_not_taken_is_counted_and_nothing_is_followed_where_it_took_nothing() -> None:
    there = Row(Point(1), execution=replace(DONE, status=ExecutionStatus.RUNNING))
    refused = Row(Point(2), error=StackError("no answer", kind="stack-unreachable"))
    left = Row(Point(3))

    assert submitted_told([refused, left], "gpu") == [
        "no point is with stack gpu; 2 were not handed over: the same command tries again"
    ]
    assert submitted_told([there, refused, left], "gpu")[0] == (
        "1 point is with stack gpu; 2 were not handed over: the same command tries again"
    )
    assert submitted_told([there], "gpu")[0] == "1 point is with stack gpu"


def test_a_document_is_that_of_the_execution_with_the_point_or_says_why_there_is_none() -> None:
    done, _, pending = map(document_of, ROWS)

    assert (done["id"], done["point"], done["output"], done["metrics"]) == (
        "ex_1",
        {"a": 1},
        "/x/1.ipynb",
        {"loss": 0.25},
    )
    assert (pending["error"]["kind"], pending["point"]) == ("not-begun", {"a": 3})
    failed = document_of(Row(Point(1), error=KernelError("no", kind="kernel-start")))
    assert failed["error"]["kind"] == "kernel-start"


def test_the_table_tells_what_did_not_run_again_and_what_is_left(capsys: pytest.CaptureFixture[str]) -> None:
    print_rows(ROWS)

    told = capsys.readouterr().out
    assert told.splitlines()[0].split() == ["#", "A", "STATUS", "TOOK", "LOSS", "OUTPUT"]
    assert "1 point had completed before and did not run again (3.0 s saved)" in told
    assert "1 waiting, 1 pending; go on with: the same command" in told
    assert "\x1b" not in told


def test_what_needs_a_person_is_said_also_without_progress(capsys: pytest.CaptureFixture[str]) -> None:
    say(Began(2), ROWS[1], ROWS, talks=False)
    say(Said(2, "a \x1b line"), ROWS[1], ROWS, talks=False)
    say(Said(2, ""), ROWS[1], ROWS, talks=False)
    say(Ended(2, STOPPED), ROWS[1], ROWS, talks=False)
    say(Ended(1, STOPPED), ROWS[0], ROWS, talks=False)

    assert capsys.readouterr().err.splitlines() == [
        "[2/3] a=\\x1b[31m: a \\x1b line",
        "[2/3] a=\\x1b[31m: waiting after 1.0 s: waits",
        "  Try: kitaru-nb approve ex_2/ok",
    ]


def test_of_several_notebooks_a_line_names_which(capsys: pytest.CaptureFixture[str]) -> None:
    rows = [Row(Point(1, {"a": 1}, "/x/one.ipynb")), Row(Point(2, {"a": 1}, "/x/two.ipynb"))]

    say(Began(1), rows[0], rows, talks=True)

    assert capsys.readouterr().err == "[1/2] one.ipynb a=1: begins\n"
