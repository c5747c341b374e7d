"""Begins replays for whoever asks in a browser; the code of a notebook or flow never runs in the server."""

from __future__ import annotations

import json
import subprocess
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from kitaru_nb.engine.changes import named_step
from kitaru_nb.engine.engine import Engine
from kitaru_nb.errors import KernelError
from kitaru_nb.model.execution import Execution, ExecutionId, new_execution_id
from kitaru_nb.stacks.background import log_of
from kitaru_nb.stacks.replay_notebook import Wanted
from kitaru_nb.stacks.replaying import replay_notebook
from kitaru_nb.stacks.resuming import start_command

__all__ = ["begin_replay"]

_PATIENCE = 60.0  # seconds for a flow's process to import its modules and begin
_POLL = 0.1
_NEWEST = 20


def begin_replay(
    engine: Engine,
    original: Execution,
    step: str,
    inputs: Mapping[str, Any],
    overrides: Mapping[str, Any],
    *,
    folder: Path,
) -> ExecutionId:
    """The id of a replay that runs in a process of its own from now on.

    Raises:
        KitaruError: it cannot be begun, and why. Nothing was.
    """
    if original.identity.flow is None:
        handle = replay_notebook(engine, original, Wanted(step, inputs, overrides), namespace={})
        return handle.execution
    named_step(engine.journal, original, step)  # told here, where somebody waits for it
    words = ["replay", original.id, f"--from={step}"]
    for name, value in {**inputs, **overrides}.items():
        words.append(f"--set={name}={json.dumps(value)}")
    log = new_execution_id()  # the log's name: the replay makes its own id
    process = start_command(engine.settings, words, execution=log, folder=folder)
    return _begun_by(process, engine, log_of(engine.settings.home, log))


def _begun_by(process: subprocess.Popen[bytes], engine: Engine, log: Path) -> ExecutionId:
    """The execution that a process has begun, once it has.

    Raises:
        KernelError: kind ``replay-not-begun``: it ended without one; the message says why.
    """
    until = time.monotonic() + _PATIENCE
    while time.monotonic() < until:
        over = process.poll() is not None
        for each in engine.journal.executions(limit=_NEWEST):
            if each.identity.replay and engine.journal.attempts(each.id)[0].owner.pid == process.pid:
                return each.id
        if over:
            break
        time.sleep(_POLL)
    else:
        process.kill()
    said = log.read_text(encoding="utf-8", errors="replace").strip()
    message = f"the replay was not begun: {said or 'its process said nothing'}"
    raise KernelError(message, kind="replay-not-begun", hint=f"the whole log is {log}")
