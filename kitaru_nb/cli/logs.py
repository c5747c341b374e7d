"""`logs`: what happened in an execution, and what its cells showed."""

from __future__ import annotations

import time
from collections.abc import Sequence
from contextlib import closing
from typing import Annotated

from cyclopts import Parameter

from kitaru_nb.cli.output import Json, clean, print_json
from kitaru_nb.engine.logs import Line, log_of
from kitaru_nb.engine.refs import LATEST, find_execution
from kitaru_nb.model.execution import ExecutionStatus
from kitaru_nb.stacks.open import open_engine
from kitaru_nb.stacks.settings import resolve

__all__ = ["logs"]

_POLL = 0.3  # seconds


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
        follow: Go on while it runs. With --json the document comes when it has ended.
        json: Print one JSON document.
    """
    found: list[Line] = []
    with closing(open_engine(resolve(), read_only=True)) as engine:
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
    if json:
        print_json([line.to_json() for line in found])
    return 0


def _print(lines: Sequence[Line]) -> None:
    for line in lines:
        at = line.event.at.astimezone().strftime("%H:%M:%S")
        margin = f"{at}  " if line.stream is None else "          | "
        for part in line.text.splitlines() or [""]:
            print(f"{margin}{clean(part)}", flush=True)
