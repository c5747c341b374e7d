"""The names of a cell: which earlier values can matter to it, what it may bind, what it imports.

An input that is missed gives a stale result, the worst fault there is; one too many only
runs a cell needlessly. So every doubt counts as a read. The one thing that takes a name off
the list is proof that the cell replaces its earlier value before anything can look at it:
such a value is gone for good, whatever happens later. The proof follows branches, loops,
handlers and `with` blocks (which may swallow an exception half-way); bodies of functions and
generators may run at any later moment and so never replace anything for certain.
"""

from __future__ import annotations

import ast
import builtins
from collections.abc import Collection
from dataclasses import dataclass

from kitaru_nb.analysis.cell_visitor import CellVisitor
from kitaru_nb.errors import UsageError

__all__ = ["CellNames", "names_of"]


@dataclass(frozen=True, slots=True)
class CellNames:
    """What a cell does with the notebook's names.

    Attributes:
        reads: Names whose value from before the cell can matter to it.
        writes: Names it may bind.
        deletes: Names it may unbind (``except … as e`` unbinds `e`).
        certain: Names it certainly binds or unbinds if it completes. Record these even when
            the value looks unchanged; a name in `writes` only may have been left alone.
        required: Those of `reads` whose lookup would fail the whole cell if the name was
            bound nowhere (not even in `builtins`). So a cell that completed while such a
            name was unbound did not look at it, and its record also holds for a namespace
            where the name is bound: to find it, use a key with the name taken as unbound.
        direct: Those of `reads` that its own statements read, and not only functions that it defines:
            what such a name is bound to in the end may be what it held before.
        embedded: Words in strings that a library may look up in the caller's namespace
            (``df.query("a > @limit")``, ``duckdb.sql("select * from df")``), and those of
            annotations in quotes.
        imports: Absolute dotted names of modules it may import; for ``from a import b`` both
            ``a`` and ``a.b``.
        dynamic: It may read or write any name (`exec`, `globals`, line magics, star imports).
        subclasses: It asks classes for their subclasses.
        by_text: It hands text which does not stand there to a library that may look words of it up.
    """

    reads: frozenset[str]
    writes: frozenset[str]
    deletes: frozenset[str]
    certain: frozenset[str]
    required: frozenset[str]
    direct: frozenset[str]
    embedded: frozenset[str]
    imports: frozenset[str]
    dynamic: bool
    subclasses: bool = False
    by_text: bool = False

    def inputs(self, bound: Collection[str]) -> frozenset[str]:
        """`reads`, and those words in strings that are names in `bound` (the namespace)."""
        return self.reads | {word for word in self.embedded if word in bound}


def names_of(tree: ast.Module) -> CellNames:
    """The names of the cell `tree`, as `ast.parse` gives it after IPython's transforms.

    Raises:
        UsageError: the code is nested too deeply to follow (kind ``too-deep``).
    """
    visitor = CellVisitor(tree)
    try:
        visitor.run()
    except RecursionError:
        raise UsageError(
            "the cell is nested too deeply to follow its names",
            kind="too-deep",
            hint="split the longest expression over several statements",
        ) from None
    return _result(visitor)


_BUILTINS = frozenset(dir(builtins))


def _result(visitor: CellVisitor) -> CellNames:
    certain = visitor.killed or frozenset()
    required = visitor.reads - visitor.survivable - _BUILTINS
    return CellNames(
        reads=frozenset(visitor.reads),
        writes=frozenset(visitor.writes),
        deletes=frozenset(visitor.deletes),
        certain=certain & (visitor.writes | visitor.deletes),
        required=frozenset() if visitor.dynamic else frozenset(required),
        direct=frozenset(visitor.direct),
        embedded=frozenset((visitor.embedded | (visitor.quoted - visitor.writes)) - visitor.reads),
        imports=frozenset(visitor.imports),
        dynamic=visitor.dynamic,
        subclasses=visitor.subclasses,
        by_text=visitor.by_text,
    )
