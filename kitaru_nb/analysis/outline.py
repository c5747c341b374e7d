"""What a cell's code holds, found in one walk: its constants, the words it uses, the attributes it sets."""

from __future__ import annotations

import ast
import re
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

__all__ = [
    "BY_MODULE",
    "REGISTRARS",
    "SETS_ATTRIBUTE",
    "Outline",
    "by_module",
    "children",
    "gives_dicts",
    "only_set",
    "outline_of",
]

SETS_ATTRIBUTE = re.compile(r"\w\s*\.\s*\w+[^\n]*=|\b(setattr|delattr|del|patch|register_\w+)\b")
"""Found in nearly every source whose outline has targets, and in few others."""

BY_MODULE = "<module>"
"""What a target starts with that names its module: ``(BY_MODULE, "json", "dumps")``."""

REGISTRARS: Mapping[str, tuple[str, ...]] = {
    "register_dataframe_accessor": ("pandas", "DataFrame"),
    "register_series_accessor": ("pandas", "Series"),
    "register_index_accessor": ("pandas", "Index"),
    "register_dataset_accessor": ("xarray", "Dataset"),
    "register_dataarray_accessor": ("xarray", "DataArray"),
    "register_dataframe_namespace": ("polars", "DataFrame"),
    "register_lazyframe_namespace": ("polars", "LazyFrame"),
    "register_series_namespace": ("polars", "Series"),
    "register_expr_namespace": ("polars", "Expr"),
}
"""Decorators that set an attribute of a class of their library; they are given its name."""

_ONLY_READ = frozenset({"getattr", "hasattr"})


@dataclass(frozen=True, slots=True)
class Outline:
    """The parts of a tree that several questions are asked about.

    Attributes:
        constants: Every constant, as often as it stands there.
        words: Every name and every attribute that is used.
        called: Those of them that may be called: every attribute, and of names those that are called
            or imported here. What is left are names that only hold something.
        targets: The dotted names of attributes that are assigned, deleted, or handed with their owner to
            what may set them: ``a.b.c = 1`` and ``patch(a.b, "c", 1)`` give ``("a", "b", "c")``. Only
            chains that start with a name count, and what is told by its module, see `BY_MODULE`.
    """

    constants: tuple[Any, ...] = ()
    words: frozenset[str] = frozenset()
    called: frozenset[str] = frozenset()
    targets: frozenset[tuple[str, ...]] = frozenset()


def outline_of(tree: ast.AST) -> Outline:
    """The outline of `tree`. Takes trees of any depth, and about a microsecond per node."""
    constants: list[Any] = []
    words: set[str] = set()
    called: set[str] = set()
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
                called.add(node.attr)
                if type(node.ctx) is not ast.Load:
                    targets.update(_chain(node))
            elif kind is ast.Call:
                if type(node.func) is ast.Name:
                    called.add(node.func.id)
                targets.update(_set_by(node))
            elif kind in _CALLING:
                called.update(_called_by(node))
            waiting += children(node)
    return Outline(tuple(constants), frozenset(words), frozenset(called), frozenset(targets))


def by_module(tree: ast.AST, targets: Collection[tuple[str, ...]]) -> Iterator[tuple[str, ...]]:
    """Those of `targets` whose first name `tree` itself imports, told by the module, see `BY_MODULE`."""
    begins = {names[0] for names in targets}
    for node in ast.walk(tree) if begins else ():
        match node:
            case ast.Import(names=aliases):
                bound = {a.asname or a.name.partition(".")[0]: a.name if a.asname else "" for a in aliases}
            case ast.ImportFrom(module=str(module), names=aliases, level=0):
                bound = {a.asname or a.name: f"{module}.{a.name}" for a in aliases}
            case _:
                continue
        for name in bound.keys() & begins:
            path = (bound[name] or name).split(".")
            yield from ((BY_MODULE, *path, *names[1:]) for names in targets if names[0] == name)


def gives_dicts(tree: ast.AST, words: Collection[str]) -> bool:
    """Whether code, whose `words` these are, gives an object the ``__dict__`` of another one."""
    return "__dict__" in words and any(
        isinstance(node, ast.Attribute) and node.attr == "__dict__" and not isinstance(node.ctx, ast.Load)
        for node in ast.walk(tree)
    )


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


def children(node: ast.AST) -> list[ast.AST]:
    """The nodes right below `node`, in order, but for those that say nothing more, such as a context."""
    kind = type(node)
    found: list[ast.AST] = []
    for name in _INNER.get(kind) or _inner_of(kind):
        value = getattr(node, name, None)
        if type(value) is list:
            found += [each for each in value if isinstance(each, ast.AST)]
        elif isinstance(value, ast.AST):
            found.append(value)
    return found


_INNER: dict[type, tuple[str, ...]] = {}
_LEAVES = frozenset({"ctx", "op", "ops", "kind", "type_comment", "type_ignores"})  # nothing is in them
_CALLING = frozenset({ast.ImportFrom, ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef})


def _inner_of(kind: type[ast.AST]) -> tuple[str, ...]:
    """The fields of a kind of node that hold others."""
    _INNER[kind] = tuple(name for name in kind._fields if name not in _LEAVES)
    return _INNER[kind]


def _called_by(node: ast.AST) -> Iterator[str]:
    match node:
        case ast.ImportFrom(names=names):
            yield from (alias.asname or alias.name for alias in names)
        case ast.FunctionDef() | ast.AsyncFunctionDef() | ast.ClassDef():
            yield from (each.id for each in node.decorator_list if isinstance(each, ast.Name))


def _set_by(call: ast.Call) -> Iterator[tuple[str, ...]]:
    match call:
        case ast.Call(func=ast.Name(id=word)) if word in _ONLY_READ:
            return
        case ast.Call(
            func=ast.Name(id=word) | ast.Attribute(attr=word), args=[ast.Constant(value=str(name)), *_]
        ) if word == "patch" or word in REGISTRARS:
            yield (BY_MODULE, *REGISTRARS.get(word, ()), *name.split("."))
        case ast.Call(args=[owner, ast.Constant(value=str(name)), *_]) if name.isidentifier():
            yield from ((*chain, name) for chain in _chain(owner))


def _chain(node: ast.expr) -> Iterator[tuple[str, ...]]:
    names: list[str] = []
    while isinstance(node, ast.Attribute):
        names.append(node.attr)
        node = node.value
    if isinstance(node, ast.Name):
        yield (node.id, *reversed(names))
