"""`why`: what decided that a checkpoint was restored or run."""

from __future__ import annotations

from contextlib import closing

from kitaru_nb.cli.output import Json, clean, print_json
from kitaru_nb.engine.refs import find_execution, find_step
from kitaru_nb.engine.stored import stored_values
from kitaru_nb.engine.why import explain
from kitaru_nb.stacks.open import open_engine
from kitaru_nb.stacks.whereabouts import engine_with

__all__ = ["why"]


def why(execution: str, checkpoint: str, /, *, json: Json = False) -> int:
    """Say why a checkpoint was restored or run: which input, function, file or parameter.

    Args:
        execution: An id, the start of one, or latest.
        checkpoint: Its name; NAME#2 is the second of that name.
        json: Print one JSON document.
    """
    with closing(engine_with(execution, read_only=True)) as engine:
        stored = stored_values(lambda: open_engine(engine.settings, read_only=True))
        chosen = find_execution(engine.journal, execution)
        step = find_step(engine.journal, chosen, checkpoint)
        explanation = explain(engine.journal, step, stored=stored)
    if not json:
        for line in str(explanation).splitlines():
            print(clean(line))
        return 0
    print_json(explanation.to_json())
    return 0
