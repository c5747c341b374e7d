"""Grids that go on without the command that began them: ``run --grid … --detach``.

Where the stack has a queue, every point is handed to it now. Where it has none, a process of its own on
this machine runs the grid as the command would have, as many points at a time, with the page and a log.
Where those run on another machine, the first of them are handed to it now: what cannot be reached is
told to who types the command, not to a log. What is asked for goes to the process on standard input:
everybody on the machine can see a command line.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from kitaru_nb.cli.output import print_error
from kitaru_nb.engine.engine import Engine
from kitaru_nb.errors import KitaruError, StackError
from kitaru_nb.model.settings import Settings
from kitaru_nb.stacks.grid_rows import Row
from kitaru_nb.stacks.grid_run import Planned
from kitaru_nb.stacks.launcher import Launcher
from kitaru_nb.stacks.local import Job
from kitaru_nb.stacks.outcome import exit_code_of
from kitaru_nb.stacks.resuming import start_process
from kitaru_nb.stacks.rounds import Round, join
from kitaru_nb.stacks.submitting import submit

__all__ = ["hand_over", "leave_alone", "main", "refuses_all"]

_LOGS = "logs"


def hand_over(
    engine: Engine,
    round_: Round,
    planned: Sequence[Planned],
    rows: Mapping[int, Row],
    launcher: Launcher,
    *,
    retries: int = 0,
    html: bool = False,
    most: int | None = None,
    followed: bool = False,
) -> dict[int, Row]:
    """Hand points to a stack; the rows as they stand then.

    A point that cannot be begun keeps no other from it. Where the stack itself refuses or gives no answer
    the rest is left, for that reason: the same command hands it over later.

    Args:
        engine: Where they are recorded.
        round_: Which round they belong to.
        planned: The points; one that runs there already is left alone.
        rows: How all points stand.
        launcher: The stack's.
        retries: How many more attempts a worker makes at one that failed.
        html: Whether a worker also makes a page of its output.
        most: How many may be there at a time; None where there is a queue.
        followed: Whether some process here is going to wait for their ends.
    """
    found = dict(rows)
    there = sum(each.runs_by_itself for each in planned)
    refusal: KitaruError | None = None
    for each in planned:
        number, work = each.point.number, each.work
        if not isinstance(work, Job) or each.runs_by_itself:
            continue
        if refusal is not None:
            found[number] = replace(found[number], error=refusal)
            continue
        if most is not None and there >= most:
            break
        if each.joins and each.execution is not None:
            join(engine.journal, round_, each.execution.id, number)
        try:
            submitted = submit(engine, work, launcher, retries=retries, html=html, followed=followed)
        except KitaruError as error:
            found[number] = replace(found[number], error=error)
            refusal = error if refuses_all(error) else None
        else:
            there += 1
            found[number] = replace(found[number], execution=engine.journal.execution(submitted.execution))
    return found


def refuses_all(error: KitaruError) -> bool:
    """Whether what kept one point from the stack keeps all: a Python there may fit the next notebook."""
    return isinstance(error, StackError) and error.kind != "environment-differs"


def leave_alone(settings: Settings, asked: Mapping[str, Any], *, tag: str) -> tuple[int, Path]:
    """Let a process of its own run the grid; its number, and where what it prints goes.

    It outlives this process and its terminal. Where it dies, the same command goes on.

    Args:
        settings: Where the grid is recorded.
        asked: What `cli.run.run_notebooks` is called with.
        tag: Of the grid's round.

    Raises:
        KernelError: kind ``no-process``.
    """
    log = settings.home / _LOGS / f"{tag.replace(':', '-')}.log"
    process = start_process(
        settings,
        ["-m", __name__],
        log=log,
        folder=Path.cwd(),
        told=json.dumps(asked),
        hint="the same command without --detach",
    )
    return process.pid, log


def main() -> int:
    """Run the grid that standard input tells; the exit code."""
    from kitaru_nb.cli.run import run_notebooks  # noqa: PLC0415 - it imports this module

    try:
        return run_notebooks(**json.loads(sys.stdin.read()))
    except KitaruError as error:
        print_error(error, as_json=False)
        return int(exit_code_of(error))


if __name__ == "__main__":
    sys.exit(main())
