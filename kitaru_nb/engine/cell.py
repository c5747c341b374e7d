"""A cell, as a front end hands it in."""

from __future__ import annotations

import ast
import hashlib
from dataclasses import dataclass, field

from kitaru_nb.analysis.directive import Directive
from kitaru_nb.analysis.outline import Outline, outline_of

__all__ = ["Cell", "source_digest"]


@dataclass(frozen=True, slots=True)
class Cell:
    """A cell that is to be a step.

    Attributes:
        source: What the user typed.
        tree: Its AST without the directive.
        directive: The parsed `%%checkpoint` line; None when the cell carries none and is a
            step all the same (headless, or by a tag).
        step: ``cell:ID`` where the front end sends an id, else None.
        outline: The outline of `tree`.
    """

    source: str
    tree: ast.Module
    directive: Directive | None = None
    step: str | None = None
    outline: Outline = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "outline", outline_of(self.tree))  # frozen


def source_digest(source: str) -> str:
    """What a cell is told apart by where the front end sends no ids."""
    return hashlib.blake2b(source.strip().encode("utf-8", "surrogatepass"), digest_size=12).hexdigest()
