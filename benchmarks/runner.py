"""Runs workloads round by round and prints what they gave."""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks.measure import Spread, spread
from benchmarks.workload import Absent, Options, Workload

__all__ = ["Found", "run", "table"]


LEFT_OUT = "left out"


@dataclass(frozen=True)
class Found:
    """What a workload gave.

    Attributes:
        figures: Per contestant and column, the median over rounds and how far it spread.
        absent: Why a contestant did not take part.
        failed: What went wrong with a contestant that did.
    """

    workload: Workload
    rounds: int
    figures: Mapping[str, Mapping[str, Spread]] = field(default_factory=dict)
    absent: Mapping[str, str] = field(default_factory=dict)
    failed: Mapping[str, str] = field(default_factory=dict)


def run(workload: Workload, options: Options, *, rounds: int, place: Path | None = None) -> Found:
    """Let every contestant take its turn, `rounds` times over, each in an empty folder below `place`."""
    baseline = workload.contestants[0]
    absent = {name: LEFT_OUT for name in workload.contestants[1:] if name in options.without}
    failed = {}
    judged = []
    for number in range(rounds):
        raw = {}
        for contestant in workload.contestants:
            if contestant in absent or contestant in failed:
                continue
            _note(f"{workload.name}: round {number + 1} of {rounds}, {contestant}")
            with tempfile.TemporaryDirectory(
                dir=place, prefix="bench-", ignore_cleanup_errors=True
            ) as folder:
                # what others wrote is on its way to the disk still: this one is not to pay for it
                if sys.platform != "win32":
                    os.sync()
                try:
                    raw[contestant] = workload.turn(contestant, options, Path(folder))
                except Absent as reason:
                    absent[contestant] = str(reason)
                except RuntimeError as error:
                    if contestant == baseline:
                        raise
                    failed[contestant] = str(error)
        judged.append(workload.judge(raw))
    _note("")
    figures = {
        contestant: {column: spread([turn[contestant][column] for turn in judged]) for column in columns}
        for contestant, columns in judged[0].items()
        if all(contestant in turn for turn in judged)
    }
    return Found(workload, rounds, figures, absent, failed)


def table(found: Found) -> str:
    """The figures as text, a row per contestant: median, and lowest to highest behind it."""
    columns = list(dict.fromkeys(column for row in found.figures.values() for column in row))
    rows = [["", *columns]]
    for contestant in found.workload.contestants:
        if contestant in found.figures:
            figures = found.figures[contestant]
            rows.append([contestant, *(_shown(figures[c]) if c in figures else "" for c in columns)])
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = [f"{found.workload.name}: {found.workload.title}", f"  aim: {found.workload.aim}"]
    lines += ["  " + _line(row, widths) for row in rows]
    lines += [f"  {name}: {reason}" for name, reason in found.absent.items() if reason != LEFT_OUT]
    lines += [f"  {name} FAILED: {reason}" for name, reason in found.failed.items()]
    return "\n".join(lines)


def _line(row: Sequence[str], widths: Sequence[int]) -> str:
    name, *rest = (
        text.rjust(width) if place else text.ljust(width)
        for place, (text, width) in enumerate(zip(row, widths, strict=True))
    )
    return "  ".join([name, *rest])


def _shown(figure: Spread) -> str:
    middle, low, high = figure
    if low == high:
        return _short(middle)
    return f"{_short(middle)} ({_short(low)}-{_short(high)})"


def _short(value: float) -> str:
    if abs(value) >= 100 or value == int(value):
        return f"{value:,.0f}"
    return f"{value:.1f}" if abs(value) >= 10 else f"{value:.2f}"


def _note(text: str) -> None:
    """Say on a terminal where it stands; elsewhere nothing."""
    if sys.stderr.isatty():
        sys.stderr.write(f"\r\033[K{text}")
        sys.stderr.flush()
