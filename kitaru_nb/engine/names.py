"""What steps are called: given names, made-up names, and that no two live cells share one."""

from __future__ import annotations

import re
from collections.abc import Iterable
from shlex import quote

from kitaru_nb.engine.cell import Cell, source_digest
from kitaru_nb.engine.step_names import numbered, step_base
from kitaru_nb.errors import UsageError
from kitaru_nb.model.checkpoint import Checkpoint

__all__ = ["StepNames"]


class StepNames:
    """The names of a notebook's steps.

    Names met in this kernel are live; names on record from earlier kernels only serve to
    call an unnamed cell as it was called before.
    """

    def __init__(self) -> None:
        self._live: dict[str, str | None] = {}
        self._recorded: dict[str, str | None] = {}
        self._live_of: dict[str, str] = {}  # by step
        self._recorded_of: dict[str, list[str]] = {}
        self._recorded_as: dict[str, list[str]] = {}  # by source, where no ids were sent
        self._made: set[str] = set()
        self._taken_up_to: dict[str, int] = {}  # numbers behind a base; no name below is free

    def learn(self, checkpoints: Iterable[Checkpoint]) -> None:
        """Take over the names that earlier attempts used."""
        for checkpoint in checkpoints:
            name, step = checkpoint.draft.name, checkpoint.draft.step
            before = self._recorded.get(name)
            if before is not None and before != step:
                self._recorded_of[before].remove(name)
            if step is not None and before != step:
                self._recorded_of.setdefault(step, []).append(name)
            self._recorded[name] = step
            if step is None:
                names = self._recorded_as.setdefault(source_digest(checkpoint.draft.source), [])
                if name not in names:
                    names.append(name)

    def forget(self, steps: Iterable[str]) -> None:
        """The front end says that these cells were deleted."""
        for step in steps:
            name = self._live_of.pop(step, None)
            if name is not None:
                self._set_free(name)

    def name(self, cell: Cell) -> str:
        """The name of `cell`, from now on its own.

        Raises:
            UsageError: kind ``duplicate-name``: another live cell has it.
        """
        name = self._given(cell)
        if name is not None:
            self._made.discard(name)
        else:
            name = self._own(cell) or self._made_up(step_base(cell.tree))
            self._made.add(name)
        self._take(name, cell.step)
        return name

    def _take(self, name: str, step: str | None) -> None:
        owner = self._live.get(name)
        if owner is not None:
            del self._live_of[owner]
        if step is not None:
            before = self._live_of.get(step)
            if before is not None and before != name:
                self._set_free(before)
            self._live_of[step] = name
        self._live[name] = step

    def _set_free(self, name: str) -> None:
        self._live.pop(name, None)
        self._taken_up_to.clear()

    def _made_up(self, base: str) -> str:
        """The name that `step_name` would give; cells that begin alike are not counted anew each time."""
        number = self._taken_up_to.get(base, 1)
        while (name := numbered(base, number)) in self._live or name in self._recorded:
            number += 1
        self._taken_up_to[base] = number
        return name

    def give_back(self, cell: Cell, name: str) -> None:
        """`cell` is no step after all: a name that was made up for it is free again."""
        if name in self._made and name not in self._recorded and self._live.get(name) == cell.step:
            self._set_free(name)
            if cell.step is not None:
                self._live_of.pop(cell.step, None)
            self._made.discard(name)

    def settled(self, cell: Cell, name: str, recorded: str) -> str:
        """The name of a cell without an id that is the step `recorded`; one made up for it is free again."""
        if name not in self._made:
            return name
        self.give_back(cell, name)
        return recorded

    def _given(self, cell: Cell) -> str | None:
        name = cell.directive.name if cell.directive is not None else None
        if name is None:
            return None
        owner = self._live.get(name)
        if (
            owner is not None
            and cell.step is not None
            and owner != cell.step
            and name not in self._made  # a name made up for another cell gives way
        ):
            message = f"two cells are called `{name}`; a checkpoint's name has to be its own"
            raise UsageError(message, kind="duplicate-name", hint=f"%%checkpoint {quote(self._free(name))}")
        return name

    def _own(self, cell: Cell) -> str | None:
        """The name that this very cell has, or had in an earlier kernel."""
        if cell.step is None:
            recorded = self._recorded_as.get(source_digest(cell.source), [])
        elif cell.step in self._live_of:
            return self._live_of[cell.step]
        else:
            recorded = self._recorded_of.get(cell.step, [])
        return next((name for name in recorded if name not in self._live), None)

    def _free(self, name: str) -> str:
        base = re.sub(r"-\d+$", "", name)
        number = 2
        while f"{base}-{number}" in self._live:
            number += 1
        return f"{base}-{number}"
