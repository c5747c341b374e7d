"""Removing the values of finished executions from a store of many checkpoints."""

from __future__ import annotations

import os
import time
from contextlib import closing
from pathlib import Path

from benchmarks.workload import Options, Round, Turn, Workload
from kitaru_nb.engine.engine import Engine
from kitaru_nb.engine.gc import Policy, collect
from kitaru_nb.model.checkpoint import Group
from kitaru_nb.model.execution import ExecutionStatus, Identity, current_owner
from kitaru_nb.model.settings import Quota, Settings
from kitaru_nb.stacks.open import open_engine
from kitaru_nb.testing import a_draft

__all__ = ["COLLECT"]

_PER_EXECUTION = 100
_LARGE_EVERY = 20


def _turn(contestant: str, options: Options, folder: Path) -> Turn:
    """Every other execution completed, the others failed and keep their values."""
    with closing(open_engine(Settings(home=folder / "home", max_bytes=Quota(None)))) as engine:
        for number in range(max(1, options.checkpoints // _PER_EXECUTION)):
            _execution(engine, number, min(_PER_EXECUTION, options.checkpoints))
        cpu, began = time.process_time(), time.perf_counter()
        found = collect(engine.journal, engine.store, Policy(keep_days=0), dry_run=contestant == "dry run")
        return {
            "cpu": time.process_time() - cpu,
            "seconds": time.perf_counter() - began,
            "values": found.artifacts,
            "freed": found.before - found.after,
        }


def _execution(engine: Engine, number: int, checkpoints: int) -> None:
    journal = engine.journal
    identity = Identity(notebook=f"/{number % 7}.ipynb", output=f"/{number}")
    with journal.holding():  # how long the making takes is no part of this
        attempt, _ = journal.start(identity, owner=current_owner())
        parent = None
        for place in range(checkpoints):
            size = 70_000 if place % _LARGE_EVERY == 0 else 2_000
            stored = [
                engine.put({name: os.urandom(n)}, namespace={}) for name, n in (("a", 300), ("b", size))
            ]
            groups = [Group((f"n{n}",), s.artifact.digest, s.artifact.digest) for n, s in enumerate(stored)]
            engine.store.flush()
            parent = journal.commit(
                attempt,
                a_draft(f"s{place}", parent=parent, groups=tuple(groups)),
                artifacts=[each.artifact for each in stored],
                locations=[location for each in stored for location in each.locations],
            ).seq
        journal.finish(attempt, ExecutionStatus.FAILED if number % 2 else ExecutionStatus.COMPLETED)


def _judge(found: Round) -> Round:
    return {
        contestant: {
            "seconds": turn["seconds"],
            "CPU seconds": turn["cpu"],
            "values": turn["values"],
            "MB freed": turn["freed"] / 1e6,
        }
        for contestant, turn in found.items()
    }


COLLECT = Workload(
    name="gc",
    title="gc of a store of 10,000 checkpoints in 100 executions, half of them completed",
    aim="less than 10 s",
    contestants=("dry run", "gc"),
    turn=_turn,
    judge=_judge,
)
