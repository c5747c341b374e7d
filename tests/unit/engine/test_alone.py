"""One at a time has an effect, whatever it is: a thread, or a task of any event loop."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator

import pytest

from kitaru_nb import once
from kitaru_nb.engine import alone
from kitaru_nb.engine.alone import alone as alone_sync
from kitaru_nb.engine.alone import alone_async
from kitaru_nb.errors import UsageError
from tests.unit.engine.test_calls import attempts
from tests.unit.engine.turns import Attempts

__all__ = ["attempts"]


@pytest.fixture(autouse=True)
def _nothing_is_left_over() -> Iterator[None]:
    yield
    assert alone._here.owners == {}


def test_a_thread_and_a_coroutine_that_ask_at_the_same_time_have_one_effect(attempts: Attempts) -> None:
    began, asked = threading.Event(), asyncio.Event()

    async def slow() -> str:
        attempts.ran.append("coroutine")
        began.set()
        await asyncio.wait_for(asked.wait(), 100)
        return "a"

    def fast() -> str:
        attempts.ran.append("thread")
        return "b"

    def later(loop: asyncio.AbstractEventLoop) -> str:
        assert began.wait(100)
        loop.call_soon_threadsafe(loop.call_later, 0.05, asked.set)
        return once("k", fast)  # meanwhile

    async def both() -> tuple[str, str]:
        loop = asyncio.get_running_loop()
        thread = loop.run_in_executor(None, later, loop)
        return await once("k", slow), await thread

    with attempts.attempt():
        found = asyncio.run(both())

    assert found == ("a", "a")
    assert attempts.ran == ["coroutine"]


def test_a_coroutine_waits_for_a_thread_that_has_the_effect(attempts: Attempts) -> None:
    began, asked = threading.Event(), threading.Event()

    def slow() -> str:
        attempts.ran.append("thread")
        began.set()
        assert asked.wait(100)
        return "a"

    async def fast() -> str:
        attempts.ran.append("coroutine")
        return "b"

    async def both() -> tuple[str, str]:
        loop = asyncio.get_running_loop()
        thread = loop.run_in_executor(None, lambda: once("k", slow))
        assert await loop.run_in_executor(None, began.wait, 10)
        loop.call_later(0.05, asked.set)
        return await once("k", fast), await thread

    with attempts.attempt():
        found = asyncio.run(both())

    assert found == ("a", "a")
    assert attempts.ran == ["thread"]


def test_who_has_an_effect_twice_lets_go_with_the_last_end(attempts: Attempts) -> None:
    async def twice(inside: asyncio.Event) -> None:
        async with alone_async(scope.book, "k"):
            async with alone_async(scope.book, "k"):
                pass
            with alone_sync(scope.book, "k"):
                pass
            inside.set()
            for _ in range(50):  # the other one looks many times
                await asyncio.sleep(0.001)
            attempts.ran.append("out")

    async def other(inside: asyncio.Event) -> None:
        await inside.wait()
        async with alone_async(scope.book, "k"):
            attempts.ran.append("other")

    async def both() -> None:
        inside = asyncio.Event()
        await asyncio.gather(twice(inside), other(inside))

    with attempts.attempt() as scope:
        asyncio.run(both())

    assert attempts.ran == ["out", "other"]


def test_a_loop_that_the_owner_runs_is_inside_of_it(attempts: Attempts) -> None:
    async def inner() -> None:
        async with alone_async(scope.book, "k"):
            attempts.ran.append("inner")

    with attempts.attempt() as scope, alone_sync(scope.book, "k"):
        asyncio.run(asyncio.wait_for(inner(), 10))

    assert attempts.ran == ["inner"]


def test_a_plain_call_that_would_block_the_owners_loop_is_refused(attempts: Attempts) -> None:
    async def both() -> None:
        async with alone_async(scope.book, "k"):
            await asyncio.create_task(plain())

    async def plain() -> None:
        with pytest.raises(UsageError, match=r'`once\("k", ...\)` waits for a task') as caught:
            once("k", int)
        assert caught.value.kind == "would-block"

    with attempts.attempt() as scope:
        asyncio.run(both())


def test_an_owner_whose_loop_was_closed_has_nothing_any_more(attempts: Attempts) -> None:
    async def never_ends() -> None:
        async with alone_async(scope.book, "k"):
            await asyncio.Event().wait()

    async def taken() -> None:
        async with alone_async(scope.book, "k"):
            attempts.ran.append("taken")

    with attempts.attempt() as scope:
        loop = asyncio.new_event_loop()
        task = loop.create_task(never_ends())
        loop.run_until_complete(asyncio.sleep(0))
        loop.close()
        asyncio.run(asyncio.wait_for(taken(), 10))
        with alone_sync(scope.book, "k"):
            task.get_coro().close()  # what is left of the one that is gone ends only now
            assert len(alone._here.owners) == 1  # and that lets go of nothing that another one has

    assert attempts.ran == ["taken"]
