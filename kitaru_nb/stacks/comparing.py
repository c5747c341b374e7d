"""Two executions side by side as a page, for files and for notebooks."""

from __future__ import annotations

import base64
import html as markup
from pathlib import Path

from kitaru_nb.engine.diff import ExecutionDiff, StepDiff, diff_executions
from kitaru_nb.model.checkpoint import Checkpoint
from kitaru_nb.model.cost import dollars
from kitaru_nb.model.execution import Execution
from kitaru_nb.model.settings import Settings
from kitaru_nb.stacks.open import open_engine

__all__ = ["beside", "compared", "line_of", "page", "told_first"]

_POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'"


def compared(settings: Settings, a: str, b: str) -> dict[str, str]:
    """Two executions side by side, as a notebook displays it.

    Raises:
        NotFoundError: there is no such execution.
    """
    found = diff_executions(lambda: open_engine(settings, read_only=True), a, b)
    text = f"{line_of(found.a)}\n{line_of(found.b)}\n{told_first(found)}"
    return {
        "text/html": f"<style>{_STYLE}</style><div class='kitaru-diff'>{body(found)}</div>",
        "text/plain": text,
    }


def told_first(found: ExecutionDiff) -> str:
    """Where two executions part, in one line."""
    first = found.first
    return "no step differs" if first is None else f"the first difference is in `{first.title}`"


def seconds(length: float) -> str:
    """A length of time in seconds, with three digits."""
    return f"{length:.3g} s"


def line_of(execution: Execution) -> str:
    """An execution in one line; its parts are two blanks apart."""
    identity = execution.identity
    what = Path(identity.notebook).name if identity.notebook else identity.flow or ""
    parts = [execution.id, execution.status.value, what, seconds(execution.duration)]
    if execution.cost is not None:
        parts.append(dollars(execution.cost))
    if execution.tokens is not None:
        parts.append(f"{execution.tokens:,} tokens")
    return "  ".join(parts)


def beside(step: StepDiff) -> str:
    """Status, time and cost of a step in both executions; of what was kept only who has it."""
    if step.kept is not None:
        return {"a": "only in the first", "b": "only in the second"}.get(step.only, "")
    if step.only:
        only = step.a if step.only == "a" else step.b
        which = "first" if step.only == "a" else "second"
        return f"only in the {which}" + (f" ({_told(only)})" if only is not None else "")
    assert step.a is not None
    assert step.b is not None
    one, other = _told(step.a), _told(step.b)
    return f"({one})" if one == other else f"({one}; then {other})"


def _told(step: Checkpoint) -> str:
    draft = step.draft
    parts = [draft.status.value, seconds(draft.duration)]
    if draft.cost is not None:
        parts.append(dollars(draft.cost))
    return ", ".join(part for part in parts if part)


# The page. Every text in it is from a record and is escaped; there is no script in it at all.

_STYLE = """
.kitaru-diff { --line: #8884; --gone: #c62828; --new: #2e7d32; font-size: 14px; line-height: 1.5 }
.kitaru-diff h1 { font-size: 1.3em } .kitaru-diff h2 { font-size: 1.05em; margin: 1.6em 0 .4em }
.kitaru-diff table { border-collapse: collapse }
.kitaru-diff td, .kitaru-diff th { padding: .2em .8em .2em 0; text-align: left; vertical-align: top }
.kitaru-diff code, .kitaru-diff pre { font: 13px/1.45 ui-monospace, monospace }
.kitaru-diff pre { margin: .3em 0 .9em; padding: .6em .8em; border: 1px solid var(--line) }
.kitaru-diff pre { border-radius: 6px; overflow-wrap: anywhere; white-space: pre-wrap }
.kitaru-diff p, .kitaru-diff h2 { overflow-wrap: anywhere }
.kitaru-diff .gone { color: var(--gone) } .kitaru-diff .new { color: var(--new) }
.kitaru-diff .soft { opacity: .7 } .kitaru-diff section { border-top: 1px solid var(--line) }
.kitaru-diff figure { display: inline-block; margin: .3em 1em .3em 0 }
.kitaru-diff img { max-width: 28em; border: 1px solid var(--line) }
@media (prefers-color-scheme: dark) { .kitaru-diff { --gone: #ef9a9a; --new: #a5d6a7 } }
[data-jp-theme-light="true"] .kitaru-diff { --gone: #c62828; --new: #2e7d32 }
[data-jp-theme-light="false"] .kitaru-diff { --gone: #ef9a9a; --new: #a5d6a7 }
"""
_PAGE = ":root { color-scheme: light dark } body { font-family: system-ui, sans-serif; max-width: 62rem; "
_PAGE += "margin: 2rem auto; padding: 0 1rem } "
# JupyterLab says so of the page that it frames: what the frame itself knows is the browser's own theme
_PAGE += '[data-jp-theme-light="true"] { color-scheme: light } '
_PAGE += '[data-jp-theme-light="false"] { color-scheme: dark }'


