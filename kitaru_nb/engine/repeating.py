"""Plain cells whose effects a restore has put back: running one again does it once more."""

from __future__ import annotations

import ast
from collections.abc import Mapping, Sequence
from typing import Any

from kitaru_nb.analysis.inert import is_inert
from kitaru_nb.engine.lineage import only_shows
from kitaru_nb.engine.prefix import source_code
from kitaru_nb.model.checkpoint import Checkpoint

__all__ = ["Repeating"]


class Repeating:
    """Knows the plain cells that ran before the commit that a kernel was put back to.

    Args:
        live: The live namespace.
    """

    def __init__(self, live: Mapping[str, Any]) -> None:
        self._live = live
        self._before: dict[str, str] = {}  # by the digest of a cell's code: the checkpoint that came next

    def start_from(self, line: Sequence[Checkpoint]) -> None:
        """The namespace is as these commits left it."""
        self._before = {cell["code"]: each.draft.name for each in line for cell in each.draft.plain}

    def warning(self, source: str) -> str | None:
        """What to say before a plain cell runs, once for each; None where it is new or repeats nothing."""
        if not self._before:
            return None
        name = self._before.pop(str(source_code(source)), None)
        if name is None or self._changes_nothing(source):
            return None
        return f"this cell ran before `{name}`, and what it did is back already: it is done once more"

    def _changes_nothing(self, source: str) -> bool:
        """Whether a cell only shows; or imports, defines, and names literals that its names hold anyway."""
        lines = source.splitlines()
        try:
            tree = ast.parse("\n".join("" if line.lstrip().startswith("%") else line for line in lines))
        except (SyntaxError, ValueError):
            return False
        if only_shows(tree):
            return True
        return is_inert(source) and all(
            map(self._holds, (node for node in tree.body if isinstance(node, ast.Assign)))
        )

    def _holds(self, node: ast.Assign) -> bool:
        value = ast.literal_eval(node.value)
        held = [self._live.get(target.id) for target in node.targets if isinstance(target, ast.Name)]
        return all(type(each) is type(value) and each == value for each in held)
