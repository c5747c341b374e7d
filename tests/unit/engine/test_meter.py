"""Model calls of a scope: recorded as they came, served there again, counted once, stopped at a budget."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from kitaru_nb import budget, checkpoint, record_usage
from kitaru_nb.artifacts.vault import VAULT
from kitaru_nb.engine.context import current_scope, inside
from kitaru_nb.engine.meter import meter_of_scope
from kitaru_nb.engine.stops import STOPPED, stop_of
from kitaru_nb.engine.suspensions import note_suspended
from kitaru_nb.errors import StoreError, Suspended, UnstorableError, UsageError
from kitaru_nb.llm.meter import ModelAnswer, ModelRequest, RequestKey, Ticket
from kitaru_nb.model.checkpoint import CheckpointStatus
from kitaru_nb.model.cost import Usage
from kitaru_nb.testing import digest_of
from tests.integration.canaries import found_in
from tests.unit.engine.turns import Attempts

PRICES: Mapping[str, Any] = {"m": {"input": 1_000_000, "output": 1_000_000}}  # a dollar for each token


@pytest.fixture
def attempts(tmp_path: Path) -> Attempts:
    return Attempts(tmp_path / "home", prices=PRICES)


def asked(text: str = "?", *, model: str = "m", worst: int = 2, url: str = "https://m/v1") -> ModelRequest:
    """A request that costs at most so many dollars."""
    body = b'{"model":"m","messages":["%b"]}' % text.encode()
    key = RequestKey(digest_of(text))
    return ModelRequest(key, "POST", url, "openai-chat", model, None, False, body, worst - 1, 1)


def answer(text: str = "!", *, cost: int = 2) -> ModelAnswer:
    headers = {"content-type": "application/json", "x-request-id": f"r-{text}"}
    return ModelAnswer(200, headers, text.encode(), Usage(1, cost - 1), "m", 0.25)


def begun(request: ModelRequest) -> Ticket:
    """Leave to make the call in the running scope; nothing is on record for it."""
    scope = current_scope()
    assert scope is not None
    ticket = meter_of_scope(scope).begin(request)
    assert not isinstance(ticket, ModelAnswer)
    return ticket


def served(request: ModelRequest) -> ModelAnswer:
    """The recorded answer for the running scope."""
    scope = current_scope()
    assert scope is not None
    found = meter_of_scope(scope).begin(request)
    assert isinstance(found, ModelAnswer)
    return found


# Recorded and served


def test_an_answer_is_served_as_it_came_and_paid_once(attempts: Attempts) -> None:
    with attempts.attempt() as scope:
        begun(asked()).done(answer())
        assert (scope.cost, scope.tokens) == (2.0, 2)

    with attempts.attempt() as scope:
        assert served(asked()) == answer()
        assert (scope.cost, scope.tokens) == (2.0, 2), "what the scope cost, whenever it was paid"

    assert (attempts.execution.cost, attempts.execution.saved_cost) == (2.0, 2.0)


def test_equal_requests_have_answers_of_their_own_in_order(attempts: Attempts) -> None:
    with attempts.attempt():
        for text in "ab":
            begun(asked()).done(answer(text))

    with attempts.attempt():
        assert [served(asked()).body for _ in range(2)] == [b"a", b"b"]
        begun(asked()).done(answer("c"))

    assert attempts.execution.cost == 6.0


def test_an_answer_of_another_request_or_execution_is_not_served(attempts: Attempts) -> None:
    with attempts.attempt_at("tests:other"):
        begun(asked()).done(answer())

    with attempts.attempt():
        begun(asked("another"))
        begun(asked())


def test_what_is_to_be_reused_is_served_from_another_execution(attempts: Attempts) -> None:
    with attempts.attempt_at("tests:other"):
        begun(asked()).done(answer("theirs"))

    with attempts.attempt() as scope:
        scope.reuse = True
        assert served(asked()).body == b"theirs"
        begun(asked())  # there was one


@pytest.mark.parametrize(("kept", "names"), [("store", ["answer", "request"]), ("redact", ["answer"])])
def test_what_is_kept_of_a_call_is_what_was_chosen(tmp_path: Path, kept: str, names: list[str]) -> None:
    attempts = Attempts(tmp_path / "home", llm_bodies=kept)
    with attempts.attempt() as scope:
        begun(asked()).done(answer())
        (step,) = scope.book.results()

    assert [name for group in step.draft.groups for name in group.names] == names
    with attempts.attempt():
        assert served(asked()).body == b"!"


def test_an_answer_that_was_not_to_be_kept_is_asked_for_again_and_its_cost_stays(tmp_path: Path) -> None:
    attempts = Attempts(tmp_path / "home", llm_bodies="off", prices=PRICES)
    with attempts.attempt():
        begun(asked()).done(answer())

    with attempts.attempt():
        begun(asked()).done(answer())

    assert attempts.execution.cost == 4.0


def test_a_secret_in_the_address_is_not_on_record(attempts: Attempts) -> None:
    secret = "sk-ant-api03-" + "A1b2" * 20
    with attempts.attempt() as scope:
        begun(asked(url=f"https://m/{secret}/v1?api-key=hunter2-Zq9xWv7&v=2")).done(answer())
        (step,) = scope.book.results()

    assert secret not in step.draft.data["url"]
    assert step.draft.data["url"].endswith("/v1?api-key=secret:name:api-key&v=2")
    assert step.draft.data["url"].startswith("https://m/")


EXAMPLE = "hunter2-Zq9xWv7"
WITH_EXAMPLE = f"create_engine('postgres://ana:{EXAMPLE}@host/db')"


def test_an_answer_with_what_looks_like_a_key_is_served_whole_and_no_file_has_that_key(
    attempts: Attempts, tmp_path: Path
) -> None:
    given = replace(answer(WITH_EXAMPLE), headers={})
    with attempts.attempt():
        begun(asked()).done(given)
    VAULT.forget()

    with attempts.attempt():
        assert served(asked()) == given

    assert not found_in([tmp_path], [EXAMPLE])


def test_what_a_call_made_of_such_an_answer_is_served_whole_too(attempts: Attempts) -> None:
    @checkpoint
    def code() -> list[str]:
        begun(asked()).done(answer(WITH_EXAMPLE))
        return [WITH_EXAMPLE]

    with attempts.attempt():
        code()
    VAULT.forget()

    with attempts.attempt():
        assert code() == [WITH_EXAMPLE]


def test_who_has_not_paid_for_such_an_answer_is_told_so(
    attempts: Attempts, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with attempts.attempt():
        begun(asked()).done(answer(WITH_EXAMPLE))
    VAULT.forget()
    monkeypatch.setattr(VAULT, "_salt", os.urandom(32))

    with attempts.attempt(), pytest.raises(UnstorableError) as refused:
        served(asked())

    assert refused.value.kind == "answer-with-secret"


def test_a_key_that_is_found_elsewhere_is_not_kept_with_the_answer(
    attempts: Attempts, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DB_PASSWORD", EXAMPLE)

    with attempts.attempt() as scope:
        begun(asked()).done(answer(WITH_EXAMPLE))
        (step,) = scope.book.results()

    assert "encrypted" not in step.draft.data


def test_a_model_without_a_price_costs_nothing_known(attempts: Attempts) -> None:
    with attempts.attempt() as scope:
        begun(asked(model="own")).done(replace(answer(), model="own"))
        assert (scope.cost, scope.tokens) == (None, 2)

    assert attempts.execution.cost is None


# Without an answer


def test_a_call_that_failed_is_made_again_and_what_it_cost_counts(attempts: Attempts) -> None:
    with attempts.attempt() as scope:
        begun(asked()).failed("the stream was cut", Usage(1, 2))
        begun(asked()).failed("refused")
        assert scope.book.results() == []

    with attempts.attempt():
        begun(asked())
    (step,) = attempts.engine.journal.steps_within(attempts.execution.id)
    assert (step.draft.status, attempts.execution.cost) == (CheckpointStatus.FAILED, 3.0)
    assert step.draft.error is not None
    assert step.draft.error["evalue"] == "the stream was cut"


def test_what_was_set_aside_is_free_again_unless_it_was_spent(attempts: Attempts) -> None:
    with attempts.attempt(), budget(10) as limit:
        begun(asked(worst=4)).failed("refused")
        assert limit.left == 10
        begun(asked(worst=4)).failed("cut", Usage(1, 2))
        assert limit.left == 7
        begun(asked(worst=4)).done(answer(cost=2))
        assert limit.left == 5


def test_an_answer_that_cannot_be_recorded_is_no_result_and_sets_nothing_aside(
    attempts: Attempts, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object, **__: object) -> None:
        raise StoreError("the disk is full", kind="journal-full", hint="make room")

    with attempts.attempt() as scope, budget(10) as limit:
        ticket = begun(asked())
        with monkeypatch.context() as patch:
            patch.setattr(attempts.engine.journal, "commit", full)
            with pytest.raises(StoreError):
                ticket.done(answer())

        assert (scope.book.results(), scope.cost, limit.left) == ([], None, 10)
        begun(asked())


def test_nothing_is_asked_in_what_was_stopped(attempts: Attempts) -> None:
    with attempts.attempt() as scope:
        begun(asked()).done(answer())
        scope.stopped = True

        with pytest.raises(KeyboardInterrupt):
            meter_of_scope(scope).begin(asked())


# Budgets


def test_a_call_that_would_exceed_the_budget_is_not_made_and_the_execution_waits(attempts: Attempts) -> None:
    with attempts.attempt() as scope:
        with budget(3):
            begun(asked()).done(answer(cost=2))
            with pytest.raises(Suspended) as stopped:
                meter_of_scope(scope).begin(asked("more"))
        note_suspended(scope.book, stopped.value, scope.path)
        with pytest.raises(Suspended):
            scope.refuse_suspended()  # though the code around it went on
        event = stop_of(attempts.engine.journal, attempts.execution)

    (told,) = (e for e in attempts.engine.journal.events(attempts.execution.id) if e.kind == STOPPED)
    assert (stopped.value.kind, told.data["limit"], told.data["spent"]) == ("over-budget", 3.0, 2.0)
    assert told.data["suggested"] == 4.0
    assert event is not None
    assert "line " in str(stopped.value), "where the budget is raised"


def test_what_an_earlier_attempt_paid_counts_against_a_budget_in_the_code(attempts: Attempts) -> None:
    with attempts.attempt(), budget(3):
        begun(asked()).done(answer(cost=2))

    with attempts.attempt() as scope, budget(3) as limit:
        served(asked())
        assert limit.left == 1
        with pytest.raises(Suspended):
            meter_of_scope(scope).begin(asked("more"))


def test_a_budget_holds_inside_its_block_and_the_inner_one_first(attempts: Attempts) -> None:
    with attempts.attempt() as scope:
        with budget(9, name="the outer one") as outer, budget(3, name="the inner one"):
            begun(asked()).done(answer())
            with pytest.raises(Suspended, match="the inner one"):
                meter_of_scope(scope).begin(asked("more"))
        assert outer.spent == 2
        begun(asked("after", worst=99))


def test_a_model_without_a_price_is_not_asked_under_a_budget(attempts: Attempts) -> None:
    with attempts.attempt() as scope, budget(9), pytest.raises(Suspended) as stopped:
        meter_of_scope(scope).begin(asked(model="own"))

    assert stopped.value.kind == "no-price"


@pytest.mark.parametrize("limit", [0, -1, float("inf"), float("nan"), True, "5"])
def test_a_budget_is_an_amount_of_dollars(attempts: Attempts, limit: Any) -> None:
    with attempts.attempt(), pytest.raises(UsageError) as refused, budget(limit):
        raise AssertionError("the block was entered")

    assert refused.value.kind == "bad-budget"


def test_a_budget_outside_any_execution_is_refused() -> None:
    with pytest.raises(UsageError) as refused, budget(1.0):
        raise AssertionError("the block was entered")

    assert refused.value.kind == "outside-execution"


# What no HTTP client sees


def test_usage_that_is_told_counts_once_however_often_the_attempt_is_made(attempts: Attempts) -> None:
    def body() -> list[float | None]:
        record_usage("m", input_tokens=1, output_tokens=2)
        record_usage("m", input_tokens=1, output_tokens=2)
        record_usage("m", output_tokens=7, cost=0.5)
        scope = current_scope()
        assert scope is not None
        return [scope.cost, scope.tokens]

    first, second, _ = attempts.twice(body)

    assert first == second == [6.5, 13]
    assert (attempts.execution.cost, attempts.execution.tokens) == (6.5, 13)


def test_usage_that_is_told_counts_against_budgets(attempts: Attempts) -> None:
    with attempts.attempt(), budget(9) as limit:
        record_usage("m", output_tokens=4)
        assert limit.left == 5
    with attempts.attempt(), budget(9) as limit:
        record_usage("m", output_tokens=4)
        assert limit.left == 5, "paid by the attempt before"


def test_usage_below_zero_is_refused_and_outside_of_an_execution_it_is_not_kept(attempts: Attempts) -> None:
    record_usage("m", output_tokens=4)
    with attempts.attempt() as scope:
        with pytest.raises(UsageError) as refused:
            record_usage("m", input_tokens=-1)
        assert scope.book.results() == []

    assert refused.value.kind == "bad-usage"


def test_more_cached_input_than_there_is_input_is_refused(attempts: Attempts) -> None:
    with attempts.attempt(), pytest.raises(UsageError, match="5 cached of 3") as refused:
        record_usage("gpt-4o", input_tokens=3, cached_tokens=5)

    assert refused.value.kind == "bad-usage"
    assert "input_tokens=8" in str(refused.value.hint)


def test_a_run_of_a_scope_has_one_meter_and_another_run_another(attempts: Attempts) -> None:
    with attempts.attempt() as scope:
        meter = meter_of_scope(scope)
        assert meter_of_scope(scope) is meter
        with inside(scope.inner("call", "x")) as inner:
            assert meter_of_scope(inner) is not meter
            begun(asked()).done(answer())
        assert (inner.cost, scope.cost) == (2.0, 2.0), "what is inside counts outside, too"
