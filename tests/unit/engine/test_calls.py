"""Recorded calls: what is never made again, what counts as another call, and what is put back."""

from __future__ import annotations

import asyncio
import contextlib
import os
import random
import sqlite3
import threading
import time
import types
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from kitaru_nb import checkpoint, gather, once
from kitaru_nb.artifacts.values import checked_buffers
from kitaru_nb.engine.context import current_scope
from kitaru_nb.engine.engine import Engine
from kitaru_nb.errors import KitaruError, StoreError, TimedOutError, UnstorableError, UsageError
from kitaru_nb.model.checkpoint import CheckpointStatus, Group, StepKind
from kitaru_nb.stacks.open import load_stored
from tests.further import further
from tests.unit.engine.kernel import Start
from tests.unit.engine.turns import Attempts


@pytest.fixture
def attempts(tmp_path: Path) -> Attempts:
    return Attempts(tmp_path / "home")


def defined(source: str, **names: Any) -> Any:
    """The function `f` of a module with this source; its names are the function's globals."""
    module = types.ModuleType("__main__")
    vars(module).update(names)
    exec(compile(source, "<test>", "exec", dont_inherit=True), vars(module))
    return vars(module)


# Not made again


def test_outside_any_execution_a_function_just_runs() -> None:
    ran: list[int] = []

    @checkpoint
    def double(x: int) -> int:
        ran.append(x)
        return 2 * x

    assert [double(2), double(2), len(ran)] == [4, 4, 2]
    assert double.__name__ == "double"


def test_a_call_that_came_to_its_end_is_not_made_again(attempts: Attempts) -> None:
    @checkpoint
    def double(x: int) -> int:
        attempts.ran.append(x)
        return 2 * x

    first, second, ran = attempts.twice(lambda: [double(1), double(2)])

    assert (first, second, ran) == ([2, 4], [2, 4], [])


def test_equal_calls_have_results_of_their_own_and_the_same_ones_again(attempts: Attempts) -> None:
    @checkpoint
    def roll() -> float:
        return random.random()

    first, second, _ = attempts.twice(lambda: [roll() for _ in range(3)])

    assert len(set(first)) == 3
    assert second == first


def test_a_reused_result_that_could_not_be_recorded_is_given_again(
    attempts: Attempts, monkeypatch: pytest.MonkeyPatch
) -> None:
    @checkpoint(reuse=True)
    def double(x: int) -> int:
        attempts.ran.append(x)
        return 2 * x

    with attempts.attempt_at("tests:first"):
        double(4)
    attempts.ran.clear()

    def full(*_: object, **__: object) -> None:
        raise StoreError("the disk is full", kind="journal-full", hint="make room")

    with attempts.attempt():
        with monkeypatch.context() as patch:
            patch.setattr(attempts.engine.journal, "commit", full)
            with pytest.raises(StoreError):
                double(4)
        found = double(4)

    assert (found, attempts.ran) == (8, [])


def test_calls_beyond_those_on_record_are_made(attempts: Attempts) -> None:
    @checkpoint
    def roll(_sides: int) -> float:
        attempts.ran.append("rolled")
        return random.random()

    with attempts.attempt():
        first = [roll(6) for _ in range(2)]
    attempts.ran.clear()
    with attempts.attempt():
        second = [roll(6) for _ in range(3)]

    assert second[:2] == first
    assert attempts.ran == ["rolled"]


def test_what_a_call_did_inside_is_there_when_the_call_itself_was_cut_short(
    attempts: Attempts, monkeypatch: pytest.MonkeyPatch
) -> None:
    @checkpoint
    def inner(x: int) -> int:
        attempts.ran.append(x)
        if x == 2 and os.environ.get("CUT"):
            raise KeyboardInterrupt
        return x

    @checkpoint
    def outer(count: int) -> list[int]:
        return [inner(x) for x in range(count)]

    monkeypatch.setenv("CUT", "1")
    with attempts.attempt(), pytest.raises(KeyboardInterrupt):
        outer(4)
    monkeypatch.delenv("CUT")
    attempts.ran.clear()
    with attempts.attempt():
        result = outer(4)

    assert result == [0, 1, 2, 3]
    assert attempts.ran == [2, 3]


