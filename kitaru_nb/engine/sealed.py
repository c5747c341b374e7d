"""Values that were put back and that nobody has touched since: mapped, and perhaps not checked yet.

Such a value is what it was stored as, so its digest is known without a look at its bytes. All
seals are opened before any code of the user runs, and only once every byte was found to be
right: nothing ever uses a wrong one. Where code has run already, nothing is sealed: what it left
behind may reach anything at any time.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from typing import Any, Protocol

from kitaru_nb.artifacts.marker import Marker
from kitaru_nb.engine.state import Names
from kitaru_nb.errors import CorruptError, StoreError
from kitaru_nb.model.artifact import Digest
from kitaru_nb.model.checkpoint import Group

__all__ = ["Check", "Seals"]


class Check(Protocol):
    """A check of stored bytes that is under way."""

    def wait(self) -> None:
        """Return when all are right; raise `StoreError` when they are not."""
        ...


@dataclass(frozen=True, slots=True)
class _Seal:
    group: Group
    values: Mapping[str, object]  # held, so that their identities stay their own
    checks: Sequence[Check]
    step: str


class Seals:
    """The sealed groups of one namespace.

    Args:
        live: The namespace.

    Attributes:
        allowed: No code of the user has run in this process but imports and the like, so none is left
            behind in a thread, a callback or a library that could reach a value before a cell does.
    """

    def __init__(self, live: dict[str, Any]) -> None:
        self._live = live
        self._sealed: dict[Names, _Seal] = {}
        self.allowed = True

    def __bool__(self) -> bool:
        """Whether anything is sealed."""
        return bool(self._sealed)

    @property
    def names(self) -> frozenset[Names]:
        """The groups that are sealed."""
        return frozenset(self._sealed)

    def put(self, group: Group, values: Mapping[str, object], checks: Sequence[Check], *, step: str) -> None:
        """Seal the values of a group that were just bound to its names; `step` made them."""
        self._sealed[group.names] = _Seal(group, {name: values[name] for name in group.names}, checks, step)

    def clear(self) -> None:
        """Forget all; their names are about to hold something else."""
        self._sealed.clear()

    def digest(self, values: Mapping[str, object]) -> Digest | None:
        """What is known of `values` without a look at them."""
        if not self._sealed:
            return None
        seal = self._sealed.get(tuple(sorted(values)))
        if seal is None or any(seal.values[name] is not value for name, value in values.items()):
            return None
        return seal.group.value

    def open(self, *, needed: AbstractSet[str] | None = None) -> list[tuple[Group, Mapping[str, object]]]:
        """Let code have the values: returns when every byte of them is right.

        Damaged ones are taken away: a marker that says so is in their place. That is an error
        where one of them is `needed` (None: each is); others are bound anew or made again.

        Returns:
            The groups opened, with their values.

        Raises:
            CorruptError: some are damaged; the message names them and the checkpoint.
            StoreError: some could not be read.
        """
        opened: list[tuple[Group, Mapping[str, object]]] = []
        failed: list[tuple[_Seal, StoreError]] = []
        for group_names, seal in list(self._sealed.items()):
            held = all(self._live.get(name) is value for name, value in seal.values.items())
            try:
                if held:
                    for check in seal.checks:
                        check.wait()
            except StoreError as error:
                failed.append((seal, error))
            else:
                opened.append((seal.group, seal.values))
            del self._sealed[group_names]  # after the wait: the stop button leaves it sealed
        for seal, why in failed:
            for name in seal.group.names:
                reason = f"of checkpoint `{seal.step}` could not be restored: {why.message}"
                self._live[name] = Marker(name, "", reason)
        failed = [each for each in failed if needed is None or not needed.isdisjoint(each[0].group.names)]
        if failed:
            raise _combined(failed)
        return opened


def _combined(failed: Sequence[tuple[_Seal, StoreError]]) -> StoreError:
    seal, first = failed[0]
    names = ", ".join(f"`{name}`" for each, _ in failed for name in each.group.names)
    message = f"{names} of checkpoint `{seal.step}` could not be restored: {first.message}"
    todo = (first.may_pass and first.hint) or f"run the cell of `{seal.step}` again with --fresh"
    hint = f"{todo}; cells that do not use {names} can run"
    kind = CorruptError if isinstance(first, CorruptError) else StoreError
    return kind(message, kind=first.kind, hint=hint)
