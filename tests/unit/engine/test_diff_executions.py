"""Two executions side by side: where they part, and what no difference is."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

import kitaru_nb as kt
from kitaru_nb import checkpoint, record_usage
from kitaru_nb.engine.book import Book
from kitaru_nb.engine.context import inside
from kitaru_nb.engine.diff import ExecutionDiff, StepDiff, diff_executions
from kitaru_nb.engine.diff_kept import kept_in
from kitaru_nb.engine.gc import Policy, collect
from kitaru_nb.engine.lease import Lease
from kitaru_nb.model.checkpoint import Checkpoint, StepKind
from kitaru_nb.model.execution import ExecutionId, ExecutionStatus, Identity
from kitaru_nb.model.settings import Settings
from kitaru_nb.stacks.flows import here
from kitaru_nb.stacks.open import open_engine
from kitaru_nb.testing.examples import a_draft
from tests.unit.engine.turns import Attempts


def test_a_step_that_was_reused_is_the_same_though_its_model_calls_were_not_made_again(
    tmp_path: Path,
) -> None:
    attempts = Attempts(tmp_path / "home")

    @checkpoint(reuse=True)
    def research() -> str:
        record_usage("one", input_tokens=100, output_tokens=20, cost=0.5)
        return "facts"

    @checkpoint
    def draft(tone: str) -> str:
        return f"a {tone} note"

    executions = []
    for tone in ("plain", "cheerful"):
        lease = Lease(attempts.engine, Identity(flow=f"tests:{tone}"))
        book = Book(attempts.engine, lease.take)
        with inside(book.scope("flow")):
            research()
            draft(tone)
        executions.append(book.execution)
        book.close()
        lease.give_back(ExecutionStatus.COMPLETED)

    def opened() -> object:
        return open_engine(Settings(home=tmp_path / "home"), read_only=True)

    found = diff_executions(opened, *executions)  # type: ignore[arg-type] # an engine

    assert found.first is not None
    assert found.first.name == "draft"
    assert [step.same for step in found.steps] == [True, False]
    assert {each.what for each in found.first.differences} == {"input", "value"}


def _diff(a: str, b: str) -> ExecutionDiff:
    return diff_executions(lambda: open_engine(here.settings(), read_only=True), a, b)


def _ran(flow: Callable[..., Any], *arguments: object) -> str:
    flow(*arguments)
    return here.engine().journal.execution("latest").id


def _kept(found: ExecutionDiff) -> Mapping[str, StepDiff]:
    return {each.title: each for each in found.kept}


given: dict[str, Any] = {}


@kt.checkpoint
def same() -> int:
    return 1


@kt.checkpoint
def doubled(x: int) -> list[int]:
    return [x] * 1000


@kt.flow
def doubles(x: int) -> None:
    doubled(x)


def test_a_value_that_is_gone_is_told_with_what_to_type_in_lines_of_their_own() -> None:
    ids = [_ran(doubles, 1), _ran(doubles, 2)]
    engine = here.engine()
    collect(engine.journal, engine.store, Policy(keep_days=0), grace=-60)

    found = _diff(*ids)

    assert found.first is not None
    (lines,) = (each.lines for each in found.first.differences if each.what == "value")
    said, hint = lines
    assert said.startswith("it differs, and cannot be shown: its values were removed by gc on ")
    assert hint.startswith("Try: ")
    assert not any("\n" in line for line in lines)


@kt.flow
def keeps() -> dict[str, int]:
    same()
    value = given["value"]
    kt.save("report", f"text {value}")
    kt.save("always", 1)
    for step in range(3):
        kt.log(loss=value / (step + 1), epoch=step)
    kt.once("charge", lambda: value)
    kt.stream("tokens").append(value)
    return {"answer": value}


def test_what_is_kept_beside_the_steps_is_compared() -> None:
    ids = []
    for value in (1, 2):
        given["value"] = value
        ids.append(_ran(keeps))

    found = _diff(*ids)

    kept = _kept(found)
    assert [step.same for step in found.steps] == [True]
    assert {title for title, each in kept.items() if each.same} == {"saved value always", "logged epoch"}
    assert {title: each.differences[0].lines for title, each in kept.items() if not each.same} == {
        "saved value report": ("- 'text 1'", "+ 'text 2'"),
        "logged loss": (
            "- [0]: 1.0",
            "+ [0]: 2.0",
            "- [1]: 0.5",
            "+ [1]: 1.0",
            "- [2]: 0.3333333333333333",
            "+ [2]: 0.6666666666666666",
        ),
        "once charge": ("- 1", "+ 2"),
        "stream tokens": ("- 1", "+ 2"),
        "result of keeps": ("- answer: 1", "+ answer: 2"),
    }
    assert found.first is kept["saved value report"]
    told = found.to_json()
    assert (told["first_difference"], told["first_difference_kind"]) == ("report", "saved")
    assert told["kept"][0] == {
        "kind": "saved",
        "name": "report",
        "inside": None,
        "same": False,
        "only": None,
        "differences": [
            {"what": "value", "name": None, "kind": "text", "lines": ["- 'text 1'", "+ 'text 2'"]}
        ],
    }


@kt.checkpoint
def step_of(number: int, tone: str) -> int:
    kt.log(loss=number, tone=tone)
    kt.save("seen", number)
    return number


@kt.flow
def calls(tone: str, more: bool) -> int:
    total = sum(step_of(number, tone) for number in range(2))
    if more:
        kt.save("extra", 1)
    return total


def test_what_is_kept_in_calls_with_other_inputs_is_held_against_each_other() -> None:
    found = _diff(_ran(calls, "plain", False), _ran(calls, "loud", True))

    kept = _kept(found)
    assert kept["logged loss in step_of"].same
    assert kept["saved value seen in step_of"].same
    assert kept["logged tone in step_of"].differences[0].lines == (
        "- [0]: 'plain'",
        "+ [0]: 'loud'",
        "- [1]: 'plain'",
        "+ [1]: 'loud'",
    )
    assert kept["saved value extra"].only == "b"
    assert found.first is not None
    assert found.first.name == "step_of", "the call that a difference is in comes before what it noted"


def test_what_a_replay_took_over_does_not_differ() -> None:
    original = _ran(calls, "plain", True)

    replayed = kt.replay(original, from_="step_of#2")
    replayed.result()

    found = _diff(original, replayed.execution)
    assert found.first is None
    assert _diff(original, original).first is None


def test_a_flow_that_failed_has_no_result_to_compare() -> None:
    @kt.flow
    def breaks(fails: bool) -> int:
        if fails:
            raise ValueError("boom")
        return 1

    whole = _ran(breaks, False)
    with pytest.raises(ValueError, match="boom"):
        breaks(True)

    found = _diff(whole, here.engine().journal.execution("latest").id)

    assert [(each.title, each.only) for each in found.kept] == [("result of breaks", "a")]


def test_of_a_cell_that_was_run_anew_what_its_newest_run_kept_counts() -> None:
    def noted(loss: int, scope: str) -> Checkpoint:
        data = {"log": {"loss": loss}}
        draft = a_draft("log", kind=StepKind.VALUE, scope=scope, data=data)
        return Checkpoint(1, ExecutionId("ex_a"), 1, 1, draft)

    found = kept_in(
        [noted(1, "cell:a/fetch:0123456789abcdef:0"), noted(2, "cell:a@2/fetch:0123456789abcdef:0")]
    )

    assert [(each.name, each.values, each.inside) for each in found] == [("loss", (2,), "fetch")]


@kt.checkpoint
def drawn(tone: str) -> Any:
    from matplotlib.figure import Figure  # noqa: PLC0415 - slow to import

    figure = Figure(figsize=(1, 1))
    figure.subplots().plot([1, 2 if tone == "plain" else 0])
    return figure


@kt.flow
def draws(tone: str, _run: int) -> None:
    drawn(tone)


def test_a_figure_that_looks_the_same_is_no_difference() -> None:
    ids = [_ran(draws, "plain", 1), _ran(draws, "plain", 2), _ran(draws, "loud", 3)]

    assert _diff(*ids[:2]).first is None
    (step,) = _diff(*ids[1:]).steps
    (value,) = [each for each in step.differences if each.what == "value"]
    assert value.lines == ("the figure looks different, 100 x 100",)
    assert value.pictures is not None
