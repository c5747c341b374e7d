"""Submissions on record: which attempt was handed to which scheduler, under what name, with what options.

Two events: ``attempt.queued`` before the launcher is asked, with all that the worker has to know, and
``attempt.submitted`` with the launcher's handle. A crash between the two leaves a queue that holds an
attempt of which no job is known; `reconcile` takes it out. Both are signed, since later processes send a
scheduler commands, and run notebooks, because of them.
"""

from __future__ import annotations

import socket
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from datetime import datetime
from typing import TYPE_CHECKING, Any

from kitaru_nb.artifacts.vault import VAULT
from kitaru_nb.engine.engine import Engine
from kitaru_nb.engine.vouching import signed_record, signer_of
from kitaru_nb.journal.journal import Journal
from kitaru_nb.model.event import Event
from kitaru_nb.model.execution import Attempt, Execution
from kitaru_nb.model.wait import OnWait
from kitaru_nb.stacks.launcher import Handle
from kitaru_nb.stacks.outcome import Exit, Outcome

if TYPE_CHECKING:
    from kitaru_nb.stacks.local import Job  # it loads papermill

__all__ = [
    "Submission",
    "exit_of",
    "last_word",
    "note_exit",
    "note_fetched",
    "note_queued",
    "note_stopped",
    "note_submitted",
    "note_told",
    "options_of",
    "submission_of",
    "was_fetched",
    "was_stopped",
    "was_submitted",
    "was_told",
    "was_unpacked",
    "with_options",
]

QUEUED = "attempt.queued"
SUBMITTED = "attempt.submitted"
EXITED = "attempt.exited"
STOPPED = "attempt.stopped"
TOLD = "attempt.told"
FETCHED = "output.fetched"

_ENDS = ("checkpoint", "reason", "restored", "ran", "saved", "traceback", "wait", "hint")
_OPTIONS = ("timeout", "log_output", "report_mode", "budget", "reuse", "on_change")


@dataclass(frozen=True, slots=True)
class Submission:
    """One attempt that was handed to a scheduler.

    Attributes:
        epoch: Which attempt.
        stack: Whose launcher was asked.
        at: When.
        handle: What the launcher calls it; None where it never answered.
        options: What the worker is told, see `options_of`.
        own: Whether the record is signed with a key that is one's own.
    """

    epoch: int
    stack: str
    at: datetime
    handle: Handle | None = None
    options: Mapping[str, Any] = field(default_factory=dict)
    own: bool = False


def options_of(job: Job, retries: int, *, followed: bool = False, html: bool = False) -> dict[str, Any]:
    """What of a job the journal does not know by itself, as JSON values.

    Args:
        job: What runs.
        retries: How many more attempts the worker makes at one that failed.
        followed: Whether the command that submits it waits for its end.
        html: Whether its output also becomes a page, without that command.
    """
    told: dict[str, Any] = {name: getattr(job, name) for name in _OPTIONS}
    told["on_wait"] = None if job.on_wait is None else asdict(job.on_wait)
    told["retries"] = retries
    told["followed"] = followed
    told["html"] = html
    return told


def with_options(job: Job, options: Mapping[str, Any]) -> Job:
    """`job` as it was submitted."""
    known = {name: options[name] for name in _OPTIONS if name in options}
    held = options.get("on_wait")
    return replace(job, **known, on_wait=None if held is None else OnWait(**held))


def note_queued(engine: Engine, attempt: Attempt, stack: str, options: Mapping[str, Any]) -> None:
    """Put on record that an attempt is about to be submitted."""
    _note(engine, attempt, QUEUED, {"stack": stack, "options": dict(options)})


def note_submitted(engine: Engine, attempt: Attempt, stack: str, handle: Handle) -> None:
    """Put on record what the scheduler calls it."""
    _note(engine, attempt, SUBMITTED, {"stack": stack, "handle": handle})


def submission_of(engine: Engine, execution: Execution, epoch: int | None = None) -> Submission | None:
    """How an attempt of an execution was submitted, by default the last that was; None where none was."""
    queued: Event | None = None
    submitted: Event | None = None
    for event in engine.journal.events(execution.id):
        if event.kind not in (QUEUED, SUBMITTED) or epoch not in (None, event.data.get("epoch")):
            continue
        if event.kind == QUEUED:
            queued, submitted = event, None
        elif queued is not None and _same(event, queued):  # not that of an attempt before, told late
            submitted = event
    if queued is None:
        return None
    return Submission(
        epoch=int(queued.data["epoch"]),
        stack=str(queued.data["stack"]),
        at=queued.at,
        handle=None if submitted is None else Handle(str(submitted.data["handle"])),
        options=queued.data.get("options") or {},
        own=all(_is_own(engine, execution, each) for each in (queued, submitted) if each is not None),
    )


