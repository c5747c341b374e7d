"""What a step gives besides changes of the namespace, and its last expression's value afterwards."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any

from kitaru_nb.engine.recovery import Loader, Recorded
from kitaru_nb.errors import StoreError, UnstorableError
from kitaru_nb.model.artifact import Digest
from kitaru_nb.model.checkpoint import Checkpoint

__all__ = ["Outcome", "result_of", "results_of"]


@dataclass(frozen=True, slots=True)
class Outcome:
    """What running a step gave besides changes of the namespace.

    Attributes:
        told: Whether all of `outputs` went on record while it ran.
    """

    outputs: Sequence[Mapping[str, Any]] = ()
    result: object = None
    cost: float | None = None
    tokens: int | None = None
    execution_count: int | None = None
    told: bool = False


def result_of(checkpoint: Checkpoint, loader: Loader, live: Mapping[str, object]) -> object:
    """The value of a recorded step's last expression, or None."""
    kind, _, rest = (checkpoint.draft.result or "").partition(":")
    if kind == "name":
        return live.get(rest)
    if kind == "artifact":
        with _pyplot_as_it_is():
            return next(iter(loader.load(Digest(rest)).values()))
    return None


@contextmanager
def _pyplot_as_it_is() -> Iterator[None]:
    """What is loaded meanwhile is no figure that pyplot draws into: the one that a name holds is."""
    helpers = sys.modules.get("matplotlib._pylab_helpers")
    before = dict(helpers.Gcf.figs) if helpers is not None else {}
    try:
        yield
    finally:
        helpers = sys.modules.get("matplotlib._pylab_helpers")
        if helpers is not None and [*helpers.Gcf.figs] != [*before]:
            helpers.Gcf.figs.clear()
            helpers.Gcf.figs.update(before)


def results_of(
    line: Sequence[Checkpoint], loader: Loader, recorded: Recorded, live: Mapping[str, object]
) -> dict[int, object]:
    """What the last expressions of a line of steps gave, by execution count."""
    found: dict[int, object] = {}
    for checkpoint in line:
        kind, _, name = (checkpoint.draft.result or "").partition(":")
        count = checkpoint.draft.execution_count
        if count is None or not kind or (kind == "name" and not _is_as_of(checkpoint, name, recorded, live)):
            continue
        with suppress(StoreError, UnstorableError):  # `Out` is a convenience; its name is missing then
            found[count] = result_of(checkpoint, loader, live)
    return found


def _is_as_of(checkpoint: Checkpoint, name: str, recorded: Recorded, live: Mapping[str, object]) -> bool:
    """Whether `name` now holds what it held at `checkpoint`."""
    held = [group for group in checkpoint.draft.groups if name in group.names]
    return bool(held) and recorded.groups.get(name) == held[0] and name in live
