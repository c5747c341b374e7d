"""A removal: which stored values go, and where what stays has been moved to."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from kitaru_nb.model.artifact import Digest, Location
from kitaru_nb.model.execution import ExecutionId

__all__ = ["Removal"]


@dataclass(frozen=True, slots=True)
class Removal:
    """What a journal is to take off its records in one transaction.

    Attributes:
        policy: Under which policy, in words; it stays on record.
        artifacts: Values that go. Of each a tombstone stays.
        extents: Extents that no value needs any more.
        packs: Packs that are to be removed once the transaction is durable.
        moved: Extents that were copied elsewhere: the place that is on record, and the new one.
        executions: What to record about each execution that loses values.
    """

    policy: str
    artifacts: frozenset[Digest] = frozenset()
    extents: frozenset[Digest] = frozenset()
    packs: frozenset[str] = frozenset()
    moved: Sequence[tuple[Location, Location]] = ()
    executions: Mapping[ExecutionId, Mapping[str, Any]] = field(default_factory=dict)
