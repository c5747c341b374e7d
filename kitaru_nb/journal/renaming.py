"""Notebooks that are called something else now: what is on record of them goes along.

In the `newest` table, ``file:MARK`` has the last execution of a file, whatever it was called; ``inode:NAME``
the number of the file that was last run under a name; ``renamed:NAME`` the event that says what became
of a name, and ``was:NAME`` the one that says what had another before.
"""

from __future__ import annotations

import json
from collections.abc import Callable

from kitaru_nb.journal import rows
from kitaru_nb.journal.guests import Guests
from kitaru_nb.journal.ledger import Ledger
from kitaru_nb.journal.rows import EventRow, ExecutionRow, Head
from kitaru_nb.model.execution import Identity
from kitaru_nb.model.file_mark import FileMark

__all__ = ["RENAMED", "name_now", "name_of_file", "names_before", "note_file", "number_of_file", "rename"]

RENAMED = "notebook.renamed"
_LONGEST_TRAIL = 100


def note_file(ledger: Ledger, notebook: str, file: FileMark, execution: int) -> None:
    """An execution of `notebook`, by number, runs what is in `file`."""
    if ledger.newest(_file(file)) != execution:
        ledger.put_newest(_file(file), execution)
    if ledger.newest(_inode(notebook)) != file.number:
        ledger.put_newest(_inode(notebook), file.number)


def name_of_file(ledger: Ledger, file: FileMark) -> str | None:
    """What a file was called when it last ran, or has been renamed to since."""
    number = ledger.newest(_file(file))
    return rows.identity_of(ledger.fetch(ExecutionRow, number)).notebook if number else None


def number_of_file(ledger: Ledger, notebook: str) -> int | None:
    """The number of the file that was last run under a name."""
    return ledger.newest(_inode(notebook)) or None


def name_now(ledger: Ledger, notebook: str) -> str:
    """What a notebook is called that was called `notebook` once."""
    for _ in range(_LONGEST_TRAIL):
        event = ledger.newest(_renamed(notebook))
        if not event:
            break
        notebook = json.loads(ledger.fetch(EventRow, event).data)["to"]
    return notebook


def names_before(ledger: Ledger, notebook: str) -> list[str]:
    """What a notebook was called before it was called `notebook`, the newest first."""
    found: list[str] = []
    while len(found) < _LONGEST_TRAIL and (event := ledger.newest(_was(notebook))):
        notebook = json.loads(ledger.fetch(EventRow, event).data)["from"]
        if notebook in found:
            break
        found.append(notebook)
    return found


def rename(
    ledger: Ledger, old: str, new: str, renamed: Callable[[Identity], Identity], *, at: int
) -> Head | None:
    """Call a notebook `new` in all that is on record of it; the new head, or None where nothing changes.

    What was imported and never gone on with here keeps its name: it is a stranger's.
    """
    newest = ledger.newest("notebook:" + old)
    if not newest or ledger.newest("notebook:" + new):
        return None
    head, guests = ledger.head(), Guests(ledger)
    told = rows.dumps(old)
    for row in reversed(list(ledger.numbers_of(ExecutionRow, head.executions))):
        if told in row.identity and row.id not in guests:
            _rename(ledger, row, renamed)
    ledger.put_newest("notebook:" + new, newest)
    ledger.put_newest("notebook:" + old, 0)
    ledger.put_newest(_inode(new), ledger.newest(_inode(old)) or 0)
    ledger.put_newest(_inode(old), 0)
    head, state, event = ledger.append_event(
        head, ledger.state(newest), RENAMED, {"from": old, "to": new}, at=at
    )
    ledger.put_newest(_renamed(old), event.seq)
    ledger.put_newest(_was(new), event.seq)
    if ledger.newest(_renamed(new)):
        ledger.put_newest(_renamed(new), 0)
    ledger.update(state)
    ledger.update(head)
    return head


def _rename(ledger: Ledger, row: ExecutionRow, renamed: Callable[[Identity], Identity]) -> None:
    before = rows.identity_of(row)
    now = renamed(before)
    if now == before:
        return
    digest = rows.identity_digest(now)
    ledger.put_newest("identity:" + row.identity_digest.hex(), 0)
    previous = ledger.put_newest("identity:" + digest.hex(), row.n)
    ledger.update(
        row._replace(
            identity=rows.dumps(rows.identity_told(now)),
            identity_digest=digest,
            previous_of_identity=previous,
        )
    )


def _file(file: FileMark) -> str:
    return f"file:{file.number}.{file.born}"


def _inode(notebook: str) -> str:
    return "inode:" + notebook


def _was(notebook: str) -> str:
    return "was:" + notebook


def _renamed(notebook: str) -> str:
    return "renamed:" + notebook