def was_submitted(journal: Journal, execution: Execution) -> bool:
    """Whether the newest attempt of an execution was handed to a scheduler; who says so is not asked."""
    return any(
        event.kind == QUEUED and event.data.get("epoch") == execution.epoch
        for event in journal.events(execution.id)
    )


def note_exit(engine: Engine, epoch: int, outcome: Outcome, *, unpacked: bool, tries_again: bool) -> None:
    """Put on record how a worker's attempt ended, for who follows it: a status alone says no exit code.

    With `unpacked` it ran out of a bundle, so that its output notebook lies where nobody looks for it.
    With `tries_again` the worker is about to make another attempt.
    """
    told = {"epoch": epoch, "exit": int(outcome.exit), "unpacked": unpacked, "tries_again": tries_again}
    told |= {name: getattr(outcome, name) for name in _ENDS}
    engine.journal.record_event(outcome.execution, EXITED, VAULT.mask_json(told))


def exit_of(engine: Engine, execution: Execution, epoch: int) -> Outcome | None:
    """How the worker of an attempt ended, where it could still say so."""
    for event in reversed(engine.journal.events(execution.id)):
        if event.kind == EXITED and event.data.get("epoch") == epoch:
            told = {name: event.data[name] for name in _ENDS}
            return Outcome(execution.status, Exit(event.data["exit"]), execution.id, **told)
    return None


def last_word(engine: Engine, execution: Execution, epoch: int) -> Outcome | None:
    """As `exit_of`, but None where the worker said that it tries again: it may, or die before it does."""
    for event in reversed(engine.journal.events(execution.id)):
        if event.kind == EXITED and event.data.get("epoch") == epoch:
            return None if event.data.get("tries_again") else exit_of(engine, execution, epoch)
    return None


def note_stopped(engine: Engine, execution: Execution) -> None:
    """Put on record that a person has stopped what runs now: it goes on only when somebody says so."""
    engine.journal.record_event(execution.id, STOPPED, {"epoch": execution.epoch})


def was_stopped(journal: Journal, execution: Execution) -> bool:
    """Whether a person has stopped the newest attempt."""
    told = (STOPPED, execution.epoch)
    return any((event.kind, event.data.get("epoch")) == told for event in journal.events(execution.id))


def note_told(engine: Engine, execution: Execution) -> None:
    """Put on record that whoever waited for the end of the newest attempt has been told of it."""
    engine.journal.record_event(execution.id, TOLD, {"epoch": execution.epoch})


def was_told(journal: Journal, execution: Execution) -> bool:
    """Whether whoever waited for the end of the newest attempt has been told of it."""
    told = (TOLD, execution.epoch)
    return any((event.kind, event.data.get("epoch")) == told for event in journal.events(execution.id))


def note_fetched(engine: Engine, execution: Execution) -> None:
    """Put on record that the output of the newest attempt was written on this machine."""
    told = {"epoch": execution.epoch, "host": socket.gethostname()}
    engine.journal.record_event(execution.id, FETCHED, told)


def was_fetched(journal: Journal, execution: Execution) -> bool:
    """Whether the output of the newest attempt was ever written on this machine by `reconcile`."""
    told = {"epoch": execution.epoch, "host": socket.gethostname()}
    return any(e.kind == FETCHED and dict(e.data) == told for e in journal.events(execution.id))


def was_unpacked(engine: Engine, execution: Execution) -> bool:
    """Whether the last worker that ended ran the notebook out of a bundle."""
    for event in reversed(engine.journal.events(execution.id)):
        if event.kind == EXITED:
            return event.data.get("unpacked") is True
    return False


def _same(submitted: Event, queued: Event) -> bool:
    return (submitted.data.get("epoch"), submitted.data.get("stack")) == (
        queued.data.get("epoch"),
        queued.data.get("stack"),
    )


def _is_own(engine: Engine, execution: Execution, event: Event) -> bool:
    key = signer_of(event.kind, event, execution, engine.trust.keys)
    return key is not None and engine.trust.keys.is_own(key)


def _note(engine: Engine, attempt: Attempt, kind: str, data: Mapping[str, Any]) -> None:
    execution = engine.journal.execution(attempt.execution)
    told = {"epoch": attempt.epoch, **data}
    engine.journal.record_event(
        attempt.execution, kind, signed_record(kind, told, execution, engine.trust.keys)
    )
