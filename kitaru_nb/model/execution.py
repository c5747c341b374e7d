"""An execution: one run of a notebook or flow, over as many attempts as it takes."""

from __future__ import annotations

import os
import secrets
import socket
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from pathlib import Path
from typing import Any, NewType

__all__ = [
    "OUTPUT_ENDING",
    "Attempt",
    "Execution",
    "ExecutionId",
    "ExecutionStatus",
    "Identity",
    "Owner",
    "current_owner",
    "default_output",
    "is_alive",
    "new_execution_id",
    "owner_of",
    "queue_owner",
]

ExecutionId = NewType("ExecutionId", str)
"""``ex_`` and 26 characters that sort by time of creation (a ULID, in lower case)."""

OUTPUT_ENDING = ".out.ipynb"
_QUEUED = "queued"
_PIDS = "/"  # in a boot id, before the namespace of pids
_HOSTS_PIDS = "pid:[4026531836]"  # Linux gives the namespace of the machine itself this number
_ALPHABET = "0123456789abcdefghjkmnpqrstvwxyz"  # Crockford's base 32


class ExecutionStatus(StrEnum):
    """Where an execution stands; spelled the same in SQL, JSON and TypeScript."""

    RUNNING = "running"
    WAITING = "waiting"
    COMPLETED = "completed"
    FAILED = "failed"
    INTERRUPTED = "interrupted"
    CANCELLED = "cancelled"

    @property
    def continues(self) -> bool:
        """Whether starting the same identity again goes on with this execution."""
        return self in (self.INTERRUPTED, self.FAILED, self.WAITING)


@dataclass(frozen=True, slots=True)
class Identity:
    """What makes two runs the same run: starting an equal identity continues an unfinished one.

    Attributes:
        notebook: Absolute path of the notebook, or None for a flow.
        flow: ``module:qualname`` of the flow, or None for a notebook.
        output: Absolute path or URL of the output notebook; None when interactive.
        parameters: Parameters (or flow inputs) as JSON values.
        stack: Name of the stack it runs on.
        file: Absolute path of the script or notebook that defines a flow, where its module has
            no name of its own.
        within: For a flow that another execution calls: where it is called.
        replay: For a replay: a mark of its own, so that no other run goes on with it.
    """

    notebook: str | None = None
    flow: str | None = None
    output: str | None = None
    parameters: Mapping[str, Any] = field(default_factory=dict)
    stack: str = "local"
    file: str | None = None
    within: str | None = None
    replay: str | None = None

    @property
    def is_headless(self) -> bool:
        """Whether a command runs it, from a notebook to an output."""
        return self.notebook is not None and not self.interactive

    @property
    def interactive(self) -> bool:
        """Whether a person runs the cells (no output notebook is written)."""
        return self.flow is None and self.output is None


def default_output(notebook: str) -> str:
    """Where a run of `notebook` is saved unless told otherwise: ``<stem>.out.ipynb`` beside it."""
    return notebook.removesuffix(".ipynb") + OUTPUT_ENDING


@dataclass(frozen=True, slots=True)
class Owner:
    """The process that holds an execution's lease.

    `boot_id` and `process_start` tell a reused pid from the real owner, so that a death
    on this host is seen at once and without waiting for the lease to run out. In a container,
    where pids are its own, `boot_id` names that as well: one may have the name of its host.
    """

    host: str
    boot_id: str
    pid: int
    process_start: int

    @property
    def boot(self) -> str:
        """The run of the machine that it belongs to, whatever the container."""
        return self.boot_id.partition(_PIDS)[0]

    @property
    def is_queue(self) -> bool:
        """Whether it is no process yet, but a stack's queue in which the attempt waits for one."""
        return self.boot_id == _QUEUED


@dataclass(frozen=True, slots=True)
class Attempt:
    """One process's turn at an execution; `epoch` fences commits of earlier turns."""

    execution: ExecutionId
    epoch: int
    owner: Owner
    started_at: datetime
    heartbeat_at: datetime
    ended_at: datetime | None = None
    status: ExecutionStatus = ExecutionStatus.RUNNING
    reason: str | None = None


@dataclass(frozen=True, slots=True)
class Execution:
    """One run as the journal knows it. Durations in seconds, cost in US dollars or None."""

    id: ExecutionId
    identity: Identity
    status: ExecutionStatus
    started_at: datetime
    ended_at: datetime | None = None
    reason: str | None = None
    epoch: int = 1
    parent: ExecutionId | None = None
    tags: tuple[str, ...] = ()
    duration: float = 0.0
    cost: float | None = None
    tokens: int | None = None
    saved_cost: float | None = None
    saved_duration: float = 0.0

    @property
    def attempts(self) -> int:
        """How many attempts it has had; the epoch counts them."""
        return self.epoch


def new_execution_id() -> ExecutionId:
    """A fresh id; ids made later sort later (to the millisecond)."""
    number = (time.time_ns() // 1_000_000) << 80 | secrets.randbits(80)
    digits = [_ALPHABET[number >> shift & 31] for shift in range(125, -1, -5)]
    return ExecutionId("ex_" + "".join(digits))


def current_owner() -> Owner:
    """This process, as an owner."""
    return owner_of(os.getpid())


def owner_of(pid: int) -> Owner:
    """A process of this machine, as an owner."""
    return Owner(socket.gethostname(), _boot_id(), pid, _process_start(pid) or 0)


def queue_owner(stack: str) -> Owner:
    """The queue of a stack, as the owner of an attempt that was submitted and has not begun."""
    return Owner(stack, _QUEUED, 0, 0)


def is_alive(owner: Owner, *, last_sign: datetime | None = None) -> bool | None:
    """Whether `owner` still runs: True or False when it can be seen from here, else None.

    What is in a queue holds its lease until it is begun or taken out: nothing in there can die.
    One of another boot, or of another container, has died with it, unless its `last_sign` of life
    is younger than the one we are in: then it is on another machine, or in another container, that
    is called the same. A container that has the name of its host never was that.
    """
    if owner.is_queue:
        return True
    if owner.host != socket.gethostname():
        return None
    pids, (here, _, our_pids) = owner.boot_id.partition(_PIDS)[2], _boot_id().partition(_PIDS)
    if owner.boot != here:
        return None if last_sign is not None and last_sign > _started_at(uptime=0.0) else False
    if pids != our_pids:
        ticks = (_process_start(1) or 0) / os.sysconf("SC_CLK_TCK")
        is_younger = last_sign is not None and last_sign > _started_at(uptime=ticks)
        return None if not pids or not our_pids or is_younger else False
    start = _process_start(owner.pid)
    if start is None:
        return _signal_reaches(owner.pid) if not Path("/proc/self/stat").exists() else False
    return start == owner.process_start


def _boot_id() -> str:
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        pids = str(Path("/proc/self/ns/pid").readlink())
    except OSError:
        return ""  # no such file on macOS and Windows: the pid and start time decide alone
    return boot if pids == _HOSTS_PIDS else boot + _PIDS + pids


def _started_at(*, uptime: float) -> datetime:
    """When this machine had been up for so many seconds."""
    try:
        uptime -= float(Path("/proc/uptime").read_text().split()[0])
    except (OSError, ValueError):
        return datetime.now(UTC)  # nothing is younger
    return datetime.now(UTC) + timedelta(seconds=uptime)


def _process_start(pid: int) -> int | None:
    """Start time of `pid` in clock ticks since boot; None when it does not run (or is a zombie)."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return None
    return None if fields[0] in "ZX" else int(fields[19])


def _signal_reaches(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
