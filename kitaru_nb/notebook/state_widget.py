"""What our widgets have in common: the front end draws `state`, and sends what was done there."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import anywidget
import traitlets

from kitaru_nb.notebook import widget_files

__all__ = ["StateWidget"]


class StateWidget(anywidget.AnyWidget):
    """A widget that is drawn from one JSON object.

    Args:
        state: What is drawn at first.
    """

    _css = widget_files.style()

    state = traitlets.Dict().tag(sync=True)

    def __init__(self, state: Mapping[str, Any]) -> None:
        self._turn = 0
        super().__init__(state={**state, "turn": 0})
        self.on_msg(self._heard)

    @property
    def shown(self) -> dict[str, Any]:
        """What a front end with widgets displays in its place."""
        view = {"version_major": 2, "version_minor": 0, "model_id": self.model_id}
        return {"application/vnd.jupyter.widget-view+json": view}

    def draw(self, state: Mapping[str, Any]) -> None:
        """Draw `state` from now on. An equal one is news, too: the front end waits for a reply."""
        self._turn += 1
        self.state = {**state, "turn": self._turn}

    def _heard(self, _widget: object, content: Any, _buffers: object) -> None:
        """A message of the front end's: whoever looks at the widget can send any."""
        raise NotImplementedError
