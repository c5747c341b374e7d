"""Claims on steps: of several executions that need the same one, which runs it now.

A claim is an event of the execution that has it, found by the step's name. Nothing has to be written
to end it: it stands only while the attempt that made it lives and has recorded no cell since. So it
ends with the cell, whatever became of that, and with the process, however that ended.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from kitaru_nb.journal.lease import Leases
from kitaru_nb.journal.ledger import Ledger
from kitaru_nb.journal.rows import EventRow, Head, State
from kitaru_nb.model.execution import ExecutionId

__all__ = ["CLAIMED", "claim", "standing", "unclaim"]

CLAIMED = "step.claimed"
"""The event of a claim."""

_NOTHING = 0  # there is no event with this number


def claim(
    ledger: Ledger, head: Head, state: State, name: str, told: Mapping[str, Any], *, epoch: int, at: int
) -> tuple[Head, State]:
    """Note that an attempt has a step from now on; the caller updates head and state."""
    data = {**told, "epoch": epoch, "after": state.last_step}
    head, state, event = ledger.append_event(head, state, CLAIMED, data, at=at)
    ledger.put_newest(_short(name), event.seq)
    return head, state


def unclaim(ledger: Ledger, name: str) -> None:
    """The claim on a step has ended, though no cell is on record since."""
    ledger.put_newest(_short(name), _NOTHING)


def standing(ledger: Ledger, leases: Leases, name: str) -> ExecutionId | None:
    """The execution whose claim on a step stands."""
    number = ledger.newest(_short(name))
    if not number:
        return None
    event = ledger.fetch(EventRow, number)
    state, data = ledger.state(event.execution), json.loads(event.data)
    execution = ledger.execution_id(event.execution)
    if state.last_step != data["after"] or state.epoch != data["epoch"]:
        return None
    return execution if leases.holds(ledger, state, execution) else None


def _short(name: str) -> str:
    return "step:" + name
