"""Which commit of an execution holds the newest work."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from kitaru_nb.model.checkpoint import Checkpoint, CheckpointStatus
from kitaru_nb.model.event import Event

__all__ = ["furthest", "furthest_line", "left_at"]


def furthest(
    checkpoints: Iterable[Checkpoint], *, name: str | None = None, left: int = 0
) -> Checkpoint | None:
    """The commit whose line holds the newest work; with `name`, among the commits of that step.

    What was restored counts as of when it ran, so a later kernel that restored a few cells and
    died does not hide what ran before it. On one line a later commit is further, also when it
    restored an old step. A later line that restored what the furthest one does not hold has left
    it: an edit was taken back, or a cell was deleted. Then the later line is what there was, and
    so it is when it went through every step of the furthest one. Whoever asked for an earlier
    commit and went on from there has left what was after it.

    Args:
        checkpoints: Steps on record, oldest first.
        name: Of a step.
        left: `seq` of the last commit that somebody went back from, see `left_at`.
    """
    newest: dict[int | None, int] = {}
    commits = [c for c in checkpoints if c.draft.status is not CheckpointStatus.FAILED]
    for commit in commits:
        draft = commit.draft
        newest[commit.seq] = max(draft.origin or commit.seq, newest.get(draft.parent, 0))
    chosen = [commit for commit in commits if name in (None, commit.draft.name)]
    chosen = [commit for commit in chosen if commit.seq > left] or chosen
    if not chosen:
        return None
    best = max(chosen, key=lambda commit: (newest[commit.seq], commit.seq))
    last = chosen[-1]
    at = {commit.seq: commit for commit in commits}
    if last is best:
        return best
    ran, steps = _on_line(last, at)
    ran_further, further_steps = _on_line(best, at)
    return best if ran <= ran_further and not further_steps <= steps else last


def left_at(events: Iterable[Event], checkpoints: Iterable[Checkpoint]) -> int:
    """`seq` of the newest commit there was when somebody last went on from an earlier one; 0 for nobody.

    Who asked for an earlier commit and has committed nothing since has only looked at it.
    """
    newest = max((c.seq for c in checkpoints if c.draft.status is not CheckpointStatus.FAILED), default=0)
    asked = (event.data.get("left", 0) for event in events if event.kind == "resumed")
    return max((left for left in asked if left < newest), default=0)


def _on_line(commit: Checkpoint, at: Mapping[int, Checkpoint]) -> tuple[set[int], set[str]]:
    """The commits that hold what ran on the line up to `commit`, and the steps on it."""
    ran, steps = set(), set()
    each: Checkpoint | None = commit
    while each is not None:
        ran.add(each.draft.origin or each.seq)
        steps.add(each.draft.step or each.draft.name)
        each = at.get(each.draft.parent) if each.draft.parent is not None else None
    return ran, steps


def furthest_line(checkpoints: Sequence[Checkpoint], *, left: int = 0) -> list[Checkpoint]:
    """The commits that lead to the furthest one, oldest first; `left` as in `furthest`."""
    by_seq = {checkpoint.seq: checkpoint for checkpoint in checkpoints}
    line = []
    last = furthest(checkpoints, left=left)
    seq = last.seq if last is not None else None
    while seq is not None and seq in by_seq:
        line.append(by_seq[seq])
        seq = by_seq[seq].draft.parent
    return line[::-1]
