"""Plain cells: undone before they run again where they wait, and told where their effects are back."""

from __future__ import annotations

import ast
import sys
from typing import Any

from kitaru_nb.errors import Suspended
from kitaru_nb.notebook.display import say
from kitaru_nb.notebook.gate import is_own
from kitaru_nb.notebook.refusal import refusing
from kitaru_nb.notebook.suspending import may_wait

__all__ = ["PlainCells"]


class PlainCells:
    """What the hooks do with cells that are no steps, beyond letting them run.

    An AST transformer that changes nothing, and is in place only while a cell is compiled that
    waits or may come to.

    Args:
        hooks: The hooks of the shell.
    """

    def __init__(self, hooks: Any) -> None:
        self._hooks = hooks
        self._frame: Any = None

    def met(self, frame: Any) -> None:
        """The cell is about to be compiled."""
        hooks = self._hooks
        if hooks.every_cell:
            return  # headless the kernel ends where something waits
        session = hooks.session
        self._warn(frame.info.raw_cell or "")
        waited = session is not None and session.suspends and session.is_suspended(hooks.place_of(frame))
        if waited or may_wait(frame.info.raw_cell or "", hooks.shell.user_ns):
            self._frame = frame
            hooks.shell.ast_transformers.append(self)

    def _warn(self, source: str) -> None:
        hooks = self._hooks
        warning = None if hooks.session is None or is_own(source) else hooks.session.warning(source)
        if warning is not None and not hooks.quiet:
            say(hooks.shell, f"kitaru: {warning}")

    def visit(self, tree: ast.Module) -> ast.Module:
        """What the cell left when it waited is undone, and it can be undone again.

        Refuses it where that cannot be done.
        """
        frame, self._frame = self._frame, None
        if frame is not None:
            with refusing():
                session, place = self._hooks.open_session(), self._hooks.place_of(frame)
                frame.pending = session.ready_plain(frame.info.raw_cell, tree, place)
        return tree

    def left(self, frame: Any, *, completed: bool) -> None:
        """The cell has come to an end."""
        self._frame = None
        session, transformers = self._hooks.session, self._hooks.shell.ast_transformers
        if self in transformers:
            transformers.remove(self)
        if session is None:
            return
        if frame.pending is not None:
            session.note_files()
        if completed and session.suspends:
            session.went_on(self._hooks.place_of(frame))

    def suspended(self, frame: Any, suspended: Suspended, count: int | None) -> None:
        """The cell waits."""
        session, place = self._hooks.open_session(), self._hooks.place_of(frame)
        undoable = session.suspend(frame.pending, suspended, place, count=count)
        if not undoable and not self._hooks.quiet:
            text = "kitaru: what this cell did before it waited stays, and is done again when it runs again"
            print(text, file=sys.stderr)  # noqa: T201 - where a program says what its user should mind
