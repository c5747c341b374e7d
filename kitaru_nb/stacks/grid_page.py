"""How the points of a grid stand, as a page beside their outputs.

Every text in it is from a notebook or a record and is escaped. There is no script in it, and nothing
from elsewhere; its own policy forbids both.
"""

from __future__ import annotations

import html as markup
import math
import os
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol
from urllib.parse import quote

from kitaru_nb.model import words
from kitaru_nb.model.cost import small_dollars
from kitaru_nb.model.execution import ExecutionStatus
from kitaru_nb.stacks.grid import shown_values
from kitaru_nb.stacks.grid_rows import PENDING, Row, counted, status_of
from kitaru_nb.stacks.html_page import page_path
from kitaru_nb.stacks.notebooks import is_remote, write_atomically

__all__ = ["FilePage", "NoPage", "Page", "markup_of", "page_beside", "shown_metric"]

_NAME = "index.html"
_SPARE = "index.kitaru-nb.html"
_GENERATOR = "<meta name='generator' content='kitaru_nb grid'>"
_POLICY = "default-src 'none'; style-src 'unsafe-inline'"
_REFRESH = 5  # seconds; the page of a grid that runs loads itself again
_LONGEST = 80  # characters of a metric
_OPEN = (ExecutionStatus.RUNNING.value, PENDING)


class Page(Protocol):
    """Where it is told how a grid stands."""

    path: Path | None
    problem: str

    def write(self, rows: Sequence[Row]) -> None:
        """Tell it; what keeps it from that is in `problem`, and ends nothing."""
        ...


class NoPage:
    """Nowhere: the outputs are in no one folder of this machine."""

    path: Path | None = None
    problem = ""

    def write(self, rows: Sequence[Row]) -> None:
        """Nothing is written."""


class FilePage:
    """A file, which is written anew each time, so that it is whole whenever it is read.

    Args:
        path: Where.
        title: What the grid is of.
        tag: What its executions are tagged with.
    """

    def __init__(self, path: Path, *, title: str, tag: str) -> None:
        self.path: Path | None = path
        self.problem = ""
        self._target = path
        self._title = title
        self._tag = tag

    def write(self, rows: Sequence[Row]) -> None:
        """Write it; a reader sees the old or the new one."""
        text = markup_of(rows, title=self._title, tag=self._tag, folder=self._target.parent)
        try:
            write_atomically(text, self._target)
        except OSError as error:
            self.problem = f"`{self._target}` could not be written: {error.strerror or error}"


def page_beside(outputs: Sequence[str | None], *, title: str, tag: str) -> Page:
    """The page in the folder of the outputs: ``index.html``, or beside one that somebody else made."""
    folders = {os.path.dirname(output) for output in outputs if output and not is_remote(output)}  # noqa: PTH120 - paths are text here
    if len(folders) != 1 or any(output is None or is_remote(output) for output in outputs):
        return NoPage()
    folder = Path(folders.pop())
    name = _NAME if _may_be_replaced(folder / _NAME) else _SPARE
    return FilePage(folder / name, title=title, tag=tag)


