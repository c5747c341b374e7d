"""Which replays an execution has had: read without the engine."""

from __future__ import annotations

from kitaru_nb.journal.journal import Journal
from kitaru_nb.model.execution import ExecutionId

__all__ = ["REPLAYED", "replays_of"]

REPLAYED = "replayed"
"""The event of an execution that was replayed: it names the replay."""


def replays_of(journal: Journal, execution: ExecutionId) -> list[tuple[ExecutionId, str]]:
    """The replays of an execution, oldest first, each with the step that it was begun from."""
    events = journal.events(execution)
    return [
        (ExecutionId(event.data["by"]), str(event.data["from"])) for event in events if event.kind == REPLAYED
    ]
