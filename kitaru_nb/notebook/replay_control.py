"""What the replay control decides and does. No widgets here.

A replay that is begun from it runs in a process of its own, started as the command line: nothing of
it, and none of the user's code, runs on the thread that a front end's messages arrive on.
"""

from __future__ import annotations

from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from shlex import quote
from typing import Any

from kitaru_nb.engine.changes import value_typed
from kitaru_nb.engine.diff import diff_executions
from kitaru_nb.engine.engine import Engine
from kitaru_nb.engine.refs import checkpoint_names, named_steps
from kitaru_nb.engine.typeable import Typeable
from kitaru_nb.errors import KernelError, KitaruError
from kitaru_nb.model.checkpoint import StepKind
from kitaru_nb.model.execution import Execution, ExecutionId
from kitaru_nb.model.settings import Settings
from kitaru_nb.stacks.beginning import Beginning, begin_elsewhere
from kitaru_nb.stacks.comparing import page
from kitaru_nb.stacks.open import open_engine

__all__ = ["ReplayControl", "Step", "changes_of", "steps_of", "what_to_type"]


@dataclass(frozen=True, slots=True)
class Step:
    """A checkpoint that a replay may begin at.

    Attributes:
        name: What it is typed by.
        reads: The names that a person can give another value before it.
    """

    name: str
    reads: tuple[str, ...]


def steps_of(engine: Engine, execution: Execution) -> list[Step]:
    """The checkpoints of an execution, each under the name that it is typed by."""
    found = named_steps(engine.journal, execution.id)
    typeable = Typeable(engine, execution)
    return [
        Step(name, tuple(typed.name for typed in typeable.of(step)))
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
    return "\n".join([*lines, f"  %replay {execution} --from {quote(steps[-1].name)}{change}"])


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
        found[name] = value_typed(value)
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
        self._beginning: Beginning | None = None
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
            self._beginning = begin_elsewhere(self._settings, self.execution, from_, typed, folder=Path.cwd())
            self.status = "starting"
        except (KitaruError, ValueError) as error:
            self.problem = str(error)

    def look(self) -> None:
        """See how the replay stands."""
        beginning = self._beginning
        if beginning is None:
            return
        over = beginning.is_over  # first: how it has ended is on record by then
        try:
            with closing(open_engine(self._settings, read_only=True)) as engine:
                if self.replay is None:
                    self.replay = beginning.begun(engine.journal)
                if self.replay is not None:
                    self.status = engine.journal.execution(self.replay).status.value
        except KernelError as error:
            self._beginning, self.status, self.problem = None, "", str(error)
            return
        except KitaruError as error:
            self.problem = str(error)
            return
        if over:
            self._beginning = None

    def compare(self) -> None:
        """Put the two side by side, as a page without scripts."""
        if self.replay is None:
            return
        try:
            found = diff_executions(
                lambda: open_engine(self._settings, read_only=True), self.execution, self.replay
            )
        except KitaruError as error:
            self.problem = str(error)
        else:
            self.difference = page(found)

    def drawn(self) -> dict[str, Any]:
        """What a front end needs to draw it."""
        return {
            "execution": self.execution,
            "steps": [{"name": step.name, "reads": list(step.reads)} for step in self.steps],
            "replay": self.replay or "",
            "status": self.status,
            "running": self._beginning is not None,
            "problem": self.problem,
            "difference": self.difference,
        }