def page(found: ExecutionDiff) -> str:
    """The comparison as one HTML page, without a script and without anything from elsewhere."""
    title = f"{found.a.id} and {found.b.id}"
    parts = [
        "<!doctype html><html lang='en'><head><meta charset='utf-8'>",
        f"<meta http-equiv='Content-Security-Policy' content=\"{_POLICY}\">",
        f"<title>{_text(title)}</title><style>{_PAGE}{_STYLE}</style></head>",
        "<body><div class='kitaru-diff'>",
        body(found),
        "</div></body></html>",
    ]
    return "".join(parts)


def body(found: ExecutionDiff) -> str:
    """The comparison without the frame of a page."""
    rows = "".join(
        f"<tr class='{css}'><td>{mark}</td>"
        + "".join(f"<td>{_text(part)}</td>" for part in line_of(execution).split("  "))
        + "</tr>"
        for mark, css, execution in (("&minus;", "gone", found.a), ("+", "new", found.b))
    )
    parts = [f"<h1>Two executions</h1><table>{rows}</table>"]
    if found.parameters:
        told = "".join(
            f"<tr><th>{_text(name)}</th><td class='gone'>{_text(repr(one))}</td>"
            f"<td class='new'>{_text(repr(other))}</td></tr>"
            for name, (one, other) in found.parameters.items()
        )
        parts.append(f"<table>{told}</table>")
    first = found.first
    parts.append(
        "<p>No step differs.</p>"
        if first is None
        else f"<p>The first difference is in <code>{_text(first.title)}</code>.</p>"
    )
    parts += [_step(step) for step in (*found.steps, *found.kept) if not step.same]
    same = [step.title for step in (*found.steps, *found.kept) if step.same]
    if same:
        listed = ", ".join(f"<code>{_text(name)}</code>" for name in same)
        parts.append(f"<section><p class='soft'>The same in both: {listed}</p></section>")
    return "".join(parts)


def _step(step: StepDiff) -> str:
    parts = [
        f"<section><h2><code>{_text(step.title)}</code> <span class='soft'>{_text(beside(step))}</span></h2>"
    ]
    for each in step.differences:
        parts.append(f"<div>{_text(each.what)} <code>{_text(each.name)}</code></div>")
        if each.pictures is not None:
            for label, picture in zip(("first", "second"), each.pictures, strict=True):
                data = base64.b64encode(picture).decode()
                parts.append(
                    f"<figure><img alt='{label}' src='data:image/png;base64,{data}'>"
                    f"<figcaption class='soft'>{label}</figcaption></figure>"
                )
        lines = "\n".join(_line(line) for line in each.lines)
        parts.append(f"<pre>{lines}</pre>")
    return "".join(parts) + "</section>"


def _line(line: str) -> str:
    css = {"-": "gone", "+": "new", "@": "soft"}.get(line[:1])
    return f"<span class='{css}'>{_text(line)}</span>" if css else _text(line)


def _text(text: str) -> str:
    return markup.escape(text, quote=True)
