"""Flows that tests replay. They are in a module of their own, as flows are that are found again by name."""

from __future__ import annotations

import asyncio
from typing import Any

import kitaru_nb as kt


class Noted:
    """What ran, in order. It is no input of a call: it cannot be stored, so only its kind counts."""

    def __init__(self) -> None:
        self.ran: list[str] = []
        self.fails: set[str] = set()

    def __call__(self, what: str) -> None:
        self.ran.append(what)
        if what in self.fails:
            raise ValueError(f"{what} fails")

    def __reduce_ex__(self, _protocol: object) -> Any:
        raise TypeError("what tests note down is no input of a call")


noted = Noted()


@kt.checkpoint
def plan(topic: str) -> list[str]:
    noted(f"plan {topic}")
    return [f"{topic}-{number}" for number in range(2)]


@kt.checkpoint
def fetch(name: str) -> str:
    noted(f"fetch {name}")
    return name.upper()


@kt.checkpoint
def draft(parts: list[str], tone: str) -> str:
    noted("draft")
    return " ".join(parts) + tone


@kt.checkpoint
def publish(text: str) -> str:
    noted("publish")
    return f"<{text}>"


@kt.flow
def agent(topic: str, tone: str = "!", **more: str) -> str:
    parts = [fetch(name) for name in plan(topic)]
    kt.once("charge", noted, "charge")
    return publish(draft(parts, tone) + "".join(more.values()))


@kt.checkpoint
def roll(_sides: int) -> int:
    noted("roll")
    return next(_numbers)


@kt.flow
def rolls() -> list[int]:
    return [roll(6), roll(6), roll(6)]


@kt.checkpoint
def gather_parts(topic: str) -> list[str]:
    noted("gather_parts")
    return [fetch(topic), fetch(topic + "2")]


@kt.flow
def nested(topic: str) -> str:
    return publish(draft(gather_parts(topic), "!"))


@kt.checkpoint(reuse=True)
def shared(name: str) -> str:
    noted(f"shared {name}")
    return name


@kt.flow
def sharing() -> str:
    return shared("a") + shared("b")


@kt.flow
def keeping() -> list[str]:
    refs = [kt.save("draft", fetch("a"))]
    kt.stream("tokens").append("one")
    refs.append(kt.save("draft", fetch("b")))
    kt.stream("tokens").append("two")
    noted(f"stream {list(kt.stream('tokens'))}")
    return refs


@kt.checkpoint
async def afetch(name: str) -> str:
    noted(f"afetch {name}")
    await asyncio.sleep(0)
    return name


@kt.flow
async def branches() -> list[str]:
    async def branch(name: str) -> str:
        first = await afetch(f"{name}1")
        return await afetch(f"{first}2")

    return list(await asyncio.gather(branch("a"), branch("b")))


@kt.flow
def parent(topic: str) -> str:
    return publish(agent(topic))


class _Numbers:
    """Numbers that never come twice, and that are no input of a call either."""

    def __init__(self) -> None:
        self._next = 0

    def __next__(self) -> int:
        self._next += 1
        return self._next

    def __reduce_ex__(self, _protocol: object) -> Any:
        raise TypeError("it cannot be stored")


_numbers = _Numbers()


@kt.checkpoint
def asking(what: str) -> str:
    return str(kt.wait(f"{what}?", str, name="ok"))


@kt.flow
def asked() -> list[str]:
    first = kt.wait("first?", str, name="ok")
    return [str(first), asking("inner"), str(kt.wait("last?", str, name="ok")), fetch("a")]
