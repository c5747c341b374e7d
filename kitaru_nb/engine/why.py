"""Why a step ran or was restored: its record against the one before."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from kitaru_nb.analysis.diff import first_difference
from kitaru_nb.analysis.directive import find_directive
from kitaru_nb.engine.compare import StoredValue, value_difference
from kitaru_nb.engine.live import REMOVED
from kitaru_nb.engine.prefix import source_code
from kitaru_nb.engine.reasons import condition_reasons, version_reasons
from kitaru_nb.engine.refs import find_step
from kitaru_nb.engine.session import Session
from kitaru_nb.errors import NotFoundError
from kitaru_nb.journal.journal import Journal
from kitaru_nb.model.checkpoint import Checkpoint, CheckpointStatus, Draft, error_line

__all__ = ["Explanation", "Reason", "differences", "explain", "explain_step"]


@dataclass(frozen=True, slots=True)
class Reason:
    """One cause.

    Attributes:
        kind: ``first-run``, ``equal``, ``code``, ``function``, ``input``, ``file``, ``package``,
            ``failed``, ``removed`` or ``asked``.
        what: The name, file or line it is about.
        text: The cause in a sentence.
        old: What was recorded before (a digest), where there is such a thing.
        new: What is recorded now.
    """

    kind: str
    what: str
    text: str
    old: str | None = None
    new: str | None = None


@dataclass(frozen=True, slots=True)
class Explanation:
    """Why a checkpoint has the status it has."""

    checkpoint: Checkpoint
    status: CheckpointStatus
    reasons: tuple[Reason, ...]

    def __str__(self) -> str:
        """The explanation as lines of text."""
        verb = {"completed": "ran", "restored": "was restored", "failed": "failed"}[self.status.value]
        lines = [f"`{self.checkpoint.draft.name}` {verb}:"]
        lines += [f"  {reason.text}" for reason in self.reasons]
        return "\n".join(lines)

    def to_json(self) -> dict[str, Any]:
        """Its fields, as ``why --json`` prints them."""
        return {
            "execution": self.checkpoint.execution,
            "checkpoint": self.checkpoint.draft.name,
            "status": self.status.value,
            "reasons": [asdict(reason) for reason in self.reasons],
            "reads": dict(sorted(self.checkpoint.draft.reads.items())),
        }


def explain(journal: Journal, checkpoint: Checkpoint, *, stored: StoredValue | None = None) -> Explanation:
    """Compare `checkpoint` with the step's record before it and say what decided.

    Args:
        journal: Where both are.
        checkpoint: The step.
        stored: Loads values, so that the first differing line of a function can be told.
    """
    draft = checkpoint.draft
    if draft.status is CheckpointStatus.RESTORED:
        origin = journal.checkpoint(draft.origin or checkpoint.seq)
        when = f"{origin.draft.started_at:%Y-%m-%d %H:%M:%S} UTC"
        text = (
            f"its code and everything it reads are as they were when it ran at {when} in `{origin.execution}`"
        )
        equal = Reason("equal", origin.execution, text)
        return Explanation(checkpoint, draft.status, (equal, *_removed(journal, draft)))
    reasons: list[Reason] = []
    if draft.error is not None:
        reasons.append(Reason("failed", draft.error["ename"], f"it raised {error_line(**draft.error)}"))
    before = _before(journal, checkpoint)
    if before is not None:
        found = differences(before.draft, draft) or [_unchanged(journal, before, checkpoint)]
        reasons += found if stored is None else [_closer(each, before, checkpoint, stored) for each in found]
    else:
        reasons.append(_first(journal, checkpoint))
    reasons += _removed(journal, draft)
    return Explanation(checkpoint, draft.status, tuple(reasons))


def _removed(journal: Journal, draft: Draft) -> list[Reason]:
    """That the step's values are not there any more."""
    stones = sorted(journal.removed(draft.stored).values(), key=lambda stone: stone.at)
    return [Reason("removed", draft.name, f"since then its values were {stones[-1]}")] if stones else []


def explain_step(session: Session, name: str | None, *, stored: StoredValue | None = None) -> str:
    """As `explain`, for the newest record of step `name`, or of the newest step.

    Where that step was just stopped before it ran, what stopped it.
    """
    if session.stopped is not None and name in (None, session.stopped[0]):
        return str(session.stopped[1])
    attempt = session.attempt
    recorded = session.engine.journal.checkpoints(attempt.execution) if attempt is not None else []
    chosen = [checkpoint for checkpoint in recorded if name is None or checkpoint.draft.name == name]
    if name is not None and "#" in name and attempt is not None:
        execution = session.engine.journal.execution(attempt.execution)
        chosen = [find_step(session.engine.journal, execution, name)]
    if not chosen:
        what = f"no checkpoint `{name}`" if name else "no checkpoint"
        message = f"this execution has {what} on record yet"
        raise NotFoundError(message, kind="unknown-checkpoint", hint="run the cell first, then %why")
    return str(explain(session.engine.journal, chosen[-1], stored=stored))


