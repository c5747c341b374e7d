"""Replays of notebooks: which commit one is built on, and what its kernel does before a cell runs.

The cells before the named one do not run: the namespace is put back as it was when the named cell
began. That is what the commit before it left, and what plain cells changed since, as far as the
named cell's own commit carries it. Where that is not all of it, the cells since that commit run
again.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from kitaru_nb.artifacts.ties import Tie, tied
from kitaru_nb.engine.engine import Engine
from kitaru_nb.engine.history import origin_of
from kitaru_nb.engine.namespace import Namespace
from kitaru_nb.engine.prefix import bound_names
from kitaru_nb.engine.process import Process
from kitaru_nb.engine.recovery import Loader, Recorded, Restored, put_back, recorded_at
from kitaru_nb.engine.refs import steps
from kitaru_nb.engine.replay import Replay, root_of
from kitaru_nb.journal.journal import Journal
from kitaru_nb.model.artifact import Digest
from kitaru_nb.model.checkpoint import Checkpoint, CheckpointStatus, Group, StepKind
from kitaru_nb.model.execution import Execution, ExecutionId

__all__ = [
    "CellReplay",
    "Start",
    "commit_told",
    "is_known_before",
    "line_told",
    "scope_of_cell",
    "start_of",
]


@dataclass(frozen=True, slots=True)
class Start:
    """Where in a notebook a replay begins.

    Attributes:
        named: The scope of the named cell, which is its step where it has one.
        name: What that cell is called on record; None where it is on none.
        parent: The commit that it is built on; None where nothing was committed before.
        first: The record of the first cell that runs or is overridden; None where that is the
            cell after the parent's in the notebook.
    """

    named: str
    name: str | None
    parent: Checkpoint | None
    first: Checkpoint | None

    @property
    def carried(self) -> tuple[Group, ...]:
        """What plain cells had changed before the first cell."""
        if self.first is None:
            return ()
        return tuple(group for group in self.first.draft.groups if not group.written)

    @property
    def deleted(self) -> list[str]:
        """Names that plain cells had deleted by then."""
        if self.first is None:
            return []
        return sorted(set(self.first.draft.deleted) - set(self.first.draft.deleted_by_step))

    @property
    def process(self) -> Digest | None:
        """The artifact with the process state that they had changed."""
        return None if self.first is None else self.first.draft.process


def start_of(
    journal: Journal,
    execution: Execution,
    step: Checkpoint,
    *,
    overridden: Collection[str] = (),
    bound: Collection[str] = (),
    ran_plainly: bool = False,
) -> Start:
    """Where a replay from `step` begins.

    Args:
        journal: Where all is on record.
        execution: Which one is replayed.
        step: A cell, or something that was recorded in one.
        overridden: Cells that are given instead of run, or in which something is; what is after the
            first of them is decided on anew.
        bound: Names that are bound before the named cell, whatever they held.
        ran_plainly: Cells that are on no record may have run just before the named one.
    """
    cells = [
        each
        for each in steps(journal, execution.id)
        if each.draft.kind is StepKind.CELL and each.draft.status is not CheckpointStatus.FAILED
    ]
    named = scope_of_cell(step) if step.draft.kind is StepKind.CELL else root_of(step.draft.scope)
    record = step if step.draft.kind is StepKind.CELL else _cell_around(cells, step, named)
    name = record.draft.name if record is not None else None
    first = _earliest(cells, record or step, overridden) or record
    if first is None:
        return Start(named, name, _commit_before(journal, execution, step), None)
    parent = None if first.draft.parent is None else journal.checkpoint(first.draft.parent)
    line = [] if parent is None else journal.line(parent.seq)
    known = is_known_before(first, recorded_at(line), bound=bound, ran_plainly=ran_plainly)
    return Start(named, name, parent, first if known else None)


def scope_of_cell(cell: Checkpoint) -> str:
    """Where results are counted that belong to a cell."""
    return root_of(cell.draft.scope or cell.draft.step or f"name:{cell.draft.name}")


def _cell_around(cells: Sequence[Checkpoint], step: Checkpoint, named: str) -> Checkpoint | None:
    """The record of the cell in which something was recorded; None for a plain or an unfinished one."""
    return next((cell for cell in cells if scope_of_cell(cell) == named and cell.seq > step.seq), None)


def _earliest(
    cells: Sequence[Checkpoint], before: Checkpoint, overridden: Collection[str]
) -> Checkpoint | None:
    given = [cell for cell in cells if scope_of_cell(cell) in overridden and cell.seq < before.seq]
    return given[0] if given else None


def _commit_before(journal: Journal, execution: Execution, step: Checkpoint) -> Checkpoint | None:
    commits = [c for c in journal.checkpoints(execution.id) if c.draft.status is not CheckpointStatus.FAILED]
    return next((commit for commit in reversed(commits) if commit.seq < step.seq), None)


def commit_told(journal: Journal, commit: Checkpoint) -> list[Any]:
    """A commit as a plan names it: numbers of the journal differ where it is imported."""
    found = [each.seq for each in journal.checkpoints(commit.execution)]
    return [commit.execution, found.index(commit.seq)]


def line_told(journal: Journal, told: Sequence[Any] | None) -> list[Checkpoint]:
    """The commits that lead to one which a plan names; none without one.

    Raises:
        NotFoundError: kind ``unknown-execution``: it is not on record here.
    """
    if told is None:
        return []
    execution, number = told
    return journal.line(journal.checkpoints(ExecutionId(execution))[number].seq)


def is_known_before(
    cell: Checkpoint, recorded: Recorded, *, bound: Collection[str] = (), ran_plainly: bool = False
) -> bool:
    """Whether what a cell read or passed on is on record as it was before the cell.

    What plain cells changed since the last commit is in the cell's own, except for what the cell
    has changed itself: of that its commit holds what it was afterwards.
    """
    draft = cell.draft
    if not draft.plain and not ran_plainly:
        return True
    if draft.status is CheckpointStatus.FAILED or any(
        what.startswith("random:") for what in draft.conditions
    ):
        return False
    carried = {name: group for group in draft.groups if not group.written for name in group.names}
    written = set(draft.writes) | set(draft.deleted_by_step)
    for names, digest in draft.reads.items():
        group = tuple(names.split(","))
        if set(group) <= set(bound):
            continue
        held = [carried.get(name) or recorded.groups.get(name) for name in group]
        if any(found is None or name in found.unstorable for name, found in zip(group, held, strict=True)):
            return False
        untouched = all(name in carried or name not in written for name in group)
        whole = recorded.whole.get(group)
        if not untouched and (whole is None or whole.value != digest):
            return False
    read = {name for names in draft.reads for name in names.split(",")}
    return written <= read | bound_names(draft.source) | set(bound)  # else it shared what the cell bound anew


class CellReplay:
    """A replay of a notebook, in the kernel that runs it.

    Args:
        engine: Journal and store.
        namespace: The namespace that the cells run in.
        process: The process's state.
        replay: What was asked for.
        reached: The named cell has run in an earlier attempt.
    """

    def __init__(
        self, engine: Engine, namespace: Namespace, process: Process, replay: Replay, *, reached: bool
    ) -> None:
        self._engine = engine
        self._namespace = namespace
        self._process = process
        self._replay = replay
        self._reached = reached
        self._runs = False
        self._sources: Sequence[ExecutionId] | None = None

    def carry(self) -> Restored:
        """Put back what plain cells had changed before the first cell that runs.

        Raises:
            CorruptError: stored bytes are damaged; nothing was changed.
        """
        groups = self._replay.carried
        loader = Loader(self._engine, self._namespace)
        names = {name: group for group in groups for name in group.names}
        loader.expect(names)
        loader.load_for(self._replay.label, groups)
        before = {} if self._replay.process is None else loader.process_before(self._replay.process)
        self._process.apply_surroundings([before])
        restored = put_back(loader, self._namespace, groups, names)
        for name in self._replay.more.get("deleted", ()):
            self._namespace.live.pop(name, None)
        restored.problems += self._process.apply(before)
        return restored

    def before(self, scope: str) -> None:
        """A cell is about to be decided on: bind the inputs if it is the named one."""
        self._runs = scope in self._replay.more["again"]
        if self._reached or scope != self._replay.more["named"]:
            return
        self._reached = True
        digests = {self._replay.values[name] for name in self._replay.inputs}
        self._namespace.let_go()
        for digest in digests:  # one, or none
            with tied(Tie.SERVED):
                self._namespace.live.update(self._engine.get(digest, namespace=self._namespace.live))

    def given(self, scope: str) -> Mapping[str, object] | None:
        """What a cell's names are to hold instead of what it would give them; None where it runs."""
        override = self._replay.override("", scope)
        if override is None:
            return None
        with tied(Tie.SERVED):
            stored = self._engine.get(self._replay.values[override.key], namespace=self._namespace.live)
        found: Any = stored[override.key]
        return dict(found)

    def sources(self, execution: ExecutionId) -> Sequence[ExecutionId]:
        """Whose records the cell may be restored from that is about to be decided on.

        From the named one on only the replay's own, and so where something in the cell is overridden.
        """
        if self._reached or self._runs:
            return [execution]
        if self._sources is None:
            journal = self._engine.journal
            origins = {origin_of(each) for each in journal.checkpoints(self._replay.of)}
            found = [execution, self._replay.of, *(journal.checkpoint(seq).execution for seq in origins)]
            self._sources = list(dict.fromkeys(found))
        return self._sources
