"""`store info`, `store verify` and `store migrate`: what is there, whether it is whole, and which format."""

from __future__ import annotations

import sys
import time
from contextlib import closing
from dataclasses import asdict
from typing import Any, Literal

from kitaru_nb.cli.output import Json, clean, print_json, print_table, size, tidy_path
from kitaru_nb.engine.usage import Usage, usage_of
from kitaru_nb.engine.verify import Damage, Verified, verify
from kitaru_nb.errors import CorruptError
from kitaru_nb.journal.schema import newest_format
from kitaru_nb.journal.sql_journal import SqlJournal
from kitaru_nb.model.settings import Settings
from kitaru_nb.stacks.disk import limit_of
from kitaru_nb.stacks.doctor import journal_format
from kitaru_nb.stacks.open import chosen_stack, open_engine
from kitaru_nb.stacks.parts import journal_at, journal_file, store_at, store_folder
from kitaru_nb.stacks.settings import resolve

__all__ = ["store"]

_SHOWN = 12
_EVERY = 0.5


def store(action: Literal["info", "verify", "migrate"], /, *, json: Json = False) -> int:
    """Say what the store holds, check every byte of it, or bring it to this release's format.

    Args:
        action: info: bytes by notebook, execution and name. verify: read and check everything;
            exit 1 when something is damaged. migrate: bring an old store to the newest format.
        json: Print one JSON document.
    """
    settings = resolve()
    if action == "info":
        return _info(settings, json=json)
    return _verify(settings, json=json) if action == "verify" else _migrate(settings, json=json)


def _info(settings: Settings, *, json: bool) -> int:
    with closing(open_engine(settings, read_only=True)) as engine:
        found = usage_of(engine.journal, engine.store)
    stack = chosen_stack(settings)
    folder = store_folder(settings, stack)
    limit = None if folder is None else limit_of(folder, settings.max_bytes)
    if json:
        print_json(_info_document(settings, found, limit))
        return 0
    most = "no limit" if limit is None else f"{size(limit)} at most ({settings.max_bytes})"
    print(clean(f"stack {stack.name}: {size(found.journal + found.packs)}, {most}"))
    journal, store = journal_at(settings, stack), store_at(settings, stack)
    print(clean(f"journal {journal}: {size(found.journal)}, of which {size(found.free)} free"))
    files = "file" if found.files == 1 else "files"
    spare = f"{size(found.unreferenced)} of it needed by nothing"
    told = f"{size(found.values)} of values; {found.files} {files} of {size(found.packs)}, {spare}"
    print(clean(f"store {store}: {told}"))
    if found.dedup_ratio is not None:
        print(f"without sharing it would be {found.dedup_ratio:.1f} times as much")
    for title, sizes in (("notebook", found.notebooks), ("names", found.names)):
        rows = [[tidy_path(what) if title == "notebook" else what, size(n)] for what, n in sizes.items()]
        _print_largest(title, rows, ("size",))
    _print_largest(
        "execution",
        [
            [
                e.execution.id,
                e.execution.status.value,
                "pinned" if e.pinned else "",
                size(e.bytes),
                size(e.own),
            ]
            for e in sorted(found.executions, key=lambda each: -each.bytes)
        ],
        ("status", "kept", "size", "alone"),
    )
    return 0


def _print_largest(title: str, rows: list[list[str]], columns: tuple[str, ...]) -> None:
    if rows:
        print()
        print_table((title, *columns), rows[:_SHOWN])
        if len(rows) > _SHOWN:
            print(f"and {len(rows) - _SHOWN} more; --json has them all")


