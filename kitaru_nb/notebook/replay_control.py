"""What the replay control decides and does. No widgets here.

A replay that is begun from it runs in a process of its own, started as the command line: nothing of
it, and none of the user's code, runs on the thread that a front end's messages arrive on.
"""

from __future__ import annotations

import json
import subprocess
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kitaru_nb.engine.diff import diff_executions
from kitaru_nb.engine.engine import Engine
from kitaru_nb.engine.refs import checkpoint_names, named_steps
from kitaru_nb.errors import KitaruError
from kitaru_nb.model.checkpoint import StepKind
from kitaru_nb.model.execution import Execution, ExecutionId, new_execution_id
from kitaru_nb.model.settings import Settings
from kitaru_nb.stacks.background import log_of
from kitaru_nb.stacks.comparing import page
from kitaru_nb.stacks.open import open_engine
from kitaru_nb.stacks.resuming import start_command

__all__ = ["ReplayControl", "Step", "changes_of", "steps_of", "what_to_type"]

_NEWEST = 20
_LONGEST = 2000  # characters of what a process said


@dataclass(frozen=True, slots=True)
class Step:
    """A checkpoint that a replay may begin at."""

    name: str
    reads: tuple[str, ...]


def steps_of(engine: Engine, execution: Execution) -> list[Step]:
    """The checkpoints of an execution, each under the name that it is typed by."""
    found = named_steps(engine.journal, execution.id)
    return [
        Step(name, tuple(sorted(step.draft.reads)))
        for step, name in zip(found, checkpoint_names(found), strict=True)
        if step.draft.kind in (StepKind.CELL, StepKind.CALL)
    ]


def what_to_type(execution: str, steps: list[Step]) -> str:
    """How a replay is begun without a control."""
    if not steps:
        return f"kitaru: `{execution}` has no checkpoint yet, so there is nothing to replay"
    lines = [f"kitaru: replay `{execution}` from one of its checkpoints:"]
    lines += [f"  {step.name}" + (f"  reads {', '.join(step.reads)}" if step.reads else "") for step in steps]
    change = next((f" --set {step.reads[0]}=…" for step in reversed(steps) if step.reads), "")
    return "\n".join([*lines, f"  %replay {execution} --from {steps[-1].name}{change}"])


def changes_of(text: str) -> dict[str, Any]:
    """The lines ``name = value``, as the command line reads them: a value that is JSON is that, else text.

    Raises:
        ValueError: a line is none, or a name has two; the message is for whoever has typed it.
    """
    found: dict[str, Any] = {}
    for line in filter(None, (line.strip() for line in text.splitlines())):
        name, equals, value = (part.strip() for part in line.partition("="))
        if not equals or not name:
            raise ValueError(f"`{line}` is not `name = value`")
        if name in found:
            raise ValueError(f"`{name}` is set twice")
        try:
            found[name] = json.loads(value)
        except (ValueError, RecursionError):
            found[name] = value
    return found


class ReplayControl:
    """One execution, the replay of it that was begun last, and how they compare.

    Args:
        settings: Where the execution is on record.
        execution: Its id.
        steps: Its checkpoints.
    """

    def __init__(self, settings: Settings, execution: ExecutionId, steps: list[Step]) -> None:
        self._settings = settings
        self._process: subprocess.Popen[bytes] | None = None
        self._log = Path()
        self.execution = execution
        self.steps = steps
        self.replay: ExecutionId | None = None
        self.status = ""
        self.problem = ""
        self.difference = ""

    def run(self, from_: Any, changes: Any) -> None:
        """Begin a replay; how it goes is for `look` to tell."""
        self.problem = self.difference = self.status = ""
        self.replay = None
        if from_ not in {step.name for step in self.steps}:
            self.problem = "choose the checkpoint to begin at"
            return
        try:
            typed = changes_of(changes if isinstance(changes, str) else "")
            # Not as words: everybody on this machine could see what was typed.
            words = ["replay", self.execution, f"--from={from_}", *(["--set=-"] if typed else [])]
            log = new_execution_id()  # the log's name: the replay makes its own id
            self._log = log_of(self._settings.home, log)
            self._process = start_command(
                self._settings, words, execution=log, folder=Path.cwd(), told=json.dumps(typed)
            )
            self.status = "starting"
        except KitaruError as error:
            self.problem = error.message
        except ValueError as error:
            self.problem = str(error)

    def look(self) -> None:
        """See how the replay stands."""
        process = self._process
        if process is None:
            return
        over = process.poll() is not None
        try:
            with closing(open_engine(self._settings, read_only=True)) as engine:
                if self.replay is None:
                    self.replay = _begun_by(engine, process.pid)
                if self.replay is not None:
                    self.status = engine.journal.execution(self.replay).status.value
        except KitaruError as error:
            self.problem = error.message
            return
        if over and self.replay is None:
            said = self._log.read_text(encoding="utf-8", errors="replace").strip()[-_LONGEST:]
            self.status, self.problem = "", said or "it ended before it began, and said nothing"
        if over:
            self._process = None

    def compare(self) -> None:
        """Put the two side by side, as a page without scripts."""
        if self.replay is None:
            return
        try:
            found = diff_executions(
                lambda: open_engine(self._settings, read_only=True), self.execution, self.replay
            )
        except KitaruError as error:
            self.problem = error.message
        else:
            self.difference = page(found)

    def drawn(self) -> dict[str, Any]:
        """What a front end needs to draw it."""
        return {
            "execution": self.execution,
            "steps": [{"name": step.name, "reads": list(step.reads)} for step in self.steps],
            "replay": self.replay or "",
            "status": self.status,
            "running": self._process is not None,
            "problem": self.problem,
            "difference": self.difference,
        }


def _begun_by(engine: Engine, pid: int) -> ExecutionId | None:
    for each in engine.journal.executions(limit=_NEWEST):
        if each.identity.replay and engine.journal.attempts(each.id)[0].owner.pid == pid:
            return each.id
    return None
