"""An event: one line of what happened, in order, that every surface reads."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from kitaru_nb.model.execution import ExecutionId

__all__ = ["AWAITED", "Event"]

AWAITED = "step.awaited"
"""A point of a grid waits for a step that another one runs."""


@dataclass(frozen=True, slots=True)
class Event:
    """Something that happened; events are only ever appended and are hash-chained."""

    seq: int
    at: datetime
    execution: ExecutionId
    kind: str
    data: Mapping[str, Any]
