"""What people type to name a thing on record: an execution, a checkpoint, a stored value.

An execution is its id, the start of one, or ``latest``. A checkpoint is its name, with
``#n`` for the n-th of that name. A value is ``EXECUTION/CHECKPOINT[#n]/NAME`` or the digest
of its artifact.
"""

from __future__ import annotations

import difflib
import string
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from shlex import quote

from kitaru_nb.errors import NotFoundError, StoreError, UsageError
from kitaru_nb.journal.journal import Journal
from kitaru_nb.model.artifact import Artifact, Digest
from kitaru_nb.model.checkpoint import Checkpoint, CheckpointStatus, Group, StepKind
from kitaru_nb.model.execution import Execution, ExecutionId
from kitaru_nb.model.served import unranged

__all__ = [
    "FLOW",
    "LATEST",
    "RESULT",
    "TIED",
    "Found",
    "Ref",
    "checkpoint_names",
    "find_artifact",
    "find_execution",
    "find_step",
    "holds_named",
    "named_steps",
    "numbered",
    "parse_ref",
    "standing_cells",
    "steps",
    "value_refs",
]

LATEST = "latest"

FLOW = "flow"
"""What the step of a flow itself is called."""

RESULT = "result"
"""What a value that a call, or a flow, has returned goes by."""

TIED = frozenset([RESULT, "left"])
"""The names under which a result is stored that is tied to what was there; part of the stored format."""

_PREFIX = "ex_"
_DIGEST_LENGTH = 64
_SHOWN = 8  # names listed in a message; more would hide the sentence


@dataclass(frozen=True, slots=True)
class Ref:
    """A value on record, as typed: execution, checkpoint (perhaps with ``#n``), notebook name."""

    execution: str
    checkpoint: str
    name: str

    def __str__(self) -> str:
        """As it is typed."""
        return f"{self.execution}/{self.checkpoint}/{self.name}"


@dataclass(frozen=True, slots=True)
class Found:
    """A stored value: its artifact, the names stored in that, the one asked for, its checkpoint.

    Asked for by digest, none of them but the artifact is known.

    Attributes:
        recipe: Whether it is kept as a recipe, and markers are in the artifact.
        step: What the checkpoint is called.
        unstorable: For the result of a call: why it, or a part of it, could not be stored by itself.
        lost: Why it, or a part of it, could not be stored, whoever made it.
    """

    artifact: Artifact
    names: tuple[str, ...] = ()
    name: str | None = None
    seq: int | None = None
    recipe: bool = False
    step: str | None = None
    unstorable: str = ""
    lost: str = ""

    def pick(self, values: Mapping[str, object]) -> object:
        """Of the artifact's `values` the one asked for; by digest the only one, or all of them."""
        if self.name is not None:
            return values[self.name]
        return next(iter(values.values())) if len(values) == 1 else values


def parse_ref(text: str) -> Ref | Digest:
    """The parts of a REF, or the digest it is.

    Raises:
        UsageError: kind ``bad-ref``: it has neither form.
    """
    if _is_digest(text):
        return Digest(text.lower())
    execution, _, rest = text.partition("/")
    checkpoint, _, name = rest.rpartition("/")
    if not (execution and checkpoint and name):
        raise UsageError(
            f"`{text}` does not name a stored value",
            kind="bad-ref",
            hint="EXECUTION/CHECKPOINT/NAME, such as latest/train/model, or a digest",
        )
    return Ref(execution, checkpoint, name)


