"""Whether the notebook's last execution was cut short; asked when the extension is loaded.

It reads the journal alone, so that the engine is loaded with the first checkpoint only.
"""

from __future__ import annotations

from contextlib import closing
from typing import Any

from kitaru_nb.engine.furthest import furthest_line, left_at
from kitaru_nb.engine.renamed import as_recorded
from kitaru_nb.errors import KitaruError
from kitaru_nb.model.checkpoint import Checkpoint
from kitaru_nb.model.execution import Execution
from kitaru_nb.notebook.identity import identity_of, notebook_path
from kitaru_nb.stacks.parts import journal_file, journal_of
from kitaru_nb.stacks.settings import resolve

__all__ = ["unfinished"]


def unfinished(shell: Any) -> tuple[Execution, list[Checkpoint], int] | None:
    """The notebook's last execution when it did not end well and there is something to go on with.

    Returns:
        It, its commits, and where there are none, how many results within cells are on record.
    """
    settings = resolve()
    path = notebook_path(shell.user_ns, setting=settings.notebook)
    if path is None or settings.place is None:
        return None
    file = journal_file(settings, settings.place)
    if file is not None and not file.exists():
        return None
    try:
        with closing(journal_of(settings, settings.place, read_only=True)) as journal:
            identity = as_recorded(journal, identity_of(path, stack=settings.stack))
            known = journal.executions(identity=identity, limit=1)
            if not known or not known[0].status.continues:
                return None
            recorded = journal.checkpoints(known[0].id)
            commits = furthest_line(recorded, left=left_at(journal.events(known[0].id), recorded))
            within = 0 if commits else len(journal.steps_within(known[0].id))
            return (known[0], commits, within) if commits or within else None
    except KitaruError:
        return None  # the first step says what is wrong, where it can be acted on
