"""The journal's rows, and how nouns become rows and rows become nouns.

A row is a `NamedTuple` with its table's columns in order, without the checksum. Text that
comes from users is kept inside JSON, where any string is plain ASCII.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple

from blake3 import blake3

from kitaru_nb.journal.squeeze import squeezed_all, unsqueezed
from kitaru_nb.model.artifact import Artifact, Digest, Extent, Location, Tombstone
from kitaru_nb.model.checkpoint import (
    Checkpoint,
    CheckpointKey,
    CheckpointStatus,
    Draft,
    Group,
    StepKind,
)
from kitaru_nb.model.event import Event
from kitaru_nb.model.execution import Attempt, ExecutionId, ExecutionStatus, Identity, Owner
from kitaru_nb.model.json_text import json_writer

__all__ = [
    "ArtifactRow",
    "AttemptRow",
    "CheckpointRow",
    "CondemnedRow",
    "EventRow",
    "ExecutionRow",
    "ExtentRow",
    "Head",
    "State",
    "SweepRow",
    "TombstoneRow",
    "artifact_of",
    "artifact_row",
    "attempt_of",
    "body_of",
    "checkpoint_of",
    "dumps",
    "event_of",
    "extent_rows",
    "identity_digest",
    "identity_of",
    "identity_text",
    "identity_told",
    "location_of",
    "microseconds",
    "moment",
    "name_in",
    "owner_text",
    "tombstone_of",
]

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)

dumps = json_writer()
"""Compact JSON in ASCII."""

_canonical = json_writer(sort_keys=True)


class Head(NamedTuple):
    """Number of the newest row of each list."""

    id: int
    executions: int
    attempts: int
    checkpoints: int
    events: int
    chain: bytes


class ExecutionRow(NamedTuple):
    """What never changes about an execution."""

    n: int
    id: str
    identity: str
    identity_digest: bytes
    tags: str
    parent: str | None
    started_at: int
    previous_of_identity: int | None
    previous_of_notebook: int | None


class State(NamedTuple):
    """What changes about an execution; `spent` is the seconds of its ended attempts."""

    n: int
    status: str
    ended_at: int | None
    reason: str | None
    epoch: int
    attempt: int
    spent: float
    cost: float | None
    tokens: int | None
    saved_cost: float | None
    saved_duration: float
    steps: int
    last_step: int | None
    last_event: int | None

    @classmethod
    def of_new_execution(cls, n: int) -> State:
        """The state of an execution before its first attempt."""
        running = ExecutionStatus.RUNNING.value
        return cls(n, running, None, None, 0, 0, 0.0, None, None, None, 0.0, 0, None, None)


class AttemptRow(NamedTuple):
    """One process's turn; `execution` and `previous` are numbers."""

    n: int
    execution: int
    epoch: int
    previous: int | None
    owner: str
    started_at: int
    heartbeat_at: int
    ended_at: int | None
    status: str
    reason: str | None


class CheckpointRow(NamedTuple):
    """A step; `body` holds what nothing is looked up by, as JSON."""

    seq: int
    execution: int
    epoch: int
    ordinal: int
    previous: int | None
    previous_of_key: int | None
    parent: int | None
    origin: int | None
    status: str
    key: str
    started_at: int
    duration: float
    cost: float | None
    tokens: int | None
    body: str


class ArtifactRow(NamedTuple):
    """A stored value's manifest."""

    digest: bytes
    codec: str
    bytes: int
    manifest: str


class ExtentRow(NamedTuple):
    """Where a run of bytes is: `data`, perhaps squeezed, or `pack` and `position`."""

    digest: bytes
    length: int
    pack: str | None
    position: int
    data: bytes | None


class EventRow(NamedTuple):
    """One line of history; `chained` is the checksum of the line before."""

    seq: int
    at: int
    execution: int
    previous: int | None
    kind: str
    data: str
    chained: bytes


class SweepRow(NamedTuple):
    """One removal of values."""

    n: int
    at: int
    policy: str
    artifacts: int
    bytes: int


class TombstoneRow(NamedTuple):
    """An artifact whose bytes were removed by the sweep of that number."""

    digest: bytes
    sweep: int
    codec: str
    bytes: int


class CondemnedRow(NamedTuple):
    """A pack that is removed or about to be."""

    pack: str
    sweep: int


def microseconds(at: datetime) -> int:
    """Microseconds since 1970 UTC; a time without a zone counts as local time."""
    return ((at if at.tzinfo else at.astimezone()) - _EPOCH) // _MICROSECOND


def moment(micros: int) -> datetime:
    """The inverse of `microseconds`."""
    return _EPOCH + timedelta(microseconds=micros)


def _moment_or_none(micros: int | None) -> datetime | None:
    return None if micros is None else moment(micros)


def identity_text(identity: Identity) -> str:
    """The identity as canonical JSON: equal identities give equal text."""
    return _canonical(identity_told(identity))


def identity_told(identity: Identity) -> dict[str, Any]:
    """The identity as it is put on record, parameters in the order in which they were given.

    That order is the order of the lines of the cell that sets them, and of what is within a value: in
    another one a later attempt would run that cell, and what reads the value, again.
    What was added later is left out where it says nothing, so that older ones stay equal.
    """
    told = asdict(identity)
    for later in ("file", "within", "replay"):
        if told[later] is None:
            del told[later]
    return told


def identity_digest(identity: Identity) -> bytes:
    """32 bytes to look the identity up by."""
    return blake3(identity_text(identity).encode()).digest()


def identity_of(row: ExecutionRow) -> Identity:
    """The identity on record."""
    return Identity(**json.loads(row.identity))


def owner_text(owner: Owner) -> str:
    """The owner as JSON."""
    return dumps([owner.host, owner.boot_id, owner.pid, owner.process_start])


