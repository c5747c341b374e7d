"""`cost`: what model calls have cost, and what the record has saved."""

from __future__ import annotations

from contextlib import closing
from typing import Annotated

from cyclopts import Parameter

from kitaru_nb.cli.output import Json, print_json, print_table
from kitaru_nb.engine.costs import By, CostRow, costs
from kitaru_nb.engine.refs import find_execution
from kitaru_nb.model.cost import dollars
from kitaru_nb.stacks.settings import begun_after
from kitaru_nb.stacks.whereabouts import engine_with

__all__ = ["cost"]

_BAR = 20  # characters of the longest bar
_BLOCKS = " ▏▎▍▌▋▊▉█"


def cost(
    execution: str | None = None,
    /,
    *,
    by: Annotated[By, Parameter(metavar="WHAT", show_choices=False)] = By.EXECUTION,
    tag: Annotated[str | None, Parameter(metavar="TAG")] = None,
    since: Annotated[str | None, Parameter(metavar="TIME")] = None,
    json: Json = False,
) -> int:
    """Say what model calls have cost, and what was saved by not making them again.

    Args:
        execution: One execution alone; all of them without it.
        by: Add up by execution, checkpoint, tag, model or day.
        tag: Only executions with this tag.
        since: Only executions begun since then: a length of time such as 2h, or a date.
        json: Print one JSON document.
    """
    moment = None if since is None else begun_after(since)
    with closing(engine_with(execution, read_only=True)) as engine:
        chosen = None if execution is None else find_execution(engine.journal, execution).id
        rows = costs(engine.journal, by=by, execution=chosen, tag=tag, since=moment)
    if json:
        print_json([row.to_json(by) for row in rows])
    elif not rows:
        print("no model call is on record")
    else:
        _print(by, rows)
    return 0


def _print(by: By, rows: list[CostRow]) -> None:
    most = max((row.cost or 0.0) for row in rows)
    total = CostRow("total")
    table = []
    for row in rows:
        table.append([*_cells(row), bar(row.cost or 0.0, most)])
        total.calls += row.calls
        total.input_tokens += row.input_tokens
        total.output_tokens += row.output_tokens
        total.unpriced += row.unpriced
        total.served += row.served
        if row.cost is not None:
            total.cost = (total.cost or 0.0) + row.cost
        if row.saved is not None:
            total.saved = (total.saved or 0.0) + row.saved
    if len(rows) > 1 and by is not By.TAG:  # an execution may have several tags
        table.append([*_cells(total), ""])
    columns = (by.value, "calls", "input", "output", "cost", "saved", "not made again", "")
    print_table(columns, table)
    if total.unpriced:
        one = total.unpriced == 1
        many = "1 call has no price and is" if one else f"{total.unpriced} calls have no price and are"
        print(f"{many} missing in the cost. Try: [tool.kitaru_nb.prices] in pyproject.toml")


def _cells(row: CostRow) -> list[str]:
    if row.cost is None:
        paid = "no price" if row.calls else ""
    else:
        paid = dollars(row.cost) + (" +" if row.unpriced else "")
    return [
        row.label,
        str(row.calls),
        f"{row.input_tokens:,}",
        f"{row.output_tokens:,}",
        paid,
        "" if row.saved is None else dollars(row.saved),
        str(row.served or ""),
    ]


def bar(part: float, whole: float) -> str:
    """A bar as long as `part` is of `whole`, in eighths of a character."""
    if whole <= 0 or part <= 0:
        return ""
    eighths = max(1, round(part / whole * _BAR * 8))
    return _BLOCKS[8] * (eighths // 8) + _BLOCKS[eighths % 8].strip()
