"""What running a notebook would do, told from its file and what is on record, with no kernel.

Values are not known here. So a cell is said to be restored or to run only where code and
files decide that; where it hangs on a value that another cell gives anew, it *may* run.
"""

from __future__ import annotations

import ast
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from types import MappingProxyType

from kitaru_nb.analysis.diff import first_difference
from kitaru_nb.analysis.directive import Directive, find_directive
from kitaru_nb.analysis.names import CellNames, names_of
from kitaru_nb.engine.prefix import source_code
from kitaru_nb.engine.step_names import same_step
from kitaru_nb.errors import UsageError
from kitaru_nb.model.artifact import Digest, Tombstone
from kitaru_nb.model.checkpoint import Checkpoint, CheckpointStatus, Draft

__all__ = ["CellPlan", "Fate", "PlannedCell", "Total", "as_json", "foresee", "totals"]


class Fate(StrEnum):
    """What would become of a cell."""

    RESTORED = "restored"
    RUN = "run"
    MAYBE = "maybe"
    PLAIN = "plain"


@dataclass(frozen=True, slots=True)
class PlannedCell:
    """A code cell of the notebook.

    Attributes:
        place: 1-based position among all cells.
        step: Its identity.
        source: What stands in it.
        is_step: Whether it is a checkpoint; else it runs each time.
        shares: Whether it is restored from `known` records, too, as marked cells of headless runs are.
    """

    place: int
    step: str | None
    source: str
    is_step: bool
    shares: bool = False


@dataclass(frozen=True, slots=True)
class CellPlan:
    """What would become of one cell, and why.

    Attributes:
        duration: Seconds it took when it last ran; None when it never did.
        cost: US dollars, likewise.
    """

    cell: PlannedCell
    fate: Fate
    reason: str
    name: str | None = None
    duration: float | None = None
    cost: float | None = None


@dataclass(frozen=True, slots=True)
class Total:
    """Cells of one fate: how many, how long and how dear on record, and how many were never run."""

    cells: int
    duration: float
    cost: float | None
    unknown: int


@dataclass(slots=True)
class _Walk:
    """What is known on the way down the notebook.

    `moved` holds names that may hold another value than on record, each with why; `loose`
    names that plain cells bind.
    """

    removed: Mapping[Digest, Tombstone] = field(default_factory=dict)
    moved: dict[str, str] = field(default_factory=dict)
    loose: dict[str, int] = field(default_factory=dict)
    anything: str | None = None

    def cause(self, reads: frozenset[str]) -> str | None:
        found = next((name for name in sorted(reads) if name in self.moved), None)
        if found is not None:
            return f"`{found}` changes ({self.moved[found]})"
        return self.anything


def foresee(
    cells: Sequence[PlannedCell],
    recorded: Sequence[Checkpoint],
    *,
    holds: Callable[[str, str], bool],
    prefix: int = 0,
    known: Sequence[Checkpoint] = (),
    removed: Mapping[Digest, Tombstone] = MappingProxyType({}),
    reuse: bool = False,
    unlike: Mapping[int, str] = MappingProxyType({}),
) -> list[CellPlan]:
    """What would become of each of `cells`, run from top to bottom in a new kernel.

    Args:
        cells: The notebook's code cells.
        recorded: Steps that can be restored, oldest first.
        holds: Whether a condition on a file or module still holds.
        prefix: How many of the first cells are restored for certain.
        known: Further steps, oldest first, that tell how long a cell takes; a cell that `shares` is
            restored from them.
        removed: Of what `recorded` and `known` hold, what was removed.
        reuse: Also from those that touched the outside.
        unlike: By place in `cells`, an environment variable that is another here than it was there.
    """
    walk = _Walk(removed=removed)
    plain_codes = {cell["code"] for c in [*known, *recorded] for cell in c.draft.plain}
    plans = []
    for place, cell in enumerate(cells):
        if cell.is_step:
            certain, variable = place < prefix, unlike.get(place)
            plan = _step(
                cell, recorded, walk, holds, certain=certain, known=known, reuse=reuse, variable=variable
            )
        else:
            plan = _plain(cell, walk, plain_codes)
        plans.append(plan)
    return plans


