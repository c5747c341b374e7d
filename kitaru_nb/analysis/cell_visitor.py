"""The walk through a cell that finds its names: see `names` for what it has to prove."""

# ruff: noqa: D102 # a visitor is told what its methods do by their names

from __future__ import annotations

import ast
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from kitaru_nb.analysis.code_names import (
    DYNAMIC_ATTRIBUTES,
    DYNAMIC_MEMBERS,
    DYNAMIC_MODULES,
    DYNAMIC_NAMES,
    FRAME_READERS,
    IMPORTERS,
    OWN_SCOPE,
    SUBCLASSES,
    modules_in,
    without_data,
    words_of,
)
from kitaru_nb.analysis.scopes import Scope, bindings

__all__ = ["CellVisitor"]

_QUIET_LINE_MAGICS = frozenset({"matplotlib", "pip", "uv", "conda", "mamba", "micromamba"})
_TEXT_CELL_MAGICS = frozenset(
    {"HTML", "SVG", "bash", "file", "html", "javascript", "js", "latex", "markdown", "sh", "svg", "writefile"}
)
_FILES_MAGICS = frozenset({"file", "writefile"})
_COMMAND = re.compile(rf"^(\s*)(?:!|%(?:{'|'.join(_QUIET_LINE_MAGICS)})\b)[^${{\\]*$", re.MULTILINE)
"""A line of a magic's body that is no Python, and is known to touch no names."""

_Killed = frozenset[str] | None  # names replaced for certain; None where control never arrives


def _join(*states: _Killed) -> _Killed:
    """Names replaced on every one of several ways to the same point."""
    arriving = [state for state in states if state is not None]
    if not arriving:
        return None
    return arriving[0].intersection(*arriving[1:])


@dataclass(slots=True)
class _Loop:
    breaks: list[_Killed] = field(default_factory=list)
    continues: list[_Killed] = field(default_factory=list)


