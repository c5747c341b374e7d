"""`logs`: what happened in an execution, and what its cells showed."""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from contextlib import closing
from datetime import UTC, datetime, timedelta
from typing import Annotated

from cyclopts import Parameter

from kitaru_nb.cli.output import Json, clean, print_json
from kitaru_nb.engine.engine import Engine
from kitaru_nb.engine.logs import Line, log_of
from kitaru_nb.engine.refs import LATEST, find_execution
from kitaru_nb.errors import StoreError
from kitaru_nb.model.execution import Execution, ExecutionStatus
from kitaru_nb.stacks.collecting import collect
from kitaru_nb.stacks.submissions import exit_of, was_submitted
from kitaru_nb.stacks.whereabouts import engine_with

__all__ = ["logs"]

_POLL = 0.3  # seconds
_PATIENCE = 10.0  # seconds that a worker gets from the end of its run to its own
_FRESH = timedelta(seconds=30)


def logs(
    execution: str = LATEST,
    /,
    *,
    follow: Annotated[bool, Parameter(name=["--follow", "-f"], negative=())] = False,
    json: Json = False,
) -> int:
    """Say what happened in an execution, and what its cells showed.

    Args:
        execution: An id, the start of one, or latest.
        follow: Go on while it runs; at the end its output is written here, where it ran elsewhere and
            that was not done. With --json the document comes when it has ended.
        json: Print one JSON document.
    """
    found: list[Line] = []
    with closing(engine_with(execution, read_only=True)) as engine:
        journal = engine.journal
        chosen = find_execution(journal, execution).id
        after = 0
        while True:
            running = journal.execution(chosen).status is ExecutionStatus.RUNNING
            part = log_of(journal, chosen, after=after)
            after = part.next
            if json:
                found += part.lines
            else:
                _print(part.lines)
            if part.more:
                continue
            if not (follow and running):
                break
            time.sleep(_POLL)
        _collect(engine, journal.execution(chosen), follow=follow)
    if json:
        print_json([line.to_json() for line in found])
    return 0


def _outwait(engine: Engine, execution: Execution) -> None:
    """Let the worker of a run that has just ended say how: only that tells where it wrote its output."""
    if execution.ended_at is None or datetime.now(UTC) - execution.ended_at > _FRESH:
        return
    until = time.monotonic() + _PATIENCE
    while (
        was_submitted(engine.journal, execution)
        and exit_of(engine, execution, execution.epoch) is None
        and time.monotonic() < until
    ):
        time.sleep(_POLL)


def _collect(engine: Engine, execution: Execution, *, follow: bool) -> None:
    """Write the output of a run that ended elsewhere, when it is followed to its end."""
    if not follow:
        return
    _outwait(engine, execution)
    try:
        path = collect(engine, execution)
    except StoreError as error:
        print(f"warning: {clean(error.message)}", file=sys.stderr)
        return
    if path is not None:
        print(f"output: {clean(str(path))}", file=sys.stderr)


def _print(lines: Sequence[Line]) -> None:
    for line in lines:
        at = line.event.at.astimezone().strftime("%H:%M:%S")
        margin = f"{at}  " if line.stream is None else "          | "
        for part in line.text.splitlines() or [""]:
            print(f"{margin}{clean(part)}", flush=True)