def totals(plans: Sequence[CellPlan]) -> dict[Fate, Total]:
    """The sums for each fate."""
    found = {}
    for fate in Fate:
        rows = [plan for plan in plans if plan.fate is fate]
        costs = [plan.cost for plan in rows if plan.cost is not None]
        found[fate] = Total(
            len(rows),
            math.fsum(plan.duration or 0.0 for plan in rows),
            math.fsum(costs) if costs else None,
            sum(plan.duration is None for plan in rows),
        )
    return found


def _step(
    cell: PlannedCell,
    recorded: Sequence[Checkpoint],
    walk: _Walk,
    holds: Callable[[str, str], bool],
    *,
    certain: bool,
    known: Sequence[Checkpoint],
    reuse: bool,
    variable: str | None = None,
) -> CellPlan:
    directive = _directive(cell.source)
    names = _names(cell.source)
    mine = _of(cell, directive, recorded)
    done = [c.draft for c in mine if c.draft.status is not CheckpointStatus.FAILED]
    others = _of(cell, directive, known)
    last = done[-1] if done else next((c.draft for c in reversed(others)), None)
    code = source_code(cell.source)
    same = [draft for draft in done if source_code(draft.source) == code]
    outside: tuple[str, ...] = ()
    if cell.shares and not same:
        shared = [c.draft for c in others if c.draft.status is not CheckpointStatus.FAILED]
        shared = [draft for draft in shared if source_code(draft.source) == code]
        same = [draft for draft in shared if not draft.outside or reuse or (directive and directive.reuse)]
        outside = shared[-1].outside if shared and not same else ()
    if certain:
        fate, reason = Fate.RESTORED, "nothing before it has changed"
    elif directive is not None and directive.fresh:
        fate, reason = Fate.RUN, "it is to run each time (--fresh)"
    elif outside:
        fate, reason = Fate.RUN, f"it touched {' and '.join(outside)} when it ran: restored only with --reuse"
    elif not same:
        fate, reason = Fate.RUN, _why_not(cell, mine, last)
    else:
        fate, reason = _fate(walk, holds, same)
        if variable is not None and fate is Fate.RESTORED:
            fate = Fate.MAYBE  # what runs at a kernel's start, or a cell before, may set it as it was
            reason = f"runs if the environment variable `{variable}` is in the kernel what it is here"
    draft = same[-1] if same else last
    place = f"cell {cell.place} runs" if fate is Fate.RUN else f"cell {cell.place} may run"
    writes = set(draft.writes if draft is not None else ()) | set(
        names.writes | names.deletes if names else ()
    )
    for name in writes:
        if fate is Fate.RESTORED:
            walk.moved.pop(name, None)
            walk.loose.pop(name, None)
        else:
            walk.moved[name] = place
    if fate is not Fate.RESTORED and (names is None or names.dynamic) and draft is None:
        walk.anything = f"cell {cell.place}, which may change anything, runs"
    called = (directive.name if directive else None) or (draft.name if draft is not None else None)
    took = (draft.duration, draft.cost) if draft is not None else (None, None)
    return CellPlan(cell, fate, reason, called, *took)


def _fate(walk: _Walk, holds: Callable[[str, str], bool], same: Sequence[Draft]) -> tuple[Fate, str]:
    """Of a cell whose code is on record."""
    gone = [stone for draft in same for digest, stone in walk.removed.items() if digest in draft.stored]
    if gone:
        same = [draft for draft in same if not draft.stored & walk.removed.keys()]
        if not same:
            return Fate.RUN, f"its values were {gone[-1]}"
    broken = [_broken_file(draft, holds) for draft in same]
    if all(broken):
        return Fate.RUN, str(broken[-1])
    fitting = [draft for draft, what in zip(same, broken, strict=True) if not what]
    reads = frozenset(name for group in fitting[-1].reads for name in group.split(","))
    cause = walk.cause(reads)
    if cause is not None:
        return Fate.MAYBE, f"runs if {cause}"
    loose = sorted(reads & walk.loose.keys())
    if loose:
        plain = f"plain cell {walk.loose[loose[0]]}"
        return Fate.RESTORED, f"as long as {plain} gives `{loose[0]}` the value it had"
    return Fate.RESTORED, "its code and what it reads are as they were"


