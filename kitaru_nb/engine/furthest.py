"""Which commit of an execution holds the newest work."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from kitaru_nb.model.checkpoint import Checkpoint, CheckpointStatus

__all__ = ["furthest", "furthest_line"]


def furthest(checkpoints: Iterable[Checkpoint], *, name: str | None = None) -> Checkpoint | None:
    """The commit whose line holds the newest work; with `name`, among the commits of that step.

    What was restored counts as of when it ran, so a later kernel that restored a few cells and
    died does not hide what ran before it. On one line a later commit is further, also when it
    restored an old step.

    Args:
        checkpoints: Steps on record, oldest first.
        name: Of a step.
    """
    newest: dict[int | None, int] = {}
    commits = [c for c in checkpoints if c.draft.status is not CheckpointStatus.FAILED]
    for commit in commits:
        draft = commit.draft
        newest[commit.seq] = max(draft.origin or commit.seq, newest.get(draft.parent, 0))
    chosen = (commit for commit in commits if name in (None, commit.draft.name))
    return max(chosen, key=lambda commit: (newest[commit.seq], commit.seq), default=None)


def furthest_line(checkpoints: Sequence[Checkpoint]) -> list[Checkpoint]:
    """The commits that lead to the furthest one, oldest first."""
    by_seq = {checkpoint.seq: checkpoint for checkpoint in checkpoints}
    line = []
    last = furthest(checkpoints)
    seq = last.seq if last is not None else None
    while seq is not None and seq in by_seq:
        line.append(by_seq[seq])
        seq = by_seq[seq].draft.parent
    return line[::-1]
