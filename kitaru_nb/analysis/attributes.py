"""Attributes that a cell sets or deletes, as dotted names: ``json.indent = 2``."""

from __future__ import annotations

import ast
from collections.abc import Iterator

__all__ = ["attribute_targets"]


def attribute_targets(tree: ast.AST) -> set[tuple[str, ...]]:
    """The dotted names of attributes that `tree` assigns, deletes or hands to `setattr`.

    Only chains that start with a name count: ``a.b.c = 1`` gives ``("a", "b", "c")``.
    """
    found: set[tuple[str, ...]] = set()
    for node in ast.walk(tree):
        match node:
            case ast.Attribute(ctx=ast.Store() | ast.Del()):
                found.update(_chain(node))
            case ast.Call(
                func=ast.Name(id="setattr" | "delattr"), args=[owner, ast.Constant(value=str(name)), *_]
            ):
                found.update((*chain, name) for chain in _chain(owner))
    return found


def _chain(node: ast.expr) -> Iterator[tuple[str, ...]]:
    names: list[str] = []
    while isinstance(node, ast.Attribute):
        names.append(node.attr)
        node = node.value
    if isinstance(node, ast.Name):
        yield (node.id, *reversed(names))
