"""Records that something is done because of, without anybody there to ask: they are signed.

Whoever sent a folder can have written any row in it. What makes a process of ours run a notebook,
or send a scheduler a command, is therefore believed only with the signature of a key that is trusted.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from kitaru_nb.engine.trust import Keys
from kitaru_nb.journal.rows import identity_text
from kitaru_nb.model.event import Event
from kitaru_nb.model.execution import Execution
from kitaru_nb.model.json_text import json_writer

__all__ = ["signed_record", "signer_of"]

_SIGNATURE = "signature"
_canonical = json_writer(sort_keys=True)


def signed_record(what: str, data: Mapping[str, Any], execution: Execution, keys: Keys) -> dict[str, Any]:
    """`data` of an event about `execution`, with the signature of who works here.

    Args:
        what: The kind of statement: no signature counts for another one.
        data: The event's data as it will be read back.
        execution: The run, with all that says what going on would run.
        keys: Who works here.
    """
    return {**data, _SIGNATURE: dict(keys.sign(_statement(what, data, execution)))}


def signer_of(what: str, event: Event | None, execution: Execution, keys: Keys) -> str | None:
    """The key that an event was signed with, if it was and is still what was signed."""
    signature: Any = None if event is None else event.data.get(_SIGNATURE)
    if event is None or not isinstance(signature, dict):
        return None
    valid = keys.is_valid(signature, _statement(what, event.data, execution))
    return str(signature.get("key")) if valid else None


def _statement(what: str, data: Mapping[str, Any], execution: Execution) -> bytes:
    told = {name: value for name, value in data.items() if name != _SIGNATURE}
    signed = _canonical([execution.id, identity_text(execution.identity), told])
    return f"kitaru_nb {what} 1\n{signed}".encode()
