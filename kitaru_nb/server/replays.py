"""Begins replays for whoever asks in a browser; the code of a notebook or flow never runs in the server."""

from __future__ import annotations

import json
import subprocess
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kitaru_nb.engine.changes import named_step
from kitaru_nb.engine.engine import Engine
from kitaru_nb.errors import KernelError, UsageError
from kitaru_nb.journal.journal import Journal
from kitaru_nb.model.execution import Execution, ExecutionId, Owner, new_execution_id, owner_of
from kitaru_nb.stacks.background import log_of
from kitaru_nb.stacks.replay_notebook import Wanted
from kitaru_nb.stacks.replaying import replay_notebook
from kitaru_nb.stacks.resuming import start_command

__all__ = ["Beginning", "begin_replay"]

_PATIENCE = 60.0  # seconds for a flow's process to import its modules and begin
_NEWEST = 20


@dataclass(frozen=True, slots=True)
class Beginning:
    """A process that is to begin the replay of a flow, and imports the flow's modules first.

    Attributes:
        process: It.
        owner: The same, as what it begins is owned by.
        log: Where what it prints goes.
        until: When it has had time enough, by the monotonic clock.
    """

    process: subprocess.Popen[bytes]
    owner: Owner
    log: Path
    until: float

    def begun(self, journal: Journal) -> ExecutionId | None:
        """The execution that it has begun; None where it may still come to that.

        Raises:
            KernelError: kind ``replay-not-begun``: it ended without one, or took too long and was
                ended; the message says why.
        """
        over = self.process.poll() is not None
        for each in journal.executions(limit=_NEWEST):
            if each.identity.replay and journal.attempts(each.id)[0].owner == self.owner:
                return each.id
        if not over and time.monotonic() < self.until:
            return None
        self.process.kill()
        said = self.log.read_text(encoding="utf-8", errors="replace").strip()
        message = f"the replay was not begun: {said or 'its process said nothing'}"
        raise KernelError(message, kind="replay-not-begun", hint=f"the whole log is {self.log}")


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
    changes = {**inputs, **overrides}
    for name, value in changes.items():
        _refuse_unheld(name, value, step)
    words = ["replay", original.id, f"--from={step}", "--set=-"]
    log = new_execution_id()  # the log's name: the replay makes its own id
    process = start_command(engine.settings, words, execution=log, folder=folder, told=json.dumps(changes))
    until = time.monotonic() + _PATIENCE
    return Beginning(process, owner_of(process.pid), log_of(engine.settings.home, log), until)


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
        hint = f"%replay --from {step} --set {name}=EXPRESSION in a notebook, or kt.replay(...)"
        raise UsageError(message, kind="bad-change", hint=hint)
