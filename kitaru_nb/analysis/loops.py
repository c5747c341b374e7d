"""How the loops of a cell go through what `steps` gives."""

from __future__ import annotations

import ast
from collections.abc import Iterator

__all__ = ["gathers_steps"]

_STEPS = "steps"
_GATHER = frozenset(
    {"all", "any", "dict", "enumerate", "filter", "list", "map", "max", "min", "reduce"}
    | {"set", "sorted", "sum", "tuple", "zip"}
)


def gathers_steps(tree: ast.AST) -> bool:
    """Whether something without a name is made of the items, which a later kernel would lack.

    That is a comprehension, and what `enumerate` or `sum` has counted so far.
    """
    return any(
        _is_steps(call) for node in ast.walk(tree) for part in _gathered(node) for call in ast.walk(part)
    )


def _gathered(node: ast.AST) -> Iterator[ast.AST]:
    match node:
        case ast.comprehension(iter=items):
            yield items
        case ast.Call(func=ast.Name(id=name) | ast.Attribute(attr=name), args=args) if name in _GATHER:
            yield from args


def _is_steps(node: ast.AST) -> bool:
    match node:
        case ast.Call(func=ast.Name(id=name) | ast.Attribute(attr=name)):
            return name == _STEPS
    return False