def _closer(reason: Reason, before: Checkpoint, now: Checkpoint, stored: StoredValue) -> Reason:
    """`reason`, with what exactly is different about a value where that can be told."""
    if reason.old is None or reason.new is None or reason.what not in now.draft.reads:
        return reason
    names = reason.what.split(",")
    texts = [text for name in names if (text := value_difference(stored, before, now, name)) is not None]
    if not texts:
        return reason
    digests = f"({reason.old[:8]} before, {reason.new[:8]} now)"
    is_code = all(" changed: " in text for text in texts)
    return replace(reason, kind="function" if is_code else "input", text=f"{'; '.join(texts)} {digests}")


def _first(journal: Journal, checkpoint: Checkpoint) -> Reason:
    """Why a step ran that has no completed record before it."""
    name = checkpoint.draft.name
    for earlier in reversed(journal.checkpoints(checkpoint.execution)):
        error = earlier.draft.error
        if earlier.seq < checkpoint.seq and error is not None and _same(earlier, checkpoint):
            text = f"it had failed in attempt {earlier.epoch} ({error['ename']})"
            return Reason("failed", name, text)
    return Reason("first-run", name, "nothing was on record for it yet")


def _before(journal: Journal, checkpoint: Checkpoint) -> Checkpoint | None:
    """The step's newest completed record before `checkpoint`, in its execution or an earlier one."""
    execution = journal.execution(checkpoint.execution)
    earlier = (
        journal.executions(notebook=execution.identity.notebook, limit=20)
        if execution.identity.notebook
        else []
    )
    for other in dict.fromkeys([execution.id, *(found.id for found in earlier)]):
        for candidate in reversed(journal.checkpoints(other)):
            if (
                candidate.seq < checkpoint.seq
                and candidate.draft.status is CheckpointStatus.COMPLETED
                and _same(candidate, checkpoint)
            ):
                return candidate
    return None


def _unchanged(journal: Journal, before: Checkpoint, now: Checkpoint) -> Reason:
    """Why a step ran whose code and inputs are those of its record `before`."""
    directive = find_directive(now.draft.source)
    elsewhere = before.execution != now.execution and journal.execution(now.execution).identity.is_headless
    if directive is not None and directive.fresh:
        text = "its code and inputs are as before; it was run on purpose (`--fresh`)"
    elif elsewhere and before.draft.outside:
        touched = " and ".join(before.draft.outside)
        text = f"it touched {touched} in `{before.execution}`, and is restored from there only with --reuse"
    elif elsewhere:
        text = f"its record is of `{before.execution}`: only marked cells are restored from another execution"
    else:
        text = "its code and inputs are as before; its record could not be used, or it was to run anew"
    return Reason("asked", now.draft.name, text)


def _same(one: Checkpoint, other: Checkpoint) -> bool:
    if one.draft.step is not None and other.draft.step is not None:
        return one.draft.step == other.draft.step
    return one.draft.name == other.draft.name


def differences(old: Draft, new: Draft) -> Sequence[Reason]:
    """What is not as it was between two records of a step."""
    found: list[Reason] = []
    for what in new.unmet:
        if what.startswith(REMOVED):
            text = f"it is on record as it was, but its values were {what.removeprefix(REMOVED)}"
            found.append(Reason("removed", new.name, text))
    if source_code(old.source) != source_code(new.source):
        line = first_difference(old.source, new.source) or "its code changed"
        found.append(Reason("code", new.name, f"its code changed: {line}", old.code, new.code))
    found += _inputs(old.reads, new.reads)
    found += [Reason(*reason) for reason in condition_reasons(old, new)]
    directive = find_directive(new.source)
    if directive is not None:
        before = find_directive(old.source)
        given = set(directive.depends) ^ set(before.depends if before is not None else ())
        found += [
            Reason("file", path, f"`--depends {path}` was added or taken out") for path in sorted(given)
        ]
    if not found or (directive is not None and directive.strict_env):
        found += [Reason(*reason) for reason in version_reasons(old, new)]
    return found


def _inputs(old: Mapping[str, str], new: Mapping[str, str]) -> Iterator[Reason]:
    for name in sorted(old.keys() | new.keys()):
        if old.get(name) == new.get(name):
            continue
        if name not in old:
            text = f"`{name}` was not there when it ran before"
        elif name not in new:
            text = f"`{name}` was there when it ran before and is not now"
        else:
            text = f"`{name}` holds another value ({old[name][:8]} before, {new[name][:8]} now)"
        yield Reason("input", name, text, old.get(name), new.get(name))
