"""Effects that happen once, also where several coroutines ask for them at the same time."""

from __future__ import annotations

import asyncio
import threading

from kitaru_nb import once
from tests.unit.engine.test_calls import attempts
from tests.unit.engine.turns import Attempts

__all__ = ["attempts"]


def test_coroutines_that_ask_at_the_same_time_have_one_effect(attempts: Attempts) -> None:
    async def charge() -> int:
        attempts.ran.append(1)
        await asyncio.sleep(0)
        return len(attempts.ran)

    async def both() -> list[int]:
        return await asyncio.gather(once("k", charge), once("k", charge))

    with attempts.attempt():
        found = asyncio.run(both())

    assert found == [1, 1]
    assert attempts.ran == [1]


def test_an_effect_that_failed_is_had_by_the_one_who_waited(attempts: Attempts) -> None:
    async def charge() -> str:
        attempts.ran.append(1)
        await asyncio.sleep(0)
        if len(attempts.ran) == 1:
            raise OSError("no route")
        return "paid"

    async def both() -> list[object]:
        return await asyncio.gather(once("k", charge), once("k", charge), return_exceptions=True)

    with attempts.attempt():
        failed, found = asyncio.run(both())

    assert isinstance(failed, OSError)
    assert found == "paid"


def test_threads_that_ask_at_the_same_time_have_one_effect(attempts: Attempts) -> None:
    both = threading.Barrier(2)

    def ask() -> None:
        both.wait()
        once("k", lambda: attempts.ran.append(1))

    with attempts.attempt():
        threads = [threading.Thread(target=ask) for _ in range(2)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    assert attempts.ran == [1]
