"""`%checkpoint auto`: every cell is tried as a checkpoint, and those that took long are kept.

A cell is planned and watched like a marked one, since nobody knows beforehand how long it will
run. When it has run, one above the threshold is committed; one below is a plain cell, whose
changes are part of the next commit.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Any

from kitaru_nb.analysis.directive import parse_duration
from kitaru_nb.errors import UsageError

__all__ = ["Auto", "auto_of"]

_HINT = "%checkpoint auto [--min-seconds 5] [--min-cost 0.01], %checkpoint off or %checkpoint status"
_OURS = "checkpoint|resume|rewind|replay|why|kitaru|load_ext|unload_ext|reload_ext"
_OWN_MAGIC = re.compile(rf"^\s*%(?:{_OURS})\b|run_line_magic\('(?:{_OURS})'", re.MULTILINE)
_COSTLY = 0.02  # seconds of planning from which a cell known to be short is left alone


@dataclass(slots=True)
class Auto:
    """What `%checkpoint auto` was told, and what it has seen in this kernel.

    Attributes:
        min_seconds: A cell that ran at least this long is a checkpoint.
        min_cost: So is one whose model calls cost at least this many US dollars.
        kept: How many cells became checkpoints.
        passed: How many did not.
    """

    min_seconds: float = 5.0
    min_cost: float = 0.01
    kept: int = 0
    passed: int = 0
    _short: dict[str, float] = field(default_factory=dict)

    def takes(self, info: Any) -> bool:
        """Whether the cell in `info` (IPython's) is to be planned.

        Not one that is our own command or that nobody typed; nor one that was short before where
        planning costs more than it is worth, as with gigabytes in the notebook.
        """
        if info.silent or not info.store_history:
            return False
        source = info.raw_cell or ""
        if _OWN_MAGIC.search(getattr(info, "transformed_cell", None) or source):
            return False
        return self._short.get(source, 0.0) < _COSTLY

    def keeps(self, source: str, *, seconds: float, cost: float | None, planning: float) -> bool:
        """Whether a cell that has run is to be a checkpoint.

        Args:
            source: The cell.
            seconds: How long its body ran.
            cost: What its model calls cost in US dollars, where that is known.
            planning: How many seconds went into deciding on it.
        """
        if seconds >= self.min_seconds or (cost is not None and cost >= self.min_cost):
            self._short.pop(source, None)
            self.kept += 1
            return True
        self._short[source] = planning
        self.passed += 1
        return False

    def __str__(self) -> str:
        """The rule, in words."""
        return (
            f"a cell that runs {self.min_seconds:g} s or longer, or costs ${self.min_cost:g} or more, "
            "is a checkpoint; others are part of the next one"
        )


def auto_of(words: list[str]) -> Auto:
    """The `Auto` that the words after ``%checkpoint auto`` ask for.

    Raises:
        UsageError: an option or a value that cannot be taken.
    """
    given: dict[str, float] = {}
    rest = iter(words)
    for word in rest:
        option, equals, value = word.partition("=")
        if option not in ("--min-seconds", "--min-cost"):
            message = f"`%checkpoint auto` does not take `{word}`"
            raise UsageError(message, kind="unknown-option", hint=_HINT)
        text = value if equals else next(rest, "")
        given[option[2:].replace("-", "_")] = _amount(option, text)
    rule = Auto()
    return Auto(given.get("min_seconds", rule.min_seconds), given.get("min_cost", rule.min_cost))


def _amount(option: str, text: str) -> float:
    try:
        if option == "--min-cost" or not text.strip("0."):
            number = float(text.removeprefix("$"))
        else:
            number = parse_duration(text)
    except ValueError:
        number = -1.0
    if not 0 <= number < float("inf"):
        message = f"`{option}` cannot take `{text}`"
        raise UsageError(message, kind="bad-option", hint=f"{option} 5")
    return number
