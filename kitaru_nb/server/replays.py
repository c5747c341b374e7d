"""Begins replays for whoever asks in a browser; the code of a notebook or flow never runs in the server."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from shlex import quote
from typing import Any

from kitaru_nb.engine.changes import named_step
from kitaru_nb.engine.engine import Engine
from kitaru_nb.errors import UsageError
from kitaru_nb.model.execution import Execution, ExecutionId
from kitaru_nb.stacks.beginning import Beginning, begin_elsewhere
from kitaru_nb.stacks.replay_notebook import Wanted
from kitaru_nb.stacks.replaying import replay_notebook

__all__ = ["begin_replay"]

_PATIENCE = 60.0  # seconds for a flow's process to import its modules and begin


def begin_replay(
    engine: Engine,
    original: Execution,
    step: str,
    inputs: Mapping[str, Any],
    overrides: Mapping[str, Any],
    *,
    folder: Path,
) -> ExecutionId | Beginning:
    """The id of a replay that runs in a process of its own from now on, or the process that will begin it.

    Raises:
        KitaruError: it cannot be begun, and why. Nothing was.
    """
    if original.identity.flow is None:
        handle = replay_notebook(engine, original, Wanted(step, inputs, overrides), namespace={})
        return handle.execution
    named_step(engine.journal, original, step)  # told here, where somebody waits for it
    for name in inputs.keys() & overrides.keys():
        message = f"`{name}` is among the inputs and among the overrides"
        raise UsageError(message, kind="bad-change", hint=f"one value for `{name}`")
    changes = {**inputs, **overrides}
    for name, value in changes.items():
        _refuse_unheld(name, value, step)
    return begin_elsewhere(engine.settings, original.id, step, changes, folder=folder, patience=_PATIENCE)


def _refuse_unheld(name: str, value: object, step: str) -> None:
    """Refuse what would come to the flow's process as something else.

    Raises:
        UsageError: kind ``bad-change``.
    """
    try:
        same = json.loads(json.dumps(value, allow_nan=False)) == value
    except (TypeError, ValueError, RecursionError):
        same = False
    if not same:
        message = (
            f"`{name}` is a {type(value).__name__} that JSON cannot hold, and a flow is replayed with JSON"
        )
        hint = f"%replay --from {quote(step)} --set {name}=EXPRESSION in a notebook, or kt.replay(...)"
        raise UsageError(message, kind="bad-change", hint=hint)
