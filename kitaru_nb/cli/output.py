"""What commands print: one JSON document, or words and tables for people.

On a terminal tables are drawn by rich; into a pipe they are plain aligned text that is
never cut, so ``grep`` and ``awk`` see everything. Text from records is shown with control
characters made visible: a name must not be able to move the cursor or set a colour.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Collection, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

from cyclopts import Parameter

from kitaru_nb.errors import KitaruError
from kitaru_nb.model import words
from kitaru_nb.model.cost import small_dollars

__all__ = [
    "Json",
    "age",
    "clean",
    "duration",
    "money",
    "print_error",
    "print_json",
    "print_problem",
    "print_table",
    "size",
    "tidy_path",
]

Json = Annotated[bool, Parameter(name="--json", negative=(), help="Print one JSON document.")]
"""The option every verb has."""

_STYLES = {
    "completed": "green",
    "restored": "cyan",
    "overridden": "yellow",
    "running": "blue",
    "waiting": "yellow",
    "failed": "red",
    "interrupted": "magenta",
    "cancelled": "dim",
    "killed": "red",
}
_MINUTE, _HOUR, _DAY = 60, 3600, 86400
_KILO = 1000
_FLEXIBLE = 14  # columns a flexible one may shrink to


def print_json(document: Any) -> None:
    """`document` on stdout. Plain ASCII, so that no locale can spoil it."""
    print(json.dumps(document, indent=2, allow_nan=False))


def print_error(error: KitaruError, *, as_json: bool) -> None:
    """What failed and what to type now: on stderr, or with `as_json` as a document on stdout."""
    if as_json:
        print_json(error.document)
        return
    print(f"error: {clean(error.message)}", file=sys.stderr)
    if error.hint:
        print(f"  Try: {clean(error.hint)}", file=sys.stderr)


def print_problem(text: str) -> None:
    """Something that ends nothing, on stderr; nothing where there is none."""
    if text:
        print(f"warning: {clean(text)}", file=sys.stderr)


def print_table(
    columns: Sequence[str], rows: Sequence[Sequence[str]], *, flexible: Collection[str] = ()
) -> None:
    """`rows` under `columns`. Empty columns are left out; a cell that names a status is coloured.

    On a terminal that is too narrow the `flexible` columns are wrapped; where that is not
    enough each row becomes a small block.
    """
    kept = [i for i in range(len(columns)) if any(row[i] for row in rows)]
    heads = [columns[i] for i in kept]
    cells = [[clean(row[i]) for i in kept] for row in rows]
    widths = [max(len(head), *(len(row[i]) for row in cells)) for i, head in enumerate(heads)]
    if not sys.stdout.isatty():
        for row in [[head.upper() for head in heads], *cells]:
            print("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())
    else:
        fixed = [None if head in flexible else width for head, width in zip(heads, widths, strict=True)]
        _print_rich(heads, cells, fixed)


def clean(text: str) -> str:
    """`text` on one line with anything that is not printable made visible."""
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode("ascii") for c in text)


def duration(seconds: float | None) -> str:
    """As `model.words.duration`; nothing when not known."""
    return "" if seconds is None else words.duration(seconds)


def age(moment: datetime) -> str:
    """How long ago `moment` was, in one unit: ``3 min ago``."""
    seconds = max(0.0, (datetime.now(UTC) - moment).total_seconds())
    for unit, length in (("d", _DAY), ("h", _HOUR), ("min", _MINUTE)):
        if seconds >= length:
            return f"{int(seconds // length)} {unit} ago"
    return f"{int(seconds)} s ago"


def size(count: int | None) -> str:
    """``812 B``, ``4.2 kB``, ``1.3 GB`` (powers of 1000)."""
    if count is None:
        return ""
    value = float(count)
    for unit in ("B", "kB", "MB", "GB"):
        if value < _KILO:
            return f"{value:.0f} {unit}" if unit == "B" or value >= 100 else f"{value:.1f} {unit}"
        value /= _KILO
    return f"{value:.1f} TB"


def tidy_path(path: str) -> str:
    """`path` as short as it can be typed here: below this folder, else below ``~``, else in full."""
    for base, prefix in ((Path.cwd(), ""), (Path.home(), "~" + os.sep)):
        try:
            return prefix + str(Path(path).relative_to(base))
        except ValueError:
            continue
    return path


def money(cost: float | None) -> str:
    """``$0.0042``, ``$12.30``, ``<$0.0001`` for what would round to nothing; nothing when not known."""
    return "" if cost is None else small_dollars(cost) if cost < 1 else f"${cost:.2f}"


def _print_rich(heads: Sequence[str], cells: Sequence[Sequence[str]], widths: Sequence[int | None]) -> None:
    """A table, or blocks where it does not fit; a column without a width is flexible."""
    from rich.console import Console  # noqa: PLC0415 - a pipe and --json need no rich
    from rich.table import Table  # noqa: PLC0415 - as above
    from rich.text import Text  # noqa: PLC0415 - as above

    console = Console(highlight=False)
    styled = [[Text(cell, style=_STYLES.get(cell, "")) for cell in row] for row in cells]
    if sum(width or _FLEXIBLE for width in widths) + 2 * len(widths) > console.width:
        _print_narrow(console, heads, styled)
        return
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold")
    for head, width in zip(heads, widths, strict=True):
        table.add_column(head, no_wrap=width is not None, overflow="fold")
    for row in styled:
        table.add_row(*row)
    console.print(table)


def _print_narrow(console: Any, heads: Sequence[str], rows: Sequence[Sequence[Any]]) -> None:
    """Each row as a small block, for terminals the table does not fit."""
    for row in rows:
        console.print(*row[:2])
        for head, cell in zip(heads[2:], row[2:], strict=True):
            if cell.plain:
                console.print(f"  {head}:", cell)


def counted(things: Mapping[str, int]) -> str:
    """``8 restored, 4 completed``; kinds with none are left out."""
    return ", ".join(f"{number} {kind}" for kind, number in things.items() if number)
