"""The nouns as JSON: the fields that every ``--json`` answer has, and no others.

Times are ISO 8601 in UTC with a ``Z``, durations seconds, sizes bytes; what is not known is
null.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from kitaru_nb.engine.refs import RESULT, Ref, checkpoint_names, named_steps, steps, value_refs
from kitaru_nb.engine.replays import replays_of
from kitaru_nb.engine.stops import stops_as_waits
from kitaru_nb.journal.journal import Journal
from kitaru_nb.model.artifact import Artifact, Digest, Tombstone
from kitaru_nb.model.checkpoint import Checkpoint, StepKind
from kitaru_nb.model.execution import Execution
from kitaru_nb.model.wait import Wait

__all__ = [
    "artifact_json",
    "artifacts_json",
    "checkpoints_json",
    "execution_json",
    "is_saved",
    "noted_text",
    "result_ref",
    "show_json",
    "time_json",
    "wait_json",
]

_SHOWN = (StepKind.CELL, StepKind.CALL, StepKind.RESULT)


def time_json(moment: datetime | None) -> str | None:
    """``2026-03-01T12:00:00.123456Z``, or None."""
    if moment is None:
        return None
    return moment.astimezone(UTC).isoformat().removesuffix("+00:00") + "Z"


def execution_json(execution: Execution) -> dict[str, Any]:
    """An execution's fields."""
    return {
        "id": execution.id,
        "status": execution.status.value,
        "notebook": execution.identity.notebook,
        "flow": execution.identity.flow,
        "started_at": time_json(execution.started_at),
        "ended_at": time_json(execution.ended_at),
        "duration": _number(execution.duration),
        "cost": _number(execution.cost),
        "tokens": execution.tokens,
        "saved_cost": _number(execution.saved_cost),
        "saved_duration": _number(execution.saved_duration),
        "parent": execution.parent,
        "tags": list(execution.tags),
        "attempts": execution.attempts,
    }


def show_json(journal: Journal, execution: Execution) -> dict[str, Any]:
    """An execution's fields, with its checkpoints and waits, and what replays it where anything does."""
    waits = journal.waits(execution.id) + stops_as_waits(journal, execution.id)
    found = {
        **execution_json(execution),
        "checkpoints": checkpoints_json(journal, execution),
        "waits": [wait_json(wait) for wait in waits],
    }
    found |= {"result": ref} if (ref := result_ref(journal, execution)) is not None else {}
    replays = [by for by, _ in replays_of(journal, execution.id)]
    return found | {"replays": replays} if replays else found


def wait_json(wait: Wait) -> dict[str, Any]:
    """A wait's fields; one that was answered before it was asked has no question and no schema."""
    asked = wait.asked_at is not None
    return {
        "address": wait.address,
        "execution": wait.execution,
        "name": wait.name,
        "kind": wait.kind.value,
        "question": wait.question if asked else None,
        "schema": None if wait.schema is None else dict(wait.schema),
        "show": wait.show,
        "status": wait.status.value,
        "asked_at": time_json(wait.asked_at),
        "deadline": time_json(wait.deadline),
        "answer": _finite(wait.answer),
        "answered_by": wait.answered_by,
        "answered_at": time_json(wait.answered_at),
        "reason": wait.reason,
        "binding": wait.binding,
    }


def checkpoints_json(journal: Journal, execution: Execution) -> list[dict[str, Any]]:
    """The fields of each of the execution's steps, in order (see `engine.refs.steps`)."""
    found = steps(journal, execution.id)
    return _checkpoints(journal, list(zip(found, checkpoint_names(found), strict=True)))


def _checkpoints(journal: Journal, found: Sequence[tuple[Checkpoint, str]]) -> list[dict[str, Any]]:
    wanted = {group.artifact for step, _ in found for group in step.draft.groups}
    known: dict[Digest, Artifact | Tombstone] = {**journal.removed(wanted), **journal.artifacts(wanted)}
    return [_checkpoint(step, label, known) for step, label in found]


def result_ref(journal: Journal, execution: Execution) -> str | None:
    """The reference of what a flow has returned; None before it has, and for a notebook."""
    if execution.identity.flow is None:
        return None
    found = named_steps(journal, execution.id)
    named = zip(found, checkpoint_names(found), strict=True)
    results = [label for step, label in named if step.draft.kind is StepKind.RESULT]
    return str(Ref(execution.id, results[-1], RESULT)) if results else None


def artifacts_json(journal: Journal, execution: Execution) -> list[dict[str, Any]]:
    """What the execution stored, in order, each artifact of a step once: steps, saved values, a result."""
    found = named_steps(journal, execution.id)
    listed = [
        (step, label)
        for step, label in zip(found, checkpoint_names(found), strict=True)
        if step.draft.kind in _SHOWN or is_saved(step)
    ]
    return [artifact for step in _checkpoints(journal, listed) for artifact in step["artifacts"]]


def is_saved(step: Checkpoint) -> bool:
    """Whether it is a value that the user's code has saved, not what a flow or a replay began with."""
    draft = step.draft
    names = [group.names for group in draft.groups]
    return draft.kind is StepKind.VALUE and names == [(draft.name,)] and "qualname" not in draft.data


def noted_text(noted: Mapping[str, Any]) -> str:
    """What code has noted with ``log``, in a line."""
    return "logged " + ", ".join(f"{name}={value!r}" for name, value in noted.items())


def artifact_json(ref: str, names: Sequence[str], artifact: Artifact) -> dict[str, Any]:
    """The fields of one artifact, under the `ref` it was asked for by."""
    return _artifact(ref, names, artifact.digest, artifact)


def _checkpoint(step: Checkpoint, label: str, known: Mapping[Digest, Artifact | Tombstone]) -> dict[str, Any]:
    draft = step.draft
    return {
        "name": draft.name,
        "ordinal": step.ordinal,
        "status": draft.status.value,
        "key": draft.key,
        "started_at": time_json(draft.started_at),
        "duration": _number(draft.duration),
        "cost": _number(draft.cost),
        "reads": sorted(draft.reads),
        "writes": list(draft.writes),
        "files": [_file(file) for file in draft.files],
        "artifacts": [
            _artifact(
                value_refs(step.execution, label, group)[0],
                group.names,
                group.artifact,
                known.get(group.artifact),
            )
            for group in draft.groups
            if group.names
        ],
    }


def _file(file: Mapping[str, Any]) -> dict[str, Any]:
    told = dict(file)
    if "mtime" in told:  # nanoseconds on record, and in a stranger's record anything
        try:
            told["mtime"] = time_json(datetime.fromtimestamp(told["mtime"] / 1e9, UTC))
        except (ArithmeticError, ValueError, TypeError, OSError):
            told["mtime"] = None
    return told


def _artifact(
    ref: str, names: Sequence[str], digest: Digest, known: Artifact | Tombstone | None
) -> dict[str, Any]:
    fields: dict[str, Any] = {
        "ref": ref,
        "names": list(names),
        "digest": digest,
        "bytes": known.bytes if known else None,
        "codec": known.codec if known else None,
    }
    if isinstance(known, Tombstone):
        fields["removed"] = {"at": time_json(known.at), "policy": known.policy}
    return fields


def _finite(answer: Any) -> Any:
    """An answer as JSON: an early release took numbers that JSON cannot write, which are told as text."""
    try:
        json.dumps(answer, allow_nan=False)
    except ValueError:
        return json.loads(json.dumps(answer), parse_constant=str)
    return answer


def _number(value: float | None) -> float | None:
    """JSON has no infinity and no not-a-number."""
    return value if value is not None and math.isfinite(value) else None