def find_execution(journal: Journal, text: str) -> Execution:
    """The execution that `text` names: an id, the start of exactly one, or ``latest``.

    The latest is the newest that somebody began: what an execution calls is a part of that.

    Raises:
        NotFoundError: kind ``unknown-execution``.
        UsageError: kind ``ambiguous-execution``: several ids start like that.
    """
    try:
        return _newest_begun(journal) if text == LATEST else journal.execution(text)
    except NotFoundError:
        if text == LATEST:
            raise _nothing_recorded(journal.guests()) from None
    everything = journal.executions()
    wanted = text.lower() if text.lower().startswith(_PREFIX) else _PREFIX + text.lower()
    found = [execution for execution in everything if execution.id.startswith(wanted)] if text else []
    if len(found) == 1:
        return found[0]
    if found:
        raise UsageError(
            f"`{text}` could be any of {len(found)} executions: {_some(e.id for e in found)}",
            kind="ambiguous-execution",
            hint=f"more of the id, such as {_shortest(found[0].id, found)}",
        )
    if not everything:
        raise _nothing_recorded(())
    tagged = sum(text in execution.tags for execution in everything)
    if tagged:
        raise NotFoundError(
            f"`{text}` is no execution, but the tag of {tagged}",
            kind="unknown-execution",
            hint=f"kitaru-nb executions --tag {quote(text)}, which lists them; "
            f"kitaru-nb resume --all --tag {quote(text)}",
        )
    close = difflib.get_close_matches(wanted, [execution.id for execution in everything], n=1)
    raise NotFoundError(
        f"there is no execution `{text}`",
        kind="unknown-execution",
        hint=close[0] if close else "kitaru-nb executions (lists them), or latest",
    )


def _newest_begun(journal: Journal) -> Execution:
    newest = journal.execution(LATEST)
    if newest.identity.within is None:
        return newest
    guests = journal.guests()
    begun = (each for each in journal.executions() if each.identity.within is None)
    return next((each for each in begun if each.id not in guests), newest)


def steps(journal: Journal, execution: ExecutionId) -> list[Checkpoint]:
    """The execution's steps, each once, in order: what stands, not everything that happened.

    Of each cell the latest record on the line of commits of the newest attempt counts, and
    after it a failure of that attempt that no later record of the cell has made good. Recorded
    calls come with the place that they have among all steps; one that the newest attempt was
    given from the record counts as restored.
    """
    cells, calls = standing_cells(journal, execution), _calls(journal, execution)
    if not calls:
        return cells
    merged = sorted([*cells, *calls], key=lambda checkpoint: checkpoint.seq)
    return [replace(checkpoint, ordinal=number) for number, checkpoint in enumerate(merged, 1)]


def _calls(journal: Journal, execution: ExecutionId) -> list[Checkpoint]:
    recorded = [c for c in journal.steps_within(execution) if c.draft.kind is StepKind.CALL]
    if not recorded:
        return []
    epoch = journal.execution(execution).epoch
    served = {
        seq
        for event in journal.events(execution)
        if event.kind == "served" and event.data["epoch"] == epoch
        for seq in unranged(event.data["steps"])
    }
    done = {(c.draft.scope, c.draft.key) for c in recorded if c.draft.status is not CheckpointStatus.FAILED}
    found = []
    for call in recorded:
        if call.draft.status is CheckpointStatus.FAILED:
            if call.epoch == epoch and (call.draft.scope, call.draft.key) not in done:
                found.append(call)
        elif call.seq in served:
            found.append(replace(call, draft=replace(call.draft, status=CheckpointStatus.RESTORED)))
        else:
            found.append(call)
    return found


def named_steps(journal: Journal, execution: ExecutionId) -> list[Checkpoint]:
    """The steps, and what else has a name that values can be asked for by: results and saved values."""
    others = [c for c in journal.steps_within(execution) if holds_named(c)]
    return sorted([*steps(journal, execution), *others], key=lambda checkpoint: checkpoint.seq)


def holds_named(step: Checkpoint) -> bool:
    """Whether a step that is neither a cell nor a call has values that are asked for by its name."""
    kinds = (StepKind.ONCE, StepKind.VALUE, StepKind.MESSAGE, StepKind.RESULT)
    draft = step.draft
    return bool(draft.groups) and draft.kind in kinds and draft.status is not CheckpointStatus.FAILED


