"""The replay control as a widget: choose a checkpoint, change inputs, run, compare."""

from __future__ import annotations

from typing import Any

from kitaru_nb.notebook import widget_files
from kitaru_nb.notebook.replay_control import ReplayControl
from kitaru_nb.notebook.state_widget import StateWidget

__all__ = ["ReplayWidget"]


class ReplayWidget(StateWidget):
    """The control of one execution.

    Args:
        control: What it does.
    """

    _esm = widget_files.module("replay.js")

    def __init__(self, control: ReplayControl) -> None:
        self._control = control
        super().__init__(control.drawn())

    def _heard(self, _widget: object, content: Any, _buffers: object) -> None:
        match content:
            case {"kind": "run", "from": from_, "changes": changes}:
                self._control.run(from_, changes)
            case {"kind": "look"}:
                self._control.look()
            case {"kind": "compare"}:
                self._control.compare()
            case _:
                return
        self.draw(self._control.drawn())
