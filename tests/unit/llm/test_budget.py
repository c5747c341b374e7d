from __future__ import annotations

import asyncio
import json
import os
import pickle
import threading
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from decimal import Decimal

import pytest

from kitaru_nb.llm.budget import DEFAULT_OUTPUT_TOKENS, Budget, Refusal, Reservation, reserve, worst_cost
from kitaru_nb.llm.meter import Busy, Waits
from kitaru_nb.llm.prices import Prices
from kitaru_nb.llm.wire import model_request

DEAR = Prices({"m": {"input": 0, "output": 1_000_000}})
"""A dollar per output token."""


def request(max_tokens=1, model="m", **body):
    body = {"model": model, "messages": [], "max_tokens": max_tokens, **body}
    return model_request("POST", "https://a/v1/chat/completions", json.dumps(body).encode())


def test_what_a_call_may_cost_is_set_aside_and_what_it_cost_is_spent():
    budget = Budget(10)

    reservation = reserve(request(4), [budget], DEAR)
    set_aside = budget.left
    reservation.settle(1.5)

    assert (reservation.amount, set_aside) == (4, 6)
    assert (budget.spent, budget.left) == (1.5, 8.5)


def test_a_call_that_would_go_over_is_refused_and_told_by_how_much():
    budget = Budget(10, spent=7, name="the budget of `draft`")
    reserve(request(2), [budget], DEAR)

    refused = reserve(request(3), [budget], DEAR)

    assert isinstance(refused, Refusal)
    assert refused.kind == "over-budget"
    assert (refused.over, refused.suggested, refused.spent, refused.limit) == (2, 12, 7, 10)
    assert refused.message == (
        "the budget of `draft` of $10.00 would be exceeded by $2.00: the call may cost $3.00, "
        "with $7.00 spent and $2.00 set aside for calls under way"
    )
    assert "--budget 12.00" in refused.hint
    assert budget.left == 1


def test_the_suggested_limit_is_enough():
    prices = Prices({"m": {"input": 0, "output": 1}})
    refused = reserve(request(12_345), [Budget(0.01)], prices)

    assert isinstance(reserve(request(12_345), [Budget(refused.suggested)], prices), Reservation)
    assert "by $0.002345:" in refused.message


def test_the_last_cent_can_be_spent_whatever_floats_make_of_it():
    cheap = Prices({"m": {"input": 0, "output": 1}})
    with_dust = 0.1 + 0.2 - 3e-6

    assert isinstance(reserve(request(3), [Budget(0.3, spent=with_dust)], cheap), Reservation)
    assert isinstance(reserve(request(1), [Budget(1)], DEAR), Reservation)


def test_calls_at_the_same_time_do_not_go_over_together():
    budget, start = Budget(10), threading.Barrier(16)

    def call(_):
        start.wait()
        return [reserve(request(1), [budget], DEAR) for _ in range(5)]

    with ThreadPoolExecutor(16) as pool:
        found = [one for some in pool.map(call, range(16)) for one in some]

    assert sum(isinstance(one, Reservation) for one in found) == 10
    assert budget.left == 0


def test_a_call_without_room_waits_for_what_can_end_meanwhile_alone():
    budget = Budget(10)
    reserve(request(8), [budget], DEAR)
    here = reserve(request(8), [budget], DEAR, waits=Waits.THREAD)

    with ThreadPoolExecutor(1) as pool:
        elsewhere = pool.submit(reserve, request(8), [budget], DEAR, waits=Waits.THREAD).result()
        within = pool.submit(copy_context().run, reserve, request(8), [budget], DEAR, waits=Waits.THREAD)

    assert isinstance(here, Refusal), "it would wait for itself"
    assert isinstance(elsewhere, Busy)
    assert isinstance(within.result(), Refusal), "who began that stream may wait for it"


def test_a_task_waits_for_other_tasks_and_a_thread_not_for_those_that_it_runs():
    budget = Budget(10)

    async def call(waits):
        return reserve(request(8), [budget], DEAR, waits=waits)

    async def calls():
        return await asyncio.gather(call(Waits.TASK), call(Waits.TASK), call(Waits.THREAD))

    first, task, thread = asyncio.run(calls())

    assert isinstance(first, Reservation)
    assert isinstance(task, Busy)
    assert isinstance(thread, Refusal)


def test_whoever_waits_is_refused_once_nothing_is_under_way():
    budget = Budget(10)
    with ThreadPoolExecutor(1) as pool:
        taken = pool.submit(reserve, request(8), [budget], DEAR).result()
    before = reserve(request(8), [budget], DEAR, waits=Waits.THREAD)
    taken.settle(8)

    assert isinstance(before, Busy)
    assert isinstance(reserve(request(8), [budget], DEAR, waits=Waits.THREAD), Refusal)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no process can be forked here")
