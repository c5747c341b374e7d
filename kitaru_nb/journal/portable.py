"""The nouns of a journal as JSON values that another journal can take in, and back again.

What is read may have been written by anybody: every field is looked at, and what a noun does
not hold exactly is one of the errors of `MALFORMED`. A step's body is the journal's own (see
`rows.body_of`), so whatever a release puts into a step comes along.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import asdict
from datetime import datetime
from typing import Any, TypeGuard

from kitaru_nb.journal import rows
from kitaru_nb.journal.rows import CheckpointRow
from kitaru_nb.model.artifact import Artifact, Digest
from kitaru_nb.model.checkpoint import Checkpoint, CheckpointStatus, Draft
from kitaru_nb.model.event import Event
from kitaru_nb.model.execution import (
    Attempt,
    Execution,
    ExecutionId,
    ExecutionStatus,
    Identity,
    Owner,
)
from kitaru_nb.model.shape import require_shape
from kitaru_nb.model.transcript import Run

__all__ = [
    "MALFORMED",
    "NewerError",
    "artifact_from",
    "artifact_text",
    "event_from",
    "event_text",
    "is_digest",
    "is_execution_id",
    "run_from",
    "run_text",
    "step_from",
    "step_text",
]

_ID = re.compile(r"ex_[0-9a-z]{26}")
_DIGEST = re.compile(r"[0-9a-f]{64}")
_WORD = re.compile(r"[a-z0-9][a-z0-9_.-]{0,63}")
_STILL_RUNNING = "it was running when it was exported"

MALFORMED = (ValueError, TypeError, LookupError, AttributeError, ArithmeticError, RecursionError)
"""What reading a malformed noun raises."""


class NewerError(ValueError):
    """Something that only a later release knows."""


def run_text(execution: Execution, attempts: list[Attempt]) -> str:
    """An execution with its attempts, as one line of JSON. Of the owners only the hosts are told.

    One that runs is told as interrupted: nobody runs it where this is read.
    """
    running = execution.status is ExecutionStatus.RUNNING
    return rows.dumps(
        {
            "id": execution.id,
            "identity": rows.identity_told(execution.identity),
            "started_at": rows.microseconds(execution.started_at),
            "parent": execution.parent,
            "tags": list(execution.tags),
            "status": ExecutionStatus.INTERRUPTED if running else execution.status,
            "duration": execution.duration,
            "cost": execution.cost,
            "tokens": execution.tokens,
            "saved_cost": execution.saved_cost,
            "saved_duration": execution.saved_duration,
            "attempts": [_attempt(attempt) for attempt in attempts],
        }
    )


def _attempt(attempt: Attempt) -> dict[str, Any]:
    running = attempt.ended_at is None
    return {
        "host": attempt.owner.host,
        "started_at": rows.microseconds(attempt.started_at),
        "heartbeat_at": rows.microseconds(attempt.heartbeat_at),
        "ended_at": rows.microseconds(attempt.ended_at or attempt.heartbeat_at),
        "status": ExecutionStatus.INTERRUPTED if running else attempt.status,
        "reason": _STILL_RUNNING if running else attempt.reason,
    }


def run_from(told: Mapping[str, Any]) -> Run:
    """The inverse of `run_text`.

    Raises:
        MALFORMED: it is not what that gives.
    """
    names = (
        "id identity started_at parent tags status duration cost tokens saved_cost saved_duration attempts"
    )
    (id_, identity, started_at, parent, tags, status, *figures, attempts) = _all(told, names)
    if not is_execution_id(id_) or not (parent is None or is_execution_id(parent)):
        raise ValueError("the id of an execution has another form")
    if not isinstance(identity, dict):
        raise TypeError("its identity is no object")
    later = identity.keys() - asdict(Identity())
    if later:
        raise NewerError(f"an execution with `{min(later)}`")
    found = [_attempt_from(id_, epoch, each) for epoch, each in enumerate(_list(attempts), 1)]
    if not found or found[-1].status != status:
        raise ValueError("its attempts do not lead to its status")
    execution = Execution(
        id_,
        Identity(**identity),
        found[-1].status,
        _moment(started_at),
        found[-1].ended_at,
        found[-1].reason,
        len(found),
        parent,
        tuple(_list(tags)),
        *figures,
    )
    require_shape(execution, Execution)
    return Run(execution, found)


def _attempt_from(execution: ExecutionId, epoch: int, told: object) -> Attempt:
    host, started, beat, ended, status, reason = _all(
        told, "host started_at heartbeat_at ended_at status reason"
    )
    owner = Owner(host, "", 0, 0)
    found = Attempt(
        execution,
        epoch,
        owner,
        _moment(started),
        _moment(beat),
        _moment(ended),
        ExecutionStatus(status),
        _plain(reason),
    )
    require_shape(found, Attempt)
    if found.status is ExecutionStatus.RUNNING:
        raise ValueError("nobody runs what was exported")
    return found


def step_text(checkpoint: Checkpoint) -> str:
    """A step as one line of JSON."""
    draft = checkpoint.draft
    told = {
        "seq": checkpoint.seq,
        "execution": checkpoint.execution,
        "epoch": checkpoint.epoch,
        "parent": draft.parent,
        "origin": draft.origin,
        "status": draft.status,
        "key": draft.key,
        "started_at": rows.microseconds(draft.started_at),
        "duration": draft.duration,
        "cost": draft.cost,
        "tokens": draft.tokens,
    }
    return f'{rows.dumps(told)[:-1]},"body":{rows.body_of(draft)}}}'


def step_from(told: Mapping[str, Any]) -> Checkpoint:
    """The inverse of `step_text`. Its place on the line is not told.

    Raises:
        MALFORMED: it is not what that gives.
        NewerError: it has parts that a later release has added.
    """
    names = "seq execution epoch parent origin status key started_at duration cost tokens body"
    seq, execution, epoch, parent, origin, status, key, started_at, duration, cost, tokens, body = _all(
        told, names
    )
    row = CheckpointRow(
        seq,
        0,
        epoch,
        1,
        None,
        None,
        parent,
        origin,
        status,
        _plain(key),
        started_at,
        duration,
        cost,
        tokens,
        "",
    )
    _moment(started_at)
    CheckpointStatus(status)
    found = rows.checkpoint_of(row._replace(body=rows.dumps(body)), execution)
    require_shape(found, Checkpoint)
    newer = body.keys() - json.loads(rows.body_of(found.draft)).keys()
    if newer:
        raise NewerError(f"a checkpoint with `{min(newer)}`")
    if not is_execution_id(execution) or not all(map(is_digest, _digests(found.draft))):
        raise ValueError("an id or a digest has another form")
    for file in found.draft.files:
        require_shape({name: file[name] for name in ("path", "mode")}, Mapping[str, str], "files")
        require_shape(
            {name: file.get(name) for name in ("digest", "below")}, Mapping[str, str | None], "files"
        )
    return found


def _digests(draft: Draft) -> list[object]:
    named: list[object] = [file["artifact"] for file in draft.files if "artifact" in file]
    for group in draft.groups:
        named += dict((group.recipe or {}).get("inputs", {})).values()
    return [*named, *draft.stored]


def event_text(event: Event) -> str:
    """An event as one line of JSON."""
    return rows.dumps(
        {
            "at": rows.microseconds(event.at),
            "execution": event.execution,
            "kind": event.kind,
            "data": dict(event.data),
        }
    )


def event_from(told: Mapping[str, Any]) -> Event:
    """The inverse of `event_text`; its number is not told.

    Raises:
        MALFORMED: it is not what that gives.
    """
    at, execution, kind, data = _all(told, "at execution kind data")
    found = Event(0, _moment(at), execution, kind, data)
    require_shape(found, Event)
    if _WORD.fullmatch(kind) is None:
        raise ValueError("the kind of an event has another form")
    return found


def artifact_text(digest: Digest, codec: str, size: int, manifest: Mapping[str, Any] | None) -> str:
    """An artifact as one line of JSON; without a manifest only that there was one."""
    return rows.dumps(
        {"digest": digest, "codec": codec, "bytes": size}
        | ({} if manifest is None else {"manifest": dict(manifest)})
    )


def artifact_from(told: Mapping[str, Any], *, whole: bool) -> Artifact:
    """The inverse of `artifact_text`; the manifest is not looked into.

    Raises:
        MALFORMED: it is not what that gives.
    """
    names = "digest codec bytes manifest" if whole else "digest codec bytes"
    digest, codec, size, *manifest = _all(told, names)
    found = Artifact(digest, codec, size, manifest[0] if whole else {})
    require_shape(found, Artifact)
    if not is_digest(digest) or size < 0 or _WORD.fullmatch(codec) is None:
        raise ValueError("an artifact has another form")
    return found


def is_digest(text: object) -> TypeGuard[Digest]:
    """Whether it is written as a digest is."""
    return isinstance(text, str) and _DIGEST.fullmatch(text) is not None


def is_execution_id(text: object) -> TypeGuard[ExecutionId]:
    """Whether it is written as the id of an execution is: it can stand in any path, message or page."""
    return isinstance(text, str) and _ID.fullmatch(text) is not None


def _all(told: object, names: str) -> list[Any]:
    """The values of exactly these names."""
    if not isinstance(told, dict):
        raise TypeError("it is no object")
    missing = [name for name in names.split() if name not in told]
    if missing:
        raise ValueError(f"it has no `{missing[0]}`")
    if len(told) > len(names.split()):
        raise NewerError(f"`{min(told.keys() - set(names.split()))}`")
    return [told[name] for name in names.split()]


def _list(told: object) -> list[Any]:
    if not isinstance(told, list):
        raise TypeError("it is no list")
    return told


def _moment(told: object) -> datetime:
    if type(told) is not int:
        raise ValueError("a time is no number")
    return rows.moment(told)


def _plain(text: object) -> Any:
    """Text that goes into a column as it is: no database takes half a character or a NUL."""
    if isinstance(text, str):
        text.encode()
        if "\0" in text:
            raise ValueError("text with a NUL")
    return text