def test_a_counter_that_an_earlier_attempt_in_this_process_moved_makes_no_other_call(
    attempts: Attempts, monkeypatch: pytest.MonkeyPatch
) -> None:
    space = defined(
        "import os\ncalls = []\ncount = 0\nrows = []\n"
        "def f(x):\n global count\n calls.append(x)\n count += 1\n rows.append({'x': x})\n"
        " if x == 2 and os.environ.get('CUT'): raise KeyboardInterrupt\n return x * 10\n"
    )
    f = checkpoint(space["f"])
    monkeypatch.setenv("CUT", "1")
    with attempts.attempt(), pytest.raises(KeyboardInterrupt):
        f.map(range(3), max_workers=1)
    monkeypatch.delenv("CUT")
    with attempts.attempt():
        found = [f(x) for x in range(4)]

    assert found == [0, 10, 20, 30]
    assert space["calls"] == [0, 1, 2, 3]
    assert space["count"] == 4
    made = [s for s in attempts.engine.journal.steps_within(attempts.execution.id) if s.draft.error is None]
    assert len(made) == 4


def test_a_call_after_one_that_was_made_finds_what_that_has_left(
    attempts: Attempts,
) -> None:
    space = defined("log = []\ndef f(x):\n log.append(x)\n return [*log]\n")
    f = checkpoint(space["f"])
    with attempts.attempt(), pytest.raises(ZeroDivisionError):
        [f(1), f(2), 1 / 0]
    space["log"].append(5)

    with attempts.attempt():
        found = [f(1), f(2)]

    assert found == [[1, 2, 5, 1], [1, 2, 5, 1, 2]]


HELD = """import numpy as np
def made():
    return MADE
def step(state):
    state["log"].append(2)
    state["a"] += 1
    return PART
"""


@pytest.mark.parametrize("part", ["state['a'][1:]", further("state['a'].T[::-1]"), further("[state]")])
@pytest.mark.parametrize(
    "made",
    [
        "np.arange(12.0).reshape(3, 4)",
        further("np.arange(24).reshape(3, 8)[:, 2::2]"),
        further("np.arange(12).astype('m8[s]').reshape(3, 4).T"),
        further("np.arange(200_000.0).reshape(2, -1)"),
        further("np.frombuffer(bytearray(32), 'i4').reshape(2, 4)"),
    ],
)
def test_an_array_is_served_to_the_next_call_whatever_it_looked_into(
    attempts: Attempts, made: str, part: str
) -> None:
    ends = []
    for _ in range(2):
        space = defined(HELD.replace("MADE", made).replace("PART", part))
        with contextlib.suppress(InterruptedError), attempts.attempt():
            state = {"log": [1], "a": checkpoint(space["made"])()}
            found = checkpoint(space["step"])(state)
            held = found[0]["a"] if isinstance(found, list) else found
            held[...] = held[::-1].copy()
            ends.append(
                (state["log"], state["a"].tolist(), held.tolist(), np.shares_memory(held, state["a"]))
            )
            raise InterruptedError

    assert ends[0] == ends[1]
    assert ends[0][-1]


RATED = "rate = [1]\ndef to(x):\n rate[0] = x\n return x\ndef f():\n rate.append(0)\n return rate[0] * 10\n"


@pytest.mark.parametrize("beside", [False, further(True)])
def test_a_call_after_one_that_was_served_finds_what_that_has_left(attempts: Attempts, beside: bool) -> None:
    for x in (1, 2, 2):  # each time in what is a new process for the globals
        space = defined(RATED)
        to, f = checkpoint(space["to"]), checkpoint(space["f"])
        with contextlib.suppress(InterruptedError), attempts.attempt():
            to.submit(x).result() if beside else to(x)
            found = f()
            raise InterruptedError

        assert found == x * 10
        assert space["rate"] == [x, 0]


@pytest.mark.further
def test_a_call_after_tasks_finds_what_those_have_left(attempts: Attempts) -> None:
    async def flow(x: int) -> list[int]:
        space = defined(RATED + "async def ato(x):\n rate[0] = x\n return x\n")
        ato, f = checkpoint(space["ato"]), checkpoint(space["f"])
        found = []
        with contextlib.suppress(InterruptedError), attempts.attempt():
            await asyncio.gather(ato(x))
            found.append(f())
            raise InterruptedError
        return found

    assert [asyncio.run(flow(x)) for x in (1, 2, 2)] == [[10], [20], [20]]