def test_a_process_that_was_forked_does_not_wait_for_what_ends_elsewhere():
    budget = Budget(10)
    with ThreadPoolExecutor(1) as pool:
        pool.submit(reserve, request(8), [budget], DEAR).result()

        child = os.fork()
        if not child:
            os._exit(isinstance(reserve(request(8), [budget], DEAR, waits=Waits.THREAD), Refusal))
        _, status = os.waitpid(child, 0)
        here = reserve(request(8), [budget], DEAR, waits=Waits.THREAD)

    assert os.waitstatus_to_exitcode(status) == 1
    assert isinstance(here, Busy)


def test_a_failed_call_gives_back_what_was_set_aside():
    budget = Budget(10)

    reserve(request(4), [budget], DEAR).release()
    reserve(request(4), [budget], DEAR).release(0.5)

    assert (budget.spent, budget.left) == (0.5, 9.5)


def test_a_reservation_ends_once():
    budget = Budget(10)
    reservation = reserve(request(4), [budget], DEAR)

    reservation.settle(1)
    reservation.settle(1)
    reservation.release()

    assert (budget.spent, budget.left) == (1, 9)


def test_a_call_of_which_nobody_said_what_it_cost_counts_all_that_was_set_aside():
    budget = Budget(10)

    reserve(request(4), [budget], DEAR).settle(None)

    assert budget.spent == 4


def test_a_call_counts_against_every_budget_or_none():
    cell, execution = Budget(10), Budget(3)

    refused = reserve(request(4), [cell, execution], DEAR)
    taken = reserve(request(3), [cell, execution], DEAR)
    taken.settle(2)

    assert isinstance(refused, Refusal)
    assert refused.limit == 3
    assert (cell.spent, cell.left) == (2, 8)
    assert (execution.spent, execution.left) == (2, 1)


def test_the_end_is_said_to_be_near_once():
    said = []
    budget = Budget(10, warn=said.append)

    for cost in (7.9, 0.1, 1, 1.5):
        reserve(request(0), [budget], DEAR).settle(cost)

    assert said == ["80% of the budget is spent: $8.00 of $10.00"]


def test_what_was_said_in_an_earlier_attempt_is_not_said_again():
    said = []
    budget = Budget(10, spent=8.5, warn=said.append)

    reserve(request(0), [budget], DEAR).settle(1)

    assert said == []


def test_many_threads_that_cross_the_line_say_it_once():
    said, start = [], threading.Barrier(8)
    budget = Budget(8, warn=said.append)

    def call(_):
        start.wait()
        reserve(request(1), [budget], DEAR).settle(1)

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(call, range(8)))

    assert len(said) == 1
    assert budget.spent == 8


def test_a_model_without_a_price_is_refused_with_what_sets_one():
    budget = Budget(10)

    prices = Prices({"other": {"input": 1, "output": 2}})
    refused = reserve(request(model="mine"), [budget], prices)

    assert refused.kind == "no-price"
    assert "`mine` has no price" in refused.message
    table = json.loads(refused.hint)
    assert table.pop("mine")["input"] > 0
    assert table == {"other": {"input": 1, "output": 2}}, "the setting takes the place of all others"
    assert budget.left == 10


def test_without_a_budget_nothing_is_looked_up(monkeypatch):
    def asked(*_, **__):
        raise AssertionError

    monkeypatch.setattr(Prices, "exact", asked)

    reservation = reserve(request(model="mine"), [], Prices())
    reservation.settle(None)

    assert reservation.amount == 0


def test_a_request_without_a_limit_of_its_own_has_a_default_for_each_answer():
    assert worst_cost(request(None), DEAR) == DEFAULT_OUTPUT_TOKENS
    assert worst_cost(request(None, n=3), DEAR) == 3 * DEFAULT_OUTPUT_TOKENS
    assert worst_cost(request(5, n=3), DEAR) == 15


def test_a_prompt_that_may_be_written_to_a_cache_is_priced_so():
    text = "word " * 1_000
    plain = request(0, "claude-sonnet-4-5", messages=[{"content": [{"text": text}]}])
    kept = {"type": "ephemeral", "ttl": "1h"}
    cached = request(0, "claude-sonnet-4-5", messages=[{"content": [{"text": text, "cache_control": kept}]}])

    assert worst_cost(cached, Prices()) > Decimal("1.9") * worst_cost(plain, Prices())


@pytest.mark.parametrize("tokens", [0, 1])
def test_a_request_is_worth_its_input_at_least(tokens):
    assert worst_cost(request(tokens), Prices({"m": {"input": 1, "output": 1}})) > 0


def test_another_process_has_a_budget_of_its_own_of_which_as_much_is_spent():
    budget = Budget(2.0, spent=1.5, name="the budget of `{x}`", raised="kt.budget({})".format)

    theirs = pickle.loads(pickle.dumps(budget))
    refused = theirs.take(Decimal(1))

    assert (theirs.limit, theirs.spent) == (2.0, 1.5)
    assert "the budget of `{x}` of $2.00" in refused.message
    assert "kt.budget(2.50)" in refused.hint
    assert budget.left == 0.5
