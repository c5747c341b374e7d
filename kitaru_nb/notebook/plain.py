"""Plain cells that wait: undone before they run again, though they are no steps."""

from __future__ import annotations

import ast
import sys
from typing import Any

from kitaru_nb.errors import Suspended
from kitaru_nb.notebook.suspending import may_wait

__all__ = ["PlainCells"]


class PlainCells:
    """What the hooks do with cells that are no steps, beyond letting them run.

    Args:
        hooks: The hooks of the shell.
    """

    def __init__(self, hooks: Any) -> None:
        self._hooks = hooks

    def ready(self, frame: Any, place: str, tree: ast.Module) -> None:
        """The cell is about to run: what it left when it waited is undone, and it can be undone again.

        Raises:
            ConflictError: kind ``half-done``: what it left cannot be undone.
        """
        hooks = self._hooks
        frame.place = place
        if hooks.every_cell:
            return  # headless the kernel ends where something waits
        waited = hooks.session is not None and hooks.session.is_suspended(place)
        if waited or may_wait(frame.info.raw_cell or "", tree, hooks.shell.user_ns):
            frame.pending = hooks.open_session().ready_plain(frame.info.raw_cell, tree, place)

    def suspended(self, frame: Any, suspended: Suspended, count: int | None) -> None:
        """The cell waits."""
        session = self._hooks.open_session()
        undoable = session.suspend(frame.pending, suspended, frame.place, count=count)
        if not undoable and not self._hooks.quiet:
            text = "kitaru: what this cell did before it waited stays, and is done again when it runs again"
            print(text, file=sys.stderr)  # noqa: T201 - where a program says what its user should mind

    def ended(self, frame: Any, *, completed: bool) -> None:
        """The cell has come to an end that is no wait."""
        session = self._hooks.session
        if session is not None and completed and frame.place is not None:
            session.went_on(frame.place)
