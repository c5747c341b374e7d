"""Stops on record: at what an attempt stopped, and who vouches that it did.

A run that has its answer may go on with nobody there to ask. That runs its notebook's code, so it
takes more than a row that says so: whoever sent a folder can have written that. The record of the
stop is signed by the process that stopped, and only what one's own key signed goes on by itself.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from kitaru_nb.artifacts.vault import VAULT
from kitaru_nb.engine.stops import awaited_by
from kitaru_nb.engine.trust import Keys
from kitaru_nb.engine.vouching import signed_record, signer_of
from kitaru_nb.errors import Suspended
from kitaru_nb.journal.journal import Journal
from kitaru_nb.model.execution import Execution
from kitaru_nb.model.wait import WaitKind

if TYPE_CHECKING:
    from kitaru_nb.engine.book import Book

__all__ = ["is_own_stop", "is_trusted_stop", "note_suspended", "signed_stop"]

_STOP = "suspension"


def note_suspended(book: Book, suspended: Suspended, scope: str) -> None:
    """Put on record that the attempt stopped in a scope, and at what: others learn of it from there."""
    engine, attempt = book.engine, book.attempt
    told: dict[str, Any] = {"wait": suspended.wait, "kind": suspended.kind}
    told |= {"message": suspended.message, "scope": scope}
    if awaited_by(suspended.kind) is WaitKind.ROOM:
        before = engine.journal.suspended(attempt.execution)
        known = 0 if before is None else before.data.get("lacking", 0)
        # What was refused before it ran would store nobody knows what.
        told["lacking"] = suspended.lacking or known
    execution = engine.journal.execution(attempt.execution)
    data = VAULT.mask_json(told)
    engine.journal.note_suspended(attempt, signed_stop(data, execution, attempt.epoch, engine.trust.keys))


def signed_stop(data: Mapping[str, Any], execution: Execution, epoch: int, keys: Keys) -> dict[str, Any]:
    """What is noted of a stop, with the signature of who works here."""
    return signed_record(_STOP, {**data, "epoch": epoch}, execution, keys)


def is_own_stop(journal: Journal, execution: Execution, keys: Keys) -> bool:
    """Whether the user's own key, or that of their stack, signed that it stopped where it did last."""
    key = signer_of(_STOP, journal.suspended(execution.id), execution, keys)
    return key is not None and keys.is_own(key)


def is_trusted_stop(journal: Journal, execution: Execution, keys: Keys) -> bool:
    """Whether somebody who is trusted here signed that."""
    key = signer_of(_STOP, journal.suspended(execution.id), execution, keys)
    return key is not None and keys.trusts(key)
