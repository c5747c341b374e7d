"""What a cell's code holds, found in one walk: its constants, the words it uses, the attributes it sets."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

__all__ = ["SETS_ATTRIBUTE", "Outline", "only_set", "outline_of"]

SETS_ATTRIBUTE = re.compile(r"\w\s*\.\s*\w+[^\n]*=|\b(setattr|delattr|del)\b")
"""Found in every source whose outline has targets, and in few others."""


@dataclass(frozen=True, slots=True)
class Outline:
    """The parts of a tree that several questions are asked about.

    Attributes:
        constants: Every constant, as often as it stands there.
        words: Every name and every attribute that is used.
        targets: The dotted names of attributes that are assigned, deleted or handed to `setattr`:
            ``a.b.c = 1`` gives ``("a", "b", "c")``. Only chains that start with a name count.
    """

    constants: tuple[Any, ...] = ()
    words: frozenset[str] = frozenset()
    targets: frozenset[tuple[str, ...]] = frozenset()


def outline_of(tree: ast.AST) -> Outline:
    """The outline of `tree`. Takes trees of any depth, and about a microsecond per node."""
    constants: list[Any] = []
    words: set[str] = set()
    targets: set[tuple[str, ...]] = set()
    waiting: list[Any] = [tree]
    for node in waiting:  # which grows meanwhile
        kind = type(node)
        if kind is ast.Constant:
            constants.append(node.value)
        elif kind is ast.Name:
            words.add(node.id)
        else:
            if kind is ast.Attribute:
                words.add(node.attr)
                if type(node.ctx) is not ast.Load:
                    targets.update(_chain(node))
            elif kind is ast.Call:
                targets.update(_set_by(node))
            for name in _INNER.get(kind) or _inner_of(kind):
                value = getattr(node, name, None)
                if type(value) is list:
                    waiting += [each for each in value if isinstance(each, ast.AST)]
                elif isinstance(value, ast.AST):
                    waiting.append(value)
    return Outline(tuple(constants), frozenset(words), frozenset(targets))


def only_set(tree: ast.AST) -> frozenset[str]:
    """The attributes that code assigns and nowhere reads, changes or calls."""
    nodes = list(ast.walk(tree))
    changed = {
        node.target.attr
        for node in nodes
        if isinstance(node, ast.AugAssign | ast.AnnAssign) and isinstance(node.target, ast.Attribute)
    }
    found = [node for node in nodes if isinstance(node, ast.Attribute)]
    read = {node.attr for node in found if not isinstance(node.ctx, ast.Store)}
    return frozenset({node.attr for node in found} - read - changed)


_INNER: dict[type, tuple[str, ...]] = {}
_LEAVES = frozenset({"ctx", "op", "ops", "kind", "type_comment", "type_ignores"})  # nothing is in them


def _inner_of(kind: type[ast.AST]) -> tuple[str, ...]:
    """The fields of a kind of node that hold others."""
    _INNER[kind] = tuple(name for name in kind._fields if name not in _LEAVES)
    return _INNER[kind]


def _set_by(call: ast.Call) -> Iterator[tuple[str, ...]]:
    match call:
        case ast.Call(
            func=ast.Name(id="setattr" | "delattr"), args=[owner, ast.Constant(value=str(name)), *_]
        ):
            yield from ((*chain, name) for chain in _chain(owner))


def _chain(node: ast.expr) -> Iterator[tuple[str, ...]]:
    names: list[str] = []
    while isinstance(node, ast.Attribute):
        names.append(node.attr)
        node = node.value
    if isinstance(node, ast.Name):
        yield (node.id, *reversed(names))
