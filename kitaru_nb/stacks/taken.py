"""What an attempt at a notebook takes over from the record instead of running it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from nbformat import NotebookNode
from nbformat.v4 import new_markdown_cell

from kitaru_nb.analysis.directive import find_directive
from kitaru_nb.engine.engine import Engine
from kitaru_nb.engine.history import origin_of
from kitaru_nb.engine.prefix import matching_prefix, source_code
from kitaru_nb.errors import NotFoundError, UsageError
from kitaru_nb.model.checkpoint import Checkpoint, CheckpointStatus
from kitaru_nb.model.execution import ExecutionId
from kitaru_nb.stacks.notebooks import Step, steps_of

if TYPE_CHECKING:
    from kitaru_nb.engine.replay import Replay  # a run that is no replay needs nothing of it

__all__ = ["Taken", "leading_cells", "place_of", "taken_by_replay", "taken_over", "unlike_here", "write_note"]

_NOTE = "kitaru-replay"


@dataclass(frozen=True, slots=True)
class Taken:
    """What is taken over, and where running begins.

    Attributes:
        line: The commits, oldest first; the kernel's namespace is as of the last one.
        shown: By index of the notebook's cells: the commit that a cell is shown as.
        first: Index of the first cell that runs; None where none is left.
        failed: By index, the failure on record of a cell above a replay's beginning that was let raise.
        replay: For the kernel of a replay, see `notebook.headless.start`.
        unlike: By its place in `line`, an environment variable that a step saw otherwise than it is in
            this process. A new kernel may have it as the step did: it runs code of its own at its start.
    """

    line: Sequence[Checkpoint] = ()
    shown: Mapping[int, Checkpoint] = field(default_factory=dict)
    first: int | None = None
    replay: Mapping[str, Any] | None = None
    unlike: Mapping[int, str] = field(default_factory=dict)
    failed: Mapping[int, Checkpoint] = field(default_factory=dict)

    def up_to(self, count: int) -> Taken:
        """The same, but for what comes after the first `count` commits."""
        kept = {step.seq for step in self.line[:count]}
        left = [index for index, commit in self.shown.items() if commit.seq not in kept]
        shown = {index: commit for index, commit in self.shown.items() if commit.seq in kept}
        first = min(left, default=self.first)
        return replace(self, line=self.line[:count], shown=shown, first=first, unlike={})


def taken_over(steps: Sequence[Step], recorded: Sequence[Checkpoint]) -> Taken:
    """What an attempt takes over whose first cells are the `recorded` ones."""
    shown = dict(zip((step.index for step in steps), recorded, strict=False))
    first = next((step.index for step in steps if step.index not in shown), None)
    return Taken(recorded, shown, first, unlike=unlike_here(recorded))


def unlike_here(line: Sequence[Checkpoint]) -> dict[int, str]:
    """See `Taken.unlike`; of what is set where nobody names it, only a kernel can tell."""
    if not line:
        return {}
    from kitaru_nb.engine.variables_seen import seen_otherwise, value_digest  # noqa: PLC0415 - for a record only

    return seen_otherwise(line, now=value_digest, set_by=lambda _checkpoint: ())


def leading_cells(steps: Sequence[Step]) -> list[tuple[str | None, str]]:
    """The first cells, up to one tagged ``no-checkpoint``: what that does is on no record."""
    leading: list[tuple[str | None, str]] = []
    for step in steps:
        if step.plain:
            break
        leading.append((step.step, step.source))
    return leading


def taken_by_replay(engine: Engine, execution: ExecutionId, replay: Replay, nb: NotebookNode) -> Taken:
    """What an attempt at a replay takes over: what was before its beginning, and what it has run itself.

    A cell of `nb` that is taken over and was edited since gets the code that it had when it ran.

    Raises:
        UntrustedError: nobody who is trusted here has signed some of it.
        NotFoundError: kind ``unknown-cell``: the notebook does not have the cell any more.
    """
    from kitaru_nb.engine.replay_cells import line_told  # noqa: PLC0415 - as above

    steps = steps_of(nb)
    first = beginning_in(steps, replay)
    more = replay.more
    base = line_told(engine.journal, more["parent"])
    own = engine.journal.checkpoints(execution)
    failures = _failures(engine, replay, base)
    # not even the files that they name are looked at before
    engine.trust.require([*base, *own, *failures.values()])
    after: list[int | None] = [None]
    if base:
        last = origin_of(base[-1])
        after = [each.seq for each in own if _stands(each) and origin_of(each) == last]
    left = [step for step in steps if step.index >= first]
    matched = matching_prefix(leading_cells(left), own, after=after)
    above = [step for step in steps if step.index < first]
    shown = _shown(above, base)
    failed = {
        step.index: failures[step.step] for step in above if step.index not in shown and step.step in failures
    }
    for index, commit in (shown | failed).items():
        if source_code(nb.cells[index].source) != source_code(commit.draft.source):
            nb.cells[index].source = commit.draft.source
    shown |= dict(zip((step.index for step in left), matched, strict=False))
    next_one = next((step.index for step in left if step.index not in shown), None)
    reached = any(each.draft.step == more["named"] for each in matched)
    told = {"carry": not matched, "reached": reached}
    return Taken([*base, *matched], shown, next_one, told, failed=failed)


def _failures(engine: Engine, replay: Replay, base: Sequence[Checkpoint]) -> dict[str | None, Checkpoint]:
    """By step, how it failed last in what is replayed, while the commits of `base` were made."""
    from kitaru_nb.engine.replay import replay_of  # noqa: PLC0415 - as above

    journal = engine.journal
    origins = {origin_of(each) for each in base}
    found: dict[str | None, Checkpoint] = {}
    following: Replay | None = replay
    while following is not None:
        of = ExecutionId(following.of)
        for each in reversed(journal.checkpoints(of)):
            parent = each.draft.parent
            if not _stands(each) and (parent is None or origin_of(journal.checkpoint(parent)) in origins):
                found.setdefault(each.draft.step, each)
        following = replay_of(journal, of)
    return found


def beginning_in(steps: Sequence[Step], replay: Replay) -> int:
    """Index of the first cell of a replay in the notebook as it is now."""
    more = replay.more
    if more["first"] is not None:
        return place_of(steps, more["first"], replay.label).index
    if more["behind"] is None:
        return steps[0].index if steps else 0
    return place_of(steps, more["behind"], replay.label).index + 1


def place_of(
    steps: Sequence[Step], step: str, label: str, *, name: str | None = None, source: str = ""
) -> Step:
    """The cell of the notebook that a step on record is: by its id, else its name, else its code.

    Raises:
        NotFoundError: kind ``unknown-cell``.
    """
    for each in steps:
        if each.step == step:
            return each
    for each in steps:
        if name is not None and _name_of(each) == name:
            return each
    for each in steps:
        if source and source_code(each.source) == source_code(source):
            return each
    message = f"the notebook has no cell any more that is `{name or label}`"
    raise NotFoundError(
        message, kind="unknown-cell", hint="bring the cell back, or --from another checkpoint"
    )


def _name_of(step: Step) -> str | None:
    try:
        directive = find_directive(step.source)
    except UsageError:
        return None
    return None if directive is None else directive.name


def _stands(checkpoint: Checkpoint) -> bool:
    return checkpoint.draft.status is not CheckpointStatus.FAILED


def _shown(steps: Sequence[Step], line: Sequence[Checkpoint]) -> dict[int, Checkpoint]:
    """The newest commit of each cell that is still what it was when that was made."""
    newest = {each.draft.step or f"name:{each.draft.name}": each for each in line}
    found = {}
    for step in steps:
        commit = newest.get(step.step) or newest.get(f"name:{_name_of(step)}")
        if commit is not None:
            found[step.index] = commit
    return found


def write_note(nb: NotebookNode, replay: Replay) -> None:
    """Say in the notebook, above the named cell, what was replayed and what was changed."""
    steps = steps_of(nb)
    named = next((step.index for step in steps if step.step == replay.more["named"]), None)
    if named is not None:
        lines = [f"Replay of `{replay.of}` from {_code(replay.label)}"]
        lines += [f"- {_code(change)}" for change in replay.changes()]
        nb.cells.insert(named, new_markdown_cell("\n\n".join(lines), id=_NOTE))


def _code(text: str) -> str:
    """`text` as Markdown shows it literally."""
    return "`" + " ".join(text.replace("`", "'").split()) + "`"
