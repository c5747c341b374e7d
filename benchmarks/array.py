"""A large array of which each cell changes 1 % in place; then a new kernel brings it back."""

from __future__ import annotations

from pathlib import Path

from benchmarks.contestants import KEEPERS, Cell
from benchmarks.notebook import play, restore
from benchmarks.workload import Options, Round, Turn, Workload

__all__ = ["ARRAY"]


def _turn(contestant: str, options: Options, folder: Path) -> Turn:
    items = options.big_mebibytes * 2**17
    part = items // 100
    begin = Cell(f"import numpy as np\na = np.random.default_rng(7).standard_normal({items})", gives=("a",))
    before = (Cell("import numpy as np"), begin)
    cells = [
        Cell(f"a[{n * part}:{(n + 1) * part}] *= 1.5", reads=("a",), gives=("a",))
        for n in range(options.big_cells)
    ]
    use = "float(a.sum())"
    played = play(contestant, cells, folder, before=before, asked=use)
    return {**played, **restore(contestant, [*before, *cells], folder, use=use, expected=played["asked"])}


def _judge(found: Round) -> Round:
    plain = found["plain"]
    judged = {}
    for contestant, turn in found.items():
        judged[contestant] = {
            "CPU s per cell over plain": turn["mean"] - plain["mean"],
            "wall s per cell": turn["mean wall"],
            "disk GB": turn["disk"] / 1e9,
            "peak memory x plain": turn["peak"] / plain["peak"] if plain["peak"] else 0.0,
        }
        if "restore" in turn:
            judged[contestant] |= {"restore s": turn["restore"], "first use s": turn["use"]}
    return judged


ARRAY = Workload(
    name="array",
    title="cells that change 1 % of a large array in place",
    aim="1 GB: at most 0.15 s of CPU per cell, 1.3 GB, plain memory + 10 %; back in 20 ms, used in 0.2 s",
    contestants=KEEPERS,
    turn=_turn,
    judge=_judge,
    full=True,
)
