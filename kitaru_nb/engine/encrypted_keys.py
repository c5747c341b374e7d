"""Keys that models have written into their answers, encrypted for the user who has paid for these.

A text that only its shape makes a key, such as an example of a connection string, is found nowhere
again. So it is kept with the record of the call, in a form that this user alone can read.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from kitaru_nb.artifacts.vault import VAULT, Encrypted
from kitaru_nb.engine.history import last_executions
from kitaru_nb.journal.journal import Journal
from kitaru_nb.llm.said import said_in
from kitaru_nb.model.checkpoint import Checkpoint
from kitaru_nb.model.execution import Identity

__all__ = ["encrypted_for", "encrypted_in", "know_again"]

_FIELD = "encrypted"


def encrypted_in(body: bytes) -> dict[str, list[Encrypted]]:
    """What is kept with the record of an answer so that the keys in it are found again."""
    found = VAULT.encrypted(f"{body.decode('utf-8', 'replace')}\n{said_in(body)}")
    return {_FIELD: found} if found else {}


def know_again(steps: Iterable[Checkpoint]) -> None:
    """Take note of the keys that were kept with these records."""
    for step in steps:
        VAULT.know_again(step.draft.data.get(_FIELD))


def encrypted_for(journal: Journal, identity: Identity) -> Iterator[object]:
    """What was kept with the records of a notebook's last executions."""
    for execution in last_executions(journal, identity):
        for step in journal.steps_within(execution.id):
            yield step.draft.data.get(_FIELD)