def _info_document(settings: Settings, found: Usage, limit: int | None) -> dict[str, Any]:
    stack = chosen_stack(settings)
    return {
        "stack": stack.name,
        "home": str(settings.home),
        "journal": journal_at(settings, stack),
        "store": store_at(settings, stack),
        "bytes": found.journal + found.packs,
        "max_bytes": limit,
        "journal_bytes": found.journal,
        "journal_free": found.free,
        "format": _format(settings),
        "pack_files": found.files,
        "pack_bytes": found.packs,
        "value_bytes": found.values,
        "unreferenced": found.unreferenced,
        "dedup_ratio": found.dedup_ratio,
        "notebooks": [{"notebook": what, "bytes": count} for what, count in found.notebooks.items()],
        "executions": [
            {
                "id": each.execution.id,
                "status": each.execution.status.value,
                "notebook": each.execution.identity.notebook,
                "pinned": each.pinned,
                "bytes": each.bytes,
                "own_bytes": each.own,
            }
            for each in found.executions
        ],
        "names": [{"names": what.split(", "), "bytes": count} for what, count in found.names.items()],
    }


def _verify(settings: Settings, *, json: bool) -> int:
    try:
        with closing(open_engine(settings, read_only=True)) as engine:
            journal = engine.journal
            rows = journal.verify if isinstance(journal, SqlJournal) else list
            found = verify(journal, engine.store, rows=rows, progress=_Progress(quiet=json))
    except CorruptError as error:  # so damaged that it cannot even be opened
        found = Verified(damage=[Damage(error.message)])
    if json:
        print_json({**asdict(found), "ok": not found.damage})
    else:
        _print_verified(found)
    return 1 if found.damage else 0


def _print_verified(found: Verified) -> None:
    for each in found.damage:
        more = f"; and {each.extents - 1} more in that place" if each.extents > 1 else ""
        print(clean(f"damaged: {each.message}{more}"))
        for step in each.checkpoints[:_SHOWN]:
            names = f" ({', '.join(step.names)})" if step.names else ""
            print(clean(f"  of {step.execution}/{step.checkpoint}{names}"))
        if len(each.checkpoints) > _SHOWN:
            print(f"  and of {len(each.checkpoints) - _SHOWN} more; --json has them all")
    print(
        f"{found.checkpoints} checkpoints, {found.artifacts} values, {found.extents} extents "
        f"({size(found.bytes)}) in {found.packs} packs checked; {size(found.tails)} at their ends are spare"
    )
    print(f"{len(found.damage)} damaged" if found.damage else "everything is as it was stored")


class _Progress:
    """A line on a terminal that says how far a long check has come."""

    def __init__(self, *, quiet: bool) -> None:
        self._quiet = quiet or not sys.stderr.isatty()
        self._next = time.monotonic() + _EVERY

    def __call__(self, done: int, total: int) -> None:
        """Show it, at most twice a second."""
        if self._quiet or time.monotonic() < self._next:
            return
        self._next = time.monotonic() + _EVERY
        end = "\n" if done == total else ""
        print(f"\r{size(done)} of {size(total)}  ", end=end, file=sys.stderr, flush=True)


def _format(settings: Settings) -> int:
    file = journal_file(settings, chosen_stack(settings))
    return newest_format() if file is None else journal_format(file)


def _migrate(settings: Settings, *, json: bool) -> int:
    from kitaru_nb.stacks.migrate import Migrated, migrate  # noqa: PLC0415 - only this action needs it

    open_engine(settings, read_only=True).close()  # says it in the usual words when there is none
    file = journal_file(settings, chosen_stack(settings))
    if file is None:
        open_engine(settings).close()  # a server's journal is brought to the newest format as it is opened
    done = migrate(file) if file is not None else Migrated(newest_format(), newest_format(), None)
    backup = str(done.backup) if done.backup else None
    if json:
        print_json(
            {"from": done.before, "to": done.after, "changed": done.backup is not None, "backup": backup}
        )
    elif done.backup is None:
        print(f"the store has format {done.after} already: nothing to do")
    else:
        print(f"the store was brought from format {done.before} to {done.after}")
        print(f"as it was before: {backup}")
    return 0
