"""`replay` of flows: the named step really runs, what is before it is not done again."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

import kitaru_nb as kt
from kitaru_nb.engine.describe import show_json
from kitaru_nb.engine.flow_handle import FlowHandle
from kitaru_nb.engine.gc import Policy, collect
from kitaru_nb.engine.refs import checkpoint_names, steps
from kitaru_nb.engine.replay import replay_of
from kitaru_nb.engine.replays import replays_of
from kitaru_nb.errors import NotFoundError, StoreError, Suspended, UnstorableError, UsageError
from kitaru_nb.model.execution import Execution, ExecutionStatus
from kitaru_nb.stacks.flows import here
from tests.unit.stacks import replayed
from tests.unit.stacks.replayed import agent, asked, branches, keeping, nested, noted, parent, rolls, sharing


@pytest.fixture(autouse=True)
def _nothing_noted() -> None:
    noted.ran.clear()
    noted.fails.clear()


def again(from_: str, *, of: str = "latest", **changes: Any) -> tuple[Any, list[str]]:
    """What a replay gives, and what ran in it."""
    noted.ran.clear()
    handle = kt.replay(of, from_=from_, **changes)
    assert isinstance(handle, FlowHandle)
    return handle.result(), list(noted.ran)


def newest() -> Execution:
    return here.engine().journal.execution("latest")


def statuses() -> dict[str, str]:
    """What became of each step of the newest execution."""
    found = steps(here.engine().journal, newest().id)
    return {
        name: "overridden" if step.draft.data.get("overridden") else step.draft.status.value
        for name, step in zip(checkpoint_names(found), found, strict=True)
    }


def test_the_named_step_really_runs_though_nothing_has_changed() -> None:
    agent("cats")

    given, ran = again("publish")

    assert given == "<CATS-0 CATS-1!>"
    assert ran == ["publish"]


def test_what_is_before_is_not_done_again_and_what_is_after_is() -> None:
    agent("cats")

    _, ran = again("draft")

    assert ran == ["draft", "publish"]
    assert statuses() == {
        "plan": "restored",
        "fetch": "restored",
        "fetch#2": "restored",
        "draft": "completed",
        "publish": "completed",
    }


def test_from_one_call_of_several() -> None:
    agent("cats")

    _, ran = again("fetch#2")

    assert ran == ["fetch cats-1", "charge", "draft", "publish"]


def test_equal_calls_before_the_named_one_keep_their_own_results() -> None:
    before = rolls()

    after, ran = again("roll#2")

    assert after[0] == before[0]
    assert set(after[1:]).isdisjoint(before)
    assert ran == ["roll", "roll"]


def test_a_changed_input_runs_what_it_reaches_before_the_named_step_too() -> None:
    agent("cats")

    given, ran = again("publish", inputs={"topic": "dogs"})

    assert given == "<DOGS-0 DOGS-1!>"
    assert ran == ["plan dogs", "fetch dogs-0", "fetch dogs-1", "draft", "publish"]


def test_a_changed_input_runs_nothing_that_it_does_not_reach() -> None:
    agent("cats")

    given, ran = again("publish", inputs={"tone": "?"})

    assert given == "<CATS-0 CATS-1?>"
    assert ran == ["draft", "publish"]


def test_an_input_can_be_one_that_was_given_as_a_keyword_of_no_parameter() -> None:
    agent("cats", suffix="x")

    given, _ = again("publish", inputs={"suffix": "yz"})

    assert given == "<CATS-0 CATS-1!yz>"


# Inside other calls


def test_from_inside_a_call_the_calls_before_it_in_there_are_reused() -> None:
    nested("cats")

    _, ran = again("fetch#2")

    assert ran == ["gather_parts", "fetch cats2", "draft", "publish"]


def test_what_happened_inside_the_named_step_happens_again() -> None:
    nested("cats")

    _, ran = again("gather_parts")

    assert ran == ["gather_parts", "fetch cats", "fetch cats2", "draft", "publish"]


def test_of_calls_at_the_same_time_those_that_had_ended_are_reused() -> None:
    asyncio.run(branches())
    assert noted.ran == ["afetch a1", "afetch b1", "afetch a12", "afetch b12"]

    given, ran = again("afetch#4")  # when it began, the first of each branch had ended and nothing else

    assert given == ["a12", "b12"]
    assert ran == ["afetch a12", "afetch b12"]


def test_a_flow_inside_a_flow_is_one_step_of_the_outer_one() -> None:
    parent("cats")
    outer = newest().parent

    _, ran = again("agent", of=str(outer))

    assert ran == ["plan cats", "fetch cats-0", "fetch cats-1", "charge", "draft", "publish", "publish"]


def test_the_execution_of_an_inner_flow_is_replayed_alone() -> None:
    parent("cats")
    inner = newest().id

    given, ran = again("draft", of=inner)

    assert given == "<CATS-0 CATS-1!>"
    assert ran == ["draft", "publish"]


# Effects, saved values, other executions


def test_what_was_done_once_before_the_named_step_is_not_done_again() -> None:
    agent("cats")

    assert "charge" not in again("draft")[1]
    assert "charge" in again("fetch")[1]


def test_a_replay_can_begin_at_something_done_once() -> None:
    agent("cats")

    assert again("charge")[1] == ["charge", "draft", "publish"]


def test_a_step_that_reuses_results_of_other_executions_runs_all_the_same_when_it_is_named() -> None:
    sharing()
    assert again("shared")[1] == ["shared a"]  # the second one was asked to be reused, and is

    assert again("shared#2")[1] == ["shared b"]


def test_saved_values_and_streams_hold_what_the_replay_came_to_itself() -> None:
    keeping()

    given, ran = again("fetch#2")

    assert given == [f"{newest().id}/draft/draft", f"{newest().id}/draft#2/draft"]
    assert ran == ["fetch b", "stream ['one', 'two']"]
    assert kt.load("draft") == "B"


# Overrides


def test_an_override_replaces_the_value_of_all_calls_without_running_them() -> None:
    agent("cats")

    given, ran = again("publish", overrides={"fetch": "fish"})

    assert given == "<fish fish!>"
    assert ran == ["draft", "publish"]
    assert statuses()["fetch"] == statuses()["fetch#2"] == "overridden"


def test_an_override_of_one_call_leaves_the_others() -> None:
    agent("cats")

    given, ran = again("publish", overrides={"fetch#2": "fish"})

    assert given == "<CATS-0 fish!>"
    assert ran == ["draft", "publish"]


def test_an_override_inside_a_call_before_the_named_step_reaches_its_consumers() -> None:
    nested("cats")

    given, ran = again("publish", overrides={"fetch#2": "fish"})

    assert given == "<CATS fish!>"
    assert ran == ["gather_parts", "draft", "publish"]


def test_each_consumer_of_an_overridden_value_has_an_object_of_its_own() -> None:
    agent("cats")
    noted.ran.clear()

    handle = kt.replay(from_="plan", overrides={"plan": ["one", "two"]})

    assert handle.result() == "<ONE TWO!>"
    assert noted.ran == ["fetch one", "fetch two", "charge", "draft", "publish"]


def test_an_overridden_value_is_nobody_elses_result() -> None:
    sharing()
    again("shared", overrides={"shared": "wrong"})
    noted.ran.clear()

    assert sharing() == "ab"


def test_an_override_is_an_error_where_it_cannot_be_stored() -> None:
    agent("cats")

    with pytest.raises(UnstorableError, match=r"`checkpoint\.fetch`"):
        kt.replay(from_="publish", overrides={"fetch": (each for each in "ab")})

    assert replays_of(here.engine().journal, newest().id) == []


def answered() -> Execution:
    """An execution that has asked three questions of one name, each answered with its own."""
    for number in range(4):
        try:
            asked()
        except Suspended as suspended:
            here.engine().journal.answer_wait(suspended.wait, f"said {number}", by="ana", source="cli")
    return newest()


def test_answers_of_people_are_kept_also_those_after_the_named_step() -> None:
    answered()

    given, ran = again("asking")

    assert given == ["said 0", "said 1", "said 2", "A"]
    assert ran == ["fetch a"]


def test_one_answer_or_all_of_a_name_can_be_given() -> None:
    original = answered().id

    one, _ = again("asking", of=original, overrides={"wait.ok#3": "given"})
    inner, _ = again("fetch", of=original, overrides={"wait.ok#2": "given"})
    every, _ = again("asking", of=original, overrides={"wait.ok": "given"})

    assert one == ["said 0", "said 1", "given", "A"]
    assert inner == ["said 0", "given", "said 2", "A"], "the call that asked is made again for it"
    assert every == ["given", "given", "given", "A"]
    waits = here.engine().journal.waits(newest().id)
    assert {wait.source for wait in waits} == {"replay"}


def test_an_answer_that_the_question_does_not_take_is_refused_before_anything_is_begun() -> None:
    answered()

    with pytest.raises(UsageError) as refused:
        kt.replay(from_="fetch", overrides={"wait.ok": 7})

    assert refused.value.kind == "invalid-answer"
    assert len(here.engine().journal.executions()) == 1


# Replays of replays


def test_a_replay_of_a_replay_keeps_its_inputs_and_what_it_was_given() -> None:
    agent("cats")
    again("draft", inputs={"tone": "?"}, overrides={"fetch": "fish"})

    given, ran = again("publish")

    assert given == "<fish fish?>"
    assert ran == ["publish"]


def test_a_step_that_was_given_runs_when_it_is_named_in_a_replay_of_the_replay() -> None:
    agent("cats")
    again("draft", overrides={"fetch": "fish"})

    given, ran = again("fetch#2")

    assert given == "<fish CATS-1!>"
    assert ran == ["fetch cats-1", "charge", "draft", "publish"]
    assert again("publish") == ("<fish CATS-1!>", ["publish"])


# Whatever became of the original


def test_a_failed_execution_is_replayed_from_the_step_that_failed() -> None:
    noted.fails.add("draft")
    with pytest.raises(ValueError, match="draft fails"):
        agent("cats")
    noted.fails.clear()
    failed = newest().id

    given, ran = again("draft", inputs={"tone": "?"})

    assert given == "<CATS-0 CATS-1?>"
    assert ran == ["draft", "publish"]
    assert here.engine().journal.execution(failed).status is ExecutionStatus.FAILED


def test_a_replay_that_fails_is_gone_on_with_as_itself_and_by_nobody_else() -> None:
    agent("cats")
    noted.fails.add("publish")
    with pytest.raises(ValueError, match="publish fails"):
        again("draft", inputs={"tone": "?"}, overrides={"fetch": "fish"})
    noted.fails.clear()
    failed = newest()
    noted.ran.clear()

    assert agent("cats", tone="?") == "<CATS-0 CATS-1?>"  # a run of its own, with nothing given
    direct = newest()
    assert direct.id != failed.id
    noted.ran.clear()
    from kitaru_nb.stacks.flow_runs import resume_flow  # noqa: PLC0415 - what `kitaru-nb resume` does

    outcome, given = resume_flow(here.engine().journal.execution(failed.id))

    assert given == "<fish fish?>"
    assert noted.ran == ["publish"]
    assert outcome.execution == failed.id
    assert here.engine().journal.execution(failed.id).attempts == 2


def test_what_a_failed_replay_had_not_asked_for_yet_is_lent_to_its_next_attempt() -> None:
    agent("cats")
    noted.fails.add("fetch dogs-0")
    with pytest.raises(ValueError, match="fails"):
        again("publish", inputs={"topic": "dogs"})
    noted.fails.clear()
    noted.ran.clear()
    from kitaru_nb.stacks.flow_runs import resume_flow  # noqa: PLC0415 - as above

    resume_flow(newest())

    assert noted.ran == ["fetch dogs-0", "fetch dogs-1", "draft", "publish"]  # and no charge


# On record


def test_each_side_names_the_other() -> None:
    agent("cats")
    original = newest()

    again("draft", inputs={"tone": "?"})

    journal = here.engine().journal
    plan = replay_of(journal, newest().id)
    assert newest().parent == original.id
    assert replays_of(journal, original.id) == [(newest().id, "draft")]
    assert show_json(journal, journal.execution(original.id))["replays"] == [newest().id]
    assert plan is not None
    assert plan.told() == "from `draft`, with tone='?'"


def test_what_was_reused_is_on_record_in_the_replay_with_where_it_is_from() -> None:
    agent("cats")
    journal = here.engine().journal
    ran = {each.draft.key: each for each in journal.steps_within(newest().id)}

    again("draft")

    reused = [each for each in journal.steps_within(newest().id) if each.draft.origin is not None]
    assert [each.draft.name for each in reused] == ["plan", "fetch", "fetch", "charge"]
    assert all(each.draft.origin == ran[each.draft.key].seq for each in reused)
    assert all(each.draft.groups == ran[each.draft.key].draft.groups for each in reused)


def test_values_that_were_removed_are_an_error_before_anything_is_done_again() -> None:
    agent("cats")
    engine = here.engine()
    collect(engine.journal, engine.store, Policy(keep_days=0), now=_later(), grace=0)

    with pytest.raises(StoreError, match="`inputs`, which were removed") as refused:
        again("draft")

    assert refused.value.kind == "values-removed"
    assert noted.ran == []


def test_gc_leaves_what_a_replay_that_can_go_on_may_still_be_given() -> None:
    agent("cats")
    noted.fails.add("plan dogs")
    with pytest.raises(ValueError, match="fails"):
        again("publish", inputs={"topic": "dogs"})
    noted.fails.clear()
    engine = here.engine()
    collect(engine.journal, engine.store, Policy(keep_days=0), now=_later(), grace=0)
    noted.ran.clear()
    from kitaru_nb.stacks.flow_runs import resume_flow  # noqa: PLC0415 - as above

    resume_flow(newest())

    assert "charge" not in noted.ran


def _later() -> datetime:
    return datetime.now(UTC) + timedelta(days=1)


# What is refused


@pytest.mark.parametrize(
    ("changes", "kind", "told"),
    [
        ({"from_": "drft"}, "unknown-checkpoint", "draft"),
        ({"from_": "draft", "inputs": {"ton": 1}}, "unknown-name", "tone"),
        ({"from_": "draft", "overrides": {"ftch": 1}}, "unknown-name", "fetch"),
        ({"from_": "draft", "overrides": {"input.tone": 1}}, "bad-override", "inputs={'tone': ...}"),
        ({"from_": "draft", "overrides": {"checkpoint.fetch#9": 1}}, "unknown-name", "fetch"),
    ],
)
def test_a_name_that_stands_for_nothing_is_refused(changes: Mapping[str, Any], kind: str, told: str) -> None:
    agent("cats")

    with pytest.raises((NotFoundError, UsageError)) as refused:
        kt.replay(**changes)

    assert refused.value.kind == kind
    assert told in refused.value.hint
    assert len(here.engine().journal.executions()) == 1


def test_a_replay_in_a_flow_would_begin_another_one_in_each_attempt() -> None:
    agent("cats")

    @kt.flow
    def replaying() -> None:
        kt.replay(from_="draft")

    with pytest.raises(UsageError) as refused:
        replaying()

    assert refused.value.kind == "bad-place"


# The handle


def test_a_handle_shows_itself_as_text_and_as_html_in_which_nothing_is_live() -> None:
    agent("cats")

    handle = kt.replay(from_="publish", inputs={"tone": "<script>alert(1)</script>"})
    handle.result()
    shown = handle._repr_mimebundle_()  # type: ignore[union-attr] # what IPython asks for

    assert "<script>alert(1)</script>" in shown["text/plain"]
    assert "<script" not in shown["text/html"]
    assert "&lt;script&gt;" in shown["text/html"]
    assert "2 completed" in shown["text/plain"]


def test_everything_that_is_shown_of_a_replay_is_json() -> None:
    agent("cats")
    again("draft", overrides={"fetch": "fish"})

    shown = json.loads(json.dumps(show_json(here.engine().journal, newest())))

    assert [step["status"] for step in shown["checkpoints"]] == ["restored"] * 3 + ["completed"] * 2
    assert replayed.__doc__
