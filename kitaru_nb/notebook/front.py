"""What a notebook shows of a wait: the question, what is to be approved, and how to answer."""

from __future__ import annotations

import json
import shlex
from collections.abc import Callable
from typing import Any

from kitaru_nb.engine.addresses import how_to_answer
from kitaru_nb.engine.context import current_scope
from kitaru_nb.engine.showing import is_whole
from kitaru_nb.engine.stops import awaited_by
from kitaru_nb.errors import Suspended, typed_in_a_cell
from kitaru_nb.model.wait import OnWait, Wait, WaitKind
from kitaru_nb.notebook import display
from kitaru_nb.notebook.answering import Answering
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
        self._forms: dict[str, Any] = {}  # the widget that stands for each wait

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
        if show is not None and not (self._hooks.in_lab and is_whole(wait.show, show)):
            data, metadata = shell.display_formatter.format(show)
            shell.display_pub.publish({"text/plain": show} if type(show) is str else data, metadata)
        then = f"  this cell holds on for {display.duration(held)}" if held else "  then run this cell again"
        is_drawn = not held and self._draw(wait)  # while a cell holds on, its kernel hears nothing of a form
        text = f"kitaru: waits for an answer: {wait.question}\n  {_as_magic(wait)}\n{then}"
        self._say(wait, text, named=not is_drawn)

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

    def _draw(self, wait: Wait) -> bool:
        """Show the form as a widget; False where there are no widgets, or something better.

        The line below it stays: the form is gone with its kernel.
        """
        scope = current_scope()
        if self._hooks.in_lab or scope is None or not hasattr(self._hooks.shell, "kernel"):
            return False
        try:
            from kitaru_nb.notebook.wait_widget import WaitWidget  # noqa: PLC0415 - the extra `widgets`
        except ImportError:
            return False
        before = self._forms.pop(wait.address, None)
        if before is not None:
            before.close()
        answering = Answering(scope.book.engine.settings, wait)
        widget = self._forms[wait.address] = WaitWidget(answering, on_answer=self._go_on)
        # A front end without widgets has the line below.
        self._hooks.shell.display_pub.publish({**_name(wait), **widget.shown, "text/plain": ""})
        return True

    def _go_on(self, wait: Wait) -> None:
        """The form has its answer: so says the line below it, which is still there when the form is not."""
        text = f"kitaru: {wait.question}\n  {_answer(wait)}\n  run this cell again to go on"
        self._say(wait, text, update=True, named=False)

    def stopped(self, suspended: Suspended) -> None:
        """A budget or the disk limit has stopped the cell: how much there may be, and what to type."""
        if not self._hooks.quiet:
            kind = awaited_by(suspended.kind)
            then = "" if kind is WaitKind.ROOM else "\n  then run this cell again"
            text = f"kitaru: waits for {kind.awaited}: {_as_magics(str(suspended))}{then}"
            display.say(self._hooks.shell, text)

    def _say(self, wait: Wait, text: str, *, update: bool = False, named: bool = True) -> None:
        publish = self._hooks.shell.display_pub.publish
        data = {**(_name(wait) if named else {}), **display.bundle(text)}
        publish(data, transient={"display_id": f"kitaru-{wait.address}"}, update=update)


def _name(wait: Wait) -> dict[str, object]:
    return {WAIT_MIME: {"address": wait.address}}


def _answer(wait: Wait) -> str:
    if wait.answered_by is None:
        return "nobody answered in time"
    return f"{json.dumps(wait.answer, ensure_ascii=False)}, by {wait.answered_by}"


def _as_magics(text: str) -> str:
    """What a budget has stopped, as a cell takes it: a price is set for the kernel, not for a command."""
    said, _, typed = text.partition("Try: KITARU_NB_")
    if not typed:
        return text
    command, _, more = typed.partition("\n")
    return f"{said}Try: %env KITARU_NB_{shlex.split(command)[0]}\n{more}"


def _as_magic(wait: Wait) -> str:
    return typed_in_a_cell(how_to_answer(wait))
