"""What a running step shows goes on record while it runs.

A step that ends soon has its outputs in its own record and nowhere else. What one shows that runs
longer is noted as it appears, so that it can be followed from elsewhere, and is still there when
the front end was closed or the kernel died. Of one that shows nothing it is noted that it runs.
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
from kitaru_nb.model.checkpoint import Checkpoint
from kitaru_nb.model.event import Event
from kitaru_nb.model.execution import Execution

__all__ = [
    "CLEARED",
    "SHOWN",
    "STEP",
    "TOLD",
    "LiveOutputs",
    "Shown",
    "noted_in",
    "shown_by",
    "unended_among",
    "unended_step",
]

SHOWN = "shown"
"""The kind of the events that say what a step has shown so far, each what is new."""

CLEARED = "cleared"
"""In the data of such an event: what was shown before it is taken away."""

STEP = "step"
"""In the data of such an event: the identity of the step, where it has one."""

TOLD = "told"
"""In the data of a step's record: all that it showed stands in events of that kind."""

_SOON = 2.0  # seconds; most steps have ended by then
_SHORTEST, _LONGEST = 1.0, 10.0  # seconds between two looks, longer the longer a step runs
_SHARE = 0.01  # of the time that it has run
_SILENT = 2.0  # seconds after which a step is noted that has shown nothing
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
        is_told: Whether it is on record that it runs.
    """

    name: str
    sink: OutputSink
    since: float
    looked: float
    step: str | None = None
    mark: int = 0
    rest: tuple[Message, ...] = ()
    size: int = 0
    whole: bool = True
    is_told: bool = False

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

    def begin(self, name: str, sink: OutputSink, *, step: str | None = None) -> None:
        """A step begins to run; `sink` records what it shows, and `step` is its identity if it has one."""
        now = time.monotonic()
        self._step = _Step(name, sink, now, now, step)
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
            with own_doing():
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
                        self._take(step, silent=now - step.since >= _SILENT)
                elif now - last > _IDLE:
                    self._sleeps = True  # first, then a look: a step that begins now sees the one or is seen
                    self._turn.wait_for(lambda: self._step is not None or self._closed)
                    self._sleeps = False
                    continue
                self._turn.wait(_SHORTEST)

    def _take(self, step: _Step, *, last: bool = False, silent: bool = False) -> bool:
        """Note what is new; whether all is noted then.

        Before the `last` time the end may be held back. Where nothing is new and nothing was noted
        yet, a `silent` step is noted with no outputs.
        """
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
        named = {"checkpoint": VAULT.mask(step.name), **({} if step.step is None else {STEP: step.step})}
        note: dict[str, Any] = {**named, "outputs": outputs}
        if cleared:
            note[CLEARED] = True
        size = len(json.dumps(note)) if outputs or cleared else 0
        if step.size + size > _ALL:
            size, whole = 0, False
        try:
            if size or (silent and not step.is_told):
                self._note(note if size else {**named, "outputs": []})
                step.is_told = True
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
    recorded = [step for step in journal.checkpoints(execution.id) if step.draft.name == name]
    ended = [step.seq for step in recorded]
    noted: list[Output] | None = None  # since its newest record
    for event in journal.events(execution.id):
        if event.kind.startswith("checkpoint.") and event.data.get("seq") in ended:
            noted = None
        elif event.kind == SHOWN and event.data.get("checkpoint") == name:
            before = [] if noted is None or event.data.get(CLEARED) is True else noted
            noted = [*before, *noted_in(event)]
    if noted is not None:
        outputs = fold((output["output_type"], _content(output)) for output in noted)
        return Shown(name, outputs, ended=False)
    if recorded:
        return Shown(name, list(recorded[-1].draft.outputs), ended=True)
    message = f"nothing is on record of what `{name}` has shown"
    hint = f"kitaru-nb show {execution.id} lists the steps"
    raise NotFoundError(message, kind="unknown-checkpoint", hint=hint)


def unended_step(journal: Journal, execution: Execution) -> str:
    """The name of the step that runs, or ran when the kernel died: noted last, and not recorded since.

    Raises:
        NotFoundError: kind ``unknown-checkpoint``: there is none, or nothing of it is noted yet.
    """
    found = unended_among(journal.events(execution.id), journal.checkpoints(execution.id))
    if found is not None:
        return str(found.data["checkpoint"])
    raise NotFoundError(
        f"no step of {execution.id} runs of which something is on record",
        kind="unknown-checkpoint",
        hint=f"a step is noted once it has run for {_SOON:g} seconds; "
        f"kitaru-nb show {execution.id} lists those that have ended",
    )


def unended_among(events: Iterable[Event], recorded: Iterable[Checkpoint]) -> Event | None:
    """The newest note of the step that was noted last and not recorded since. Pure.

    Args:
        events: Of one execution, oldest first; the older ones may be missing.
        recorded: Its cells.
    """
    names = {step.seq: step.draft.name for step in recorded}
    found: Event | None = None
    for event in events:
        if event.kind == SHOWN:
            found = event if isinstance(event.data.get("checkpoint"), str) else found
        elif found is not None and event.kind.startswith("checkpoint."):
            ended = names.get(event.data.get("seq", 0)) == found.data["checkpoint"]
            found = None if ended else found
    return found


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
