"""How work is started elsewhere: the protocol of launchers, and which one a stack has.

A launcher only starts a process somewhere, says whether it runs, gives what it printed and ends it.
That nothing is lost and nothing runs twice is the journal's doing: the process that is started takes
the execution's lease, and what it commits under a lease that it has lost is refused.
"""

from __future__ import annotations

import difflib
import importlib
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from types import UnionType
from typing import Any, NewType, Protocol

from kitaru_nb.errors import UsageError
from kitaru_nb.model.execution import ExecutionId
from kitaru_nb.model.settings import Settings
from kitaru_nb.model.stack import Stack
from kitaru_nb.stacks.config import LAUNCHERS, others_launchers, read_stacks
from kitaru_nb.stacks.settings import resolve

__all__ = [
    "Capabilities",
    "Handle",
    "JobState",
    "JobStatus",
    "Launcher",
    "Launchers",
    "RunSpec",
    "launcher_of",
    "option",
    "texts",
]

Handle = NewType("Handle", str)
"""What a launcher knows a job by. It is kept in the journal, for whoever asks later."""

_CLASSES = {
    "local": "kitaru_nb.stacks.local_launcher:LocalLauncher",
    "dask": "kitaru_nb.stacks.dask_launcher:DaskLauncher",
    "slurm": "kitaru_nb.stacks.slurm_launcher:SlurmLauncher",
    "ssh": "kitaru_nb.stacks.ssh_launcher:SshLauncher",
    "kubernetes": "kitaru_nb.stacks.kubernetes_launcher:KubernetesLauncher",
}


class JobStatus(StrEnum):
    """Where a job stands, as its scheduler says."""

    QUEUED = "queued"
    RUNNING = "running"
    EXITED = "exited"
    LOST = "lost"
    """The scheduler does not know it (any more): it has ended, how is not known."""


@dataclass(frozen=True, slots=True)
class JobState:
    """What a scheduler says of a job.

    Attributes:
        status: Where it stands.
        code: The exit code of one that has ended, where that is known; above 128 a signal's.
        reason: What else the scheduler says, such as ``NODE_FAIL`` or why it is not begun.
    """

    status: JobStatus
    code: int | None = None
    reason: str = ""

    @property
    def over(self) -> bool:
        """Whether no process of it runs or will run."""
        return self.status in (JobStatus.EXITED, JobStatus.LOST)


@dataclass(frozen=True, slots=True)
class Capabilities:
    """What a launcher can do, for who drives it.

    Attributes:
        detached: Whether a job outlives the process that submitted it.
        suspend_exit: The exit code with which a worker that waits should end: 0 where the scheduler
            would take any other for a failure.
        restarts: Whether the scheduler itself starts a job again whose machine failed.
        same_files: Whether workers are sure to see the files of this machine, so that nothing has to
            be sent along.
        queues: Whether jobs wait there for their turn, so that a whole grid may be handed over at once.
    """

    detached: bool = True
    suspend_exit: int = 75
    restarts: bool = False
    same_files: bool = False
    queues: bool = False


@dataclass(frozen=True, slots=True)
class RunSpec:
    """What is to be started. No secret is in it: a worker finds those in its own environment.

    Attributes:
        execution: What it is for; jobs are named after it.
        words: The worker's arguments, after the Python that runs it.
        env: Variables to set beside those the worker finds.
        folder: Where it begins, when there is such a folder there.
    """

    execution: ExecutionId
    words: Sequence[str]
    env: Mapping[str, str] = field(default_factory=dict)
    folder: str | None = None

    def argv(self, python: str = sys.executable) -> list[str]:
        """The command, run by `python`."""
        return [python, *self.words]


