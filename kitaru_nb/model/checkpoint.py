"""A checkpoint: one recorded step, what it read, what it changed and what it showed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from datetime import datetime
from enum import StrEnum
from typing import Any, NewType

from kitaru_nb.model.artifact import Digest
from kitaru_nb.model.execution import ExecutionId

__all__ = [
    "Checkpoint",
    "CheckpointKey",
    "CheckpointStatus",
    "Draft",
    "Group",
    "StepKind",
    "error_line",
]

CheckpointKey = NewType("CheckpointKey", str)
"""Digest of what a step is: its code, the code it reaches and the values it reads."""


class CheckpointStatus(StrEnum):
    """What became of a step in the attempt that met it."""

    COMPLETED = "completed"
    RESTORED = "restored"
    FAILED = "failed"


class StepKind(StrEnum):
    """What a step on record is.

    A cell changes the notebook's namespace and is part of a line of commits. All others are
    results that belong to a cell or a flow, and are numbered there.
    """

    CELL = "cell"
    CALL = "call"
    MODEL = "model"
    ONCE = "once"
    VALUE = "value"
    MESSAGE = "message"
    RESULT = "result"


@dataclass(frozen=True, slots=True)
class Group:
    """Names that share objects, stored as one artifact so that they stay shared.

    Attributes:
        names: The notebook names in the group, sorted.
        artifact: Digest of the stored artifact: a mapping of these names to their values.
        value: Canonical digest of the values as one object graph; equal across processes.
        written: Whether the step itself changed the group. If not, cells before it did and
            the commit carries it so that `%resume` has everything.
        unstorable: For names whose value, or a part of it, could not be stored: the reason.
        recipe: For a group that is cheaper to make again than to read: how. Its artifact holds
            markers then. See `engine.cheaper`.
    """

    names: tuple[str, ...]
    artifact: Digest
    value: Digest
    written: bool = True
    unstorable: Mapping[str, str] = field(default_factory=dict)
    recipe: Mapping[str, Any] | None = None


@dataclass(frozen=True)  # without slots: a copy of it is a copy of its dictionary, and each step makes two
class Draft:
    """A step as the engine hands it to the journal, before it has a place there.

    Attributes:
        name: What the user calls it, or a short generated name.
        step: Identity of the cell: ``cell:ID`` where the front end sends one, else None.
        key: See `CheckpointKey`.
        code: Digest of the step's normalised source alone.
        source: The cell's source as typed.
        parent: `seq` of the commit whose namespace this one was built on, or None.
        origin: For a restored step, `seq` of the completed one it was restored from.
        reads: Names the step depends on, each with the digest of what it held before.
        groups: Everything that changed since the parent, see `Group`.
        deleted: Names that existed at the parent and are gone; `deleted_by_step` those
            among them which the step itself deleted.
        conditions: What must be as it was for this record to count, besides the key:
            ``names:a,b`` for names the step changed in place, ``file:PATH`` for a file it
            read, ``random:MODULE`` for a seeded generator it drew from; each with a digest.
        process: State outside the namespace (random generators, cwd, ...): an artifact, or
            None when it is as the parent left it.
        result: What the step's last expression gave: ``name:x`` for the object `x` names,
            ``artifact:DIGEST`` for one stored by itself, or None. For a call whose result or
            effects are tied to what was there before it: the artifact that it is served from.
            Its group holds the result by itself then.
        outside: Kinds of things it was seen to touch beyond memory and files:
            ``network``, ``process``, ``database``.
        files: Files the step read or wrote: path, mode and digest of each.
        plain: The plain cells that ran between the parent and this step, in order: digests
            of their code, and the names they read and bind.
        packages: Versions of Python and of the packages that its code uses.
        imports: Modules that it imported and that cells after it can reach.
        unmet: Where it was on record with this key and ran all the same: the conditions of
            that record which did not hold.
        excluded: Names that the notebook's user has said are never to be stored.
        outputs: What it showed: Jupyter messages, folded, as JSON values.
        execution_count: The number of the cell's run in its kernel (``In [n]``).
        error: For a failed step, `{"ename", "evalue"}`.
        signature: Who vouches for all of this: ``{"key": …, "sig": …}``; see `engine.trust`.
        kind: What the step is; everything but a cell has no `parent` and changes no namespace.
        scope: Where the step is counted that belongs to another, see `engine.scope`; for a cell,
            where those were counted that belong to it, if there are any.
        number: How many steps with this key there were in its scope before it.
        data: What only this kind has, as JSON values: a model call's usage, say.
    """

    name: str
    key: CheckpointKey
    code: Digest
    source: str
    status: CheckpointStatus
    started_at: datetime
    duration: float
    step: str | None = None
    parent: int | None = None
    origin: int | None = None
    reads: Mapping[str, Digest] = field(default_factory=dict)
    groups: tuple[Group, ...] = ()
    deleted: tuple[str, ...] = ()
    deleted_by_step: tuple[str, ...] = ()
    conditions: Mapping[str, str] = field(default_factory=dict)
    process: Digest | None = None
    result: str | None = None
    outside: tuple[str, ...] = ()
    files: tuple[Mapping[str, Any], ...] = ()
    packages: Mapping[str, str] = field(default_factory=dict)
    imports: tuple[str, ...] = ()
    unmet: tuple[str, ...] = ()
    plain: tuple[Mapping[str, Any], ...] = ()
    excluded: tuple[str, ...] = ()
    outputs: tuple[Mapping[str, Any], ...] = ()
    execution_count: int | None = None
    error: Mapping[str, str] | None = None
    cost: float | None = None
    tokens: int | None = None
    signature: Mapping[str, str] | None = None
    kind: StepKind = StepKind.CELL
    scope: str = ""
    number: int = 0
    data: Mapping[str, Any] = field(default_factory=dict)

    def having(self, **changes: Any) -> Draft:
        """The same with other values in some fields: `dataclasses.replace` at a twentieth of its price."""
        if not changes.keys() <= _FIELDS:
            raise TypeError(f"a draft has no {', '.join(sorted(changes.keys() - _FIELDS))}")
        other = object.__new__(Draft)
        vars(other).update(vars(self), **changes)
        return other

    @property
    def writes(self) -> tuple[str, ...]:
        """Names whose value the step itself changed, sorted."""
        return tuple(sorted(name for group in self.groups if group.written for name in group.names))

    @property
    def stored(self) -> frozenset[Digest]:
        """Every artifact that a restore of the step, or of a step after it, may read.

        Not among them is what those artifacts refer to.
        """
        found = {group.artifact for group in self.groups}
        for group in self.groups:
            found.update(map(Digest, (group.recipe or {}).get("inputs", {}).values()))
        if self.process is not None:
            found.add(self.process)
        kind, _, digest = (self.result or "").partition(":")
        if kind == "artifact":
            found.add(Digest(digest))
        found.update(Digest(file["artifact"]) for file in self.files if "artifact" in file)
        return frozenset(found)


_FIELDS = frozenset(each.name for each in fields(Draft))


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """A step on record.

    Attributes:
        seq: Position in the whole journal; never reused.
        execution: The execution it belongs to; `epoch` says in which attempt.
        ordinal: 1-based position on the line of commits that leads here.
        draft: What was recorded.
    """

    seq: int
    execution: ExecutionId
    epoch: int
    ordinal: int
    draft: Draft


def error_line(ename: str, evalue: str) -> str:
    """An error as Python shows it: its class, and its text where it has one."""
    return f"{ename}: {evalue}" if evalue else ename
