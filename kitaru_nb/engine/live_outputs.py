"""What a running step shows goes on record while it runs.

A step that ends soon has its outputs in its own record and nowhere else. What one shows that runs
longer is noted as it appears, so that it can be followed from elsewhere, and is still there when
the front end was closed or the kernel died.
"""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from kitaru_nb.artifacts.vault import VAULT
from kitaru_nb.engine.capture import Message, Output, OutputSink, fold
from kitaru_nb.engine.observe import own_doing
from kitaru_nb.engine.secrecy import masked_output
from kitaru_nb.errors import KitaruError, NotFoundError
from kitaru_nb.journal.journal import Journal
from kitaru_nb.model.event import Event
from kitaru_nb.model.execution import Execution

__all__ = ["CLEARED", "SHOWN", "TOLD", "LiveOutputs", "Shown", "noted_in", "shown_by"]

SHOWN = "shown"
"""The kind of the events that say what a step has shown so far, each what is new."""

CLEARED = "cleared"
"""In the data of such an event: what was shown before it is taken away."""

TOLD = "told"
"""In the data of a step's record: all that it showed stands in events of that kind."""

_SOON = 2.0  # seconds; most steps have ended by then
_SHORTEST, _LONGEST = 1.0, 10.0  # seconds between two looks, longer the longer a step runs
_SHARE = 0.01  # of the time that it has run
_IDLE = 60.0  # seconds without a step after which nobody looks any more
_TEXT = 64 << 10  # characters of one output that are noted
_ALL = 1 << 20  # characters of a step's outputs that are noted


@dataclass(slots=True)
class _Step:
    """A step that runs.

    Attributes:
        mark: How far the sink's recording has been noted.
        rest: What was there before that and comes with the next note: the end of a text in
            which a secret may have begun, and a clearing that waits for what comes next.
        size: Characters noted so far.
        whole: Whether all has been noted up to there.
    """

    name: str
    sink: OutputSink
    since: float
    looked: float
    mark: int = 0
    rest: tuple[Message, ...] = ()
    size: int = 0
    whole: bool = True

    def is_due(self, now: float) -> bool:
        ran = now - self.since
        return ran >= _SOON and now - self.looked >= min(_LONGEST, max(_SHORTEST, ran * _SHARE))


class LiveOutputs:
    """Notes what a session's steps show, from a thread of its own.

    Args:
        note: Records what a step has shown now. Where that fails, the step goes on; its own
            record says what it showed.
        learn: Called before secrets are looked for: takes note of those that are known by now.
    """

    def __init__(
        self, note: Callable[[Mapping[str, Any]], object], *, learn: Callable[[], object] = lambda: None
    ) -> None:
        self._note = note
        self._learn = learn
        self._turn = threading.Condition()
        self._step: _Step | None = None
        self._thread: threading.Thread | None = None
        self._sleeps = False
        self._closed = False

    def begin(self, name: str, sink: OutputSink) -> None:
        """A step begins to run; `sink` records what it shows."""
        now = time.monotonic()
        self._step = _Step(name, sink, now, now)
        if self._thread is None:
            self._thread = threading.Thread(target=self._look, name="kitaru-nb-outputs", daemon=True)
            self._thread.start()
        elif self._sleeps:
            with self._turn:
                self._turn.notify()

    def end(self) -> bool:
        """The step has run. When any of what it showed was noted, so is the rest now.

        Returns:
            Whether all that it showed is on record.
        """
        with self._turn:
            step, self._step = self._step, None
            if step is None or not step.size:
                return False
            step.sink.mark()  # what was written has become messages
            return self._take(step, last=True)

    def close(self) -> None:
        """Look no more."""
        with self._turn:
            self._closed, self._step = True, None
            self._turn.notify()

    def _look(self) -> None:
        last = time.monotonic()
        with own_doing(), self._turn:
            while not self._closed:
                step, now = self._step, time.monotonic()
                if step is not None:
                    last = now
                    if step.is_due(now):
                        step.looked = now
                        self._take(step)
                elif now - last > _IDLE:
                    self._sleeps = True  # first, then a look: a step that begins now sees the one or is seen
                    self._turn.wait_for(lambda: self._step is not None or self._closed)
                    self._sleeps = False
                    continue
                self._turn.wait(_SHORTEST)

    def _take(self, step: _Step, *, last: bool = False) -> bool:
        """Note what is new; whether all is noted then. Before the `last` time the end may be held back."""
        if not step.whole:
            return False
        new, mark = step.sink.messages(step.mark)
        self._learn()
        messages = [*step.rest, *new]
        cleared, rest = _clearing(messages)
        found = fold(messages)
        if not last:
            rest = (*_held_back(found), *rest)
        outputs, whole = _short(masked_output(output) for output in found)
        note: dict[str, Any] = {"checkpoint": VAULT.mask(step.name), "outputs": outputs}
        if cleared:
            note[CLEARED] = True
        size = len(json.dumps(note)) if outputs or cleared else 0
        if step.size + size > _ALL:
            size, whole = 0, False
        try:
            if size:
                self._note(note)
        except KitaruError:
            whole = False
        step.mark, step.rest, step.size, step.whole = mark, rest, step.size + size, whole
        return whole


