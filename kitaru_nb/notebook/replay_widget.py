"""The replay control as a widget: choose a checkpoint, change inputs, run, compare."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import anywidget
import traitlets

from kitaru_nb.notebook.replay_control import ReplayControl

__all__ = ["ReplayWidget"]

_FILES = Path(__file__).parent / "widgets"


class ReplayWidget(anywidget.AnyWidget):
    """The control of one execution.

    Args:
        control: What it does.
    """

    # As texts: given as paths they would be watched for changes by a thread.
    _esm = (_FILES / "replay.js").read_text(encoding="utf-8")
    _css = (_FILES / "widgets.css").read_text(encoding="utf-8")

    state = traitlets.Dict().tag(sync=True)

    def __init__(self, control: ReplayControl) -> None:
        self._control = control
        self._turn = 0
        super().__init__(state={**control.drawn(), "turn": 0})
        self.on_msg(self._heard)

    def _heard(self, _widget: object, content: Any, _buffers: object) -> None:
        """A message of the front end's: whoever looks at the control can send any."""
        match content:
            case {"kind": "run", "from": from_, "changes": changes}:
                self._control.run(from_, changes)
            case {"kind": "look"}:
                self._control.look()
            case {"kind": "compare"}:
                self._control.compare()
            case _:
                return
        self._turn += 1
        self.state = {**self._control.drawn(), "turn": self._turn}
