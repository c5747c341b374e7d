"""Which recorded steps the first cells of a notebook still are, and the record that they were restored."""

from __future__ import annotations

import ast
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from kitaru_nb.analysis.directive import find_directive
from kitaru_nb.analysis.names import names_of
from kitaru_nb.analysis.normal import code_digest
from kitaru_nb.artifacts.vault import VAULT
from kitaru_nb.engine.engine import Engine
from kitaru_nb.engine.history import left_later
from kitaru_nb.engine.observe import file_holds, state_of
from kitaru_nb.engine.secrecy import is_same_but_secrets
from kitaru_nb.engine.step_names import same_step
from kitaru_nb.errors import UsageError
from kitaru_nb.model.checkpoint import Checkpoint, CheckpointStatus, Draft
from kitaru_nb.model.execution import Attempt

__all__ = [
    "bound_names",
    "is_same_source",
    "matching_prefix",
    "record_restored",
    "restored_draft",
    "source_code",
    "used_names",
]

_WORD = re.compile(r"[^\W\d]\w*")


def matching_prefix(
    cells: Sequence[tuple[str | None, str]],
    recorded: Sequence[Checkpoint],
    *,
    after: Sequence[int | None] = (None,),
    holds: Callable[[str, str], bool] = file_holds,
) -> list[Checkpoint]:
    """The recorded steps that the first cells of a notebook still are, in order.

    While every cell so far has the code it had and the files it read are as they were, each
    starts from the state it started from, so no value needs to be looked at.

    Args:
        cells: (step, source as typed) of the code cells, in order.
        recorded: Everything on record for the execution.
        after: The commits that the first of them may follow.
        holds: Whether a condition on a file or module still holds.
    """
    known: dict[int | None, list[Checkpoint]] = {}
    for checkpoint in recorded:
        if checkpoint.draft.status is not CheckpointStatus.FAILED:
            known.setdefault(checkpoint.draft.parent, []).append(checkpoint)
    levels: list[dict[int, Checkpoint]] = []
    parents = after
    for step, typed in cells:
        source = VAULT.mask_source(typed)  # as it is on record
        directive = find_directive(source)
        if directive is not None and directive.fresh:
            break
        found = {
            checkpoint.seq: checkpoint
            for parent in parents
            for checkpoint in known.get(parent, ())
            if _is_same_cell(checkpoint.draft, step, source) and _files_hold(checkpoint, recorded, holds)
        }
        if not found:
            break
        levels.append(found)
        parents = list(found)
    return _newest_path(levels)


def _newest_path(levels: Sequence[Mapping[int, Checkpoint]]) -> list[Checkpoint]:
    path: list[Checkpoint] = []
    for level in reversed(levels):
        seq = max(level) if not path else path[-1].draft.parent
        path.append(level[seq])  # type: ignore[index] # a level only holds children of the one before
    return path[::-1]


def _is_same_cell(draft: Draft, step: str | None, source: str) -> bool:
    return same_step(step, draft.step) and is_same_source(draft, source)


def is_same_source(draft: Draft, source: str) -> bool:
    """Whether a cell is what it was when it ran, but for comments, formatting and secrets."""
    return (
        draft.source == source
        or source_code(draft.source) == source_code(source)
        or is_same_but_secrets(draft.source, source)
        or is_same_but_secrets(source, draft.source)  # an early release has missed a secret in it
    )


def _files_hold(
    checkpoint: Checkpoint, recorded: Sequence[Checkpoint], holds: Callable[[str, str], bool]
) -> bool:
    """Files and modules are as they were, or as a later recorded step left them."""
    return all(
        holds(what, digest) or _is_left_later(checkpoint, what, recorded)
        for what, digest in checkpoint.draft.conditions.items()
        if what.startswith(_WITHOUT_KERNEL)
    )


def _is_left_later(checkpoint: Checkpoint, what: str, recorded: Sequence[Checkpoint]) -> bool:
    kind, _, path = what.partition(":")
    return kind == "file" and left_later(checkpoint, path, state_of(path), recorded)


# Conditions that can be looked at before there is a kernel. The others hold in any kernel that
# has run the cells before; an effect that lives in a process does not (see `engine.live`).
_WITHOUT_KERNEL = ("file:", "module:", "live:")


def source_code(source: str) -> str:
    """What a cell's code is, comments and formatting aside; the text itself where it is not plain Python."""
    try:
        directive = find_directive(source)
    except UsageError:
        return source.strip()  # half typed; said when the cell runs
    lines = source.splitlines()
    if directive is not None:
        lines[directive.line - 1] = ""
    text = "\n".join(lines)
    try:
        return code_digest(ast.parse(text))
    except (SyntaxError, ValueError, UsageError):
        return text.strip()


def used_names(source: str) -> frozenset[str]:
    """The names that a cell reads or binds, magics aside; every word where the rest is no Python."""
    text = _without_magics(source)
    try:
        names = names_of(ast.parse(text))
    except (SyntaxError, ValueError):
        return frozenset(_WORD.findall(text))
    return names.reads | names.writes


def bound_names(source: str) -> frozenset[str]:
    """The names that a cell's own code binds or deletes, magics aside; none where the rest is no Python."""
    try:
        names = names_of(ast.parse(_without_magics(source)))
    except (SyntaxError, ValueError):
        return frozenset()
    return names.writes | names.deletes


def _without_magics(source: str) -> str:
    return "\n".join(line for line in source.splitlines() if not line.lstrip().startswith(("%", "!")))


def record_restored(engine: Engine, attempt: Attempt, prefix: Sequence[Checkpoint]) -> list[Checkpoint]:
    """Write `prefix` into `attempt` as restored steps, in one transaction.

    Raises:
        UntrustedError: nobody who is trusted here has signed some of it; nothing is written.
    """
    if not prefix:
        return []
    engine.trust.require(prefix)
    drafts = [restored_draft(checkpoint) for checkpoint in prefix]
    drafts[0] = replace(drafts[0], parent=None)
    return engine.journal.commit_restored(attempt, engine.trust.signed_line(drafts, attempt.execution))


def restored_draft(checkpoint: Checkpoint, **changes: Any) -> Draft:
    """A record that `checkpoint` was restored now."""
    origin = checkpoint.draft.origin if checkpoint.draft.origin is not None else checkpoint.seq
    fields = {
        "status": CheckpointStatus.RESTORED,
        "origin": origin,
        "started_at": datetime.now(UTC),
        "signature": None,
        **changes,
    }
    return checkpoint.draft.having(**fields)
