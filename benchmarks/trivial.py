"""200 trivial cells, each a durable checkpoint: CPU per cell over plain, and whether it stays flat."""

from __future__ import annotations

from pathlib import Path

from benchmarks.contestants import KEEPERS, Cell
from benchmarks.notebook import play
from benchmarks.workload import Options, Round, Turn, Workload

__all__ = ["TRIVIAL"]


def _turn(contestant: str, options: Options, folder: Path) -> Turn:
    cells = [Cell("x0 = 0", gives=("x0",))]
    cells += [
        Cell(f"x{n} = x{n - 1} + {n}", reads=(f"x{n - 1}",), gives=(f"x{n}",))
        for n in range(1, options.cells)
    ]
    return play(contestant, cells, folder)


def _judge(found: Round) -> Round:
    plain = found["plain"]
    return {
        contestant: {
            "CPU ms per cell": turn["mean"] * 1e3,
            "x plain": turn["mean"] / plain["mean"],
            "over plain": (turn["mean"] - plain["mean"]) * 1e3,
            "median cell over plain": (turn["median"] - plain["median"]) * 1e3,
            "first 100": (turn["first"] - plain["first"]) * 1e3,
            "last 100": (turn["last"] - plain["last"]) * 1e3,
            "wall over plain": (turn["mean wall"] - plain["mean wall"]) * 1e3,
            "disk KiB": turn["disk"] / 1024,
        }
        for contestant, turn in found.items()
    }


TRIVIAL = Workload(
    name="trivial",
    title="trivial cells in a real kernel, each a checkpoint",
    aim="at most 2 ms of CPU per cell over plain, durable, flat over the cells",
    contestants=KEEPERS,
    turn=_turn,
    judge=_judge,
)
