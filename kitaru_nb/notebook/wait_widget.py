"""The form of a wait as a widget, where our extension is not: VS Code, Colab, JupyterLab without it.

It holds nothing that matters: the question and the answer are on record, and a form that is gone
with its kernel is shown again by the cell's next run. It answers only while the kernel is idle,
which it is, since the cell that asks has ended.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any

from kitaru_nb.engine.markup import seen
from kitaru_nb.model.wait import Wait
from kitaru_nb.notebook import widget_files
from kitaru_nb.notebook.answering import Answering, Reply, told
from kitaru_nb.notebook.fields import is_yes_or_no
from kitaru_nb.notebook.state_widget import StateWidget

__all__ = ["WaitWidget"]


class WaitWidget(StateWidget):
    """The form of one question.

    Args:
        answering: The question.
        on_answer: Called with the wait once it is known to be answered, or not to be any more.
    """

    _esm = widget_files.module("wait.js")

    def __init__(self, answering: Answering, *, on_answer: Callable[[Wait], object]) -> None:
        self._answering = answering
        self._on_answer = on_answer
        super().__init__(self._drawn(Reply(answering.wait)))

    def _heard(self, _widget: object, content: Any, _buffers: object) -> None:
        match content:
            case {"kind": "answer", "typed": typed}:
                reply = self._answering.give(typed, reason=content.get("reason"))
            case {"kind": "look"}:
                reply = self._answering.look()
            case _:
                return
        self.draw(self._drawn(reply))
        if reply.wait is not None and self.state["ended"] is not None:
            self._on_answer(reply.wait)

    def _drawn(self, reply: Reply) -> dict[str, Any]:
        asked = self._answering.wait
        fields = [field.drawn() for field in self._answering.fields]
        errors: Mapping[str, str] = reply.errors or {}
        ended = None if reply.wait is None else told(reply.wait, asked.binding)
        return {
            "question": seen(asked.question),
            "choice": is_yes_or_no(asked.schema),
            "fields": fields,
            "note": seen(_note(asked)),
            "errors": {pointer: seen(message) for pointer, message in errors.items()},
            "problem": seen(reply.problem),
            "ended": ended and {name: seen(words) for name, words in ended.items()},
        }


def _note(wait: Wait) -> str:
    """What else there is to know about the question."""
    parts = []
    if wait.refused is not None:
        parts.append(f"An answer that was given does not count: {wait.refused}")
    if wait.deadline is not None:
        until = f"Open until {wait.deadline:%Y-%m-%d %H:%M} UTC"
        parts.append(
            f"{until}, then the answer is {json.dumps(wait.default, ensure_ascii=False)}"
            if wait.has_default
            else until
        )
    return ". ".join(parts)