def test_an_exception_is_recorded_as_a_failure_and_never_served(attempts: Attempts) -> None:
    broken = [True]

    @checkpoint
    def fetch() -> str:
        if broken:
            raise OSError("no route")
        return "page"

    with attempts.attempt(), pytest.raises(OSError, match="no route"):
        fetch()
    broken.clear()
    with attempts.attempt():
        found = fetch()
    steps = attempts.engine.journal.steps_within(attempts.execution.id)

    assert found == "page"
    assert [step.draft.status for step in steps] == [CheckpointStatus.FAILED, CheckpointStatus.COMPLETED]
    assert steps[0].draft.error == {"ename": "OSError", "evalue": "no route"}


def test_a_run_with_fresh_makes_the_calls_anew_and_goes_on_where_it_is_cut_short(attempts: Attempts) -> None:
    @checkpoint
    def roll(x: int) -> float:
        attempts.ran.append(x)
        return random.random()

    with attempts.attempt("cell:a") as scope:
        first = roll(1)
        scope.book.finish(scope)
    attempts.ran.clear()
    with attempts.attempt("cell:a", fresh=True):
        fresh = roll(1)
    with attempts.attempt("cell:a", fresh=True):  # the one before did not come to its end
        again = [roll(1), roll(2)]

    assert fresh != first
    assert again[0] == fresh
    assert attempts.ran == [1, 2]


def test_ten_thousand_equal_calls_are_told_apart(attempts: Attempts) -> None:
    @checkpoint
    def count() -> int:
        attempts.ran.append(0)
        return len(attempts.ran)

    first, second, ran = attempts.twice(lambda: [count() for _ in range(300)])

    assert first == second == list(range(1, 301))
    assert ran == []


# What counts as another call


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("def f(x): return x + 1", "def f(x): return x + 2"),
        ("K = 3\ndef f(x): return x + K", "K = 5\ndef f(x): return x + K"),
        ("def g(): return 1\ndef f(x): return g()", "def g(): return 2\ndef f(x): return g()"),
        ("def f(x, y=1): return x + y", "def f(x, y=2): return x + y"),
        ("t = {'a': 1}\ndef f(x): return t['a']", "t = {'a': 2}\ndef f(x): return t['a']"),
        (
            "class C:\n def m(self): return 1\ndef f(x): return C().m()",
            "class C:\n def m(self): return 2\ndef f(x): return C().m()",
        ),
        (
            "class B:\n k = 1\nclass C(B): pass\ndef f(x): return C.k",
            "class B:\n k = 2\nclass C(B): pass\ndef f(x): return C.k",
        ),
        (
            "import functools\ng = functools.partial(int, '7')\ndef f(x): return g()",
            "import functools\ng = functools.partial(int, '8')\ndef f(x): return g()",
        ),
    ],
)
def test_a_change_of_what_the_function_reaches_is_another_call(
    attempts: Attempts, before: str, after: str
) -> None:
    one, other = checkpoint(defined(before)["f"]), checkpoint(defined(after)["f"])
    with attempts.attempt():
        one(1)
    with attempts.attempt():
        found = other(1)

    assert found == defined(after)["f"](1)


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("def f(x): return x + 1", "# why\ndef f(x):\n    # how\n\n    return x + 1"),
        ("def f(x): return x + 1\ndef g(): return 1", "def g(): return 2\ndef f(x): return x + 1"),
        ("K = 1\ndef f(x): return x + 1", "K = 2\ndef f(x): return x + 1"),
    ],
)
def test_what_the_function_does_not_reach_does_not_count(attempts: Attempts, before: str, after: str) -> None:
    with attempts.attempt():
        checkpoint(defined(before)["f"])(1)
    with attempts.attempt() as scope:
        checkpoint(defined(after)["f"])(1)

    assert len(scope.served) == 0  # told, since the attempt has ended
    steps = attempts.engine.journal.steps_within(attempts.execution.id)
    assert len(steps) == 1


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (1, True),
        (1, 1.0),
        (0.0, -0.0),
        ("1", 1),
        ([1, 2], (1, 2)),
        ({"a": 1, "b": 2}, {"b": 2, "a": 1}),
        (np.arange(3), np.arange(3.0)),
        (np.zeros((2, 3)), np.zeros((3, 2))),
        (b"a", "a"),
        (None, 0),
    ],
)
def test_arguments_that_differ_make_another_call(attempts: Attempts, one: object, other: object) -> None:
    @checkpoint
    def look(x: object) -> str:
        attempts.ran.append(1)
        return repr(x)

    with attempts.attempt():
        look(one)
        look(other)

    assert len(attempts.ran) == 2


