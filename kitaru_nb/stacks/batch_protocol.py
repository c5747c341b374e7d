"""What a batch and its worker processes say to each other: one JSON document a line.

A worker is told tasks on its standard input and answers each on its standard output, with the
lines that the task wanted to have said in between.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any

from kitaru_nb import errors
from kitaru_nb.artifacts.vault import VAULT
from kitaru_nb.errors import KitaruError
from kitaru_nb.model.execution import ExecutionId, ExecutionStatus
from kitaru_nb.model.settings import Settings
from kitaru_nb.model.wait import OnWait
from kitaru_nb.stacks.local import Job
from kitaru_nb.stacks.notebooks import json_parameters
from kitaru_nb.stacks.open import chosen_stack
from kitaru_nb.stacks.outcome import Exit, Outcome

__all__ = ["Again", "Replayed", "Work", "answer_heard", "answer_told", "task_told", "work_heard"]


@dataclass(frozen=True, slots=True)
class Replayed:
    """A replay that the worker is to begin and to run.

    Attributes:
        of: What is replayed.
        from_: The step to begin at.
        typed: Changes, as JSON values, of which only the name says what they are.
        output: For a notebook, where the executed one goes.
        tags: Of the new execution.
        budget: What it may cost in US dollars.
    """

    of: ExecutionId
    from_: str
    typed: Mapping[str, Any]
    output: str | None = None
    tags: tuple[str, ...] = ()
    budget: float | None = None


@dataclass(frozen=True, slots=True)
class Again:
    """An execution of a flow that the worker is to go on with."""

    execution: ExecutionId
    budget: float | None = None


Work = Job | Replayed | Again
"""What a worker does at a time."""

_KINDS: dict[str, type[Job | Replayed | Again]] = {"job": Job, "replay": Replayed, "again": Again}


def task_told(work: Work, settings: Settings, *, html: bool, more: bool) -> str:
    """One line for a worker's standard input; secrets are in it, as nobody else can read a pipe.

    With `more` another task is to be expected after this one.
    """
    kind = next(name for name, each in _KINDS.items() if isinstance(work, each))
    own = {each.name: getattr(work, each.name) for each in fields(work)}
    if isinstance(work, Job):
        own |= {
            "attempt": None,
            "parameters": json_parameters(work.parameters),
            "on_wait": None if work.on_wait is None else asdict(work.on_wait),
        }
    told = {
        "kind": kind,
        "work": own,
        "html": html,
        "more": more,
        "home": str(settings.home),
        "stack": chosen_stack(settings).to_json(),
        "secrets": VAULT.met(),
    }
    return json.dumps(told, default=str) + "\n"


def work_heard(told: Mapping[str, Any]) -> Work:
    """The work in a line of `task_told`."""
    own = dict(told["work"])
    if "tags" in own:
        own["tags"] = tuple(own["tags"])
    if own.get("on_wait") is not None:
        own["on_wait"] = OnWait(**own["on_wait"])
    return _KINDS[told["kind"]](**own)


def answer_told(answer: Outcome | KitaruError) -> dict[str, Any]:
    """How a task ended, as JSON values."""
    if isinstance(answer, KitaruError):
        return {"error": _error_told(answer)}
    own = {each.name: getattr(answer, each.name) for each in fields(answer)}
    failed = answer.error
    return {"outcome": own | {"exit": int(answer.exit), "error": failed and _error_told(failed)}}


def answer_heard(told: Mapping[str, Any]) -> Outcome | KitaruError:
    """The answer in a document of `answer_told`."""
    if "error" in told:
        return _error_heard(told["error"])
    own = dict(told["outcome"])
    failed = own["error"]
    own |= {
        "status": ExecutionStatus(own["status"]),
        "exit": Exit(own["exit"]),
        "error": None if failed is None else _error_heard(failed),
    }
    return Outcome(**own)


def _error_told(error: KitaruError) -> dict[str, str]:
    return {
        "class": type(error).__name__,
        "message": VAULT.mask(error.message),
        "kind": error.kind,
        "hint": error.hint,
    }


def _error_heard(told: Mapping[str, str]) -> KitaruError:
    found = getattr(errors, told["class"], None) if told["class"] in errors.__all__ else None
    kind = found if isinstance(found, type) and issubclass(found, KitaruError) else KitaruError
    return kind(told["message"], kind=told["kind"], hint=told["hint"])
