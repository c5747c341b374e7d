"""What the session is asked to do with a cell, and what it decides.

The decision is made here by pure functions; `engine.session` does what they say.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from types import CodeType

from kitaru_nb.engine.cell import Cell
from kitaru_nb.engine.inputs import Dependencies
from kitaru_nb.engine.named import Tree
from kitaru_nb.engine.namespace import State
from kitaru_nb.engine.process import ProcessState
from kitaru_nb.engine.rollback import Shadow
from kitaru_nb.engine.step_names import same_step
from kitaru_nb.model.artifact import Digest
from kitaru_nb.model.checkpoint import Checkpoint

__all__ = [
    "Cell",
    "Given",
    "Pending",
    "Restore",
    "Run",
    "choose",
    "unmet",
]


@dataclass(slots=True)
class Pending:
    """A step that is about to run or running: everything its commit needs from before.

    Attributes:
        cell: What was asked for.
        name: What the step is called.
        needs: What decides its result.
        before: The namespace before it.
        process: The process state before it.
        seeded: A cell before it set a random generator, so that the generators' state is
            the notebook's and not the kernel's own.
        unset: Random generators that stand where no cell can have set them, all the same.
        started_at: When it was met.
        started: The same on the clock that durations are taken from, in seconds.
        environment: Environment variables that its code names, with their values before it.
        files: Files that its code or the values it reads name, with their digests before it.
        roots: Folders that its code or the values it reads name, and patterns of files.
        declared: Folders and patterns that it says it depends on.
        addresses: What is at the addresses that it says it depends on.
        trees: The files that roots and declared stand for, before it; looked at when it runs.
        libraries: Packages that it reaches, by name or by values: what they compute may hang on settings.
        asked: Parts of process state that its code, or code that it reaches, asks for.
        attributes: What the attributes of these packages hold that cells set, see `Process.set_in`.
        replaced: Those of them in which cells have put something else, as far as that shows.
        caches: The caches of functions that it reaches, by the code of the function.
        shadow: What it can change, as it was before; None where it will not be undone.
        unmet: Where it is on record and runs all the same: the conditions that do not hold.
    """

    cell: Cell
    name: str
    needs: Dependencies
    before: State
    process: ProcessState
    seeded: bool
    started_at: datetime
    started: float
    environment: Mapping[str, str | None] = field(default_factory=dict)
    files: Mapping[str, str] = field(default_factory=dict)
    roots: tuple[str, ...] = ()
    declared: tuple[str, ...] = ()
    addresses: Mapping[str, str] = field(default_factory=dict)
    trees: tuple[Tree, ...] = ()
    libraries: frozenset[str] = frozenset()
    asked: frozenset[str] = frozenset()
    attributes: Mapping[str, Digest] = field(default_factory=dict)
    replaced: frozenset[str] = frozenset()
    caches: Mapping[CodeType, object] = field(default_factory=dict)
    shadow: Shadow | None = None
    unmet: tuple[str, ...] = ()
    unset: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Restore:
    """The step is on record with this key: put its effects back."""

    pending: Pending
    checkpoint: Checkpoint


@dataclass(frozen=True, slots=True)
class Given:
    """A replay is given what the step would have written: bind that instead of running it."""

    pending: Pending
    values: Mapping[str, object]


@dataclass(frozen=True, slots=True)
class Run:
    """The step has to run."""

    pending: Pending


def choose(
    pending: Pending,
    recorded: Iterable[Checkpoint],
    *,
    holds: Callable[[str, str], bool],
    allowed: Callable[[Checkpoint], bool],
    excused: Callable[[Checkpoint, str], bool] = lambda _checkpoint, _what: False,
) -> Restore | Run:
    """Restore the newest record of the step whose conditions hold or are excused, else run."""
    for checkpoint in recorded:
        if (
            same_step(pending.cell.step, checkpoint.draft.step)
            and allowed(checkpoint)
            and all(excused(checkpoint, what) for what in unmet(checkpoint, holds))
        ):
            return Restore(pending, checkpoint)
    return Run(pending)


def unmet(checkpoint: Checkpoint, holds: Callable[[str, str], bool]) -> list[str]:
    """The conditions of a record that do not hold now."""
    return [what for what, digest in checkpoint.draft.conditions.items() if not holds(what, digest)]
