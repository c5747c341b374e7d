"""Not paying twice for chance: a long step whose input is different only by itself is not run unasked.

A plain cell that draws a uuid or asks the clock gives another value in each kernel. A checkpoint
that reads it is a miss although nobody changed anything. Where running it again would be long or
dear, the cell is stopped before it runs, and the user is told which value it was.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from shlex import quote
from types import ModuleType

from kitaru_nb.artifacts.digest import is_immutable_atom
from kitaru_nb.engine.earlier import earlier_executions
from kitaru_nb.engine.lineage import Lineage, Seen, iter_changed, lineage_of, makers
from kitaru_nb.engine.recovery import recorded_at
from kitaru_nb.engine.step_names import same_step
from kitaru_nb.engine.steps import Pending, unmet
from kitaru_nb.errors import DivergenceError
from kitaru_nb.journal.journal import Journal
from kitaru_nb.model.artifact import Tombstone
from kitaru_nb.model.checkpoint import Checkpoint, CheckpointStatus
from kitaru_nb.model.execution import ExecutionId
from kitaru_nb.model.settings import RerunLimit
from kitaru_nb.model.words import duration

__all__ = ["Confirm", "refuse_repaying"]

_EXECUTIONS = 5  # of the notebook, newest first, whose long steps are known
_SHOWN = 60


@dataclass(frozen=True, slots=True)
class _Culprit:
    """A value that differs by itself: its name, and the cell that made it."""

    name: str
    maker: Seen


class Confirm:
    """Knows the notebook's long steps, and stops one that would run again by chance.

    Args:
        journal: Where they are on record.
        limit: What counts as long.
        lineage: The cells of this kernel.
    """

    def __init__(self, journal: Journal, limit: RerunLimit, lineage: Lineage) -> None:
        self._journal = journal
        self._limit = limit
        self._lineage = lineage
        self._long: dict[str, list[Checkpoint]] | None = None

    def committed(self, checkpoint: Checkpoint) -> None:
        """One more step is on record."""
        if self._long is not None and self._is_long(checkpoint):
            self._long.setdefault(checkpoint.draft.code, []).insert(0, checkpoint)

    def check(
        self,
        pending: Pending,
        *,
        live: Mapping[str, object],
        holds: Callable[[str, str], bool],
        notebook: str | None,
        execution: ExecutionId,
    ) -> None:
        """Pass a step that is not on record, unless it is long and a miss only by chance.

        Raises:
            DivergenceError: kind ``confirm-rerun``; it was not run.
        """
        known = self._known(notebook, execution).get(pending.needs.code, ())
        before = [c for c in known if same_step(pending.cell.step, c.draft.step)]
        if not before:
            return
        found = [self._culprit(pending, checkpoint, live, holds) for checkpoint in before[:3]]
        if all(found) and found[0] is not None:
            raise _stopped(pending, before[0], found[0])

    def _known(self, notebook: str | None, execution: ExecutionId) -> dict[str, list[Checkpoint]]:
        """The long steps by their code, newest first; read once per kernel."""
        if self._long is None:
            earlier = earlier_executions(self._journal, notebook, interactive=True, limit=_EXECUTIONS)
            ids = dict.fromkeys([execution, *(found.id for found in earlier)])
            self._long = {}
            for each in ids:
                for checkpoint in reversed(self._journal.checkpoints(each)):
                    if self._is_long(checkpoint):
                        self._long.setdefault(checkpoint.draft.code, []).append(checkpoint)
        return self._long

    def _is_long(self, checkpoint: Checkpoint) -> bool:
        draft = checkpoint.draft
        return draft.status is CheckpointStatus.COMPLETED and self._limit.exceeded(draft.duration, draft.cost)

    def _culprit(
        self,
        pending: Pending,
        before: Checkpoint,
        live: Mapping[str, object],
        holds: Callable[[str, str], bool],
    ) -> _Culprit | None:
        """The value that differs by itself; None when something else explains the miss."""
        names = list(dict.fromkeys(iter_changed(before.draft.reads, pending.needs.reads)))
        broken = unmet(before, holds)
        if any(not what.startswith("names:") for what in broken):
            return None
        if not names:
            names = [name for what in broken for name in what.partition(":")[2].split(",")]
        line = self._journal.line(before.seq)
        then = lineage_of(line)[:-1]  # without the step itself
        recorded = {group.names: group.value for group in before.draft.groups if not group.written}
        recorded = {n: group.value for n, group in recorded_at(line[:-1]).whole.items()} | recorded
        same = {
            name
            for group, digest in pending.before.groups.items()
            if recorded.get(group) == digest
            for name in group
        }
        return _trace(names, self._lineage.seen(), then, live, same)


def refuse_repaying(name: str, before: Checkpoint, stone: Tombstone, *, limit: RerunLimit) -> None:
    """Stop a long or dear step that could be restored had its values not been removed.

    Raises:
        DivergenceError: kind ``values-removed``; it was not run.
    """
    if not limit.exceeded(before.draft.duration, before.draft.cost):
        return
    message = f"`{name}` was not run again: it took {_amount(before)}, and its values were {stone}"
    hint = f"%%checkpoint {quote(name)} --fresh runs it; `kitaru-nb pin EXECUTION` keeps values for good"
    raise DivergenceError(message, kind="values-removed", hint=hint)


def _trace(
    names: Sequence[str],
    now: Sequence[Seen],
    then: Sequence[Seen],
    live: Mapping[str, object],
    same: set[str],
) -> _Culprit | None:
    """Follow what differs to the cells that made it; None as soon as one of these was edited."""
    waiting = [(name, True) for name in names]
    passed: set[str] = set()
    culprit: _Culprit | None = None
    while waiting:
        name, read = waiting.pop(0)
        if name in passed or (not read and (name in same or isinstance(live.get(name), ModuleType))):
            continue
        passed.add(name)
        immutable = name in live and is_immutable_atom(live[name])
        made, before = (makers(cells, name, immutable=immutable) for cells in (now, then))
        if not made and not before and not read:
            continue  # nothing of the notebook's own
        if not made or [cell.code for cell in made] != [cell.code for cell in before]:
            return None
        if not all(map(_alike, made, before)):
            return None
        if all(cell.step is None for cell in made):
            culprit = _Culprit(name, made[-1])
        waiting += [(used, False) for cell in made for used in sorted(cell.reads)]
    return culprit


def _alike(now: Seen, then: Seen) -> bool:
    """Whether nothing but chance can have made two runs of one cell differ."""
    if now.asks or (now.named or {}) != (then.named or {}):
        return False
    return now.step is None or now.key != then.key  # an equal key: run again on purpose


def _stopped(pending: Pending, before: Checkpoint, culprit: _Culprit) -> DivergenceError:
    name = pending.name
    line = culprit.maker.line(culprit.name)
    line = line if len(line) <= _SHOWN else line[: _SHOWN - 1] + "…"
    spent = _amount(before)
    message = (
        f"`{name}` was not run again: it took {spent} last time, and what differs is the value of "
        f"`{culprit.name}`, which the unchanged plain cell `{line}` gave anew"
    )
    hint = (
        f"%%checkpoint on top of that cell, so that `{culprit.name}` stays; %%checkpoint {quote(name)} "
        "--fresh to run this one all the same; or %resume to have everything as it was"
    )
    return DivergenceError(message, kind="confirm-rerun", hint=hint)


def _amount(checkpoint: Checkpoint) -> str:
    time = duration(checkpoint.draft.duration)
    cost = checkpoint.draft.cost
    return time if not cost else f"{time} and ${cost:.2f}"
