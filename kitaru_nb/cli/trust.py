"""`trust`: whose records may be acted upon here."""

from __future__ import annotations

from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path

from kitaru_nb.cli.output import Json, clean, print_json
from kitaru_nb.errors import KitaruError, UsageError
from kitaru_nb.stacks.keys import Keyring, config_folder, read_key
from kitaru_nb.stacks.open import chosen_stack, open_engine
from kitaru_nb.stacks.parts import journal_at
from kitaru_nb.stacks.settings import resolve

__all__ = ["trust"]

_UNSIGNED = "unsigned"


def trust(key: str | None = None, /, *, json: Json = False) -> int:
    """Trust what somebody else signed; without KEY, list whom you trust.

    What a trusted key signed may run code here when it is restored, as your own records do.

    Args:
        key: A public key (ed25519:…), a file that holds one, or the word unsigned: that takes
            what this store holds without a signature, from before there were any, for your own.
        json: Print one JSON document.
    """
    keys = Keyring(config_folder())
    if key == _UNSIGNED:
        return _adopt(keys, json=json)
    if key is None:
        return _list(keys, json=json)
    public = read_key(key)
    source = f"from {Path(key).name} " if not public.endswith(key.strip().lower()) else ""
    new = keys.trust(public, note=f"{source}{datetime.now(UTC):%Y-%m-%d}")
    if new:
        _note(public)
    if json:
        print_json({"key": public, "trusted": True, "new": new})
    else:
        print(f"{public} is trusted" if new else f"{public} was trusted already")
    return 0


def _list(keys: Keyring, *, json: bool) -> int:
    keys.prepare()
    own = keys.public
    if json:
        print_json(
            [{"key": own, "own": True, "note": ""}]
            + [{"key": k, "own": False, "note": n} for k, n in keys.trusted.items()]
        )
        return 0
    print(f"{own}  your own, in {clean(str(keys.folder))}")
    for public, note in keys.trusted.items():
        print(clean(f"{public}  {note}".rstrip()))
    return 0


def _adopt(keys: Keyring, *, json: bool) -> int:
    with closing(open_engine(resolve(), read_only=True)) as engine:
        marks = [
            engine.trust.marks([step])[0]
            for step in engine.journal.every_checkpoint()
            if step.draft.signature is None
        ]
        count = keys.adopt(marks)
        where = journal_at(engine.settings, chosen_stack(engine.settings))
    if json:
        print_json({"key": _UNSIGNED, "trusted": True, "new": bool(count), "records": count})
    else:
        print(clean(f"{count} records in {where} that carry no signature are taken for your own"))
    return 0


def _note(public: str) -> None:
    """Put it on record with the executions it is about, where there is a journal that can be written."""
    try:
        with closing(open_engine(resolve(), read_only=True)) as engine:
            signed = {
                step.execution
                for step in engine.journal.every_checkpoint()
                if (step.draft.signature or {}).get("key") == public
            }
        if signed:
            with closing(open_engine(resolve())) as engine:
                for execution in sorted(signed):
                    engine.journal.record_event(execution, "trusted", {"key": public})
    except UsageError:
        raise
    except KitaruError:
        return  # a store that is read-only, or none at all: the key counts all the same
