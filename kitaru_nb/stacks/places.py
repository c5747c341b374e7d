"""What a path below ``kitaru-nb://`` names, and what there is below it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from kitaru_nb.engine.engine import Engine
from kitaru_nb.engine.refs import (
    LATEST,
    Found,
    checkpoint_names,
    find_artifact,
    find_execution,
    find_step,
    steps,
)
from kitaru_nb.errors import KitaruError, NotFoundError, UsageError
from kitaru_nb.model.checkpoint import Checkpoint
from kitaru_nb.model.execution import Execution
from kitaru_nb.stacks.views import View, view_of_found

__all__ = ["Listed", "Place", "find_place"]


@dataclass(frozen=True, slots=True)
class Listed:
    """A name in a folder, with what is known of it without opening it."""

    name: str
    facts: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Place:
    """What a path names: everything, an execution, a checkpoint, or a value and a path inside it.

    Attributes:
        path: As it was asked for.
        execution: Where it is in, unless it is everything or a value.
        checkpoint: The checkpoint it is, if it is one.
        view: The value that it is or is in.
        depth: How many parts of `path` name the value.
    """

    path: str
    execution: Execution | None = None
    checkpoint: Checkpoint | None = None
    view: View | None = None
    depth: int = 0

    @property
    def inner(self) -> str:
        """The path inside the value."""
        return "/".join(self.path.split("/")[self.depth :]) if self.view is not None else ""

    @property
    def hint(self) -> str:
        """What to name instead of a folder."""
        names = (
            [name for group in self.checkpoint.draft.groups for name in group.names]
            if self.checkpoint
            else []
        )
        return f"{self.path}/{names[0]}" if names else ""

    @property
    def facts(self) -> Mapping[str, Any]:
        """What is known of it without opening it."""
        if self.checkpoint is not None:
            return {"status": str(self.checkpoint.draft.status)}
        return {"status": str(self.execution.status)} if self.execution is not None else {}

    def inside(self, engine: Engine) -> list[Listed]:
        """What is below everything, an execution or a checkpoint, in order."""
        if self.checkpoint is not None:
            artifacts = engine.journal.artifacts({group.artifact for group in self.checkpoint.draft.groups})
            return [
                Listed(name, {"digest": group.artifact, "codec": artifacts[group.artifact].codec})
                for group in self.checkpoint.draft.groups
                for name in group.names
                if group.artifact in artifacts
            ]
        if self.execution is not None:
            found = steps(engine.journal, self.execution.id)
            labels = checkpoint_names(found)
            return [
                Listed(label, {"status": str(step.draft.status)})
                for label, step in zip(labels, found, strict=True)
            ]
        return [Listed(one.id, {"status": str(one.status)}) for one in engine.journal.executions()]


def find_place(engine: Engine, path: str) -> Place:
    """What `path` names, as of now.

    An execution comes before a bare name of the latest one, a checkpoint of an execution
    before a bare name of it.

    Raises:
        NotFoundError: nothing; the message lists close names.
        UsageError: kind ``ambiguous-execution``.
    """
    first, *rest = path.split("/") if path else ("",)
    if not first:
        return Place(path)
    if first != LATEST:
        found = _bare(engine, first)
        if found is not None:
            return Place(path, view=view_of_found(found, engine, ref=first), depth=1)
    execution = find_execution(engine.journal, first)
    labels = _labels(engine, execution)
    for count in range(len(rest), 0, -1):
        checkpoint = labels.get("/".join(rest[:count]))
        if checkpoint is not None:
            return _in_checkpoint(engine, Place(path, execution, checkpoint), rest, count)
    if not rest:
        return Place(path, execution)
    try:
        found = find_artifact(engine.journal, rest[0], execution=execution.id)
    except KitaruError:
        find_step(engine.journal, execution, rest[0])  # says which checkpoints there are
        raise
    return Place(path, view=view_of_found(found, engine, ref=f"{first}/{rest[0]}"), depth=2)


def _bare(engine: Engine, first: str) -> Found | None:
    """The value that a digest or a bare name is; None when `first` can be an execution."""
    try:
        find_execution(engine.journal, first)
    except NotFoundError:
        try:
            return find_artifact(engine.journal, first)
        except KitaruError:
            if first.isidentifier() and not first.startswith("ex_"):
                raise
            return None
    except UsageError:
        return None
    return None


def _labels(engine: Engine, execution: Execution) -> dict[str, Checkpoint]:
    found = steps(engine.journal, execution.id)
    labels = dict(zip(checkpoint_names(found), found, strict=True))
    return {f"{label}#1": step for label, step in labels.items() if "#" not in label} | labels


def _in_checkpoint(engine: Engine, place: Place, rest: list[str], count: int) -> Place:
    if len(rest) == count:
        return place
    name = rest[count]
    if name in {"zarr.json", ".zarray", ".zgroup", ".zattrs", ".zmetadata"}:
        raise NotFoundError(
            f"`{'/'.join(place.path.split('/')[:-1])}` is a checkpoint, not a value",
            kind="not-a-value",
            hint=Place(place.path.rpartition("/")[0], place.execution, place.checkpoint).hint,
        )
    assert place.execution is not None
    ref = f"{place.execution.id}/{'/'.join(rest[:count])}/{name}"
    found = find_artifact(engine.journal, ref)
    return Place(place.path, view=view_of_found(found, engine, ref=ref), depth=count + 2)
