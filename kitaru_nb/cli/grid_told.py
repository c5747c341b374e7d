"""How a grid goes and stands, as it is told: lines while it runs, a table, documents, the last lines."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from kitaru_nb.cli.output import clean, counted, duration, money, print_error, print_table, tidy_path
from kitaru_nb.engine.describe import execution_json
from kitaru_nb.errors import ConflictError
from kitaru_nb.model.execution import ExecutionStatus
from kitaru_nb.stacks import grid_rows
from kitaru_nb.stacks.batch import Began, Event, Said
from kitaru_nb.stacks.grid import label_of, shown_values
from kitaru_nb.stacks.grid_page import shown_metric
from kitaru_nb.stacks.grid_rows import Row, status_of
from kitaru_nb.stacks.masking import masked_parameters
from kitaru_nb.stacks.notebooks import json_parameters
from kitaru_nb.stacks.outcome import status_line

__all__ = [
    "alone_told",
    "document_of",
    "line_of",
    "print_lines",
    "print_rows",
    "say",
    "say_refused",
    "submitted_told",
]


def say(event: Event, row: Row, rows: Sequence[Row], *, talks: bool) -> None:
    """Say on stderr what happened to a point; with `talks` also when one begins or completes."""
    place = _place_of(row, rows)
    if isinstance(event, Said):
        if event.line.strip():
            print(f"{place}: {clean(event.line)}", file=sys.stderr)
        return
    if isinstance(event, Began):
        if talks:
            print(f"{place}: begins", file=sys.stderr)
        return
    status = status_of(row)
    took = f" after {duration(row.execution.duration)}" if row.execution is not None else ""
    why = f": {clean(row.reason.splitlines()[0])}" if row.reason else ""
    if talks or status != ExecutionStatus.COMPLETED:
        print(f"{place}: {status}{took}{why}", file=sys.stderr)
    _say_why(row)


def _place_of(row: Row, rows: Sequence[Row]) -> str:
    """Which point it is, for a person."""
    label = label_of(row.point, notebook=len({each.point.notebook for each in rows}) > 1)
    return f"[{row.point.number}/{len(rows)}] {clean(label)}"


def say_refused(rows: Sequence[Row]) -> None:
    """Say on stderr of each point that was not submitted why, and once for each reason what to type."""
    hints: dict[str, None] = {}
    for row in rows:
        if row.error is not None:
            print(f"{_place_of(row, rows)}: not submitted: {clean(row.error.message)}", file=sys.stderr)
            hints[row.error.hint or ""] = None
    for hint in filter(None, hints):
        print(f"  Try: {clean(hint)}", file=sys.stderr)


def _say_why(row: Row) -> None:
    """What a person needs to know of a point that did not complete."""
    failed = row.error or (row.outcome.error if row.outcome else None)
    if failed is not None:
        print_error(failed, as_json=False)
    elif row.outcome is not None and row.outcome.traceback:
        print(row.outcome.traceback, file=sys.stderr)
    elif row.outcome is not None and row.outcome.hint:
        for line in f"Try: {row.outcome.hint}".splitlines():
            print(f"  {clean(line)}", file=sys.stderr)


def print_rows(rows: Sequence[Row]) -> None:
    """A table of all points, and what to do about those that did not complete."""
    axes = list(dict.fromkeys(name for row in rows for name in row.point.values))
    metrics = list(dict.fromkeys(name for row in rows for name in row.metrics))
    several = len({row.point.notebook for row in rows}) > 1 or not axes
    columns = ["#", *(["notebook"] if several else []), *axes, "status", "took", "saved", "cost"]
    print_table(
        [*columns, *metrics, "output"],
        [_cells(row, axes, metrics, several=several) for row in rows],
        flexible=("output",),
    )
    kept = [row for row in rows if row.kept]
    if kept:
        spared = sum(row.execution.duration for row in kept if row.execution is not None)
        what = "1 point had" if len(kept) == 1 else f"{len(kept)} points had"
        print(f"{what} completed before and did not run again ({duration(spared)} saved)")
    left = [row for row in rows if status_of(row) != ExecutionStatus.COMPLETED]
    if left:
        statuses = counted(
            {status: sum(status_of(r) == status for r in left) for status in map(status_of, left)}
        )
        print(f"{statuses}; go on with: the same command")


def _cells(row: Row, axes: Sequence[str], metrics: Sequence[str], *, several: bool) -> list[str]:
    seen, values = row.execution, shown_values(row.point)
    return [
        str(row.point.number),
        *([os.path.basename(row.point.notebook)] if several else []),  # noqa: PTH119 - it may be a URL
        *(values.get(name, "") for name in axes),
        status_of(row),
        duration(seen.duration) if seen is not None else "",
        duration(seen.saved_duration) if seen is not None and seen.saved_duration else "",
        money(seen.cost) if seen is not None else "",
        *(shown_metric(row.metrics[name]) if name in row.metrics else "" for name in metrics),
        tidy_path(row.output) if row.output else "",
    ]


def document_of(row: Row, *, hint: str = "the same command again") -> dict[str, Any]:
    """A point in the array of ``--json``: its execution's fields and its own, or why it has none.

    `hint` is what to type where it has not begun.
    """
    point = {"point": masked_parameters(json_parameters(row.point.values))}
    if row.error is not None:
        return {**row.error.document, **point}
    if row.execution is None:
        pending = ConflictError("this point has not begun", kind="not-begun", hint=hint)
        return {**pending.document, **point}
    more = {"output": row.output, "metrics": dict(row.metrics)}
    return {**execution_json(row.execution), **point, **more}


def alone_told(left: int, workers: int, process: int, log: Path) -> list[str]:
    """What to say of points that a process of its own runs from now on."""
    points = "1 point goes" if left == 1 else f"{left} points go"
    return [
        f"{points} on in the background, {min(workers, left)} at a time (process {process})",
        f"what it prints: {clean(tidy_path(str(log)))}",
        f"to stop it: kill {process}; the same command goes on, and shows the table once all have completed",
    ]


def submitted_told(rows: Sequence[Row], stack: str) -> list[str]:
    """What to say of points that were handed to a queue."""
    running = sum(status_of(row) == ExecutionStatus.RUNNING for row in rows)
    left = sum(row.error is not None or row.execution is None for row in rows)
    again = "not handed over: the same command tries again"
    if not running and left:
        return [f"no point is with stack {clean(stack)}; {left} {'was' if left == 1 else 'were'} {again}"]
    points = "1 point is" if running == 1 else f"{running} points are"
    more = f"; {left} {'was' if left == 1 else 'were'} {again}" if left else ""
    return [
        f"{points} with stack {clean(stack)}{more}",
        "to follow them, to one table: the same command without --detach",
    ]


def print_lines(rows: Sequence[Row], tag: str) -> None:
    """The lines on stderr that programs read: one of each point, and the grid's."""
    for row in rows:
        print(line_of(row), file=sys.stderr)
    counts = " ".join(f"{status}={number}" for status, number in grid_rows.counted(list(rows)).items())
    print(f"kitaru: grid {counts} tag={tag}", file=sys.stderr)


def line_of(row: Row) -> str:
    """The line on stderr that programs read of a point."""
    if row.outcome is not None:
        return status_line(row.outcome)
    name = row.execution.id if row.execution is not None else "none"
    return f"kitaru: {status_of(row)} execution={name}"
