"""A replay that a process of its own begins: how that is started, and what it has begun.

What is changed goes to it on standard input: everybody on the machine can see a command line.
"""

from __future__ import annotations

import json
import math
import subprocess
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kitaru_nb.errors import KernelError
from kitaru_nb.journal.journal import Journal
from kitaru_nb.model.execution import ExecutionId, Owner, new_execution_id, owner_of
from kitaru_nb.model.settings import Settings
from kitaru_nb.stacks.background import log_of
from kitaru_nb.stacks.resuming import start_command

__all__ = ["Beginning", "begin_elsewhere"]

_NEWEST = 20
_LONGEST = 2000  # characters of what the process said


@dataclass(frozen=True, slots=True)
class Beginning:
    """A process that is to begin a replay, and imports the modules of a flow first.

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

    @property
    def is_over(self) -> bool:
        """Whether the process has ended."""
        return self.process.poll() is not None

    def begun(self, journal: Journal) -> ExecutionId | None:
        """The execution that it has begun; None where it may still come to that.

        Raises:
            KernelError: kind ``replay-not-begun``: it ended without one, or took too long and was
                ended; the message says why.
        """
        over = self.is_over  # first: what it begins before its end is seen below
        for each in journal.executions(limit=_NEWEST):
            if each.identity.replay and journal.attempts(each.id)[0].owner == self.owner:
                return each.id
        if not over and time.monotonic() < self.until:
            return None
        self.process.kill()
        said = self.log.read_text(encoding="utf-8", errors="replace").strip()[-_LONGEST:]
        message = f"the replay was not begun: {said or 'its process said nothing'}"
        raise KernelError(message, kind="replay-not-begun", hint=f"the whole log is {self.log}")


def begin_elsewhere(
    settings: Settings,
    original: ExecutionId,
    step: str,
    changes: Mapping[str, Any],
    *,
    folder: Path,
    patience: float = math.inf,
) -> Beginning:
    """Start the process that begins a replay from `step` on, with `changes` that JSON holds.

    Raises:
        KernelError: kind ``no-process``.
    """
    words = ["replay", original, f"--from={step}", "--set=-"]
    log = new_execution_id()  # the log's name: the replay makes its own id
    process = start_command(settings, words, execution=log, folder=folder, told=json.dumps(changes))
    until = time.monotonic() + patience
    return Beginning(process, owner_of(process.pid), log_of(settings.home, log), until)
