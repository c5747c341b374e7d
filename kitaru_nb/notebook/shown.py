"""What `%kitaru show` and `%kitaru cost` show where there is HTML: the same words as a table and a plot."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import closing

from kitaru_nb.engine import markup
from kitaru_nb.engine.card import checkpoint_table
from kitaru_nb.engine.costs import By, CostRow, costs
from kitaru_nb.engine.refs import LATEST, find_execution
from kitaru_nb.model.cost import small_dollars
from kitaru_nb.model.execution import ExecutionId
from kitaru_nb.stacks.open import open_engine
from kitaru_nb.stacks.settings import resolve

__all__ = ["as_html", "cost_html"]

_ROWS = 30
_COLUMNS = ("calls", "input", "output", "cost", "saved", "not made again")


def as_html(words: Sequence[str], said: str) -> str | None:
    """The HTML for a verb as it was typed; None for one that is words alone.

    Args:
        words: The verb and its arguments.
        said: What it printed, having succeeded.
    """
    match words:
        case ["show"]:
            return _show(LATEST, said)
        case ["show", execution] if not execution.startswith("-"):
            return _show(execution, said)
        case ["cost"]:
            return _cost(None, By.EXECUTION)
        case ["cost", "--by", what]:
            return _cost(None, By(what))
        case ["cost", execution] if not execution.startswith("-"):
            return _cost(execution, By.EXECUTION)
        case ["cost", execution, "--by", what] if not execution.startswith("-"):
            return _cost(execution, By(what))
    return None


def _show(execution: str, said: str) -> str | None:
    """The same with a table in place of the aligned one, which stands between two blank lines."""
    parts = said.strip("\n").split("\n\n")
    if len(parts) != 3:
        return None
    with closing(open_engine(resolve(), read_only=True)) as engine:
        table = checkpoint_table(engine.journal, find_execution(engine.journal, execution).id)
    first, *more = parts[0].splitlines()
    rest = map(markup.text, parts[2].splitlines())
    return markup.block(markup.strong(first), *map(markup.text, more), table, *rest)


def _cost(execution: str | None, by: By) -> str | None:
    with closing(open_engine(resolve(), read_only=True)) as engine:
        chosen: ExecutionId | None = None
        if execution is not None:
            chosen = find_execution(engine.journal, execution).id
        rows = costs(engine.journal, by=by, execution=chosen)
    return cost_html(by, rows) if rows else None


def cost_html(by: By, rows: Sequence[CostRow]) -> str:
    """Sums as a table, and what was paid as bars; by day in the order of the days."""
    hidden = len(rows) - _ROWS
    shown = rows[-_ROWS:] if by is By.DAY else rows[:_ROWS]
    plotted = [(row.label, row.cost or 0.0, _dollars(row.cost)) for row in shown]
    more = f"and {hidden} more: kitaru-nb cost --by {by.value}" if hidden > 0 else ""
    unpriced = sum(row.unpriced for row in rows)
    return markup.block(
        markup.table((by.value, *_COLUMNS), [_row(row) for row in shown], numbers=_COLUMNS),
        markup.bars(plotted, title=f"Cost by {by.value}"),
        markup.text(more),
        markup.text(f"without a price, and missing in the cost: calls {unpriced}" if unpriced else ""),
    )


def _row(row: CostRow) -> Sequence[str]:
    return (
        row.label,
        str(row.calls),
        f"{row.input_tokens:,}",
        f"{row.output_tokens:,}",
        (_dollars(row.cost) + (" +" if row.unpriced else "")) if row.calls else "",
        "" if row.saved is None else small_dollars(row.saved),
        str(row.served or ""),
    )


def _dollars(cost: float | None) -> str:
    return "no price" if cost is None else small_dollars(cost)
