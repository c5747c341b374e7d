"""What earlier executions of a notebook have on record: those by hand, or those of commands."""

from __future__ import annotations

from collections.abc import Sequence

from kitaru_nb.engine.engine import Engine
from kitaru_nb.journal.journal import Journal
from kitaru_nb.model.checkpoint import Checkpoint
from kitaru_nb.model.execution import Execution

__all__ = ["earlier_executions", "steps_of_executions"]

_LOOKED_AT = 10


def earlier_executions(
    journal: Journal, notebook: str | None, *, interactive: bool, limit: int = _LOOKED_AT
) -> list[Execution]:
    """The newest executions of a notebook that a person ran cell by cell, or that commands ran; newest first.

    However many there are of the other kind. None where the notebook has no path: nothing tells
    its executions from those of other notebooks.
    """
    if notebook is None:
        return []
    return journal.executions(notebook=notebook, interactive=interactive, limit=limit)


def steps_of_executions(engine: Engine, executions: Sequence[Execution]) -> list[Checkpoint]:
    """All cells on record for executions that are given newest first; the oldest comes first.

    Raises:
        UntrustedError: nobody who is trusted here has signed one of them.
    """
    found = [step for each in reversed(executions) for step in engine.journal.checkpoints(each.id)]
    engine.trust.require(found)  # not even the files that they name are looked at before
    return found
