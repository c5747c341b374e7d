"""Cells that are not checkpoints: loops, calls, global reads, audited builtins, and the fixed cost."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from statistics import quantiles

from benchmarks.contestants import SETUP, entered
from benchmarks.kernel import Kernel
from benchmarks.workload import Options, Round, Turn, Workload

__all__ = ["PLAIN_CELLS"]

_DEFINED = """
import time
known = 7
def called(): return 1
def reader(times):
    for _ in range(times): known
open('there', 'w').close()
"""
# Per piece: how many times `repeats` it is done, and the code that does it.
_PIECES = {
    "loop": (100, "for i in range({times}): pass"),
    "calls": (50, "for i in range({times}): called()"),
    "global reads": (100, "reader({times})"),
    "open": (1, "for i in range({times}): open('there').close()"),
    "id": (10, "for i in range({times}): id(known)"),
}
_REPEATS = 5
_WARM = 20


def _turn(contestant: str, options: Options, folder: Path) -> Turn:
    setup = {"loaded": "kitaru", "in a checkpoint": "kitaru"}.get(contestant, contestant)
    mark = "%%checkpoint\n" if contestant == "in a checkpoint" else ""
    with entered(setup, folder, ready=()) as kernel:
        fixed = _fixed(kernel, SETUP[setup], options.cells, mark)
        kernel.run(_DEFINED)
        found = {
            piece: _per_time(kernel, code, options.repeats * factor, mark)
            for piece, (factor, code) in _PIECES.items()
        }
    return {**found, "fixed": fixed}


def _fixed(kernel: Kernel, setup: Sequence[str], cells: int, mark: str) -> float:
    """CPU seconds that an empty cell costs more after `setup` than before, in one kernel.

    Two kernels that do the same differ by more than what is looked for here. The first quartile
    is taken, for what disturbs a cell only ever adds to it.
    """
    for _ in range(_WARM):
        kernel.run("pass")
    before = quantiles([kernel.run(f"{n}") for n in range(cells)], n=4)[0]
    for code in setup:
        kernel.run(code)
    return quantiles([kernel.run(f"{mark}{n}") for n in range(cells)], n=4)[0] - before


def _per_time(kernel: Kernel, code: str, times: int, mark: str) -> float:
    """CPU seconds of one time, by the kernel's own clock, so that the cell's fixed cost is left out."""
    body = f"begin = time.process_time()\n{code.format(times=times)}\nspent = time.process_time() - begin"
    spent = []
    for number in range(_REPEATS):
        kernel.run(f"{mark}{body}\n{number}")
        spent.append(float(kernel.ask("spent")))
    return min(spent) / times


def _judge(found: Round) -> Round:
    plain = found["plain"]
    judged = {}
    for contestant, turn in found.items():
        judged[contestant] = {f"{piece} ns": turn[piece] * 1e9 for piece in _PIECES}
        judged[contestant] |= {
            f"{piece} x": turn[piece] / plain[piece] for piece in ("loop", "calls", "global reads")
        }
        judged[contestant]["fixed ms per cell"] = turn["fixed"] * 1e3
    return judged


PLAIN_CELLS = Workload(
    name="plain-cells",
    title="what the user's own code runs at: CPU per time, and per empty cell over plain",
    aim="loops, calls and global reads 1.0x; at most 0.2 ms per cell that is no checkpoint",
    contestants=("plain", "loaded", "in a checkpoint", "kishu"),
    turn=_turn,
    judge=_judge,
)