def markup_of(rows: Sequence[Row], *, title: str, tag: str, folder: Path) -> str:
    """The whole page, with links relative to `folder`."""
    axes = list(dict.fromkeys(name for row in rows for name in row.point.values))
    metrics = list(dict.fromkeys(name for row in rows for name in row.metrics))
    notebooks = len({row.point.notebook for row in rows}) > 1 or not axes
    goes_on = any(row.running for row in rows)
    heads = [("#", "n"), *([("notebook", "")] if notebooks else []), *((name, "") for name in axes)]
    heads += [("status", ""), ("took", "n"), ("saved", "n"), ("cost", "n")]
    heads += [*((name, "n") for name in metrics), ("kept values", ""), ("output", "")]
    spans = {name: _span(rows, name) for name in metrics}
    body = [_cells(row, axes, metrics, spans, notebooks=notebooks, folder=folder) for row in rows]
    empty = [i for i in range(len(heads)) if heads[i][0] in ("saved", "cost", "kept values")]
    dropped = {i for i in empty if not any(cells[i][0] for cells in body)}
    head = "".join(
        f"<th class='{css}' scope='col'>{_text(name)}</th>"
        for i, (name, css) in enumerate(heads)
        if i not in dropped
    )
    lines = "".join(
        f"<tr class='{_text(status_of(row))}'>"
        + "".join(f"<td{css}>{cell}</td>" for i, (cell, css) in enumerate(cells) if i not in dropped)
        + "</tr>"
        + _reason(row, len(heads) - len(dropped))
        for row, cells in zip(rows, body, strict=True)
    )
    chips = "".join(
        f"<li class='{name}'><b>{number}</b> {name}</li>" for name, number in counted(list(rows)).items()
    )
    refresh = f"<meta http-equiv='refresh' content='{_REFRESH}'>" if goes_on else ""
    now = time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime())
    total = [row.execution.cost for row in rows if row.execution and row.execution.cost is not None]
    spent = f" · {_money(sum(total))}" if total else ""
    return (
        f"<!doctype html><html lang='en'><head><meta charset='utf-8'>{_GENERATOR}"
        f"<meta http-equiv='Content-Security-Policy' content=\"{_POLICY}\">{refresh}"
        "<meta name='viewport' content='width=device-width'>"
        f"<title>{_text(title)}</title><style>{_STYLE}</style></head><body><main>"
        f"<h1>{_text(title)}</h1><p class='soft'>{len(rows)} runs{_text(spent)} · <code>{_text(tag)}</code>"
        f" · {now}</p><ul>{chips}</ul>"
        f"<div class='table'><table><thead><tr>{head}</tr></thead><tbody>{lines}</tbody></table></div>"
        "</main></body></html>\n"
    )


def shown_metric(value: Any) -> str:
    """A metric in few characters."""
    if isinstance(value, float):
        return f"{value:.6g}"
    text = value if isinstance(value, str) else str(value)
    return text if len(text) <= _LONGEST else f"{text[: _LONGEST - 1]}…"


def _cells(
    row: Row,
    axes: Sequence[str],
    metrics: Sequence[str],
    spans: Mapping[str, tuple[float, float] | None],
    *,
    notebooks: bool,
    folder: Path,
) -> list[tuple[str, str]]:
    number = " class='n'"
    status = status_of(row)
    seen = row.execution
    values = shown_values(row.point)
    cells = [(str(row.point.number), number)]
    if notebooks:
        cells.append((_text(os.path.basename(row.point.notebook)), ""))  # noqa: PTH119 - it may be a URL
    cells += [(_text(values.get(name, "")), "") for name in axes]
    earlier = " <i>earlier</i>" if row.kept else ""
    cells.append((f"<span class='pill'>{_text(status)}</span>{earlier}", ""))
    cells.append((_text(words.duration(seen.duration)) if seen and seen.ended_at else "", number))
    cells.append((_text(words.duration(seen.saved_duration)) if seen and seen.saved_duration else "", number))
    cells.append((_text(_money(seen.cost)) if seen and seen.cost is not None else "", number))
    for name in metrics:
        value = row.metrics.get(name)
        cells.append(("" if value is None else _text(shown_metric(value)), _bar(value, spans[name])))
    cells.append((", ".join(f"<code>{_text(name)}</code>" for name in row.saved), ""))
    cells.append((_link(row.output, folder), " class='to'"))
    return cells


def _money(cost: float) -> str:
    return small_dollars(cost) if cost < 1 else f"${cost:.2f}"


def _reason(row: Row, width: int) -> str:
    first = next(iter(row.reason.splitlines()), "")
    if not first:
        return ""
    return f"<tr class='why'><td></td><td colspan='{width - 1}'>{_text(first)}</td></tr>"


def _link(output: str | None, folder: Path) -> str:
    if output is None:
        return ""
    if is_remote(output):
        return f"<code>{_text(output)}</code>"
    name = os.path.relpath(output, folder)
    links = [f"<a href='./{quote(name)}'>{_text(name)}</a>"] if Path(output).exists() else [_text(name)]
    page = page_path(Path(output))
    if page.exists():
        links.append(f"<a href='./{quote(os.path.relpath(page, folder))}'>page</a>")
    return " · ".join(links)


