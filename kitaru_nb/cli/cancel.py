"""`cancel`: an execution that is not to go on."""

from __future__ import annotations

import sys
from contextlib import closing

from kitaru_nb.cli.output import Json, clean, print_json
from kitaru_nb.engine.describe import execution_json
from kitaru_nb.engine.person import this_person
from kitaru_nb.engine.refs import find_execution
from kitaru_nb.stacks.cancelling import cancel as cancel_execution
from kitaru_nb.stacks.cancelling import end_job
from kitaru_nb.stacks.launcher import Launchers
from kitaru_nb.stacks.whereabouts import engine_with

__all__ = ["cancel"]


def cancel(execution: str, /, *, json: Json = False) -> int:
    """End an execution for good, wherever it runs.

    What it has recorded stays. It is not gone on with: the next run is a new execution.

    Args:
        execution: An id, the start of one, or latest.
        json: Print one JSON document.
    """
    with closing(engine_with(execution)) as engine:
        chosen = find_execution(engine.journal, execution)
        now = cancel_execution(engine.journal, chosen.id, by=this_person())
        problem = end_job(engine, now, Launchers(engine.settings))
    if json:
        print_json(execution_json(now))
    else:
        print(clean(f"{now.id} is {now.status.value}: {now.reason or 'no reason is on record'}"))
    if problem is not None:
        print(clean(problem), file=sys.stderr)
    return 0
