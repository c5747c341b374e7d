"""Python's scopes: whether a name in a nested function, class or comprehension is a global."""

from __future__ import annotations

import ast
import itertools
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Literal

__all__ = ["Bindings", "Scope", "bindings"]

_FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda)
_COMPREHENSIONS = (ast.ListComp, ast.SetComp, ast.DictComp, ast.GeneratorExp)


@dataclass(slots=True)
class Bindings:
    """What one scope binds itself, and what it declares.

    Attributes:
        bound: Names bound here.
        unbound: Those that are also deleted here, so that a later lookup goes on outside.
        global_: Names declared `global`.
        nonlocal_: Names declared `nonlocal`.
    """

    bound: set[str] = field(default_factory=set)
    unbound: set[str] = field(default_factory=set)
    global_: set[str] = field(default_factory=set)
    nonlocal_: set[str] = field(default_factory=set)


def bindings(*nodes: ast.AST | str) -> Bindings:
    """The bindings of a function, lambda, class or comprehension; a string is a bound name."""
    found = Bindings()
    for node in nodes:
        if isinstance(node, str):
            found.bound.add(node)
        elif isinstance(node, _FUNCTIONS):
            arguments = node.args
            found.bound |= {a.arg for a in (*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs)}
            found.bound |= {a.arg for a in (arguments.vararg, arguments.kwarg) if a is not None}
            _collect(node.body if isinstance(node.body, list) else [node.body], found)
        elif isinstance(node, ast.ClassDef):
            _collect(node.body, found)
        elif isinstance(node, _COMPREHENSIONS):
            _collect([generator.target for generator in node.generators], found)
    return found


@dataclass(slots=True)
class Scope:
    """A scope inside a cell and how names resolve in it.

    Attributes:
        kind: A comprehension is a function whose `:=` binds in the scope around it.
        own: What it binds and declares.
        outer: The scope around it; None for the cell itself.
        name: A class's name.
        number: Tells this scope from every other one.
    """

    kind: Literal["cell", "class", "function", "comprehension"]
    own: Bindings = field(default_factory=Bindings)
    outer: Scope | None = None
    name: str = ""
    number: int = field(default_factory=itertools.count().__next__)

    @property
    def in_function(self) -> bool:
        """Whether `locals()` called here speaks of something other than the notebook's names."""
        scope: Scope | None = self
        while scope is not None and scope.kind == "comprehension":
            scope = scope.outer
        return scope is not None and scope.kind == "function"

    def is_global(self, name: str) -> bool:
        """Whether binding or deleting `name` here changes a global."""
        if self.kind == "cell" or name in self.own.global_:
            return True
        if name in self.own.bound and name not in self.own.nonlocal_:
            return False
        if self.kind == "comprehension" and self.outer is not None:
            return self.outer.is_global(name)  # `:=` in a comprehension
        return not self.is_enclosed(name)

    def may_be_global(self, name: str) -> bool:
        """Whether looking `name` up here can end at a global."""
        if self.kind == "cell" or name in self.own.global_:
            return True
        if name in self.own.bound and name not in self.own.nonlocal_:
            return self.kind == "class"  # a class body looks among the globals next
        return not self.is_enclosed(name)

    def is_enclosed(self, name: str) -> bool:
        """Whether a function around this scope has `name` as a variable."""
        scope = self.outer
        while scope is not None and scope.kind != "cell":
            if scope.kind != "class":
                if name in scope.own.global_:
                    return False
                if name in scope.own.bound:
                    return True
            scope = scope.outer
        return False

    def mark(self, name: str) -> str | None:
        """A word for "the class body has bound `name`", or None where that cannot be told."""
        if self.kind != "class" or name not in self.own.bound or name in self.own.unbound:
            return None
        if name in self.own.global_ or name in self.own.nonlocal_:
            return None
        return f"{self.number}:{name}"

    def mangled(self, name: str) -> str:
        """`name` as Python spells it inside a class: ``__x`` in `C` is ``_C__x``."""
        if not name.startswith("__") or name.endswith("__"):
            return name
        scope: Scope | None = self
        while scope is not None and scope.kind != "class":
            scope = scope.outer
        plain = scope.name.lstrip("_") if scope is not None else ""
        return f"_{plain}{name}" if plain else name


def _collect(nodes: Iterable[ast.AST], found: Bindings) -> None:
    """Note what `nodes` bind in the scope they are in, without entering scopes inside it."""
    waiting = list(nodes)
    while waiting:
        node = waiting.pop()
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            found.bound.add(node.name)
            waiting += _outside(node)
        elif isinstance(node, ast.Lambda):
            waiting += _outside(node)
        elif isinstance(node, _COMPREHENSIONS):
            waiting += _walrus_targets(node)
        else:
            _note(node, found)
            waiting.extend(ast.iter_child_nodes(node))


def _note(node: ast.AST, found: Bindings) -> None:
    """Note what `node` itself binds or declares, its parts aside."""
    match node:
        case ast.Name(id=name, ctx=ast.Store()):
            found.bound.add(name)
        case ast.Name(id=name, ctx=ast.Del()) | ast.ExceptHandler(name=str() as name):
            found.bound.add(name)
            found.unbound.add(name)
        case ast.Global(names=names):
            found.global_.update(names)
        case ast.Nonlocal(names=names):
            found.nonlocal_.update(names)
        case ast.Import(names=aliases) | ast.ImportFrom(names=aliases):
            found.bound |= {alias.asname or alias.name.partition(".")[0] for alias in aliases}
        case ast.MatchAs(name=str() as name) | ast.MatchStar(name=str() as name):
            found.bound.add(name)
        case ast.MatchMapping(rest=str() as name):
            found.bound.add(name)


def _outside(node: ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef | ast.Lambda) -> list[ast.AST]:
    """Those parts of a definition that are evaluated in the scope around it."""
    if isinstance(node, ast.ClassDef):
        return [*node.decorator_list, *node.bases, *node.keywords]
    defaults: list[ast.AST] = [*node.args.defaults, *(d for d in node.args.kw_defaults if d is not None)]
    return defaults if isinstance(node, ast.Lambda) else [*node.decorator_list, *defaults]


def _walrus_targets(node: ast.AST) -> list[ast.AST]:
    """Targets of `:=` in a comprehension, which are bound around it."""
    found: list[ast.AST] = []
    waiting = list(ast.iter_child_nodes(node))
    while waiting:
        each = waiting.pop()
        if isinstance(each, ast.NamedExpr):
            found.append(each.target)
        waiting.extend(_outside(each) if isinstance(each, ast.Lambda) else ast.iter_child_nodes(each))
    return found