def standing_cells(journal: Journal, execution: ExecutionId) -> list[Checkpoint]:
    """Of each cell the record that stands, see `steps`."""
    recorded = journal.checkpoints(execution)
    if not recorded:
        return []
    newest = max(recorded, key=lambda checkpoint: (checkpoint.epoch, checkpoint.seq))
    standing = {c.seq: c for c in journal.line(newest.seq) if c.execution == execution}
    for checkpoint in recorded:
        if checkpoint.epoch == newest.epoch and checkpoint.draft.status is CheckpointStatus.FAILED:
            standing[checkpoint.seq] = checkpoint
    latest = {_step(standing[seq]): standing[seq] for seq in sorted(standing)}
    return sorted(latest.values(), key=lambda checkpoint: (checkpoint.ordinal, checkpoint.seq))


def checkpoint_names(checkpoints: Sequence[Checkpoint]) -> list[str]:
    """What to type for each of `checkpoints`: its name, from the second of a name on with ``#n``."""
    seen: dict[str, int] = {}
    names = []
    for checkpoint in checkpoints:
        name = checkpoint.draft.name
        seen[name] = seen.get(name, 0) + 1
        names.append(numbered(name, seen[name]))
    return names


def numbered(name: str, number: int) -> str:
    """What to type for the step that has this number among those of its name."""
    return name if number == 1 else f"{name}#{number}"


def find_step(
    journal: Journal, execution: Execution, text: str, *, among: Sequence[Checkpoint] | None = None
) -> Checkpoint:
    """The step of `execution` that `text` names: ``NAME`` or ``NAME#n``.

    Args:
        journal: Where to look.
        execution: Whose step it is.
        text: As it is typed.
        among: The steps that count; without it those of `named_steps`.

    Raises:
        NotFoundError: kind ``unknown-checkpoint``; the message lists close names.
    """
    found = named_steps(journal, execution.id) if among is None else among
    names = checkpoint_names(found)
    for name, checkpoint in zip(names, found, strict=True):
        if text in (name, f"{name}#1"):
            return checkpoint
    if not names:
        message = f"execution `{execution.id}` has no checkpoints yet"
        raise NotFoundError(message, kind="unknown-checkpoint", hint=f"kitaru-nb show {execution.id}")
    close = difflib.get_close_matches(text, names, n=1)
    raise NotFoundError(
        f"execution `{execution.id}` has no checkpoint `{text}`; it has {_some(names)}",
        kind="unknown-checkpoint",
        hint=close[0] if close else f"kitaru-nb show {execution.id}",
    )


def find_artifact(journal: Journal, text: str, *, execution: str = LATEST) -> Found:
    """The artifact that `text` names, and the notebook name in it.

    Args:
        journal: Where to look.
        text: A REF, or a bare notebook name: its newest value in `execution`.
        execution: Where to look for a bare name.

    Raises:
        NotFoundError: kinds ``unknown-execution``, ``unknown-checkpoint``, ``unknown-value``,
            ``unknown-artifact``.
        UsageError: kinds ``bad-ref``, ``ambiguous-execution``.
    """
    if text.isidentifier() and not _is_digest(text):
        chosen = find_execution(journal, execution)
        step, group = _newest_value(journal, chosen, text)
        return _found(journal, step, group, text)
    match parse_ref(text):
        case Ref() as ref:
            chosen = find_execution(journal, ref.execution)
            step, group = _value_of_step(journal, chosen, ref)
            return _found(journal, step, group, ref.name)
        case digest:
            return Found(_artifact(journal, digest))


def _found(journal: Journal, step: Checkpoint, group: Group, name: str) -> Found:
    artifact = _artifact(journal, group.artifact)
    lost = group.unstorable.get(name, "")
    unstorable = lost if step.draft.kind is StepKind.CALL else ""
    recipe = group.recipe is not None
    return Found(artifact, group.names, name, step.seq, recipe, step.draft.name, unstorable, lost)


