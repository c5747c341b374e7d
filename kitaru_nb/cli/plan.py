"""`plan`: what running a notebook would do, cell by cell, before anything runs."""

from __future__ import annotations

import math
import os
from collections.abc import Sequence
from contextlib import closing
from typing import Any

from kitaru_nb.cli.output import Json, clean, duration, money, print_json, print_table
from kitaru_nb.engine.plan import CellPlan, Fate, totals
from kitaru_nb.engine.plan import as_json as cell_json
from kitaru_nb.engine.renamed import as_recorded
from kitaru_nb.errors import NotFoundError
from kitaru_nb.model.execution import Identity
from kitaru_nb.model.settings import Settings
from kitaru_nb.stacks.local import job_of
from kitaru_nb.stacks.open import open_engine
from kitaru_nb.stacks.planning import plan as plan_run
from kitaru_nb.stacks.planning import plan_interactive
from kitaru_nb.stacks.replay_plan import Foreseen, as_json
from kitaru_nb.stacks.settings import resolve

__all__ = ["foreseen_json", "plan", "plan_json", "print_foreseen", "print_plan"]


def plan(notebook: str, /, *, json: Json = False) -> int:
    """Say what running a notebook would do: what is restored, what runs and why, how long, how much.

    A notebook that is run by hand is planned as Run All in a new kernel, one that was run by
    a command as `run` would go on with it. Nothing is run.

    Args:
        notebook: Its path.
        json: Print one JSON document.
    """
    settings = resolve()
    path = os.path.abspath(notebook)
    if _is_headless(settings, path):
        found = plan_run(job_of(notebook), settings=settings)
        execution, rows = found.execution, found.rows
    else:
        execution, rows = plan_interactive(path, settings=settings)
    ident = execution.id if execution is not None else None
    if json:
        print_json({"notebook": path, "execution": ident, **plan_json(rows)})
    else:
        goes_on = (
            f"goes on with {ident}" if ident else "nothing to go on with, so a new execution would begin"
        )
        print(f"{clean(path)}: {goes_on}")
        print_plan(rows)
    return 0


def plan_json(rows: Sequence[CellPlan]) -> dict[str, Any]:
    """The cells and the sums, as JSON values."""
    sums = totals(rows)
    return {
        "restored": [row.name for row in rows if row.fate is Fate.RESTORED],
        "saved_duration": math.fsum(row.duration or 0.0 for row in rows if row.fate is Fate.RESTORED),
        "cells": [cell_json(row) for row in rows],
        "totals": {
            fate.value: {"cells": s.cells, "duration": s.duration, "cost": s.cost, "unknown": s.unknown}
            for fate, s in sums.items()
        },
    }


def print_plan(rows: Sequence[CellPlan]) -> None:
    """A table of the cells, and a line with the sums."""
    if not rows:
        return
    table = [
        (
            str(row.cell.place),
            row.fate.value,
            row.name or "",
            duration(row.duration),
            money(row.cost),
            row.reason,
            row.cell.source.strip().splitlines()[0][:60],
        )
        for row in rows
    ]
    heads = ("cell", "would be", "checkpoint", "took", "cost", "why", "source")
    print_table(heads, table, flexible=("why", "source"))
    print(_sums(rows))


def foreseen_json(found: Foreseen) -> dict[str, Any]:
    """The document of ``replay --dry-run``."""
    return {**as_json(found), **plan_json(found.rows)}


def print_foreseen(found: Foreseen) -> None:
    """What ``replay --dry-run`` prints."""
    print(clean(found.told()))
    for note in found.notes:
        print(f"  {clean(note)}")
    print_plan(found.rows)


def _sums(rows: Sequence[CellPlan]) -> str:
    words = {Fate.RESTORED: "restored", Fate.RUN: "to run", Fate.MAYBE: "may run", Fate.PLAIN: "plain"}
    parts = []
    for fate, total in totals(rows).items():
        if not total.cells:
            continue
        details = [duration(total.duration)] if total.duration else []
        details += [money(total.cost)] if total.cost is not None else []
        if total.unknown and fate in (Fate.RUN, Fate.MAYBE):
            details.append(f"{total.unknown} never timed")
        saved = "saves " if fate is Fate.RESTORED else ""
        parts.append(f"{total.cells} {words[fate]}" + (f" ({saved}{', '.join(details)})" if details else ""))
    return ", ".join(parts)


def _is_headless(settings: Settings, path: str) -> bool:
    """Whether the notebook's newest execution was run by a command."""
    try:
        engine = open_engine(settings, read_only=True)
    except NotFoundError:
        return False
    with closing(engine):
        recorded_as = as_recorded(engine.journal, Identity(notebook=path)).notebook
        known = engine.journal.executions(notebook=recorded_as, limit=1)
    return bool(known) and not known[0].identity.interactive