def test_an_edit_of_the_function_around_it_makes_no_call_inside_it_again(attempts: Attempts) -> None:
    @checkpoint
    def fetch(page: int) -> int:
        attempts.ran.append(page)
        return page

    first = defined("def f(n):\n for i in range(n): fetch(i)\n raise KeyboardInterrupt", fetch=fetch)["f"]
    edited = defined("def f(n):\n return sum(fetch(i) for i in range(n))", fetch=fetch)["f"]
    with attempts.attempt(), pytest.raises(KeyboardInterrupt):
        checkpoint(first)(3)
    attempts.ran.clear()
    with attempts.attempt():
        total = checkpoint(edited)(4)

    assert total == 6
    assert attempts.ran == [3]


def test_a_call_with_other_arguments_finds_what_the_one_it_replaces_had_done(attempts: Attempts) -> None:
    @checkpoint
    def fetch(page: int) -> int:
        attempts.ran.append(page)
        return page

    @checkpoint
    def collect(label: str) -> list[int]:
        found = [fetch(page) for page in range(3)]
        if label == "draft":
            raise KeyboardInterrupt
        return found

    with attempts.attempt(), pytest.raises(KeyboardInterrupt):
        collect("draft")
    attempts.ran.clear()
    with attempts.attempt():
        collect("final")

    assert attempts.ran == []


def test_calls_two_levels_below_changed_arguments_are_not_made_again(attempts: Attempts) -> None:
    @checkpoint
    def fetch(page: int) -> int:
        attempts.ran.append(page)
        return len(attempts.ran)

    @checkpoint
    def chapter(label: str, number: int) -> list[int]:
        found = [fetch(page) for page in range(3)]
        if label == "draft" and number == 1:
            raise KeyboardInterrupt
        return found

    @checkpoint
    def book(label: str) -> list[list[int]]:
        return [chapter(label, 0), chapter(label, 1)]

    with attempts.attempt(), pytest.raises(KeyboardInterrupt):
        book("draft")
    attempts.ran.clear()
    with attempts.attempt():
        found = book("final")

    # The first chapter came to its end with its own samples, which stay its own. What was fetched for
    # the second one, which did not, is for the first that asks.
    assert found == [[4, 5, 6], [1, 2, 3]]
    assert attempts.ran == [0, 1, 2]


def test_what_two_levels_below_was_for_one_call_is_not_given_to_two(attempts: Attempts) -> None:
    @checkpoint
    def sample() -> int:
        attempts.ran.append(1)
        return len(attempts.ran)

    @checkpoint
    def inner(label: str) -> list[int]:
        found = [sample(), sample()]
        if label == "draft":
            raise KeyboardInterrupt
        return found

    @checkpoint
    def outer(label: str) -> list[int]:
        return inner(label)

    with attempts.attempt(), pytest.raises(KeyboardInterrupt):
        outer("draft")
    with attempts.attempt():
        first, second = outer("final"), outer("last")
    with attempts.attempt():
        again = outer("final"), outer("last")

    assert (first, second) == ([1, 2], [3, 4])
    assert again == (first, second)
    assert len(attempts.ran) == 4


def test_an_effect_once_two_levels_below_changed_arguments_is_not_had_again(attempts: Attempts) -> None:
    @checkpoint
    def pay(amount: int) -> int:
        attempts.ran.append(amount)
        return amount

    @checkpoint
    def shop(label: str) -> int:
        def buy() -> int:
            paid = pay(5)
            if label == "draft":
                raise KeyboardInterrupt
            return paid

        return once("buy", buy)

    with attempts.attempt(), pytest.raises(KeyboardInterrupt):
        shop("draft")
    with attempts.attempt():
        paid = shop("final")

    assert paid == 5
    assert attempts.ran == [5]


# What is put back


def grown(items: list[Any], table: dict[str, Any], array: Any, frame: Any) -> Any:
    items.append({"n": len(items)})
    table["last"] = items[-1]
    array[1:] += 5
    frame["sum"] = frame["a"] + 1
    return items[-1]


