"""Tables and bars as HTML for notebooks: text in a frame, no script, and colours that are the front end's.

Whatever a text holds, it is text in what comes out: markup is escaped, and what is not printable,
such as a character that turns the direction of writing, is made visible.
"""

from __future__ import annotations

import html
from collections.abc import Collection, Sequence

__all__ = ["bars", "block", "seen", "strong", "table", "text"]

_FONT = "font-family:var(--jp-ui-font-family,inherit);font-size:var(--jp-ui-font-size1,13px);line-height:1.5"
_COLOUR = "color:var(--jp-ui-font-color1,inherit)"
_LINE = "1px solid var(--jp-border-color2,rgba(128,128,128,.4))"
_CELL = "padding:2px 14px 2px 0;text-align:{};vertical-align:top;white-space:pre-wrap"
_DIM = "opacity:.7"
_MARKS = {
    "completed": "var(--jp-success-color1,#2e7d32)",
    "restored": "var(--jp-info-color1,#0277bd)",
    "running": "var(--jp-brand-color1,#1976d2)",
    "waiting": "var(--jp-warn-color1,#b26a00)",
    "overridden": "var(--jp-warn-color1,#b26a00)",
    "failed": "var(--jp-error-color1,#d32f2f)",
    "interrupted": "var(--jp-error-color1,#d32f2f)",
}
_BAR = "var(--jp-brand-color1,#1976d2)"
_WIDTH, _HEIGHT, _STEP = 240, 12, 20  # of a bar, and from one to the next, in pixels


def seen(value: str) -> str:
    """`value` with what nobody sees in it written out: with it, words may read as other words."""
    return "".join(c if c.isprintable() or c in "\n\t" else ascii(c)[1:-1] for c in value)


def text(value: str) -> str:
    """`value` as text in HTML, also inside an attribute."""
    return html.escape(seen(value), quote=True)


def strong(value: str) -> str:
    """The same as a heading."""
    return f'<span style="font-weight:600">{text(value)}</span>'


def block(*parts: str) -> str:
    """Parts of HTML below each other, in the front end's own font and colours."""
    inner = "".join(f"<div>{part}</div>" for part in parts if part)
    return f'<div style="{_FONT};{_COLOUR}">{inner}</div>'


def table(heads: Sequence[str], rows: Sequence[Sequence[str]], *, numbers: Collection[str] = ()) -> str:
    """`rows` of text under `heads`; columns that hold nothing are left out.

    Args:
        heads: What the columns are called.
        rows: As many texts each.
        numbers: The columns that stand to the right.
    """
    kept = [place for place in range(len(heads)) if any(row[place] for row in rows)]
    sides = {place: "right" if heads[place] in numbers else "left" for place in kept}
    head = "".join(_cell("th", sides[place], text(heads[place]), f"font-weight:600;{_DIM}") for place in kept)
    body = "".join(
        "<tr>" + "".join(_cell("td", sides[place], _marked(row[place])) for place in kept) + "</tr>"
        for row in rows
    )
    style = f"border-collapse:collapse;border:none;margin:6px 0;{_FONT};{_COLOUR}"
    return f'<table style="{style}"><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>'


def bars(rows: Sequence[tuple[str, float, str]], *, title: str) -> str:
    """A label, a bar and a word for each row, as one inline picture; nothing where nothing is above zero.

    Args:
        rows: Label, how much, and how that is said.
        title: What the picture is of, for whoever cannot see it.
    """
    most = max((amount for _, amount, _ in rows), default=0.0)
    if most <= 0:
        return ""
    left = 8 + 7 * min(34, max(len(label) for label, _, _ in rows))
    parts = []
    for place, (label, amount, told) in enumerate(rows):
        top = place * _STEP
        length = max(0.0, amount) / most * _WIDTH
        short = label if len(label) <= 34 else f"{label[:33]}…"
        parts.append(
            f'<text x="{left - 8}" y="{top + 14}" text-anchor="end" fill="currentColor">{text(short)}</text>'
            f'<rect x="{left}" y="{top + 4}" width="{length:.1f}" height="{_HEIGHT}" rx="2" fill="{_BAR}"/>'
            f'<text x="{left + length + 6:.1f}" y="{top + 14}" fill="currentColor">{text(told)}</text>'
        )
    size = f'width="{left + _WIDTH + 90}" height="{len(rows) * _STEP + 4}"'
    style = f"max-width:100%;font-size:12px;{_COLOUR}"
    return f'<svg {size} role="img" aria-label="{text(title)}" style="{style}">{"".join(parts)}</svg>'


def _cell(tag: str, side: str, inner: str, more: str = "") -> str:
    style = f"{_CELL.format(side)};border:none;border-bottom:{_LINE};{more}"
    return f'<{tag} style="{style}">{inner}</{tag}>'


def _marked(value: str) -> str:
    colour = _MARKS.get(value)
    if colour is None:
        return text(value)
    return f'<span style="color:{colour}">&#9679;</span> {text(value)}'