class Launcher(Protocol):
    """Starts workers of one stack. It keeps nothing: all that it needs later is in the handle.

    A class is made with a `Stack` and its `Settings`, and says in `OPTIONS` which names it knows in the
    stack's ``[stacks.NAME.launcher]``. A package brings one as an entry point of the group
    ``kitaru_nb.launchers``.

    Every method may raise `StackError`: kind ``stack-unreachable`` where its scheduler or machine does
    not answer, kind ``not-submitted`` where it refuses to start something, kind ``stack-refused`` where it
    refuses anything else, kind ``bad-handle`` for a handle of another launcher.
    """

    @property
    def capabilities(self) -> Capabilities:
        """What it can do."""
        ...

    def submit(self, spec: RunSpec) -> Handle:
        """Start a worker, or put it into a queue. A job that was begun is never reported as refused."""
        ...

    def poll(self, handle: Handle) -> JobState:
        """Where a job stands."""
        ...

    def cancel(self, handle: Handle) -> None:
        """Ask a job to end: SIGTERM, and five seconds to close the journal. One that is over stays so."""
        ...

    def logs(self, handle: Handle, *, offset: int = 0) -> bytes:
        """What the worker itself printed, from byte `offset` on; what cells show is in the journal."""
        ...


def launcher_of(stack: Stack, settings: Settings) -> Launcher:
    """The launcher of a stack.

    Raises:
        UsageError: kind ``unknown-launcher-option`` or ``bad-launcher-option``: the stack's file says
            something that means nothing; kind ``missing-extra``: what it needs is not installed.
    """
    try:
        found = _class_of(stack.launcher)
    except ModuleNotFoundError as error:
        if error.name is None or error.name.startswith("kitaru_nb"):
            raise
        raise UsageError(
            f"the launcher `{stack.launcher}` of stack `{stack.name}` needs `{error.name}`, "
            "which is not installed",
            kind="missing-extra",
            hint=f"pip install 'kitaru-nb[{stack.launcher}]'"
            if stack.launcher in LAUNCHERS
            else f"pip install {error.name}",
        ) from error
    _check_options(stack, found.OPTIONS)
    launcher: Launcher = found(stack, settings)
    return launcher


class Launchers:
    """The launchers of stacks by name, each made once."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._made: dict[str, Launcher | None] = {}

    def __call__(self, stack: str) -> Launcher | None:
        """The launcher of that stack; None where no such stack is known here.

        Raises:
            UsageError: see `launcher_of`.
        """
        if stack not in self._made:
            self._made[stack] = self._make(stack)
        return self._made[stack]

    def _make(self, stack: str) -> Launcher | None:
        place = self._settings.place
        if place is not None and place.name == stack:
            return launcher_of(place, self._settings)
        found = read_stacks(Path.cwd()).stacks.get(stack)
        return None if found is None else launcher_of(found, resolve(place=found))


def _class_of(launcher: str) -> Any:
    if launcher not in _CLASSES:
        return others_launchers()[launcher].load()
    path, _, name = _CLASSES[launcher].partition(":")
    return getattr(importlib.import_module(path), name)


def option(stack: Stack, name: str, kind: type | UnionType, default: Any = None) -> Any:
    """One option of a stack's launcher.

    Raises:
        UsageError: kind ``bad-launcher-option``: it is of another type than `kind`.
    """
    value = stack.launcher_options.get(name, default)
    if value is default or (isinstance(value, kind) and not (kind is not bool and isinstance(value, bool))):
        return value
    raise UsageError(
        f"`{name}` of the launcher of stack `{stack.name}` is {value!r}, which is no {_KINDS[kind]}",
        kind="bad-launcher-option",
        hint=f"mend {stack.source}",
    )


def texts(stack: Stack, name: str) -> list[str]:
    """An option of a stack's launcher that is a list of texts; empty where it is not given.

    Raises:
        UsageError: kind ``bad-launcher-option``: it is something else.
    """
    given: list[Any] = option(stack, name, list, [])
    for each in given:
        if not isinstance(each, str):
            raise UsageError(
                f"`{name}` of the launcher of stack `{stack.name}` holds {each!r}, which is no text",
                kind="bad-launcher-option",
                hint=f"mend {stack.source}",
            )
    return given


_KINDS: dict[type | UnionType, str] = {
    str: "text",
    int: "whole number",
    int | str: "text or whole number",
    list: "list",
    dict: "table",
    bool: "true or false",
}


def _check_options(stack: Stack, known: Sequence[str]) -> None:
    for name in stack.launcher_options:
        if name not in known:
            close = difflib.get_close_matches(name, known, n=1)
            raise UsageError(
                f"the launcher of stack `{stack.name}` has `{name}`, "
                f"which means nothing to `{stack.launcher}`",
                kind="unknown-launcher-option",
                hint=f"{close[0]} = …" if close else "one of " + (", ".join(known) or "none"),
            )