def value_refs(execution: ExecutionId, checkpoint_name: str, group: Group) -> list[str]:
    """A REF for each name of a stored group."""
    return [str(Ref(execution, checkpoint_name, name)) for name in group.names]


def _newest_value(journal: Journal, execution: Execution, name: str) -> tuple[Checkpoint, Group]:
    found = named_steps(journal, execution.id)
    for checkpoint in reversed(found):
        for group in checkpoint.draft.groups:
            if name in group.names:
                return checkpoint, group
    stored = sorted({n for checkpoint in found for group in checkpoint.draft.groups for n in group.names})
    raise _unknown_value(f"execution `{execution.id}` has stored no `{name}`", name, stored, execution)


def _value_of_step(journal: Journal, execution: Execution, ref: Ref) -> tuple[Checkpoint, Group]:
    checkpoint = find_step(journal, execution, ref.checkpoint)
    for group in checkpoint.draft.groups:
        if ref.name in group.names:
            return checkpoint, group
    stored = sorted(name for group in checkpoint.draft.groups for name in group.names)
    found = named_steps(journal, execution.id)
    for label, other in zip(checkpoint_names(found), found, strict=True):
        if any(ref.name in group.names for group in other.draft.groups):
            message = f"checkpoint `{ref.checkpoint}` did not store `{ref.name}`; checkpoint `{label}` did"
            raise NotFoundError(message, kind="unknown-value", hint=f"{ref.execution}/{label}/{ref.name}")
    raise _unknown_value(
        f"checkpoint `{ref.checkpoint}` has stored no `{ref.name}`", ref.name, stored, execution
    )


def _unknown_value(message: str, name: str, stored: Sequence[str], execution: Execution) -> NotFoundError:
    close = difflib.get_close_matches(name, stored, n=1)
    return NotFoundError(
        f"{message}; it has {_some(stored)}" if stored else message,
        kind="unknown-value",
        hint=close[0] if close else f"kitaru-nb artifacts {execution.id}",
    )


def _is_digest(text: str) -> bool:
    return len(text) == _DIGEST_LENGTH and set(text) <= set(string.hexdigits)


def _artifact(journal: Journal, digest: Digest) -> Artifact:
    found = journal.artifacts([digest]).get(digest)
    if found is None:
        stone = journal.removed([digest]).get(digest)
        if stone is not None:
            message = f"the values of `{digest[:12]}…` were {stone}"
            hint = (
                "run the cell that makes them with --fresh; `kitaru-nb pin EXECUTION` keeps values for good"
            )
            raise StoreError(message, kind="values-removed", hint=hint)
        message = f"there is no artifact `{digest[:12]}…`"
        raise NotFoundError(message, kind="unknown-artifact", hint="kitaru-nb artifacts latest")
    return found


def _nothing_recorded(guests: Collection[ExecutionId]) -> NotFoundError:
    if guests:
        message = f"nothing has been recorded here yet, only imported: {_some(guests)}"
        return NotFoundError(message, kind="unknown-execution", hint=f"{next(iter(guests))}, by its id")
    return NotFoundError(
        "nothing has been recorded yet",
        kind="unknown-execution",
        hint="kitaru-nb run NOTEBOOK, or kitaru-nb demo",
    )


def _step(checkpoint: Checkpoint) -> str:
    """What makes two records the same step: the cell's id, else the name."""
    return checkpoint.draft.step or f"name:{checkpoint.draft.name}"


def _some(names: Iterable[str]) -> str:
    listed = list(names)
    more = f" and {len(listed) - _SHOWN} more" if len(listed) > _SHOWN else ""
    return ", ".join(f"`{name}`" for name in listed[:_SHOWN]) + more


def _shortest(wanted: ExecutionId, among: Sequence[Execution]) -> str:
    """The shortest start of `wanted` that no other id among them shares."""
    others = [execution.id for execution in among if execution.id != wanted]
    for length in range(len(_PREFIX) + 1, len(wanted)):
        if not any(other.startswith(wanted[:length]) for other in others):
            return wanted[:length]
    return wanted