def test_what_a_call_changes_in_its_arguments_is_done_again_to_the_callers_objects(
    attempts: Attempts,
) -> None:
    grow = checkpoint(grown)

    def body() -> tuple[Any, ...]:
        items: list[Any] = [{"n": 0}]
        table: dict[str, Any] = {"all": items}
        array, frame = np.zeros(4), pd.DataFrame({"a": [1, 2]})
        alias, first, view = items, items[0], array[2:]
        last = grow(items, table, array, frame)
        assert alias is items
        assert items[0] is first
        assert table["all"] is items
        assert table["last"] is items[-1] is last
        assert view.base is array
        return items, array.tolist(), view.tolist(), frame.to_dict("list")

    first, second, _ = attempts.twice(body)

    assert second == first
    assert first[1] == [0.0, 5.0, 5.0, 5.0]


def test_an_instance_and_what_it_shares_are_put_back(attempts: Attempts) -> None:
    space = defined(
        "class Model:\n def __init__(self): self.weights = [1.0]; self.steps = 0\n"
        "def f(model, optimizer):\n model.steps += 1\n model.weights[0] *= 2\n"
        " optimizer['seen'] = model\n return model"
    )
    train = checkpoint(space["f"])

    def body() -> list[Any]:
        model = space["Model"]()
        optimizer: dict[str, Any] = {"params": model.weights}
        for _ in range(3):
            assert train(model, optimizer) is model
        assert optimizer["params"] is model.weights
        assert optimizer["seen"] is model
        return [model.weights, model.steps]

    first, second, _ = attempts.twice(body)

    assert first == second == [[8.0], 3]


def test_globals_and_closures_that_a_call_changes_are_put_back(attempts: Attempts) -> None:
    source = (
        "log = []\ncount = 0\n"
        "def f(x):\n global count\n count += 1\n log.append(x)\n bump()\n return count\n"
        "def counter():\n n = 0\n def bump():\n  nonlocal n\n  n += 1\n  return n\n return bump\n"
        "bump = counter()\n"
    )
    before, after = defined(source), defined(source)
    with attempts.attempt():
        results = [checkpoint(before["f"])(x) for x in (1, 2)]
    with attempts.attempt():
        again = [checkpoint(after["f"])(x) for x in (1, 2)]

    assert again == results == [1, 2]
    assert (after["log"], after["count"]) == ([1, 2], 2)
    assert after["bump"]() == 3
    steps = attempts.engine.journal.steps_within(attempts.execution.id)
    assert len(steps) == 2


def test_a_change_that_cannot_be_put_back_is_an_error_and_nothing_is_recorded(attempts: Attempts) -> None:
    @checkpoint
    def change(holder: Any) -> None:
        next(holder)

    numbers = iter([1, 2, 3])
    with attempts.attempt(), pytest.raises(KitaruError):
        change(numbers)
    recorded = attempts.engine.journal.steps_within(attempts.execution.id)

    assert [step for step in recorded if step.draft.status is CheckpointStatus.COMPLETED] == []


def test_a_result_that_cannot_be_stored_is_an_error_at_once(attempts: Attempts) -> None:
    @checkpoint
    def rows() -> Any:
        return (x for x in range(3))

    with attempts.attempt(), pytest.raises(UnstorableError) as refused:
        rows()

    assert refused.value.kind == "unstorable-result"
    assert "`rows`" in refused.value.message


# Retries and time


