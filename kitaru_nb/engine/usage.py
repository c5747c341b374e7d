"""What takes the room: bytes by notebook, by execution and by name."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from kitaru_nb.artifacts.store import ArtifactStore
from kitaru_nb.engine.census import Census, Marks, size_of
from kitaru_nb.journal.journal import Journal
from kitaru_nb.model.artifact import Digest
from kitaru_nb.model.execution import Execution, ExecutionId

__all__ = ["ExecutionUsage", "Usage", "usage_of"]


@dataclass(frozen=True, slots=True)
class ExecutionUsage:
    """What one execution takes.

    Attributes:
        execution: Which one.
        pinned: Whether its values are kept for good.
        bytes: Of all that it needs, also where others need it too.
        own: Of what nobody else needs: what its removal would give back.
    """

    execution: Execution
    pinned: bool
    bytes: int
    own: int


@dataclass(slots=True)
class Usage:
    """What a store takes.

    Attributes:
        journal: Bytes of the records, small values included.
        free: Of these, free for new records.
        files: How many packs there are, and `packs` their bytes.
        values: Bytes of the values that are needed, each extent once.
        unreferenced: Bytes in packs that nothing needs.
        logical: What the values of all steps would take, were each kept by itself.
        executions: Each one, newest first.
        notebooks: Bytes by notebook or flow, each extent once per notebook.
        names: Bytes by notebook name, likewise, the largest first.
    """

    journal: int = 0
    free: int = 0
    files: int = 0
    packs: int = 0
    values: int = 0
    unreferenced: int = 0
    logical: int = 0
    executions: list[ExecutionUsage] = field(default_factory=list)
    notebooks: dict[str, int] = field(default_factory=dict)
    names: dict[str, int] = field(default_factory=dict)

    @property
    def dedup_ratio(self) -> float | None:
        """How many times larger it would be without sharing."""
        return self.logical / self.values if self.values else None


def usage_of(journal: Journal, store: ArtifactStore) -> Usage:
    """Count everything once.

    Raises:
        CorruptError: a record is damaged.
    """
    census = Census(journal, store)
    census.refresh()
    found = Usage()
    found.journal, found.free = journal.space()
    packs = list(store.packs())
    found.files, found.packs = len(packs), sum(pack.bytes for pack in packs)
    needs = {execution.id: _needs(census, [execution.id]) for execution in journal.executions()}
    everything: set[Digest] = set().union(*needs.values())
    found.values = _bytes(census, everything)
    live: dict[str | None, int] = {}
    for extent in everything:
        place = census.places[extent]
        live[place.pack] = live.get(place.pack, 0) + size_of(place)
    found.unreferenced = sum(max(0, pack.bytes - live.get(pack.name, 0)) for pack in packs)
    found.logical = sum(
        census.values[digest].bytes
        for step in census.steps.values()
        for digest in step.stored
        if digest in census.values
    )
    _by_execution(found, census, needs)
    _by_name(found, census)
    return found


def _by_execution(found: Usage, census: Census, needs: dict[ExecutionId, set[Digest]]) -> None:
    users: dict[Digest, int] = {}
    for extents in needs.values():
        for extent in extents:
            users[extent] = users.get(extent, 0) + 1
    pinned = census.journal.pinned()
    by_notebook: dict[str, set[Digest]] = {}
    for execution in census.journal.executions():
        extents = needs.get(execution.id, set())
        own = _bytes(census, (extent for extent in extents if users[extent] == 1))
        found.executions.append(
            ExecutionUsage(execution, execution.id in pinned, _bytes(census, extents), own)
        )
        what = execution.identity.notebook or execution.identity.flow or ""
        by_notebook.setdefault(what, set()).update(extents)
    found.notebooks = _largest({what: _bytes(census, extents) for what, extents in by_notebook.items()})


def _by_name(found: Usage, census: Census) -> None:
    by_name: dict[str, set[Digest]] = {}
    for step in census.journal.every_checkpoint():
        for group in step.draft.groups:
            value = census.values.get(group.artifact)
            if value is not None:
                by_name.setdefault(", ".join(group.names), set()).update(value.extents)
    found.names = _largest({name: _bytes(census, extents) for name, extents in by_name.items()})


def _needs(census: Census, executions: Iterable[ExecutionId]) -> set[Digest]:
    marks = Marks(census)
    for execution in executions:
        marks.mark(execution)
    return marks.extents


def _bytes(census: Census, extents: Iterable[Digest]) -> int:
    return sum(size_of(census.places[extent]) for extent in extents)


def _largest(sizes: dict[str, int]) -> dict[str, int]:
    return dict(sorted(sizes.items(), key=lambda item: -item[1]))