class CellVisitor(ast.NodeVisitor):
    """Walks a cell in the order it is evaluated, with the set of names replaced so far."""

    def __init__(self, tree: ast.Module) -> None:
        self.tree = tree
        self.reads: set[str] = set()
        self.writes: set[str] = set()
        self.deletes: set[str] = set()
        self.direct: set[str] = set()
        self.survivable: set[str] = set()  # read where a NameError need not fail the cell
        self.embedded: set[str] = set()
        self.quoted: set[str] = set()  # in annotations that are text
        self.imports: set[str] = set()
        self.dynamic = False
        self.subclasses = False
        self.by_text = False
        self.killed: _Killed = frozenset()
        self.scope = Scope("cell")
        self.deferred = 0  # inside a body that runs later, if at all
        self.guards = 0  # inside a block that may swallow exceptions
        self.loops: list[_Loop] = []

    def run(self) -> None:
        """Walk the whole cell."""
        self.block(self.tree.body)

    # What happens to one name

    def load(self, name: str) -> None:
        mangled = self.scope.mangled(name)
        if mangled != name:
            self.load(mangled)
        if not self.scope.may_be_global(name):
            return
        mark = self.scope.mark(name)
        if mark is not None and self.killed is not None and mark in self.killed:
            return
        if name in DYNAMIC_NAMES or (name in OWN_SCOPE and not self.scope.in_function):
            self.dynamic = True
        if self.killed is not None and name in self.killed:
            return
        self.reads.add(name)
        if not self.deferred:
            self.direct.add(name)
        if self.deferred or self.guards:
            self.survivable.add(name)

    def store(self, name: str) -> None:
        mark = self.scope.mark(name)
        if mark is not None:
            self.kill(mark)
        elif self.scope.is_global(name):
            self.writes |= {name, self.scope.mangled(name)}
            self.kill(self.scope.mangled(name))

    def delete(self, name: str) -> None:
        if self.scope.is_global(name):
            self.load(name)  # whether it exists decides between going on and a NameError
            self.deletes |= {name, self.scope.mangled(name)}
            self.kill(self.scope.mangled(name))

    def kill(self, name: str) -> None:
        if not self.deferred and self.killed is not None:
            self.killed |= {name}

    # Statements

    def block(self, body: Iterable[ast.AST]) -> None:
        for node in body:
            self.visit(node)

    def aside(self, *nodes: ast.AST | None) -> None:
        """Visit what may or may not be evaluated: it reads, but replaces nothing for certain."""
        saved = self.killed
        for node in nodes:
            if node is not None:
                self.visit(node)
        self.killed = saved

    def annotation(self, node: ast.AST | None) -> None:
        """Visit an annotation; one in quotes counts for what it names, since who reads it evaluates it."""
        if node is not None:
            self.aside(node)
            self.quoted.update(word for text in _quoted(node) for word in words_of(text))

    def visit_Assign(self, node: ast.Assign) -> None:
        self.visit(node.value)
        self.block(node.targets)

    def visit_AnnAssign(self, node: ast.AnnAssign) -> None:
        self.annotation(node.annotation)
        if node.value is not None:
            self.visit(node.value)
            self.visit(node.target)
        elif not isinstance(node.target, ast.Name):
            self.visit(node.target)

    def visit_AugAssign(self, node: ast.AugAssign) -> None:
        if isinstance(node.target, ast.Name):
            self.load(node.target.id)
            self.visit(node.value)
            self.store(node.target.id)
        else:
            self.visit(node.target)
            self.visit(node.value)

    def visit_If(self, node: ast.If) -> None:
        self.visit(node.test)
        before = self.killed
        self.block(node.body)
        after_body, self.killed = self.killed, before
        self.block(node.orelse)
        self.killed = _join(after_body, self.killed)

    def visit_While(self, node: ast.While) -> None:
        self.visit(node.test)
        tested, loop = self.killed, _Loop()
        self.loops.append(loop)
        self.block(node.body)
        self.loops.pop()
        endless = isinstance(node.test, ast.Constant) and bool(node.test.value)
        self.killed = tested
        self.block(node.orelse)
        self.killed = _join(None if endless else self.killed, *loop.breaks)

    def visit_For(self, node: ast.For | ast.AsyncFor) -> None:
        self.visit(node.iter)
        before, loop = self.killed, _Loop()
        self.visit(node.target)
        self.loops.append(loop)
        self.block(node.body)
        self.loops.pop()
        self.killed = _join(self.killed, *loop.continues) if _is_filled(node.iter) else before
        self.block(node.orelse)
        self.killed = _join(self.killed, *loop.breaks)

    def visit_AsyncFor(self, node: ast.AsyncFor) -> None:
        self.visit_For(node)

    def visit_Break(self, _node: ast.Break) -> None:
        if self.loops:
            self.loops[-1].breaks.append(self.killed)
        self.leave()

    def visit_Continue(self, _node: ast.Continue) -> None:
        if self.loops:
            self.loops[-1].continues.append(self.killed)
        self.leave()

    def visit_Raise(self, node: ast.Raise) -> None:
        self.generic_visit(node)
        self.leave()

    def leave(self) -> None:
        if not self.deferred:
            self.killed = None

    def visit_Assert(self, node: ast.Assert) -> None:
        self.aside(node.test, node.msg)  # `python -O` does not evaluate it

    def visit_Try(self, node: ast.Try | ast.TryStar) -> None:
        before = self.killed
        self.guards += 1
        self.block(node.body)
        self.block(node.orelse)
        ends = [self.killed]
        for handler in node.handlers:
            self.killed = before
            self.visit(handler)
            ends.append(self.killed)
        self.killed = before
        self.block(node.finalbody)
        self.guards -= 1
        after = _join(*ends)
        self.killed = None if after is None or self.killed is None else after | self.killed

    def visit_TryStar(self, node: ast.TryStar) -> None:
        self.visit_Try(node)

    def visit_ExceptHandler(self, node: ast.ExceptHandler) -> None:
        if node.type is not None:
            self.visit(node.type)
        if node.name is not None:
            self.store(node.name)
        self.block(node.body)
        if node.name is not None and self.scope.is_global(node.name):
            self.deletes.add(node.name)

    def visit_With(self, node: ast.With | ast.AsyncWith) -> None:
        first, *more = node.items
        self.visit(first.context_expr)
        if isinstance(first.optional_vars, ast.Name):
            self.visit(first.optional_vars)
        entered = self.killed
        self.guards += 1
        if first.optional_vars is not None and not isinstance(first.optional_vars, ast.Name):
            self.visit(first.optional_vars)
        self.block(more)
        self.block(node.body)
        self.guards -= 1
        self.killed = entered

    def visit_AsyncWith(self, node: ast.AsyncWith) -> None:
        self.visit_With(node)

    def visit_Match(self, node: ast.Match) -> None:
        self.visit(node.subject)
        before, ends, total = self.killed, [], False
        for case in node.cases:
            self.killed = before
            self.visit(case)
            ends.append(self.killed)
            total = total or (_is_irrefutable(case.pattern) and case.guard is None)
        self.killed = _join(*ends) if total else _join(before, *ends)

    def visit_match_case(self, node: ast.match_case) -> None:
        self.visit(node.pattern)
        if node.guard is not None:
            self.visit(node.guard)
        self.block(node.body)

    def visit_MatchAs(self, node: ast.MatchAs) -> None:
        self.generic_visit(node)
        if node.name is not None:
            self.store(node.name)

    def visit_MatchStar(self, node: ast.MatchStar) -> None:
        if node.name is not None:
            self.store(node.name)

    def visit_MatchMapping(self, node: ast.MatchMapping) -> None:
        self.generic_visit(node)
        if node.rest is not None:
            self.store(node.rest)

    def visit_MatchOr(self, node: ast.MatchOr) -> None:
        before, ends = self.killed, []
        for pattern in node.patterns:
            self.killed = before
            self.visit(pattern)
            ends.append(self.killed)
        self.killed = _join(*ends)

    def visit_Import(self, node: ast.Import) -> None:
        for alias in node.names:
            self.note_import(alias.name)
            self.store(alias.asname or alias.name.partition(".")[0])

    def visit_ImportFrom(self, node: ast.ImportFrom) -> None:
        for alias in node.names:
            if node.module is not None and node.level == 0:
                self.note_import(node.module)
                self.note_import(f"{node.module}.{alias.name}")
            if alias.name == "*" or alias.name in DYNAMIC_NAMES | DYNAMIC_ATTRIBUTES:
                self.dynamic = True
            if alias.name != "*":
                self.store(alias.asname or alias.name)

    def note_import(self, name: str) -> None:
        self.imports.add(name.removesuffix(".*"))
        if name.partition(".")[0] in DYNAMIC_MODULES:
            self.dynamic = True

    # Functions and classes

    def visit_FunctionDef(self, node: ast.FunctionDef | ast.AsyncFunctionDef) -> None:
        self.block(node.decorator_list)
        self.defaults(node.args)
        outer = self.scope
        self.scope = _with_type_parameters(node, outer)
        self.type_parameters(node)
        for argument in _arguments(node.args):
            self.annotation(argument.annotation)
        self.annotation(node.returns)
        self.later(Scope("function", bindings(node), self.scope), node.body)
        self.scope = outer
        self.store(node.name)

    def visit_AsyncFunctionDef(self, node: ast.AsyncFunctionDef) -> None:
        self.visit_FunctionDef(node)

    def visit_Lambda(self, node: ast.Lambda) -> None:
        self.defaults(node.args)
        self.later(Scope("function", bindings(node), self.scope), [node.body])

    def defaults(self, arguments: ast.arguments) -> None:
        self.block(arguments.defaults)
        self.block(default for default in arguments.kw_defaults if default is not None)

    def later(self, scope: Scope, body: Iterable[ast.AST]) -> None:
        """Visit a body that runs some time after this point, once, often or never."""
        saved = self.scope, self.loops
        self.scope, self.loops = scope, []
        self.deferred += 1
        self.block(body)
        self.deferred -= 1
        self.scope, self.loops = saved

    def visit_ClassDef(self, node: ast.ClassDef) -> None:
        self.block(node.decorator_list)
        outer, loops = self.scope, self.loops
        self.scope = _with_type_parameters(node, outer)
        self.type_parameters(node)
        self.block(node.bases)
        self.block(node.keywords)
        self.scope, self.loops = Scope("class", bindings(node), self.scope, node.name), []
        self.block(node.body)
        self.scope, self.loops = outer, loops
        self.store(node.name)

    def type_parameters(self, node: ast.AST) -> None:
        parameters: list[ast.AST] = getattr(node, "type_params", [])
        self.later(self.scope, parameters)

    def visit_TypeAlias(self, node: ast.AST) -> None:
        outer = self.scope
        self.scope = _with_type_parameters(node, outer)
        self.type_parameters(node)
        self.later(self.scope, [node.value])  # type: ignore[attr-defined] # ast.TypeAlias, from 3.12
        self.scope = outer
        self.visit(node.name)  # type: ignore[attr-defined] # the same

    # Expressions

    def visit_Name(self, node: ast.Name) -> None:
        if isinstance(node.ctx, ast.Load):
            self.load(node.id)
        elif isinstance(node.ctx, ast.Store):
            self.store(node.id)
        else:
            self.delete(node.id)

    def visit_Constant(self, node: ast.Constant) -> None:
        pass

    def visit_NamedExpr(self, node: ast.NamedExpr) -> None:
        self.visit(node.value)
        self.store(node.target.id)

    def visit_BinOp(self, node: ast.BinOp) -> None:
        spine: list[ast.expr] = []
        left: ast.expr = node
        while isinstance(left, ast.BinOp):  # a sum of a thousand terms is a thousand levels deep
            spine.append(left.right)
            left = left.left
        self.visit(left)
        self.block(reversed(spine))

    def visit_Dict(self, node: ast.Dict) -> None:
        for key, value in zip(node.keys, node.values, strict=True):
            self.block([value] if key is None else [key, value])

    def visit_BoolOp(self, node: ast.BoolOp) -> None:
        self.visit(node.values[0])
        self.aside(*node.values[1:])

    def visit_Compare(self, node: ast.Compare) -> None:
        self.visit(node.left)
        self.visit(node.comparators[0])
        self.aside(*node.comparators[1:])

    def visit_IfExp(self, node: ast.IfExp) -> None:
        self.visit(node.test)
        before = self.killed
        self.visit(node.body)
        after_body, self.killed = self.killed, before
        self.visit(node.orelse)
        self.killed = _join(after_body, self.killed)

    def visit_ListComp(self, node: ast.ListComp | ast.SetComp) -> None:
        self.comprehension(node, [node.elt])

    def visit_SetComp(self, node: ast.SetComp) -> None:
        self.comprehension(node, [node.elt])

    def visit_DictComp(self, node: ast.DictComp) -> None:
        self.comprehension(node, [node.key, node.value])

    def visit_GeneratorExp(self, node: ast.GeneratorExp) -> None:
        self.comprehension(node, [node.elt], lazy=True)

    def comprehension(
        self,
        node: ast.ListComp | ast.SetComp | ast.DictComp | ast.GeneratorExp,
        elements: list[ast.expr],
        *,
        lazy: bool = False,
    ) -> None:
        first, *more = node.generators
        self.visit(first.iter)  # evaluated at once and in the surrounding scope
        outer, before = self.scope, self.killed
        self.deferred += lazy
        self.scope = Scope("comprehension", bindings(node), outer)
        self.block([first.target, *first.ifs])
        for generator in more:
            self.block([generator.iter, generator.target, *generator.ifs])
        self.block(elements)
        self.deferred -= lazy
        self.scope, self.killed = outer, before

    def visit_Attribute(self, node: ast.Attribute) -> None:
        owner = node.value.id if isinstance(node.value, ast.Name) else ""
        if node.attr in DYNAMIC_ATTRIBUTES or (owner, node.attr) in DYNAMIC_MEMBERS:
            self.dynamic = True
        self.subclasses = self.subclasses or node.attr == SUBCLASSES
        self.visit(node.value)

    def visit_Call(self, node: ast.Call) -> None:
        if self.shell_call(node):
            return
        called = node.func.attr if isinstance(node.func, ast.Attribute) else ""
        called = node.func.id if isinstance(node.func, ast.Name) else called
        if called in FRAME_READERS:
            self.note_embedded(node)
        if called in IMPORTERS:
            self.imports.update(modules_in(_strings(self.tree)))
        if isinstance(node.func, ast.Name) and called in ("vars", "dir") and node.args:
            self.block([*node.args, *node.keywords])  # of a given object: its own attributes
            return
        self.visit(node.func)
        self.block([*node.args, *node.keywords])

    def note_embedded(self, node: ast.Call) -> None:
        values = [*node.args, *(keyword.value for keyword in node.keywords)]
        literal = bool(values) and isinstance(values[0], ast.Constant)
        self.by_text = self.by_text or (bool(values) and not literal)
        texts = _strings(*values) if literal or not values else _strings(self.tree)
        words = {word for text in texts for word in words_of(text)}
        self.embedded |= words - (self.killed or frozenset())

    def shell_call(self, node: ast.Call) -> bool:
        """Whether `node` is a magic or `!command` that is known to touch no other names."""
        function = node.func
        if not (isinstance(function, ast.Attribute) and _is_shell(function.value)):
            return False
        arguments = [argument.value for argument in node.args if isinstance(argument, ast.Constant)]
        if len(arguments) != len(node.args) or any("$" in str(a) or "{" in str(a) for a in arguments[:2]):
            return False
        match (function.attr, *arguments):
            case ("system" | "getoutput", str()):
                return True
            case ("run_line_magic", name, str()):
                return name in _QUIET_LINE_MAGICS
            case ("run_cell_magic", "time", "", str() as body):
                return self.magic_body(body)
            case ("run_cell_magic", "capture", str() as line, str() as body):
                return self.captured(line.split(), body)
            case ("run_cell_magic", name, str() as line, str()) if name in _TEXT_CELL_MAGICS:
                return not line or name in _FILES_MAGICS
        return False

    def captured(self, line: list[str], body: str) -> bool:
        """`%%capture` binds a name, at most, to what its body shows."""
        names = [word for word in line if not word.startswith("--no-")]
        if len(names) > 1 or not all(map(str.isidentifier, names)) or not self.magic_body(body):
            return False
        for name in names:
            if body.rstrip().endswith(";"):
                self.delete(name)
            self.store(name)
        return True

    def magic_body(self, source: str) -> bool:
        try:
            tree = ast.parse(_COMMAND.sub(r"\1pass", source))
        except (SyntaxError, ValueError):
            return False
        self.guards += 1  # `%%time` shows an exception of its body and goes on
        self.aside(*tree.body)
        self.guards -= 1
        return True


