"""A handle of an execution as a notebook shows it: small, and nothing in it but text."""

from __future__ import annotations

import html
from collections.abc import Iterable

from kitaru_nb.engine.refs import steps
from kitaru_nb.engine.replay import replay_of
from kitaru_nb.journal.journal import Journal
from kitaru_nb.model.cost import small_dollars
from kitaru_nb.model.execution import ExecutionId

__all__ = ["card"]

_STYLE = "font-size:var(--jp-ui-font-size1,13px);color:var(--jp-ui-font-color1,#212121)"


def card(journal: Journal, execution: ExecutionId, more: Iterable[str] = ()) -> dict[str, str]:
    """How an execution stands now, as a MIME bundle; `more` are further lines.

    Names and values of the record are text in it, whatever they hold.
    """
    found = journal.execution(execution)
    what = found.identity.flow or found.identity.notebook or ""
    counts: dict[str, int] = {}
    for step in steps(journal, execution):
        fate = "overridden" if step.draft.data.get("overridden") else step.draft.status.value
        counts[fate] = counts.get(fate, 0) + 1
    lines = [f"{found.id}: {found.status.value}, {what}"]
    replay = replay_of(journal, execution)
    if replay is not None:
        lines.append(f"replays {replay.of} {replay.told()}")
    told = [f"{number} {fate}" for fate, number in counts.items()]
    told += [f"cost {small_dollars(found.cost)}"] if found.cost is not None else []
    told += [f"saved {small_dollars(found.saved_cost)}"] if found.saved_cost is not None else []
    lines += [", ".join(told)] if told else []
    lines += [f"{found.status.value} because: {found.reason}"] if found.reason else []
    lines += more
    text = "\n".join(lines)
    shown = "<br>".join(html.escape(line) for line in lines)
    return {"text/plain": text, "text/html": f'<div style="{_STYLE}">{shown}</div>'}
