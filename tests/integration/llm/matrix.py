"""Every client path through the tap: a program for the Pythons with the clients.

``python tests/integration/llm/matrix.py PATTERN…`` walks each path under every trial with a meter in
memory and a fake model, and prints one JSON line for each path: what went wrong in which trial,
nothing where all is well, null where the trial makes no sense. The tap is on before any client is
imported, as it is for ``import openai`` in the first cell.
"""

from __future__ import annotations

import asyncio
import fnmatch
import importlib
import json
import os
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path as FilePath
from typing import Any

HERE = FilePath(__file__).parent
sys.path[:0] = [str(HERE / "clients"), str(HERE.parents[2])]

import anyio  # noqa: E402

from kitaru_nb.llm import tap  # noqa: E402
from kitaru_nb.testing import Answer, Call, Cut, Failure, FakeLLM, ToolCall, fake_llm  # noqa: E402
from tests.llm_meter import MemoryMeter  # noqa: E402

LIBRARIES = [
    "openai",
    "openai_ways",
    "anthropic",
    "anthropic_ways",
    "litellm",
    "pydantic_ai",
    "agents",
    "langchain",
]
AT_ONCE = 4
ATTEMPTS = 3


@dataclass
class Walk:
    """One path under one trial."""

    llm: FakeLLM
    meter: MemoryMeter
    path: Callable[[], Any]
    loop: asyncio.Runner

    def once(self) -> Any:
        """What the client sees."""
        found = self.path()
        return self.loop.run(found) if asyncio.iscoroutine(found) else found

    def until_it_works(self) -> Any:
        """As a user does who runs the cell again."""
        for _ in range(ATTEMPTS - 1):
            try:
                return self.once()
            except Exception:  # noqa: BLE001 - whatever the client makes of the failure
                continue
        return self.once()

    def at_once(self) -> list[Any]:
        """The same path several times at the same time: threads, or tasks of one loop."""
        if asyncio.iscoroutinefunction(self.path):

            async def all_of_them() -> list[Any]:
                return await asyncio.gather(*[self.path() for _ in range(AT_ONCE)])

            return self.loop.run(all_of_them())
        with ThreadPoolExecutor(AT_ONCE) as pool:
            return [future.result() for future in [pool.submit(self.path) for _ in range(AT_ONCE)]]

    def again(self, run: Callable[[], Any]) -> tuple[Any, int]:
        """What `run` sees in the next attempt, and how many requests reached the server."""
        before = self.llm.requests
        self.meter.next_attempt()
        return run(), self.llm.requests - before

    def check_counts(self) -> None:
        """What is on record is what the server answered, and costs what the server counted."""
        answered = [call for call in self.llm.calls if call.status == 200]
        usages = [answer.usage for answer in self.meter.recorded]
        assert len(usages) == len(answered), f"{len(answered)} answers, {len(usages)} on record"
        assert None not in usages, "an answer without its usage"
        told = sum(usage.input for usage in usages), sum(usage.output for usage in usages)
        counted = self.llm.tokens
        assert told == (counted.input, counted.output), (
            f"{told} tokens on record, the server counts {counted}"
        )


def say(call: Call) -> str | ToolCall:
    """A tool is called until its result is there; any other answer is a new one."""
    asked = call.body.get("messages") or call.body.get("input")
    if call.body.get("tools") and "sunny" not in json.dumps(asked):
        return ToolCall("weather", {"city": "Utrecht"})
    return f"answer {call.number}: it is fine"


def first(failure: Failure | Answer) -> Callable[[Call], Any]:
    """An answer to each request but the first."""
    return lambda call: failure if call.number == 1 else say(call)


def record(walk: Walk) -> None:
    live = walk.once()
    walk.check_counts()
    assert not walk.meter.failures, walk.meter.failures
    seen, requests = walk.again(walk.once)
    assert requests == 0, f"{requests} requests paid again"
    assert seen == live, f"served {seen}, was {live}"


def retry(walk: Walk) -> None:
    walk.llm.script(first(Failure(500, retry_after=0)))
    live = walk.until_it_works()
    walk.check_counts()
    assert [reason for reason, _ in walk.meter.failures] == ["status 500"], walk.meter.failures
    seen, requests = walk.again(walk.once)
    assert requests == 0, f"{requests} requests paid again"
    assert seen == live, f"served {seen}, was {live}"


def cut(walk: Walk, how: str = "drop") -> None:
    walk.llm.script(first(Answer(text="never to be seen whole", cut=Cut(after=2, how=how))))
    walk.until_it_works()
    assert len(walk.meter.failures) == 1, walk.meter.failures
    assert not any(b"never" in answer.body for answer in walk.meter.recorded), "a cut answer is on record"
    live, _ = walk.again(walk.once)
    seen, requests = walk.again(walk.once)
    assert requests == 0, f"{requests} requests paid again"
    assert seen == live, f"served {seen}, was {live}"


def cut_by_error(walk: Walk) -> None:
    cut(walk, "error")


def at_once(walk: Walk) -> None:
    live = walk.at_once()
    walk.check_counts()
    seen, requests = walk.again(walk.at_once)
    assert requests == 0, f"{requests} requests paid again"
    assert sorted(map(repr, seen)) == sorted(map(repr, live)), f"served {seen}, was {live}"


def gzip(walk: Walk) -> None:
    walk.llm.gzip = True
    record(walk)


SCRIPTED = {"retried 500", "connection cut", "error mid-answer"}
"""Trials in which the fake is told what to say; what it embeds it cannot be told."""

TRIALS = {
    "record, replay": record,
    "retried 500": retry,
    "connection cut": cut,
    "error mid-answer": cut_by_error,
    "4 at once": at_once,
    "gzip": gzip,
}


def hurry() -> None:
    """Have the clients wait less before they try again."""
    sleep, async_sleep = time.sleep, asyncio.sleep

    def shorter(seconds: float) -> None:
        sleep(min(seconds, 0.01))

    async def shorter_async(seconds: float, result: Any = None) -> Any:
        return await async_sleep(min(seconds, 0.01), result)

    time.sleep, asyncio.sleep, anyio.sleep = shorter, shorter_async, shorter_async


def main(patterns: list[str]) -> None:
    hurry()
    meters: list[MemoryMeter] = []
    tap.install(lambda: meters[-1] if meters else None)
    with fake_llm(say) as llm, asyncio.Runner() as loop:
        os.environ.update(llm.environ())
        for library in LIBRARIES:
            try:
                importlib.import_module(f"by_{library}")
            except ModuleNotFoundError as error:
                print(f"without {library}: {error}", file=sys.stderr)
        from walking import PATHS  # noqa: PLC0415 - one of the clients' files

        for name, path in PATHS.items():
            if not any(fnmatch.fnmatch(name, pattern) for pattern in patterns):
                continue
            wrong: dict[str, str | None] = {}
            for trial, run in TRIALS.items():
                if "embedding" in name and trial in SCRIPTED:
                    wrong[trial] = None
                    continue
                llm.script(say)
                llm.reset()
                llm.gzip = False
                meters.append(MemoryMeter())
                try:
                    run(Walk(llm, meters[-1], path, loop))
                    assert meters[-1].open == 0, "a ticket was left open"
                except Exception as error:  # noqa: BLE001 - the next trial is to be run too
                    wrong[trial] = f"{type(error).__name__}: {error}"
            print(json.dumps({"path": name, "wrong": wrong}), flush=True)


if __name__ == "__main__":
    main(sys.argv[1:] or ["*"])
