"""Recorded calls of one flow: what making and serving a trivial one costs, and whether that stays flat."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

from benchmarks.workload import Options, Round, Turn, Workload
from kitaru_nb import checkpoint
from kitaru_nb.engine.book import Book
from kitaru_nb.engine.context import inside
from kitaru_nb.engine.lease import Lease
from kitaru_nb.model.execution import ExecutionStatus, Identity
from kitaru_nb.model.settings import Settings
from kitaru_nb.stacks.open import open_engine

__all__ = ["CALLS"]

_COUNTED = 20


def _plain(number: int) -> int:
    return number + 1


_recorded = checkpoint(_plain)


def _turn(contestant: str, options: Options, folder: Path) -> Turn:
    if contestant == "plain":
        return _measured(_plain, options.calls)
    _attempt(folder, lambda: None if contestant == "made" else _all(options.calls + _COUNTED))
    found: dict[str, float] = {}
    _attempt(folder, lambda: found.update(_measured(_recorded, options.calls)))
    return found


def _all(count: int) -> None:
    for number in range(count):
        _recorded(number)


def _attempt(folder: Path, body: Callable[[], object]) -> None:
    """One attempt at a flow that is cut short, as by a crash."""
    with closing(open_engine(Settings(home=folder / "home"))) as engine:
        lease = Lease(engine, Identity(flow="benchmarks:calls"))
        book = Book(engine, lease.take)
        with inside(book.scope("flow")):
            body()
        book.close()
        lease.give_back(ExecutionStatus.INTERRUPTED)


def _measured(function: Callable[[int], int], count: int) -> dict[str, float]:
    """CPU seconds for a call, of all and of the first and last quarter; function calls for one of them."""
    quarter = max(1, count // 4)
    used = [time.process_time()]
    for number in range(count):
        function(number)
        used.append(time.process_time())
    made = 0

    def hear(_frame: object, event: str, _arg: object) -> None:
        nonlocal made
        made += event in ("call", "c_call")

    counted = min(_COUNTED, count)
    sys.setprofile(hear)
    try:
        for number in range(count, count + counted):
            function(number)
    finally:
        sys.setprofile(None)
    return {
        "cpu": (used[-1] - used[0]) / count,
        "first": (used[quarter] - used[0]) / quarter,
        "last": (used[-1] - used[-1 - quarter]) / quarter,
        "calls": made / counted,
    }


def _judge(found: Round) -> Round:
    return {
        contestant: {
            "CPU ms per call": turn["cpu"] * 1e3,
            "first quarter": turn["first"] * 1e3,
            "last quarter": turn["last"] * 1e3,
            "function calls": turn["calls"],
        }
        for contestant, turn in found.items()
    }


CALLS = Workload(
    name="calls",
    title="trivial `@checkpoint` calls in one flow: made with their commit, and served after a crash",
    aim="made at most 1 ms, served at most 0.3 ms, and flat over 10,000 calls",
    contestants=("plain", "made", "served"),
    turn=_turn,
    judge=_judge,
)
