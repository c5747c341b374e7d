"""How a headless run ended: its status, its exit code and its last line on stderr."""

from __future__ import annotations

import signal
from collections.abc import Callable
from dataclasses import dataclass
from enum import IntEnum

from kitaru_nb.errors import KitaruError, UsageError
from kitaru_nb.model.execution import ExecutionId, ExecutionStatus

__all__ = ["Exit", "Outcome", "Report", "exit_code_of", "status_line"]


class Exit(IntEnum):
    """Exit codes of `kitaru-nb run` and of ``papermill --engine kitaru``."""

    COMPLETED = 0
    FAILED = 1
    USAGE = 2
    WAITING = 75
    SUPERSEDED = 76
    TIMED_OUT = 124
    SIGINT = 128 + signal.SIGINT
    KERNEL_DIED = 138
    SIGTERM = 128 + signal.SIGTERM


@dataclass(frozen=True, slots=True)
class Outcome:
    """How one attempt ended.

    Attributes:
        status: What the journal says of the execution.
        exit: The process's exit code.
        execution: The execution.
        checkpoint: The step it ended at, when it did not complete and the step has a name.
        reason: Why it ended, for a person; empty when it completed.
        restored: How many cells were restored, and `saved` how many seconds they took once.
        ran: How many cells ran.
        traceback: The traceback of the cell that raised, as text; empty otherwise.
        error: What ended it where that was no cell's doing, such as a kernel that cannot be started.
        wait: Where it waits: the address of the wait that is to be answered.
        hint: Where it waits: what to type.
    """

    status: ExecutionStatus
    exit: Exit
    execution: ExecutionId
    checkpoint: str | None = None
    reason: str = ""
    restored: int = 0
    ran: int = 0
    saved: float = 0.0
    traceback: str = ""
    error: KitaruError | None = None
    wait: str | None = None
    hint: str = ""


Report = Callable[[Outcome], None]
"""Receives the outcome of an attempt, once, when it has ended."""


def status_line(outcome: Outcome) -> str:
    """The machine-readable line a run ends with on stderr."""
    status = "superseded" if outcome.exit is Exit.SUPERSEDED else outcome.status
    line = f"kitaru: {status} execution={outcome.execution}"
    line += f" wait={outcome.wait}" if outcome.wait else ""
    return f"{line} checkpoint={outcome.checkpoint}" if outcome.checkpoint else line


def exit_code_of(error: KitaruError) -> Exit:
    """The exit code for an error that kept a run from starting."""
    if isinstance(error, UsageError):
        return Exit.USAGE
    return Exit.SUPERSEDED if error.kind == "superseded" else Exit.FAILED
