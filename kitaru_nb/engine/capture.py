"""What a step showed: messages folded into a record, and a record as notebook outputs.

A recorded output is a JSON value with the fields of a Jupyter output (`output_type` and
its own) plus, where the message had one, `transient`. Folding merges what a front end
would merge, so that repeating a record shows what the run showed, once.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Protocol

__all__ = ["OutputSink", "fold", "notebook_outputs"]

Output = Mapping[str, Any]
Message = tuple[str, Mapping[str, Any]]
"""Its type and content."""

_SHOWN = frozenset({"stream", "display_data", "execute_result", "error"})


class OutputSink(Protocol):
    """Where a step's outputs come from and where a restored step's outputs go."""

    def begin(self) -> None:
        """Start recording what the running cell shows."""
        ...

    def end(self) -> list[Output]:
        """Stop recording and give what was shown, folded."""
        ...

    def mark(self) -> int:
        """The place in the recording that has been reached."""
        ...

    def since(self, mark: int) -> list[Output]:
        """What was shown since `mark`, folded; the recording goes on."""
        ...

    def messages(self, mark: int) -> tuple[Sequence[Message], int]:
        """What has left since `mark`, and the place reached; from any thread, and it waits for nothing."""
        ...

    def repeat(self, outputs: Sequence[Output]) -> None:
        """Show recorded outputs as if the running cell had produced them."""
        ...


def fold(messages: Iterable[Message]) -> list[Output]:
    """The outputs that `messages` (type and content, in order) leave on the screen.

    Streams of one name are joined while nothing stands between them, `clear_output` takes
    away what stands before it, an update of a display made here changes that display, and
    an update of an older one is kept as an update.
    """
    shown: list[dict[str, Any]] = []
    clear_before_next = False
    for kind, content in messages:
        if kind == "clear_output":
            clear_before_next = bool(content.get("wait"))
            if not clear_before_next:
                shown.clear()
            continue
        if kind in _SHOWN and clear_before_next:
            shown.clear()
            clear_before_next = False
        if kind == "stream":
            _add_stream(shown, content)
        elif kind == "update_display_data":
            _update_display(shown, content)
        elif kind in _SHOWN:
            shown.append({"output_type": kind, **content})
    return list(shown)


def notebook_outputs(outputs: Sequence[Output], execution_count: int | None) -> list[dict[str, Any]]:
    """`outputs` as they stand in a notebook file (nbformat 4), numbered `execution_count`."""
    cells = []
    for output in outputs:
        if output["output_type"] == "update_display_data":
            continue
        kept = {key: value for key, value in output.items() if key != "transient"}
        if kept["output_type"] == "execute_result":
            kept["execution_count"] = execution_count
        if kept["output_type"] in ("display_data", "execute_result"):
            kept.setdefault("metadata", {})
        cells.append(kept)
    return cells


def _add_stream(shown: list[dict[str, Any]], content: Mapping[str, Any]) -> None:
    last = shown[-1] if shown else None
    if last is not None and last["output_type"] == "stream" and last["name"] == content["name"]:
        last["text"] += content["text"]
    else:
        shown.append({"output_type": "stream", "name": content["name"], "text": content["text"]})


def _update_display(shown: list[dict[str, Any]], content: Mapping[str, Any]) -> None:
    display_id = content.get("transient", {}).get("display_id")
    own = [o for o in shown if display_id and o.get("transient", {}).get("display_id") == display_id]
    for output in own:
        output.update(data=content["data"], metadata=content.get("metadata", {}))
    if not own:
        shown.append({"output_type": "update_display_data", **content})
