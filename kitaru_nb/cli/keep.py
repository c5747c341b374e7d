"""`gc`, `pin` and `unpin`: what is kept, and what goes."""

from __future__ import annotations

import math
from contextlib import closing
from dataclasses import asdict
from typing import Annotated

from cyclopts import Parameter

from kitaru_nb.cli.output import Json, clean, print_json, size
from kitaru_nb.engine.gc import GRACE, Collected, Policy, collect
from kitaru_nb.engine.refs import find_execution
from kitaru_nb.errors import StoreError, UsageError
from kitaru_nb.stacks.open import open_engine, set_room_aside
from kitaru_nb.stacks.settings import parse_size, resolve
from kitaru_nb.stacks.whereabouts import engine_with

__all__ = ["gc", "pin", "unpin"]


def gc(
    *,
    dry_run: Annotated[bool, Parameter(negative=())] = False,
    keep_days: Annotated[float | None, Parameter(metavar="N")] = None,
    keep_last: Annotated[int, Parameter(metavar="N")] = 0,
    max_bytes: Annotated[str | None, Parameter(metavar="N")] = None,
    json: Json = False,
) -> int:
    """Remove the values of executions that completed long ago; records and outputs stay.

    Values of failed, waiting, interrupted, running and pinned executions stay, and all that a
    restore of them needs.

    Args:
        dry_run: Only say what would go.
        keep_days: Keep the values of executions that ended in the last N days; 30 by default.
        keep_last: Keep those of the newest N finished executions of each notebook, whatever their age.
        max_bytes: Remove those of younger ones too, oldest first, until the store takes no more
            than this, such as 20000000 or 5GB.
        json: Print one JSON document.
    """
    settings = resolve()
    days = settings.keep_days if keep_days is None else keep_days
    if not math.isfinite(days):
        raise UsageError(
            f"--keep-days is {days}, which is no number of days", kind="bad-argument", hint="--keep-days 30"
        )
    if days < 0 or keep_last < 0:
        raise UsageError(
            "days and numbers to keep cannot be below zero", kind="bad-argument", hint="kitaru-nb gc --help"
        )
    limit = None if max_bytes is None else parse_size(max_bytes, what="--max-bytes")
    policy = Policy(days, limit, keep_last)
    try:
        with closing(open_engine(settings, read_only=dry_run, limited=False)) as engine:
            found = collect(engine.journal, engine.store, policy, dry_run=dry_run, grace=GRACE)
    except StoreError as error:
        if error.kind != "journal-full":
            raise
        hint = "free 5 MB on that disk in another way, then kitaru-nb gc again"
        raise StoreError(error.message, kind=error.kind, hint=hint) from error
    if not dry_run:
        set_room_aside(settings)  # again, where it had to be given up
    if json:
        print_json(_document(found))
    else:
        _print(found)
    return 0


def pin(execution: str, /, *, json: Json = False) -> int:
    """Keep an execution's values for good.

    Args:
        execution: An id, the start of one, or latest.
        json: Print one JSON document.
    """
    return _set(execution, pinned=True, json=json)


def unpin(execution: str, /, *, json: Json = False) -> int:
    """Let an execution's values go with the others.

    Args:
        execution: An id, the start of one, or latest.
        json: Print one JSON document.
    """
    return _set(execution, pinned=False, json=json)


def _set(execution: str, *, pinned: bool, json: bool) -> int:
    with closing(engine_with(execution)) as engine:
        chosen = find_execution(engine.journal, execution)
        changed = engine.journal.pin(chosen.id) if pinned else engine.journal.unpin(chosen.id)
    if json:
        print_json({"execution": chosen.id, "pinned": pinned, "changed": changed})
    else:
        state = "pinned: its values are kept" if pinned else "not pinned: its values go with the others"
        print(f"{chosen.id} is {'now' if changed else 'already'} {state}")
    return 0


def _document(found: Collected) -> dict[str, object]:
    return {
        "dry_run": found.dry_run,
        "policy": {**asdict(found.policy), "text": str(found.policy)},
        "executions": [{"id": execution, **told} for execution, told in found.executions.items()],
        "artifacts": found.artifacts,
        "artifact_bytes": found.bytes,
        "files_removed": found.packs,
        "files_rewritten": found.rewritten,
        "bytes_before": found.before,
        "bytes_after": found.after,
        "freed": max(0, found.before - found.after),
        "problems": found.problems,
    }


def _print(found: Collected) -> None:
    would = "would be " if found.dry_run else ""
    for execution, told in found.executions.items():
        print(f"{execution}: {_values(told['artifacts'])}, {size(told['bytes'])} {would}removed")
    if not found.executions:
        print("no execution has values that may go")
    now = "would take" if found.dry_run else "takes"
    print(
        f"policy {found.policy}: the store took {size(found.before)} and {now} {size(found.after)}; "
        "records and outputs stay"
    )
    for problem in found.problems:
        print(clean(f"note: {problem}"))


def _values(number: int) -> str:
    return "1 value" if number == 1 else f"{number} values"