def test_a_call_that_raises_is_tried_again(attempts: Attempts, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("kitaru_nb.engine.checkpoint.time.sleep", lambda _: None)
    tries: list[int] = []

    @checkpoint
    def page(number: int) -> int:
        attempts.ran.append(number)
        return number

    @checkpoint(retries=3)
    def fetch() -> int:
        tries.append(page(1))
        if len(tries) < 3:
            raise OSError("busy")
        return len(tries)

    with attempts.attempt():
        assert fetch() == 3

    assert attempts.ran == [1]


def test_the_last_failure_is_raised_when_the_tries_are_used_up(
    attempts: Attempts, monkeypatch: pytest.MonkeyPatch
) -> None:
    pauses: list[float] = []
    monkeypatch.setattr("kitaru_nb.engine.checkpoint.time.sleep", pauses.append)

    @checkpoint(retries=2)
    def fetch() -> None:
        attempts.ran.append(1)
        raise OSError(f"try {len(attempts.ran)}")

    with attempts.attempt(), pytest.raises(OSError, match="try 3"):
        fetch()

    assert pauses == [1.0, 2.0]


@pytest.mark.parametrize("thread", [False, True])
def test_a_call_that_takes_too_long_is_stopped(attempts: Attempts, *, thread: bool) -> None:
    @checkpoint(timeout=0.2)
    def spin() -> None:
        while True:
            pass

    ask = (lambda: spin.submit().result()) if thread else spin
    with attempts.attempt(), pytest.raises(TimedOutError) as late:
        ask()

    assert late.value.kind == "timeout"
    assert "`spin`" in late.value.message


def test_a_coroutine_that_takes_too_long_is_stopped(attempts: Attempts) -> None:
    @checkpoint(timeout=0.1)
    async def sleep() -> None:
        await asyncio.Event().wait()

    with attempts.attempt(), pytest.raises(TimedOutError):
        asyncio.run(sleep())


@pytest.mark.parametrize("swallows", [False, True], ids=["blocks", "swallows"])
def test_a_call_that_comes_to_its_end_after_its_time_has_failed(attempts: Attempts, swallows: bool) -> None:
    def late() -> None:
        until = time.monotonic() + 0.2
        while time.monotonic() < until:
            with contextlib.suppress(KeyboardInterrupt):
                time.sleep(0.01)

    @checkpoint(timeout=0.05)
    async def blocks() -> None:
        late()

    @checkpoint(timeout=0.05)
    def goes_on() -> None:
        late()

    with attempts.attempt(), pytest.raises(TimedOutError) as failed:
        goes_on() if swallows else asyncio.run(blocks())

    assert failed.value.message.endswith("ran longer than 0.05 s")


# Many at once


def test_a_map_makes_only_the_calls_that_are_missing(
    attempts: Attempts, monkeypatch: pytest.MonkeyPatch
) -> None:
    @checkpoint
    def square(x: int) -> int:
        attempts.ran.append(x)
        if str(x) in os.environ.get("BROKEN", ""):
            raise ValueError(f"item {x}")
        return x * x

    monkeypatch.setenv("BROKEN", "3 5")
    with attempts.attempt(), pytest.raises(ValueError, match="item 3"):
        square.map(range(8), max_workers=3)
    assert sorted(attempts.ran) == list(range(8))
    monkeypatch.delenv("BROKEN")
    attempts.ran.clear()
    with attempts.attempt():
        found = square.map(range(8), max_workers=3)

    assert found == [x * x for x in range(8)]
    assert sorted(attempts.ran) == [3, 5]


def test_a_map_can_collect_failures(attempts: Attempts) -> None:
    @checkpoint
    def halve(x: int) -> int:
        if x % 2:
            raise ValueError(x)
        return x // 2

    with attempts.attempt():
        found = halve.map([2, 3, 4], on_error="collect")

    assert found[::2] == [1, 2]
    assert isinstance(found[1], ValueError)


def test_items_can_be_told_apart_by_a_key(attempts: Attempts) -> None:
    @checkpoint
    def read(item: dict[str, Any]) -> int:
        attempts.ran.append(item["id"])
        return int(item["id"])

    def body() -> Any:
        items = [{"id": n, "asked": random.random()} for n in range(3)]
        return read.map(items, key=lambda item: item["id"])

    first, second, ran = attempts.twice(body)

    assert first == second == [0, 1, 2]
    assert ran == []


def test_calls_that_wait_for_calls_never_wait_for_a_thread(attempts: Attempts) -> None:
    @checkpoint
    def leaf(x: int) -> int:
        return x

    @checkpoint
    def branch(x: int) -> int:
        return sum(leaf.map(range(x), max_workers=2))

    with attempts.attempt():
        found = branch.map([3] * 40, max_workers=40)

    assert found == [3] * 40


def test_futures_are_gathered_in_their_order(attempts: Attempts) -> None:
    @checkpoint
    def same(x: int) -> int:
        attempts.ran.append(x)
        return x

    first, second, ran = attempts.twice(lambda: gather(*[same.submit(x) for x in (3, 1, 2)]))

    assert first == second == [3, 1, 2]
    assert ran == []


@pytest.mark.parametrize("how", ["await", "gather", "gather coroutines", "map"])
def test_coroutines_are_recorded(attempts: Attempts, how: str) -> None:
    @checkpoint
    async def same(x: int) -> int:
        await asyncio.sleep(0)
        attempts.ran.append(x)
        return x

    async def main() -> Any:
        match how:
            case "await":
                return [await same(x) for x in range(3)]
            case "gather":
                return await gather(*[same.submit(x) for x in range(3)])
            case "gather coroutines":
                return await gather(*[same(x) for x in range(3)])
            case _:
                return await same.map(range(3), max_workers=2)

    first, second, ran = attempts.twice(lambda: asyncio.run(main()))

    assert first == second == [0, 1, 2]
    assert ran == []


def test_coroutines_are_gathered_without_an_event_loop_too(attempts: Attempts) -> None:
    @checkpoint
    async def same(x: int) -> int:
        attempts.ran.append(x)
        return x

    first, second, ran = attempts.twice(lambda: gather(same(0), same.submit(1), same(2)))

    assert first == second == [0, 1, 2]
    assert ran == []


@pytest.mark.parametrize("pool", [True, False])
def test_threads_of_the_users_own_belong_to_the_call_that_began_them(
    attempts: Attempts, *, pool: bool
) -> None:
    seen: list[str] = []

    @checkpoint
    def inner(x: int) -> int:
        scope = current_scope()
        assert scope is not None
        seen.append(scope.path)
        return x

    @checkpoint
    def outer() -> list[int]:
        if pool:
            with ThreadPoolExecutor(2) as workers:
                return list(workers.map(inner, range(4)))
        threads = [threading.Thread(target=inner, args=(x,)) for x in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        return []

    with attempts.attempt():
        outer()

    assert len(seen) == 4
    assert all(path.startswith("flow/outer:") for path in seen)


# How it is asked for


@pytest.mark.parametrize(
    "ask",
    [
        lambda: checkpoint(3),  # type: ignore[call-overload]
        lambda: checkpoint(int),
        lambda: checkpoint(retries=-1)(lambda: 1),
        lambda: checkpoint(timeout="soon")(lambda: 1),
        lambda: checkpoint(timeout=timedelta(seconds=-1))(lambda: 1),
        lambda: checkpoint(timeout=1e300)(lambda: 1),
        lambda: checkpoint(name=5)(lambda: 1),  # type: ignore[call-overload]
        lambda: checkpoint(name="a/b")(lambda: 1),
    ],
)
def test_what_cannot_be_a_checkpoint_is_refused(ask: Callable[[], Any]) -> None:
    with pytest.raises(UsageError) as refused:
        ask()

    assert refused.value.hint


def test_a_generator_cannot_be_a_checkpoint() -> None:
    def rows() -> Any:
        yield 1

    with pytest.raises(UsageError, match="generator"):
        checkpoint(rows)


def test_wrong_arguments_raise_as_a_plain_call_does(attempts: Attempts) -> None:
    @checkpoint
    def one(x: int) -> int:
        return x

    with attempts.attempt(), pytest.raises(TypeError):
        one(1, 2)  # type: ignore[call-arg]


def test_what_was_served_counts_as_saved(attempts: Attempts) -> None:
    @checkpoint
    def work(x: int) -> int:
        return x

    attempts.twice(lambda: [work(1), work(2)])
    events = [e for e in attempts.engine.journal.events(attempts.execution.id) if e.kind == "served"]

    assert [event.data["steps"] for event in events] == [[[1, 2]]]
    assert attempts.execution.saved_duration > 0


def test_calls_are_no_cells(attempts: Attempts) -> None:
    @checkpoint
    def work() -> int:
        return 1

    with attempts.attempt():
        work()

    assert attempts.engine.journal.checkpoints(attempts.execution.id) == []
    assert [s.draft.kind for s in attempts.engine.journal.steps_within(attempts.execution.id)] == [
        StepKind.CALL
    ]


def test_what_is_stored_of_a_decorated_function_is_the_users_own(start: Start) -> None:
    kernel = start()
    source = "import kitaru_nb as kt\n@kt.checkpoint(retries=2)\ndef f(x):\n    return x + 1\n"
    source += "@kt.flow\ndef g(x):\n    return f(x)\nalias = f"
    kernel.cell("%%checkpoint a\n" + source, step="a")
    artifact = kernel.last.draft.groups[0].artifact
    stream = b"".join(
        bytes(location.data or b"")
        for location in kernel.engine.journal.locate(
            extent.digest for row in checked_buffers(kernel.engine.artifact(artifact)) for extent in row
        ).values()
    )

    again = start()
    again.session.resume()

    assert b"engine/checkpoint.py" not in stream
    assert again["f"](1) == 2
    assert again["alias"] is again["f"]
    assert again["f"].__wrapped__.__globals__ is again.live
    assert callable(again["f"].map)
    assert again.cell("%%checkpoint a\n" + source, step="a") == "restored"


# Read by itself


def read(attempts: Attempts, ref: str) -> Any:
    """A stored value as `kitaru_nb.load` gives it."""
    return load_stored(f"latest/{ref}", settings=attempts.engine.settings)[1]


def result_group(attempts: Attempts, name: str) -> Group:
    """Where the last result of calls of that name is read from."""
    journal = attempts.engine.journal
    named = [each for each in journal.every_checkpoint() if each.draft.name == name]
    return named[-1].draft.groups[0]


def test_a_result_that_was_there_before_the_call_is_read_as_the_call_left_it(attempts: Attempts) -> None:
    names = defined(
        """
import enum
class Verdict(enum.Enum): YES = 1; NO = 2
LABELS = ["cat", "dog"]
def judge(x): return Verdict.YES
def add(h): h.append(1); return h
def label(i): return {"label": LABELS[i], "all": LABELS}
"""
    )
    judge, add, label = (checkpoint(names[name]) for name in ("judge", "add", "label"))
    history = [0]

    with attempts.attempt():
        judge(1), add(history), label(0)
    history.append(2)

    assert read(attempts, "judge/result") is names["Verdict"].YES
    assert read(attempts, "add/result") == [0, 1]
    assert read(attempts, "label/result") == {"label": "cat", "all": ["cat", "dog"]}


def test_a_result_of_an_earlier_call_that_is_given_back_is_stored_once(
    attempts: Attempts, monkeypatch: pytest.MonkeyPatch
) -> None:
    put, stored = Engine.put, []

    @checkpoint
    def make() -> Any:
        return np.arange(100_000)

    @checkpoint
    def check(rows: Any) -> Any:
        return rows

    def counted(engine: Engine, values: Any, **options: Any) -> Any:
        stored.extend(type(value) for value in values.values())
        return put(engine, values, **options)

    monkeypatch.setattr(Engine, "put", counted)
    with attempts.attempt():
        check(make())

    assert stored.count(np.ndarray) == 2, (
        "what `make` gave, and the reference to it that `check` is served from"
    )
    assert result_group(attempts, "check") == result_group(attempts, "make")
    assert read(attempts, "check/result")[-1] == 99_999


def test_a_view_of_an_argument_is_stored_without_the_rest(attempts: Attempts) -> None:
    @checkpoint
    def head(rows: Any) -> Any:
        return rows[:10]

    with attempts.attempt():
        head(np.arange(100_000))

    assert attempts.engine.artifact(result_group(attempts, "head").artifact).bytes < 10_000
    assert read(attempts, "head/result").tolist() == list(range(10))


def test_an_argument_that_cannot_be_stored_can_be_given_back_and_is_an_error_where_it_is_read(
    attempts: Attempts,
) -> None:
    @checkpoint
    def same(found: Any) -> Any:
        return found

    connection = sqlite3.connect(":memory:")

    with attempts.attempt():
        assert same(connection) is connection

    with pytest.raises(UnstorableError, match="what `same` gave was there before the call") as raised:
        read(attempts, "same/result")

    assert raised.value.hint == "let `same` return plain data"


def test_a_result_that_an_early_version_stored_without_what_it_refers_to_is_an_error(
    attempts: Attempts,
) -> None:
    @checkpoint
    def wrap(history: list[int]) -> Any:
        return {"history": history}

    with attempts.attempt():
        wrap([1])
    tied = attempts.engine.journal.steps_within(attempts.engine.journal.execution("latest").id)[-1].draft
    digest = (tied.result or "").partition(":")[2]  # what such a version had in the place of the result

    with pytest.raises(UnstorableError, match="refers to, what was there before the call") as raised:
        load_stored(digest, settings=attempts.engine.settings)

    assert raised.value.kind == "not-by-itself"
    assert "kitaru-nb replay" in (raised.value.hint or "")
