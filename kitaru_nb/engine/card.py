"""An execution as a notebook shows it: how it stands, and its checkpoints. Nothing in it but text."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from kitaru_nb.engine import markup
from kitaru_nb.engine.refs import checkpoint_names, steps
from kitaru_nb.engine.replay import replay_of
from kitaru_nb.journal.journal import Journal
from kitaru_nb.model.checkpoint import Checkpoint
from kitaru_nb.model.cost import small_dollars
from kitaru_nb.model.execution import ExecutionId
from kitaru_nb.model.words import duration

__all__ = ["card", "checkpoint_table"]

_COLUMNS = ("#", "checkpoint", "status", "took", "cost", "wrote")
_ROWS = 40
_NAMES = 6


def card(journal: Journal, execution: ExecutionId, more: Iterable[str] = ()) -> dict[str, str]:
    """How an execution stands now, as a MIME bundle; `more` are further lines.

    Names and values of the record are text in it, whatever they hold.
    """
    found = journal.execution(execution)
    what = found.identity.flow or found.identity.notebook or ""
    done = steps(journal, execution)
    counts: dict[str, int] = {}
    for step in done:
        counts[_fate(step)] = counts.get(_fate(step), 0) + 1
    head = f"{found.id}: {found.status.value}, {what}"
    lines = []
    replay = replay_of(journal, execution)
    if replay is not None:
        lines.append(f"replays {replay.of} {replay.told()}")
    told = [f"{number} {fate}" for fate, number in counts.items()]
    told += [f"cost {small_dollars(found.cost)}"] if found.cost is not None else []
    told += [f"saved {small_dollars(found.saved_cost)}"] if found.saved_cost is not None else []
    lines += [", ".join(told)] if told else []
    lines += [f"{found.status.value} because: {found.reason}"] if found.reason else []
    lines += more
    hidden = len(done) - _ROWS
    note = f"and {hidden} more: %kitaru show {found.id}" if hidden > 0 else ""
    return {
        "text/plain": "\n".join([head, *lines]),
        "text/html": markup.block(
            markup.strong(head), *map(markup.text, lines), _table(done, most=_ROWS), markup.text(note)
        ),
    }


def checkpoint_table(journal: Journal, execution: ExecutionId) -> str:
    """All steps of an execution as an HTML table; empty where there is none."""
    done = steps(journal, execution)
    return _table(done, most=len(done))


def _table(done: Sequence[Checkpoint], *, most: int) -> str:
    rows = [_row(step, name) for step, name in zip(done, checkpoint_names(done), strict=True)]
    return markup.table(_COLUMNS, rows[:most], numbers=("#", "took", "cost")) if rows else ""


def _row(step: Checkpoint, name: str) -> Sequence[str]:
    draft = step.draft
    names = ", ".join(draft.writes[:_NAMES]) + (" …" if len(draft.writes) > _NAMES else "")
    cost = "" if draft.cost is None else small_dollars(draft.cost)
    return str(step.ordinal), name, _fate(step), duration(draft.duration), cost, names


def _fate(step: Checkpoint) -> str:
    return "overridden" if step.draft.data.get("overridden") else step.draft.status.value
