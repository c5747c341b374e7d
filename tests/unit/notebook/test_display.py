"""The few words kitaru_nb says in a notebook."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from kitaru_nb.engine.recovery import Restored
from kitaru_nb.engine.session import Resumed
from kitaru_nb.errors import UsageError
from kitaru_nb.model.checkpoint import Checkpoint, Group
from kitaru_nb.model.execution import Execution, ExecutionId, ExecutionStatus, Identity
from kitaru_nb.notebook import display
from kitaru_nb.testing import a_draft, digest_of


def ago(**time: float) -> datetime:
    return datetime.now(UTC) - timedelta(**time)


def a_checkpoint(name: str = "load", **changes: Any) -> Checkpoint:
    return Checkpoint(1, ExecutionId("ex_1"), 1, 1, a_draft(name, **changes))


def an_execution(**changes: Any) -> Execution:
    execution = Execution(
        ExecutionId("ex_1"), Identity(notebook="/a.ipynb"), ExecutionStatus.INTERRUPTED, ago(hours=2)
    )
    return replace(execution, **changes)


def group(*names: str, **unstorable: str) -> Group:
    return Group(names, digest_of("a"), digest_of("v"), unstorable=unstorable)


@pytest.mark.parametrize(
    ("count", "words"),
    [
        (0, "0 B"),
        (999, "999 B"),
        (1000, "1.0 kB"),
        (1_234_567, "1.2 MB"),
        (5e9, "5.0 GB"),
        (2e12, "2.0 TB"),
        (3e15, "3000.0 TB"),
    ],
)
def test_sizes_in_words(count: float, words: str) -> None:
    assert display.size(count) == words


@pytest.mark.parametrize(
    ("time", "words"),
    [
        ({"seconds": 5.5}, "5 s"),
        ({"seconds": 119}, "1 min"),
        ({"minutes": 59.9}, "59 min"),
        ({"hours": 23.9}, "23 h"),
        ({"days": 1.5}, "1 day"),
        ({"days": 2.5}, "2 days"),
        ({"seconds": -60}, "0 s"),
    ],
)
def test_an_age_has_one_unit(time: dict[str, float], words: str) -> None:
    assert display.age(ago(**time)) == words


def test_a_saved_step_says_how_long_it_took_and_how_much_it_stored() -> None:
    assert display.committed(a_checkpoint(), 2_000_000) == "kitaru: `load` saved · 1.5 s · 2.0 MB"
    assert display.committed(a_checkpoint(), 0) == "kitaru: `load` saved · 1.5 s"


def test_a_saved_step_names_what_could_not_be_stored() -> None:
    checkpoint = a_checkpoint(groups=(group("gen", "rows", gen="a generator"), group("x")))

    assert display.committed(checkpoint, 0).endswith(" · not stored: `gen`")


def test_many_names_are_cut_short() -> None:
    lost = {f"n{number:02}": "why" for number in range(15)}

    line = display.committed(a_checkpoint(groups=(group(*lost, **lost),)), 0)

    assert line.endswith("`n11` and 3 more")


def test_a_restored_step_says_from_when_and_what_it_saved() -> None:
    checkpoint = a_checkpoint(started_at=ago(hours=3), groups=(group("gen", gen="generator: no"),))

    said = display.restored(
        checkpoint, {"gen": "generator: no", "conn": "`conn()` failed"}, ["cwd was not put back: no"]
    )

    assert said.splitlines() == [
        "kitaru: `load` restored · from 3 h ago · saved 1.5 s · not stored: `gen`",
        "  not back: `conn` (`conn()` failed)",
        "  cwd was not put back: no",
    ]


def test_the_notice_says_when_why_what_is_there_and_what_to_type() -> None:
    execution = an_execution(ended_at=ago(minutes=10), reason="killed by signal 9")

    said = display.notice(execution, [a_checkpoint("load"), a_checkpoint("train")])

    for part in ("10 min ago", "killed by signal 9", "2 checkpoints up to `train`", "3.0 s", "%resume"):
        assert part in said


def test_the_notice_of_a_death_nobody_saw() -> None:
    said = display.notice(an_execution(), [a_checkpoint("load", started_at=ago(days=2))])

    assert "2 days ago (ended without warning)" in said
    assert "1 checkpoint up to" in said


def test_the_restore_report_names_what_is_back_what_is_not_and_where_to_go_on() -> None:
    lost = {"gen": "a generator", "conn": "a connection", "lines": "a generator"}
    restored = Restored(["a", "b"], lost, problems=["cwd was not put back: no"], remakable=["conn", "gen"])

    said = display.resumed(Resumed(an_execution(), a_checkpoint("train"), restored, 192, 3, {})).text

    assert said.splitlines() == [
        "kitaru: resumed `ex_1` as of `train` · 3 checkpoints · saved 3 min 12 s",
        "  back: `a`, `b`",
        "  not back: `conn` (a connection)",
        "  not back: `gen` (a generator)",
        "  not back: `lines` (a generator)",
        "  cwd was not put back: no",
        "  %resume --remake conn,gen runs the cells that made them, for them alone",
        "  run the cells that make `lines` again, or make them with @kt.resource",
        "  go on with the cell after `train`",
    ]


def test_what_was_just_refused_is_not_proposed() -> None:
    restored = Restored(["a"], {"gen": "a generator"})
    refused = [UsageError("`gen` was used since", kind="changed-since")]

    said = display.resumed(Resumed(an_execution(), a_checkpoint("train"), restored, 192, 3, {}, refused)).text

    assert "not back: `gen`" in said
    assert "--remake" not in said


def test_what_is_said_is_text_and_never_markup() -> None:
    published: list[dict[str, str]] = []

    class Shell:
        class display_pub:  # noqa: N801 - as IPython calls it
            publish = published.append

    display.say(Shell(), '`<script>` & "x"\nline two')

    (data,) = published
    assert data["text/plain"] == '`<script>` & "x"\nline two'
    assert '`&lt;script&gt;` &amp; "x"<br>line two</div>' in data["text/html"]
    assert "<script>" not in data["text/html"]


def test_a_restore_report_has_a_row_for_each_thing_that_did_not_simply_come_back() -> None:
    hostile = "<img src=x onerror=alert(1)>"
    restored = Restored(names=["a"], lost={hostile: "a generator"}, made={"lock": "a lock"}, problems=["cwd"])
    report = Resumed(an_execution(), a_checkpoint("a"), restored, 1.0, 1, {})

    shown = display.resumed(report).bundle()

    page = shown["text/html"]
    assert page.count("<tr>") == 4
    assert page.count("a generator") == 1, "what is in the table is not said twice"
    assert "go on with the cell after" in page
    assert "<img" not in page
    assert shown["text/plain"].startswith("kitaru: resumed")
    assert "made again: `lock` (a lock)" in shown["text/plain"]
    whole = Resumed(an_execution(), a_checkpoint("a"), Restored(names=["a"]), 1.0, 1, {})
    assert "<table" not in display.resumed(whole).bundle()["text/html"]


def test_the_notice_of_an_execution_that_has_nothing_but_results_within_cells() -> None:
    execution = an_execution()

    said = display.notice(execution, [], 3)

    assert f"`{execution.id}`" in said
    assert "no cell had come to its end, and 3 results within cells count" in said
