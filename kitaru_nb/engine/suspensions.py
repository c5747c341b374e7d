"""Stops on record: at what an attempt stopped, and who vouches that it did.

A run that has its answer may go on with nobody there to ask. That runs its notebook's code, so it
takes more than a row that says so: whoever sent a folder can have written that. The record of the
stop is signed by the process that stopped, and only what one's own key signed goes on by itself.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from kitaru_nb.artifacts.vault import VAULT
from kitaru_nb.engine.trust import Keys
from kitaru_nb.errors import Suspended
from kitaru_nb.journal.journal import Journal
from kitaru_nb.journal.rows import identity_text
from kitaru_nb.model.event import Event
from kitaru_nb.model.execution import Execution
from kitaru_nb.model.json_text import json_writer

if TYPE_CHECKING:
    from kitaru_nb.engine.scope import Book

__all__ = ["is_own_stop", "is_trusted_stop", "note_suspended", "signed_stop"]

_CONTEXT = b"kitaru_nb suspension 1\n"
_SIGNATURE = "signature"
_canonical = json_writer(sort_keys=True)


def note_suspended(book: Book, suspended: Suspended, scope: str) -> None:
    """Put on record that the attempt stopped in a scope, and at what: others learn of it from there."""
    engine, attempt = book.engine, book.attempt
    told = {"wait": suspended.wait, "kind": suspended.kind, "message": suspended.message, "scope": scope}
    execution = engine.journal.execution(attempt.execution)
    data = VAULT.mask_json(told)
    engine.journal.note_suspended(attempt, signed_stop(data, execution, attempt.epoch, engine.trust.keys))


def signed_stop(data: Mapping[str, Any], execution: Execution, epoch: int, keys: Keys) -> dict[str, Any]:
    """What is noted of a stop, with the signature of who works here."""
    statement = _statement({**data, "epoch": epoch}, execution)
    return {**data, _SIGNATURE: dict(keys.sign(statement))}


def is_own_stop(journal: Journal, execution: Execution, keys: Keys) -> bool:
    """Whether the user's own key, or that of their stack, signed that it stopped where it did last."""
    key = _signer(journal.suspended(execution.id), execution, keys)
    return key is not None and keys.is_own(key)


def is_trusted_stop(journal: Journal, execution: Execution, keys: Keys) -> bool:
    """Whether somebody who is trusted here signed that."""
    key = _signer(journal.suspended(execution.id), execution, keys)
    return key is not None and keys.trusts(key)


def _signer(event: Event | None, execution: Execution, keys: Keys) -> str | None:
    """The key that the stop was signed with, if it was and is still what was signed."""
    signature: Any = None if event is None else event.data.get(_SIGNATURE)
    if event is None or not isinstance(signature, dict):
        return None
    return str(signature.get("key")) if keys.is_valid(signature, _statement(event.data, execution)) else None


def _statement(data: Mapping[str, Any], execution: Execution) -> bytes:
    """What is signed: which run stopped, with all that says what going on would run, and at what."""
    told = {name: value for name, value in data.items() if name != _SIGNATURE}
    return _CONTEXT + _canonical([execution.id, identity_text(execution.identity), told]).encode()
