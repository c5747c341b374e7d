"""Which cell a step is, and what it is called where nobody has named it: by its id and by its code alone."""

from __future__ import annotations

import ast
from collections.abc import Collection, Iterator
from itertools import count

from kitaru_nb.analysis.outline import children

__all__ = ["numbered", "same_step", "step_base", "step_name"]


def same_step(live: str | None, recorded: str | None) -> bool:
    """Whether a cell and a record are one step: equal ids, or no id on one side."""
    return live is None or recorded is None or live == recorded


def step_name(tree: ast.Module, taken: Collection[str]) -> str:
    """A short name that can be typed, for a cell that was given none.

    It is the first name the cell binds, else the magic or function it calls, else
    ``imports`` or ``cell``; a number is added while the name is taken.
    """
    base = step_base(tree)
    return numbered(base, next(n for n in count(1) if numbered(base, n) not in taken))


def step_base(tree: ast.Module) -> str:
    """What `step_name` adds a number to."""
    return _bound(tree) or next(_called(tree), None) or ("imports" if _imports(tree) else "cell")


def numbered(base: str, number: int) -> str:
    """The name of the n-th step that is called `base`."""
    return base if number == 1 else f"{base}-{number}"


def _bound(tree: ast.Module) -> str | None:
    """The first name that the cell binds: none of a comprehension or lambda."""
    for statement in tree.body:
        if isinstance(statement, ast.FunctionDef | ast.ClassDef | ast.AsyncFunctionDef):
            return statement.name
        waiting: list[ast.AST] = [statement]
        while waiting:
            node = waiting.pop()
            kind = type(node)
            if kind is ast.Name:
                if type(node.ctx) is ast.Store and node.id != "_":  # type: ignore[attr-defined] # a name, by its type
                    return node.id  # type: ignore[attr-defined,no-any-return]
            elif kind not in _APART:
                waiting += reversed(children(node))
    return None


_APART = frozenset({ast.ListComp, ast.SetComp, ast.DictComp, ast.GeneratorExp, ast.Lambda})


def _called(tree: ast.Module) -> Iterator[str]:
    waiting: list[ast.AST] = [tree]
    for node in waiting:  # which grows meanwhile
        waiting += children(node)
        match node:
            case ast.Call(
                func=ast.Attribute(attr="run_line_magic" | "run_cell_magic"),
                args=[ast.Constant(str(magic)), *_],
            ):
                yield magic
            case ast.Call(func=ast.Attribute(attr="system" | "getoutput")):
                yield "shell"
            case ast.Call(func=ast.Name(id=name)) | ast.Call(func=ast.Attribute(attr=name)) if (
                name != "get_ipython"
            ):
                yield name


def _imports(tree: ast.Module) -> bool:
    return any(isinstance(statement, ast.Import | ast.ImportFrom) for statement in tree.body)
