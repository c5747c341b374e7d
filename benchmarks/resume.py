"""A notebook of 100 checkpoints brought back in a new kernel."""

from __future__ import annotations

from pathlib import Path

from benchmarks.contestants import KEEPERS, Cell
from benchmarks.notebook import play, restore
from benchmarks.workload import Options, Round, Turn, Workload

__all__ = ["RESUME"]

_ITEMS = 32_768


def _turn(contestant: str, options: Options, folder: Path) -> Turn:
    before = (Cell("import numpy as np"), Cell("done = []", gives=("done",)))
    cells = [
        Cell(
            f"a{n} = np.random.default_rng({n}).standard_normal({_ITEMS})\n"
            f"done.append({{'step': {n}, 'sum': float(a{n}.sum())}})",
            reads=("done",),
            gives=(f"a{n}", "done"),
        )
        for n in range(options.resumed)
    ]
    arrays = " + ".join(f"float(a{n}.sum())" for n in range(options.resumed))
    use = f"len(done) + {arrays}"
    played = play(contestant, cells, folder, before=before, asked=use)
    return {**played, **restore(contestant, [*before, *cells], folder, use=use, expected=played["asked"])}


def _judge(found: Round) -> Round:
    judged = {}
    for contestant, turn in found.items():
        judged[contestant] = {"CPU ms per cell": turn["mean"] * 1e3, "disk MiB": turn["disk"] / 2**20}
        if "restore" in turn:
            judged[contestant] |= {"back s": turn["restore"], "first use s": turn["use"]}
    return judged


RESUME = Workload(
    name="resume",
    title="100 checkpoints that each add an array of 256 KiB, brought back in a new kernel, wall",
    aim="back and used in less than 2 s more than reading takes",
    contestants=KEEPERS,
    turn=_turn,
    judge=_judge,
)