def _span(rows: Sequence[Row], name: str) -> tuple[float, float] | None:
    """The smallest and the largest of a metric; None where there is nothing to compare."""
    values = [row.metrics.get(name) for row in rows]
    found = [float(value) for value in values if value is not None and _is_number(value)]
    return (min(found), max(found)) if len(found) > 1 and min(found) < max(found) else None


def _bar(value: Any, span: tuple[float, float] | None) -> str:
    if span is None or not _is_number(value):
        return " class='n'"
    share = (float(value) - span[0]) / (span[1] - span[0])
    return f" class='n bar' style='--share:{share:.3f}'"


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _may_be_replaced(path: Path) -> bool:
    try:
        with path.open("rb") as file:
            return _GENERATOR.encode() in file.read(1000)
    except FileNotFoundError:
        return True
    except OSError:
        return False


def _text(text: object) -> str:
    return markup.escape(str(text), quote=True)


_STYLE = """
:root { color-scheme: light dark; --page: #fbfbfa; --card: #fff; --ink: #1f2328; --soft: #656d76;
  --line: #d8dee4; --bar: #0969da1c; --completed: #1a7f37; --failed: #cf222e; --waiting: #9a6700;
  --interrupted: #8250df; --running: #0969da; --other: #656d76 }
@media (prefers-color-scheme: dark) { :root { --page: #0d1117; --card: #151b23; --ink: #e6edf3;
  --soft: #9198a1; --line: #30363d; --bar: #4493f82e; --completed: #3fb950; --failed: #f85149;
  --waiting: #d29922; --interrupted: #ab7df8; --running: #4493f8; --other: #9198a1 } }
* { box-sizing: border-box }
body { margin: 0; background: var(--page); color: var(--ink); font: 15px/1.5 system-ui, sans-serif }
main { margin: 0 auto; padding: 2.2rem 1.4rem 4rem; max-width: 90rem }
h1 { font-size: 1.45rem; margin: 0; overflow-wrap: anywhere }
.soft, i { color: var(--soft); font-style: normal } p { margin: .3rem 0 1rem }
code { font: .92em ui-monospace, monospace } a { color: var(--running) }
ul { display: flex; flex-wrap: wrap; gap: .5rem; list-style: none; margin: 0 0 1.2rem; padding: 0 }
li, .pill { --tone: var(--other); color: var(--tone); border-radius: 99px; white-space: nowrap;
  background: color-mix(in srgb, var(--tone) 13%, transparent) }
li { padding: .15rem .8rem } .pill { padding: .1rem .6rem; font-size: .88em }
.completed, .completed .pill { --tone: var(--completed) } .failed, .failed .pill { --tone: var(--failed) }
.waiting, .waiting .pill { --tone: var(--waiting) } .running, .running .pill { --tone: var(--running) }
.interrupted, .interrupted .pill { --tone: var(--interrupted) }
.table { overflow-x: auto; background: var(--card); border: 1px solid var(--line); border-radius: 10px }
table { border-collapse: collapse; width: 100% }
th, td { padding: .45rem .8rem; text-align: left; white-space: nowrap; border-top: 1px solid var(--line) }
thead th { border-top: 0; color: var(--soft); font-weight: 600; font-size: .85em; background: var(--card);
  position: sticky; top: 0 }
.n { text-align: right; font-variant-numeric: tabular-nums }
.bar { background: linear-gradient(to left, var(--bar) calc(var(--share) * 100%), transparent 0) }
.to { white-space: normal; overflow-wrap: anywhere; min-width: 16em }
.why td { border-top: 0; padding-top: 0; color: var(--soft); white-space: normal; font-size: .9em }
tbody tr:hover:not(.why) { background: color-mix(in srgb, var(--ink) 4%, transparent) }
@media print { .table { border: 0; overflow: visible } }
"""
