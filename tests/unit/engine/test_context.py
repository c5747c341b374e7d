"""Which scope code runs in: in threads, pools and tasks too, and never longer than it lasts."""

from __future__ import annotations

import asyncio
import contextvars
import threading
from collections.abc import AsyncIterator, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from kitaru_nb.engine import context
from kitaru_nb.engine.context import (
    current_front,
    current_scope,
    innermost,
    inside,
    job_of,
    provide,
    provide_front,
)
from kitaru_nb.engine.scope import Scope
from tests.unit.engine.turns import Attempts


@pytest.fixture
def scope(tmp_path: Path) -> Iterator[Scope]:
    """One that no code runs in."""
    with Attempts(tmp_path / "home").attempt() as found:
        token = context._scope.set(None)
        (entry,) = [each for each in context._flows if each.scope is found]
        context._flows.remove(entry)
        yield found
        context._flows.append(entry)
        context._scope.reset(token)


def in_thread() -> Scope | None:
    """The innermost scope of a thread that is started here."""
    found: list[Scope | None] = []
    thread = threading.Thread(target=lambda: found.append(innermost()))
    thread.start()
    thread.join()
    return found[0]


def test_code_belongs_to_the_innermost_block_and_to_none_after_it(scope: Scope) -> None:
    inner = scope.inner("call", "x")
    assert current_scope() is None

    with inside(scope):
        with inside(inner) as entered:
            assert (entered, current_scope(), innermost()) == (inner, inner, inner)
        assert (current_scope(), innermost()) == (scope, scope)

    assert (current_scope(), innermost()) == (None, None)


def test_a_block_that_raises_is_left(scope: Scope) -> None:
    def fails() -> None:
        with inside(scope):
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fails()

    assert current_scope() is None


def test_a_thread_belongs_to_whoever_started_it(scope: Scope) -> None:
    inner = scope.inner("call", "x")
    with inside(scope):
        assert in_thread() is scope
        with inside(inner):
            assert in_thread() is inner

    assert in_thread() is None


def test_a_thread_goes_on_in_its_scope_when_the_block_has_ended(scope: Scope) -> None:
    go_on, found = threading.Event(), list[Scope | None]()

    def work() -> None:
        go_on.wait()
        found.append(innermost())

    with inside(scope):
        thread = threading.Thread(target=work)
        thread.start()
    go_on.set()
    thread.join()

    assert found == [scope]


def test_a_job_belongs_to_whoever_handed_it_in_and_not_to_who_started_the_pools_thread(scope: Scope) -> None:
    inner = scope.inner("call", "x")
    with ThreadPoolExecutor(1) as pool:
        with inside(scope):
            assert pool.submit(innermost).result() is scope
            with inside(inner):
                assert pool.submit(innermost).result() is inner
                assert list(pool.map(lambda _: innermost(), range(2))) == [inner, inner]
        assert pool.submit(innermost).result() is None


def test_a_pool_of_interpreters_is_handed_the_job_itself(scope: Scope) -> None:
    """It pickles what it is handed. Python has such pools since 3.14; this one only looks like it."""
    pool_of = type(
        "InterpreterPoolExecutor", (ThreadPoolExecutor,), {"__module__": "concurrent.futures.interpreter"}
    )

    with pool_of(1) as pool:
        pool.submit(int).result()  # the thread is there, and in no scope
        with inside(scope):
            assert pool.submit(innermost).result() is None


@pytest.mark.parametrize("error", [None, ZeroDivisionError()])
def test_a_job_leaves_its_thread_as_it_was(scope: Scope, error: Exception | None) -> None:
    """What is called back in that thread when the job is done, whether or not it raised."""
    go_on, found = threading.Event(), list[Scope | None]()

    def job() -> None:
        go_on.wait()
        if error is not None:
            raise error

    with ThreadPoolExecutor(1) as pool:
        pool.submit(int).result()  # the thread is there, and in no scope
        with inside(scope):
            future = pool.submit(job)
            future.add_done_callback(lambda _: found.append(innermost()))
        go_on.set()
        assert future.exception() is error

    assert found == [None]