def _clearing(messages: Iterable[Message]) -> tuple[bool, tuple[Message, ...]]:
    """Whether what was shown before `messages` is taken away, and the clearing that has yet to happen."""
    cleared = False
    waits: tuple[Message, ...] = ()
    for kind, content in messages:
        if kind == "clear_output":
            waits = ((kind, content),) if content.get("wait") else ()
            cleared = cleared or not waits
        elif waits and kind != "update_display_data":
            cleared, waits = True, ()
    return cleared, waits


def _held_back(outputs: list[Output]) -> tuple[Message, ...]:
    """Take the end off a text that goes on, where a secret may have begun in it."""
    if not outputs or outputs[-1]["output_type"] != "stream":
        return ()
    stream = outputs.pop()
    text = stream["text"]
    cut = VAULT.settled(text)
    if cut:
        outputs.append({**stream, "text": text[:cut]})
    return (("stream", {"name": stream["name"], "text": text[cut:]}),) if cut < len(text) else ()


def _short(outputs: Iterable[Output]) -> tuple[list[dict[str, Any]], bool]:
    """`outputs` with no long ones among them, and whether they are all there is."""
    found: list[dict[str, Any]] = []
    whole = True
    for output in outputs:
        if output["output_type"] == "stream":
            text = _overwritten(output["text"])
            kept: dict[str, Any] = {**output, "text": text[-_TEXT:]}
            whole = whole and len(text) <= _TEXT
        else:
            kept = dict(output)
            if len(json.dumps(kept, default=str)) > _TEXT:
                plain = str((kept.get("data") or {}).get("text/plain", ""))
                kept = {
                    "output_type": "display_data",
                    "data": {"text/plain": plain[:_TEXT] or "(it is shown when the step has ended)"},
                    "metadata": {},
                }
                whole = False
        found.append(kept)
    return found, whole


def _overwritten(text: str) -> str:
    """The text without what a carriage return took off the screen, such as a bar's earlier states."""
    if "\r" not in text:
        return text
    return "\n".join(map(_last_state, text.replace("\r\n", "\n").split("\n")))


def _last_state(line: str) -> str:
    states = [state for state in line.split("\r") if state]
    if len(states) < 2:
        return line
    return f"\r{states[-1]}\r" if line.endswith("\r") else f"\r{states[-1]}"


@dataclass(frozen=True, slots=True)
class Shown:
    """What a step has shown.

    Attributes:
        checkpoint: Its name.
        outputs: As a notebook has them.
        ended: Whether it has ended, so that these are all.
    """

    checkpoint: str
    outputs: Sequence[Output]
    ended: bool

    def to_json(self) -> dict[str, Any]:
        """Its fields as JSON values."""
        return {"checkpoint": self.checkpoint, "outputs": list(self.outputs), "ended": self.ended}


def shown_by(journal: Journal, execution: Execution, name: str) -> Shown:
    """What a step of an execution has shown when it ran last, or shows while it runs.

    Raises:
        NotFoundError: kind ``unknown-checkpoint``: nothing is on record of such a step.
    """
    noted: list[Output] = []
    ended: Sequence[Output] | None = None
    for event in journal.events(execution.id):
        if event.kind == SHOWN:
            if event.data.get("checkpoint") != name:
                continue
            if ended is not None:
                noted, ended = [], None
            if event.data.get(CLEARED) is True:
                noted = []
            noted += noted_in(event)
        elif isinstance(event.data.get("ordinal"), int):
            step = journal.checkpoint(event.data["seq"])
            if step.draft.name == name:
                ended = step.draft.outputs
    if ended is not None:
        return Shown(name, list(ended), ended=True)
    if not noted:
        message = f"nothing is on record of what `{name}` has shown"
        raise NotFoundError(
            message, kind="unknown-checkpoint", hint=f"kitaru-nb show {execution.id} lists the steps"
        )
    return Shown(name, fold((output["output_type"], _content(output)) for output in noted), ended=False)


def noted_in(event: Event) -> list[Output]:
    """The outputs in an event of kind `SHOWN`; of one that came from elsewhere, those that are outputs."""
    outputs = event.data.get("outputs")
    return [output for output in outputs if _is_output(output)] if isinstance(outputs, list) else []


def _is_output(found: object) -> bool:
    match found:
        case {"output_type": "stream", "name": str(), "text": str()}:
            return True
        case {
            "output_type": "display_data" | "execute_result" | "update_display_data",
            "data": dict(),
            **more,
        }:
            return isinstance(more.get("transient", {}), dict)
        case {"output_type": "error"}:
            return True
    return False


def _content(output: Output) -> dict[str, Any]:
    return {key: value for key, value in output.items() if key != "output_type"}
