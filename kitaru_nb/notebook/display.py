"""The few words kitaru_nb says in a notebook."""

from __future__ import annotations

import html
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from kitaru_nb.errors import typed_in_a_cell
from kitaru_nb.model.checkpoint import Checkpoint
from kitaru_nb.model.execution import Execution, ExecutionStatus
from kitaru_nb.model.words import duration
from kitaru_nb.notebook.auto import Auto

if TYPE_CHECKING:  # words are said before the engine is loaded
    from kitaru_nb.engine.recovery import Restored
    from kitaru_nb.engine.session import Resumed

__all__ = [
    "RestoreReport",
    "age",
    "auto_status",
    "bundle",
    "committed",
    "duration",
    "notice",
    "own_words",
    "restored",
    "resumed",
    "rewound",
    "say",
    "size",
    "undone",
    "unstored",
]


def say(shell: Any, text: str) -> None:
    """Show `text` in the running cell, small and quiet; plain text where there is no HTML."""
    shell.display_pub.publish(own_words(text))


def own_words(text: str) -> dict[str, str]:
    """`bundle` of words of our own, with what is to be typed as a cell takes it."""
    return bundle(typed_in_a_cell(text))


def bundle(text: str) -> dict[str, str]:
    """`text` as a MIME bundle, for HTML and for plain text, to the letter: it may be a user's question."""
    lines = "<br>".join(html.escape(line, quote=False) for line in text.splitlines())
    style = "color:var(--jp-ui-font-color2,#757575);font-size:var(--jp-ui-font-size1,13px)"
    return {"text/plain": text, "text/html": f'<div style="{style}">{lines}</div>'}


def committed(
    checkpoint: Checkpoint,
    stored: int,
    half_done: Sequence[str] = (),
    again: Sequence[str] = (),
    notes: Sequence[str] = (),
) -> str:
    """One line: the step is saved; and one for each thing to be said about that."""
    draft = checkpoint.draft
    parts = [f"kitaru: `{draft.name}` saved", duration(draft.duration)]
    if stored:
        parts.append(size(stored))
    if lost := unstored(checkpoint):
        parts.append(f"not stored: {_names(lost)}")
    if half_done:
        cells = "cell" if len(half_done) == 1 else "cells"
        parts.append(f"includes interrupted {cells} {', '.join(half_done)}")
    parts += [f"ran again: {why}" for why in again]
    return "\n".join([" · ".join(parts), *(f"  {note}" for note in notes)])


def restored(
    checkpoint: Checkpoint, lost: Mapping[str, str], problems: Iterable[str], *, name: str | None = None
) -> str:
    """One line: the step, which may be called `name` by now, was restored, from when, and what that saved."""
    draft = checkpoint.draft
    parts = [
        f"kitaru: `{name or draft.name}` restored",
        f"from {age(draft.started_at)} ago",
        f"saved {duration(draft.duration)}",
    ]
    never = set(unstored(checkpoint))
    failed = {each: why for each, why in lost.items() if each not in never}
    if len(lost) > len(failed):
        parts.append(f"not stored: {_names(each for each in lost if each not in failed)}")
    lines = [f"  not back: `{each}` ({why})" for each, why in sorted(failed.items())]
    return "\n".join([" · ".join(parts), *lines, *(f"  {problem}" for problem in problems)])


def unstored(checkpoint: Checkpoint) -> list[str]:
    """The names whose values could not be stored."""
    return [name for group in checkpoint.draft.groups for name in group.unstorable]


def notice(execution: Execution, commits: Sequence[Checkpoint], within: int = 0) -> str:
    """One line for a new kernel of a notebook whose last execution did not end well, or waits.

    Args:
        execution: Which.
        commits: What can be restored, oldest first.
        within: How many results within cells are on record besides.
    """
    reason = execution.reason or "ended without warning"
    then = execution.ended_at or (commits[-1].draft.started_at if commits else execution.started_at)
    how = "stopped to wait" if execution.status is ExecutionStatus.WAITING else "was interrupted"
    head = f"kitaru: the last execution {how} {age(then)} ago ({reason}) · `{execution.id}` · "
    if commits:
        saved = duration(sum(checkpoint.draft.duration for checkpoint in commits))
        return head + (
            f"{_checkpoints(len(commits))} up to `{commits[-1].draft.name}` can be restored, which saves "
            f"{saved} · %resume puts everything back, or run the cells again"
        )
    results = "1 result" if within == 1 else f"{within} results"
    return f"{head}no cell had come to its end, and {results} within cells count when they run again"


