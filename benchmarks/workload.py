"""The shape of a workload: who takes part, what one turn measures, what a round says.

A *turn* is one contestant's run, a *round* one turn of each. Contestants of a round follow each
other (A B C, A B C, ...), so that a machine that slows down slows all of them, and what is said
of a contestant is worked out within a round before the median over rounds is taken.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

__all__ = ["Absent", "Options", "Round", "Turn", "Workload"]

Turn = Mapping[str, float]
"""What one contestant's run gave: raw figures by name."""

Round = Mapping[str, Turn]
"""A turn for each contestant."""


class Absent(Exception):  # noqa: N818 - not a mistake: this contestant does not run here
    """A contestant cannot take part here; the message says why."""


@dataclass(frozen=True)
class Options:
    """How large the workloads are, and who is left out.

    Attributes:
        cells: Cells of the trivial notebook, and empty cells that no one stores.
        steps: Steps of the agent.
        items: Objects in the name that is analysed and digested.
        repeats: Repeats of what is over in microseconds.
        headless_cells: Cells of the headless notebook.
        notebooks: Small notebooks of one batch.
        mebibytes: Size of the array that is saved.
        big_mebibytes: Size of the array that cells change in place.
        big_cells: Cells that change it.
        rows: Rows of the data frame.
        checkpoints: Checkpoints of the store that values are removed from.
        percent: How large the values of many kinds are, in percent of what their titles say.
        tiny: Tiny values that one commit keeps.
        resumed: Checkpoints that a new kernel brings back.
        calls: Recorded calls of one flow.
        submissions: Jobs of each kind that are submitted to a stack.
        without: Contestants that are left out.
    """

    cells: int = 200
    steps: int = 50
    items: int = 100_000
    repeats: int = 10_000
    headless_cells: int = 100
    notebooks: int = 50
    mebibytes: int = 256
    big_mebibytes: int = 1024
    big_cells: int = 20
    rows: int = 2_000_000
    checkpoints: int = 10_000
    percent: int = 100
    tiny: int = 1000
    resumed: int = 100
    calls: int = 10_000
    submissions: int = 5
    without: frozenset[str] = frozenset()


@dataclass(frozen=True)
class Workload:
    """One row of the speed table.

    Attributes:
        name: What `--only` calls it.
        title: What is done, for the heading.
        aim: What the contract asks for, printed beside the figures and never asserted.
        contestants: Who takes part, the one that others are compared with first.
        turn: Runs one contestant in an empty folder. Raises `Absent`.
        judge: From a round's raw figures, those to print, by contestant and column.
        full: Too long for every day: runs with `--full` only.
        family: What `--only` calls it together with others.
    """

    name: str
    title: str
    aim: str
    contestants: Sequence[str]
    turn: Callable[[str, Options, Path], Turn]
    judge: Callable[[Round], Round]
    full: bool = False
    family: str = ""
