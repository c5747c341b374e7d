"""What a notebook shows of a wait: the question, what is to be approved, and how to answer."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from kitaru_nb.engine.wait import OnWait, how_to_answer
from kitaru_nb.errors import Suspended
from kitaru_nb.model.wait import Wait
from kitaru_nb.notebook import display
from kitaru_nb.stacks.terminal import TerminalFront

__all__ = ["WAIT_MIME", "NotebookFront"]

WAIT_MIME = "application/vnd.kitaru-nb.wait+json"
"""A display of this type names a wait. JupyterLab's extension asks the server for the rest."""


class NotebookFront:
    """Tells of waits in the output of the cell that asks. See `engine.wait.Front`.

    Args:
        hooks: The hooks of the shell.
    """

    on_wait: OnWait | None = None

    def __init__(self, hooks: Any) -> None:
        self._hooks = hooks
        self._hinted: set[str] = set()

    def ask(self, wait: Wait, give: Callable[[Any], object]) -> bool:
        """Asks in a terminal's IPython; a kernel has nobody at its own standard input."""
        if hasattr(self._hooks.shell, "kernel") or self._hooks.quiet:
            return False
        return TerminalFront().ask(wait, give)

    def tell(self, wait: Wait, show: object, *, held: float) -> None:
        """Show what is to be approved, and how; the form of JupyterLab's extension in place of the words."""
        if self._hooks.quiet:
            return
        shell = self._hooks.shell
        if show is not None and not (self._hooks.in_lab and wait.show == show):
            data, metadata = shell.display_formatter.format(show)
            shell.display_pub.publish({"text/plain": show} if type(show) is str else data, metadata)
        then = f"  this cell holds on for {display.duration(held)}" if held else "  then run this cell again"
        self._say(wait, f"kitaru: waits for an answer: {wait.question}\n  {_as_magic(wait)}\n{then}")

    def answered(self, wait: Wait) -> None:
        """The line that `tell` showed says now who answered."""
        if not self._hooks.quiet:
            self._say(wait, f"kitaru: {wait.question}\n  {_answer(wait)}", update=True)

    def costly(self, suspended: Suspended) -> None:
        """Say once of a wait that much work above it will be done again."""
        if self._hooks.quiet or suspended.wait in self._hinted:
            return
        self._hinted.add(suspended.wait)
        display.say(
            self._hooks.shell,
            f"kitaru: what stands above the wait in this cell took {display.duration(suspended.unrecorded)}"
            " and is done again after the answer\n  a %%checkpoint cell of its own, or a @kt.checkpoint"
            " function, is not done again",
        )

    def stopped(self, suspended: Suspended) -> None:
        """A budget has stopped the cell: what it cost so far, the limit, and what to type."""
        if not self._hooks.quiet:
            display.say(
                self._hooks.shell,
                f"kitaru: waits for a larger budget: {suspended}\n  then run this cell again",
            )

    def _say(self, wait: Wait, text: str, *, update: bool = False) -> None:
        publish = self._hooks.shell.display_pub.publish
        data = {WAIT_MIME: {"address": wait.address}, **display.bundle(text)}
        publish(data, transient={"display_id": f"kitaru-{wait.address}"}, update=update)


def _answer(wait: Wait) -> str:
    if wait.answered_by is None:
        return "nobody answered in time"
    return f"{json.dumps(wait.answer, ensure_ascii=False)}, by {wait.answered_by}"


def _as_magic(wait: Wait) -> str:
    return how_to_answer(wait).replace("kitaru-nb ", "%kitaru ", 1)
