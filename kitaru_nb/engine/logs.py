"""What happened in an execution, line by line: its events, and what its cells showed."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from kitaru_nb.engine.capture import Output
from kitaru_nb.engine.describe import is_saved, noted_text, time_json
from kitaru_nb.engine.live_outputs import SHOWN, TOLD, noted_in
from kitaru_nb.engine.progress import PLANNED
from kitaru_nb.engine.refs import FLOW
from kitaru_nb.journal.claims import CLAIMED
from kitaru_nb.journal.journal import Journal
from kitaru_nb.model.checkpoint import Checkpoint, CheckpointStatus, StepKind, error_line
from kitaru_nb.model.event import AWAITED, Event
from kitaru_nb.model.execution import ExecutionId
from kitaru_nb.model.served import unranged
from kitaru_nb.model.words import duration

__all__ = ["Line", "Log", "log_of"]

_SHOWN = ("text/plain", "text/markdown", "text/html")


@dataclass(frozen=True, slots=True)
class Line:
    """One line of the log.

    Attributes:
        event: What happened.
        text: What there is to say about it; what a cell showed may be several lines.
        checkpoint: The name of the step that it is about, if it is about one.
        stream: ``stdout`` or ``stderr`` for what a step printed, ``display`` for what it showed, else None.
    """

    event: Event
    text: str
    checkpoint: str | None = None
    stream: str | None = None

    def to_json(self) -> dict[str, Any]:
        """Its fields as JSON values."""
        return {
            "seq": self.event.seq,
            "at": time_json(self.event.at),
            "kind": self.event.kind,
            "checkpoint": self.checkpoint,
            "stream": self.stream,
            "text": self.text,
        }


@dataclass(frozen=True, slots=True)
class Log:
    """Some lines.

    Attributes:
        lines: In order.
        next: What to ask for to get what comes after them.
        more: Whether there is something after them already.
    """

    lines: Sequence[Line]
    next: int
    more: bool

    def to_json(self) -> dict[str, Any]:
        """Its fields as JSON values."""
        return {"lines": [line.to_json() for line in self.lines], "next": self.next, "more": self.more}


def log_of(journal: Journal, execution: ExecutionId, *, after: int = 0, limit: int = 1000) -> Log:
    """The lines of the first `limit` events after number `after`.

    What a step showed comes as it appears where the step runs long, else with the event that it
    was recorded by. An event is told whole, so there may be more than `limit` lines.
    """
    events = journal.events(execution, after=after)
    told = events[:limit]
    lines = [line for event in told for line in _lines(journal, event)]
    return Log(lines, told[-1].seq if told else after, more=len(events) > limit)


def _lines(journal: Journal, event: Event) -> Iterator[Line]:
    if event.kind == SHOWN:
        yield from _shown_lines(event, str(event.data.get("checkpoint")), noted_in(event))
        return
    seq = event.data.get("seq")
    if not (isinstance(event.data.get("ordinal"), int) and isinstance(seq, int)):
        name = event.data.get("checkpoint") if event.kind in (CLAIMED, AWAITED) else None
        yield Line(event, _told(event), name)
        return
    step = journal.checkpoint(seq)
    if step.draft.kind is StepKind.RESULT and step.draft.name == step.draft.scope != FLOW:
        return  # a note on a plain cell, which has no name that anybody gave: for who goes on, not to read
    yield Line(event, _fate(step), step.draft.name)
    if step.draft.status is CheckpointStatus.RESTORED or not step.draft.data.get(TOLD):
        yield from _shown_lines(event, step.draft.name, step.draft.outputs)


def _shown_lines(event: Event, name: str, outputs: Iterable[Output]) -> Iterator[Line]:
    for output in outputs:
        stream, text = _shown(output)
        if text:
            yield Line(event, text, name, stream)


def _fate(step: Checkpoint) -> str:
    draft = step.draft
    said = f"{draft.name} {draft.status.value}"
    if draft.error is not None:
        return f"{said}: {error_line(draft.error.get('ename', 'error'), draft.error.get('evalue', ''))}"
    if draft.kind is StepKind.VALUE and isinstance(noted := draft.data.get("log"), dict):
        return noted_text(noted)
    if is_saved(step):
        return f"{draft.name} saved"
    return f"{said} ({duration(draft.duration)})"


def _shown(output: Mapping[str, Any]) -> tuple[str, str]:
    match output.get("output_type"):
        case "stream":
            return str(output.get("name", "stdout")), str(output.get("text", "")).rstrip("\n")
        case "error":
            return "stderr", error_line(str(output.get("ename", "")), str(output.get("evalue", "")))
    data = output.get("data", {})
    kind = next((each for each in _SHOWN if each in data), None)
    return "display", str(data[kind]) if kind == "text/plain" else f"<{kind or next(iter(data), 'output')}>"


def _told(event: Event) -> str:
    data = event.data
    if event.kind == CLAIMED:
        return f"runs {data.get('checkpoint')} for the whole {data.get('grid')}"
    if event.kind == AWAITED:
        return f"waits for {data.get('checkpoint')}, which {data.get('runs_in')} runs"
    if event.kind == PLANNED:
        return f"attempt planned: {data.get('cells', 'no')} cells"
    if event.kind == "served":
        number = len(unranged(data.get("steps", ())))
        return "1 recorded result was served" if number == 1 else f"{number} recorded results were served"
    if event.kind.startswith("wait."):
        said = f"{event.kind.replace('.', ' ')}: {data.get('address', 'of no address')}"
        return f"{said} by {data['by']}" if "by" in data else said
    said = event.kind.replace(".", " ")
    if event.kind.startswith("notice."):
        said += f" to {data.get('to', 'nobody')}"
        return f"{said}: {data['problem']}" if "problem" in data else said
    return f"{said}: {data['reason']}" if data.get("reason") else said