def attempt_of(row: AttemptRow, execution: ExecutionId) -> Attempt:
    """The attempt as its row has it; whether its owner lives is another question."""
    return Attempt(
        execution=execution,
        epoch=row.epoch,
        owner=Owner(*json.loads(row.owner)),
        started_at=moment(row.started_at),
        heartbeat_at=moment(row.heartbeat_at),
        ended_at=_moment_or_none(row.ended_at),
        status=ExecutionStatus(row.status),
        reason=row.reason,
    )


def body_of(draft: Draft) -> str:
    """The part of a draft that nothing is looked up by, as JSON."""
    return dumps(
        {
            "name": draft.name,
            "code": draft.code,
            "source": draft.source,
            "step": draft.step,
            "reads": dict(draft.reads),
            "groups": [
                [g.names, g.artifact, g.value, g.written, dict(g.unstorable), *filter(None, [g.recipe])]
                for g in draft.groups
            ],
            "deleted": draft.deleted,
            "deleted_by_step": draft.deleted_by_step,
            "conditions": dict(draft.conditions),
            "process": draft.process,
            "result": draft.result,
            "execution_count": draft.execution_count,
            "outside": draft.outside,
            "files": [dict(file) for file in draft.files],
            "packages": dict(draft.packages),
            "imports": draft.imports,
            "unmet": draft.unmet,
            "plain": [dict(cell) for cell in draft.plain],
            "excluded": draft.excluded,
            "outputs": [dict(output) for output in draft.outputs],
            "error": None if draft.error is None else dict(draft.error),
        }
        | ({} if draft.signature is None else {"signature": dict(draft.signature)})
        | (
            _within(draft)
            if draft.kind is not StepKind.CELL
            else {"data": dict(draft.data)}
            if draft.data
            else {}
        )
        | ({"scope": draft.scope} if draft.scope else {})
    )


def _within(draft: Draft) -> dict[str, Any]:
    """What only a step has that belongs to another."""
    return {"kind": draft.kind.value, "number": draft.number, "data": dict(draft.data)}


def checkpoint_of(row: CheckpointRow, execution: ExecutionId) -> Checkpoint:
    """The step on record."""
    body = json.loads(row.body)
    draft = Draft(
        name=body["name"],
        key=CheckpointKey(row.key),
        code=body["code"],
        source=body["source"],
        status=CheckpointStatus(row.status),
        started_at=moment(row.started_at),
        duration=row.duration,
        step=body["step"],
        parent=row.parent,
        origin=row.origin,
        reads=body["reads"],
        groups=tuple(_group(fields) for fields in body["groups"]),
        deleted=tuple(body["deleted"]),
        deleted_by_step=tuple(body["deleted_by_step"]),
        conditions=body["conditions"],
        process=body["process"],
        result=body["result"],
        execution_count=body["execution_count"],
        outside=tuple(body["outside"]),
        files=tuple(body["files"]),
        packages=body.get("packages", {}),
        imports=tuple(body.get("imports", ())),
        unmet=tuple(body.get("unmet", ())),
        plain=tuple(body.get("plain", ())),
        excluded=tuple(body.get("excluded", ())),
        outputs=tuple(body["outputs"]),
        error=body["error"],
        cost=row.cost,
        tokens=row.tokens,
        signature=body.get("signature"),
        kind=StepKind(body.get("kind", "cell")),
        scope=body.get("scope", ""),
        number=body.get("number", 0),
        data=body.get("data", {}),
    )
    return Checkpoint(row.seq, execution, row.epoch, row.ordinal, draft)


def _group(fields: list[Any]) -> Group:
    names, artifact, value, written, unstorable, *recipe = fields
    return Group(tuple(names), artifact, value, written, unstorable, *recipe)


def name_in(body: object) -> str | None:
    """The checkpoint's name in a body that may be damaged; None when it cannot be told."""
    try:
        name = json.JSONDecoder(strict=False).raw_decode(str(body), 8)[0]
    except (ValueError, IndexError):
        return None
    return name if isinstance(name, str) else None


def artifact_row(artifact: Artifact) -> ArtifactRow:
    """The row of an artifact."""
    return ArtifactRow(
        bytes.fromhex(artifact.digest), artifact.codec, artifact.bytes, dumps(dict(artifact.manifest))
    )


def artifact_of(row: ArtifactRow) -> Artifact:
    """The artifact on record."""
    manifest: Mapping[str, Any] = json.loads(row.manifest)
    return Artifact(Digest(row.digest.hex()), row.codec, row.bytes, manifest)


def extent_rows(locations: Sequence[Location]) -> list[ExtentRow]:
    """The rows of extents' locations; bytes are squeezed where that pays."""
    small = squeezed_all(bytes(each.data) for each in locations if each.data is not None)
    return [_extent_row(each, None if each.data is None else next(small)) for each in locations]


def _extent_row(location: Location, data: bytes | None) -> ExtentRow:
    extent = location.extent
    return ExtentRow(bytes.fromhex(extent.digest), extent.length, location.pack, location.offset, data)


def location_of(row: ExtentRow) -> Location:
    """The location on record."""
    data = None if row.data is None else unsqueezed(row.data, row.length)
    return Location(Extent(Digest(row.digest.hex()), row.length), data, row.pack, row.position)


def event_of(row: EventRow, execution: ExecutionId) -> Event:
    """The event on record."""
    return Event(row.seq, moment(row.at), execution, row.kind, json.loads(row.data))


def tombstone_of(row: TombstoneRow, sweep: SweepRow) -> Tombstone:
    """What is on record of a removed artifact."""
    return Tombstone(Digest(row.digest.hex()), row.codec, row.bytes, moment(sweep.at), sweep.policy)