def test_tasks_at_the_same_time_each_have_their_own(scope: Scope) -> None:
    scopes = [scope.inner("call", str(number)) for number in range(3)]

    async def work(own: Scope) -> bool:
        with inside(own):
            await asyncio.sleep(0)
            seen = innermost()
            in_another = await asyncio.to_thread(innermost)
        return (seen, in_another, innermost()) == (own, own, scope)

    async def together() -> list[bool]:
        return await asyncio.gather(*map(work, scopes))

    with inside(scope):
        assert asyncio.run(together()) == [True] * 3


def test_a_generator_that_is_closed_in_another_context_leaves_none_behind(scope: Scope) -> None:
    async def values() -> AsyncIterator[int]:
        with inside(scope):
            yield 1

    async def cut_short() -> None:
        running = values()
        assert await anext(running) == 1
        assert await asyncio.create_task(closed(running)) is None

    async def closed(running: AsyncIterator[int]) -> Scope | None:
        await running.aclose()  # type: ignore[attr-defined] # a generator has it
        return innermost()

    contextvars.copy_context().run(asyncio.run, cut_short())

    assert scope not in [each.scope for each in context._flows]
    assert current_scope() is None


def test_without_a_scope_of_its_own_code_belongs_to_the_running_cell(scope: Scope) -> None:
    cell, inner = scope, scope.inner("call", "x")
    provide(lambda: cell)
    try:
        assert (current_scope(), innermost()) == (cell, None)
        with inside(inner):
            assert current_scope() is inner
    finally:
        provide(None)
    assert current_scope() is None


def test_a_thread_that_was_there_before_belongs_to_the_outermost_scope(scope: Scope) -> None:
    """A library's own thread makes a model call for a flow."""
    asked, answered, found = threading.Event(), threading.Event(), list[Scope | None]()

    def serve() -> None:
        asked.wait()
        found.append(current_scope())
        answered.set()

    thread = threading.Thread(target=serve)
    thread.start()
    with inside(scope), inside(scope.inner("call", "x")):
        asked.set()
        answered.wait()
    thread.join()

    assert found == [scope]


def test_where_several_flows_run_such_a_thread_belongs_to_none(scope: Scope, tmp_path: Path) -> None:
    both, found = threading.Barrier(2), list[Scope | None]()

    def serve() -> None:
        both.wait()
        found.append(current_scope())

    library = threading.Thread(target=serve)
    library.start()
    with inside(scope), ThreadPoolExecutor(1) as pool:
        pool.submit(_run_another, tmp_path / "other", both, library).result()

    assert found == [None]


def _run_another(home: Path, both: threading.Barrier, library: threading.Thread) -> None:
    token = context._scope.set(None)
    with Attempts(home).attempt():
        both.wait()
        library.join()
    context._scope.reset(token)


def test_the_front_end_says_where_a_wait_is_told() -> None:
    before, front = context._front, object()
    try:
        provide_front(lambda: front)  # type: ignore[arg-type, return-value] # anything will do
        assert current_front() is front
        provide_front(None)
        assert current_front() is None
    finally:
        provide_front(before)


def test_a_job_belongs_to_whoever_handed_it_over_and_asks_for_that_when_it_matters(scope: Scope) -> None:
    asked: list[Scope] = []

    def theirs() -> Scope:
        asked.append(scope)
        return scope

    with inside(scope.inner("call", "x")):
        with job_of(lambda: None):
            assert current_scope() is None
        with job_of(theirs):
            assert not asked
            assert current_scope() is scope
            with ThreadPoolExecutor(1) as pool:
                assert pool.submit(current_scope).result() is scope
        assert current_scope() is not scope
