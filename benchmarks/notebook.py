"""A notebook run cell by cell by one who keeps its state, and brought back in a new kernel."""

from __future__ import annotations

import statistics
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.contestants import Cell, brought_back, entered, shaped
from benchmarks.measure import disk_of
from benchmarks.workload import Turn

__all__ = ["play", "restore"]


@dataclass(frozen=True)
class _Timed:
    cpu: float
    wall: float


def play(
    contestant: str,
    cells: Sequence[Cell],
    folder: Path,
    *,
    before: Sequence[Cell] = (),
    asked: str = "0",
) -> Turn:
    """Run `before`, then `cells`; gives what `cells` cost by cell, and what is on disk in the end.

    That is ``disk`` when the kernel has ended, and ``disk killed`` before it does.

    Args:
        contestant: Who keeps the state.
        cells: The cells that are measured.
        folder: Where the kernel works and everything is written.
        before: Cells that come first and are kept as well.
        asked: An expression whose value, a number, comes back as ``asked``.
    """
    with entered(contestant, folder) as kernel:
        for number, cell in enumerate(before):
            kernel.run(shaped(contestant, cell, number))
        used = []
        for number, cell in enumerate(cells, len(before)):
            wall = time.perf_counter()
            cpu = kernel.run(shaped(contestant, cell, number))
            used.append(_Timed(cpu, time.perf_counter() - wall))
        killed = disk_of(folder)
        peak = kernel.peak_memory
        answer = kernel.ask(asked)
        kernel.end()
        disk = disk_of(folder)
    part = min(100, max(1, len(used) // 2))
    return {
        "mean": statistics.mean(cell.cpu for cell in used),
        "median": statistics.median(cell.cpu for cell in used),
        "first": statistics.mean(cell.cpu for cell in used[:part]),
        "last": statistics.mean(cell.cpu for cell in used[-part:]),
        "cpu": sum(cell.cpu for cell in used),
        "wall": sum(cell.wall for cell in used),
        "mean wall": statistics.mean(cell.wall for cell in used),
        "disk": disk,
        "disk killed": killed,
        "peak": peak,
        "asked": float(answer),
    }


def restore(contestant: str, cells: Sequence[Cell], folder: Path, *, use: str, expected: float) -> Turn:
    """In a new kernel bring back what `play` kept in `folder`; gives wall seconds.

    ``restore`` is until the prompt is back, ``use`` until a cell with the expression `use` has then
    run. Empty for one that this benchmark does not know how to bring back.

    Raises:
        RuntimeError: `use` is not `expected`: something else came back.
    """
    codes = brought_back(contestant, cells, folder)
    if codes is None:
        return {}
    prepare, bring = codes
    with entered(contestant, folder, ready=prepare) as kernel:
        begin = time.perf_counter()
        for code in bring:
            kernel.run(code)
        restored = time.perf_counter()
        kernel.run(use)
        used = time.perf_counter()
        found = float(kernel.ask(use))
    if found != expected:
        raise RuntimeError(f"`{use}` was {expected!r}, and is {found!r} in the new kernel")
    return {"restore": restored - begin, "use": used - restored}
