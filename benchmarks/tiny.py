"""Tiny values: 1,000 of them in one commit, and one alone, beside what SQLite takes for the same bytes."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

from benchmarks.contestants import entered
from benchmarks.measure import spread
from benchmarks.workload import Options, Round, Turn, Workload
from kitaru_nb.model.checkpoint import Group
from kitaru_nb.model.execution import Identity, current_owner
from kitaru_nb.model.settings import Quota, Settings
from kitaru_nb.stacks.open import open_engine
from kitaru_nb.testing import a_draft

__all__ = ["TINY"]

_ALONE = 30

Commit = Callable[[dict[str, Any]], object]


def _value(number: int) -> dict[str, Any]:
    return {"number": number, "text": "abcdefghij" * 12, "numbers": [number / 3, number / 7]}


def _turn(contestant: str, options: Options, folder: Path) -> Turn:
    if contestant == "kitaru":
        return _in_a_kernel(options, folder)
    with (_sqlite if contestant == "sqlite" else _store)(folder) as commit:
        commit({"first": _value(0)})
        alone = [_timed(commit, {"alone": _value(number)}) for number in range(1, _ALONE + 1)]
        together = _timed(commit, {f"v{number}": _value(-number) for number in range(1, options.tiny + 1)})
    return {"alone": spread(alone)[0], "each": together / options.tiny}


def _timed(commit: Commit, values: dict[str, Any]) -> float:
    begin = time.perf_counter()
    commit(values)
    return time.perf_counter() - begin


@contextmanager
def _sqlite(folder: Path) -> Iterator[Commit]:
    with closing(sqlite3.connect(folder / "bare.db", isolation_level=None)) as db:
        db.execute("PRAGMA journal_mode = WAL")
        db.execute("PRAGMA synchronous = FULL")
        db.execute("CREATE TABLE kept (name TEXT, value BLOB)")

        def commit(values: dict[str, Any]) -> None:
            db.execute("BEGIN IMMEDIATE")
            rows = [(name, repr(value)) for name, value in values.items()]
            db.executemany("INSERT INTO kept VALUES (?, ?)", rows)
            db.execute("COMMIT")

        yield commit


@contextmanager
def _store(folder: Path) -> Iterator[Commit]:
    with closing(open_engine(Settings(home=folder / "home", max_bytes=Quota(None)))) as engine:
        attempt, _ = engine.journal.start(Identity(notebook="/b", output="/b"), owner=current_owner())
        steps = iter(range(1 << 30))

        def commit(values: dict[str, Any]) -> None:
            stored = {name: engine.put({name: value}, namespace={}) for name, value in values.items()}
            engine.store.flush()
            groups = [Group((name,), s.artifact.digest, s.artifact.digest) for name, s in stored.items()]
            engine.journal.commit(
                attempt,
                a_draft(f"step-{next(steps)}", groups=tuple(groups)),
                artifacts=[each.artifact for each in stored.values()],
                locations=[location for each in stored.values() for location in each.locations],
            )

        yield commit


def _in_a_kernel(options: Options, folder: Path) -> Turn:
    """The checkpoints of cells, over the same cells without."""
    alone, together = [], []
    with entered("kitaru", folder) as kernel:

        def wall(code: str) -> float:
            begin = time.perf_counter()
            kernel.run(code)
            return time.perf_counter() - begin

        for number in range(_ALONE):
            plain = wall(f"alone = {_value(number)!r}")
            alone.append(wall(f"%%checkpoint\nalone = {_value(-number)!r}") - plain)
        lines = "\n".join(f"v{number} = {_value(number)!r}" for number in range(options.tiny))
        names = ", ".join(f"v{number}" for number in range(options.tiny))
        plain = wall(lines)
        wall(f"%%checkpoint\ndel {names}")
        together.append(wall(f"%%checkpoint\n{lines}") - plain)
    return {"alone": spread(alone)[0], "each": together[0] / options.tiny}


def _judge(found: Round) -> Round:
    bare = found["sqlite"]
    return {
        contestant: {
            "one alone us": turn["alone"] * 1e6,
            "x sqlite": turn["alone"] / bare["alone"],
            "each of many us": turn["each"] * 1e6,
        }
        for contestant, turn in found.items()
    }


TINY = Workload(
    name="tiny",
    title="values of 200 bytes made durable: 1,000 in one commit, and one alone, wall",
    aim="50 us each when many share a commit; alone at most 1.5x a commit of SQLite (WAL, synchronous FULL)",
    contestants=("sqlite", "kitaru's store", "kitaru"),
    turn=_turn,
    judge=_judge,
)