@dataclass(frozen=True, slots=True)
class RestoreReport:
    """What a restore has to tell.

    Attributes:
        head: Lines about what is back.
        rows: What did not simply come back as it was: what became of it, its name, how or why.
        rest: Lines about what to type.
    """

    head: Sequence[str]
    rows: Sequence[tuple[str, str, str]]
    rest: Sequence[str]

    @property
    def text(self) -> str:
        """All of it in words."""
        told = [f"{kind}: `{name}` ({why})" if name else why for kind, name, why in self.rows]
        return "\n  ".join([*self.head, *told, *self.rest])

    def bundle(self) -> dict[str, str]:
        """The same as a MIME bundle, with the rows as a table."""
        if not self.rows:
            return own_words(self.text)
        from kitaru_nb.engine import markup  # noqa: PLC0415 - few restores have anything to tell

        table = markup.table(("", "name", "how, or why not"), self.rows)
        page = markup.block(*map(markup.text, self.head), table, *map(markup.text, self.rest))
        return {"text/plain": self.text, "text/html": page}


def resumed(report: Resumed) -> RestoreReport:
    """The report of `%resume`: what came back, what did not and why, where to go on."""
    restored, name = report.restored, report.checkpoint.draft.name
    head = (
        f"kitaru: resumed `{report.execution.id}` as of `{name}` · "
        f"{_checkpoints(report.steps)} · saved {duration(report.saved_duration)}"
    )
    back = [f"back: {_names(restored.names)}"] if restored.names else []
    # After a refusal the error below says what to type instead.
    rest = _way_on(restored) if not report.refused else []
    return RestoreReport([head, *back], _rows(restored), [*rest, f"go on with the cell after `{name}`"])


def rewound(report: Resumed) -> RestoreReport:
    """The report of `%rewind CHECKPOINT`."""
    head = f"kitaru: the namespace is as of `{report.checkpoint.draft.name}` again"
    return RestoreReport([head], _rows(report.restored), _way_on(report.restored))


def _rows(restored: Restored) -> list[tuple[str, str, str]]:
    return [
        *(("made again", name, how) for name, how in sorted(restored.made.items())),
        *(("not back", name, why) for name, why in sorted(restored.lost.items())),
        *(("problem", "", problem) for problem in restored.problems),
    ]


def _way_on(restored: Restored) -> list[str]:
    """What to type for what is not back: only what is known to work is proposed."""
    again = restored.remakable
    others = sorted(restored.lost.keys() - set(again))
    lines = [f"%resume --remake {','.join(again)} runs the cells that made them, for them alone"]
    return (lines if again else []) + (
        [f"run the cells that make {_names(others)} again, or make them with @kt.resource"] if others else []
    )


def auto_status(auto: Auto | None) -> str:
    """What `%checkpoint status` says."""
    if auto is None:
        return "kitaru: auto is off; marked cells are checkpoints. %checkpoint auto turns it on"
    count = auto.kept + auto.passed
    return f"kitaru: auto is on: {auto} · {auto.kept} of {count} cells run so far were long enough"


def undone(names: Sequence[str]) -> str:
    """What `%rewind --undo` did."""
    return f"kitaru: undone what {_names(names)} left" if names else "kitaru: no failed cell is left to undo"


def kept(names: Sequence[str]) -> str:
    """What `%rewind --keep` did."""
    return f"kitaru: kept what {_names(names)} left" if names else "kitaru: no failed cell is left to keep"


def age(then: datetime) -> str:
    """How long ago `then` was, in one unit."""
    seconds = max(0.0, (datetime.now(UTC) - then).total_seconds())
    for unit, length in (("day", 86400), ("h", 3600), ("min", 60)):
        if seconds >= length:
            count = int(seconds // length)
            return f"{count} {unit}{'s' if unit == 'day' and count > 1 else ''}"
    return f"{int(seconds)} s"


def size(count: float) -> str:
    """Bytes in the largest unit that keeps the number readable."""
    for unit in ("B", "kB", "MB", "GB"):
        if count < 1000:
            return f"{count:.0f} {unit}" if unit == "B" else f"{count:.1f} {unit}"
        count /= 1000
    return f"{count:.1f} TB"


def _checkpoints(count: int) -> str:
    return "1 checkpoint" if count == 1 else f"{count} checkpoints"


def _names(names: Iterable[str]) -> str:
    listed = list(names)
    shown = ", ".join(f"`{name}`" for name in listed[:12])
    return shown if len(listed) <= 12 else f"{shown} and {len(listed) - 12} more"