def _strings(*nodes: ast.AST) -> list[str]:
    found = (each for node in nodes for each in ast.walk(node))
    return [each.value for each in found if isinstance(each, ast.Constant) and isinstance(each.value, str)]


def _quoted(node: ast.AST) -> Iterator[str]:
    """The types that an annotation has in quotes; what `Literal` and `Annotated` hold is data."""
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        yield without_data(node.value)
    elif isinstance(node, ast.Subscript):
        kind = getattr(node.value, "attr", getattr(node.value, "id", ""))
        if kind == "Annotated" and isinstance(node.slice, ast.Tuple):
            yield from _quoted(node.slice.elts[0])
        elif kind != "Literal":
            yield from _quoted(node.slice)
    else:
        for child in ast.iter_child_nodes(node):
            yield from _quoted(child)


def _is_shell(node: ast.expr) -> bool:
    return (
        isinstance(node, ast.Call)
        and isinstance(node.func, ast.Name)
        and node.func.id == "get_ipython"
        and not (node.args or node.keywords)
    )


def _is_filled(node: ast.expr) -> bool:
    """Whether iterating over `node` surely gives at least one item."""
    match node:
        case ast.Constant(value=str() | bytes() as text):
            return bool(text)
        case ast.List(elts=items) | ast.Tuple(elts=items) | ast.Set(elts=items):
            return any(not isinstance(item, ast.Starred) for item in items)
        case ast.Dict(keys=keys):
            return any(key is not None for key in keys)
    return False


def _is_irrefutable(pattern: ast.pattern) -> bool:
    return isinstance(pattern, ast.MatchAs) and (pattern.pattern is None or _is_irrefutable(pattern.pattern))


def _arguments(arguments: ast.arguments) -> Iterator[ast.arg]:
    yield from (*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs)
    yield from (each for each in (arguments.vararg, arguments.kwarg) if each is not None)


def _with_type_parameters(node: ast.AST, outer: Scope) -> Scope:
    parameters = getattr(node, "type_params", [])
    if not parameters:
        return outer
    return Scope("comprehension", bindings(*(parameter.name for parameter in parameters)), outer)