def _why_not(cell: PlannedCell, mine: Sequence[Checkpoint], last: Draft | None) -> str:
    error = mine[-1].draft.error if mine else None
    if error is not None:
        return f"it failed last time ({error['ename']})"
    if last is None:
        return "nothing is on record for it"
    line = first_difference(last.source, cell.source)
    return f"its code changed: {line}" if line else "nothing is on record for it here"


def _broken_file(draft: Draft, holds: Callable[[str, str], bool]) -> str | None:
    for what, digest in draft.conditions.items():
        kind, _, path = what.partition(":")
        if kind in ("file", "module") and not holds(what, digest):
            return f"`{path}` has changed"
    return None


def _plain(cell: PlannedCell, walk: _Walk, known: set[str]) -> CellPlan:
    names = _names(cell.source)
    new = source_code(cell.source) not in known
    if names is None:
        if new and cell.source.strip():
            walk.anything = f"plain cell {cell.place} changes something"
        return CellPlan(cell, Fate.PLAIN, "not a checkpoint: runs each time")
    cause = walk.cause(frozenset(names.reads))
    for name in names.writes | names.deletes:
        if new or cause:
            walk.moved[name] = f"plain cell {cell.place} is new or changed" if new else str(cause)
        else:
            walk.moved.pop(name, None)
        walk.loose[name] = cell.place
    if new and names.dynamic:
        walk.anything = f"plain cell {cell.place} changes something"
    return CellPlan(cell, Fate.PLAIN, "not a checkpoint: runs each time")


def _of(cell: PlannedCell, directive: Directive | None, recorded: Sequence[Checkpoint]) -> list[Checkpoint]:
    """The records of a cell: by its id, else by its name."""
    name = directive.name if directive is not None else None
    found = []
    for checkpoint in recorded:
        draft = checkpoint.draft
        if cell.step is not None and draft.step is not None:
            if draft.step == cell.step:
                found.append(checkpoint)
        elif same_step(cell.step, draft.step) and (
            draft.name == name or source_code(draft.source) == source_code(cell.source)
        ):
            found.append(checkpoint)
    return found


def _directive(source: str) -> Directive | None:
    try:
        return find_directive(source)
    except UsageError:
        return None  # said when the cell runs


def _names(source: str) -> CellNames | None:
    """What the cell does with names; None for one whose magics can do anything."""
    directive = _directive(source)
    lines = source.splitlines()
    if directive is not None:
        lines[directive.line - 1] = ""
    if any(_is_magic(line) and not _is_quiet(line) for line in lines):
        return None
    text = "\n".join("" if _is_magic(line) else line for line in lines)
    try:
        return names_of(ast.parse(text))
    except (SyntaxError, ValueError, UsageError):
        return None


_QUIET = (
    "matplotlib",
    "load_ext",
    "config",
    "checkpoint",
    "why",
    "kitaru",
    "time",
    "capture",
    "pip",
    "conda",
)


def _is_magic(line: str) -> bool:
    return line.lstrip().startswith(("%", "!"))


def _is_quiet(line: str) -> bool:
    """Whether a magic binds no names, its own line's code aside."""
    word = line.lstrip().lstrip("%").partition(" ")[0]
    return line.lstrip().startswith("!") or word in _QUIET


def as_json(plan: CellPlan) -> Mapping[str, object]:
    """The fields of one cell's plan."""
    return {
        "cell": plan.cell.place,
        "name": plan.name,
        "status": plan.fate.value,
        "reason": plan.reason,
        "duration": plan.duration,
        "cost": plan.cost,
        "source": plan.cell.source,
    }
