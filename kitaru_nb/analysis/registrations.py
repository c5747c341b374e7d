"""Calls by which code hands a library something that it keeps.

``sqlite3.register_adapter(Point, adapt)``, ``@jax.tree_util.register_pytree_node_class``,
``fontManager.addfont(path)``: where the library keeps it is its own affair, and mostly no variable.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from dataclasses import dataclass

__all__ = ["KEEPS", "REGISTERS", "Registration", "registrations_of"]

KEEPS = frozenset(
    {
        ("csv", "register_dialect"),
        ("dask", "set"),
        ("email", "add_charset"),
        ("gc", "freeze"),
        ("matplotlib", "addfont"),
        ("matplotlib", "register"),
        ("mimetypes", "add_type"),
        ("pandas", "register_matplotlib_converters"),
        ("pyarrow", "set_cpu_count"),
        ("pyarrow", "set_io_thread_count"),
        ("shutil", "register_archive_format"),
        ("shutil", "register_unpack_format"),
        ("threading", "stack_size"),
        ("tracemalloc", "start"),
        ("urllib", "install_opener"),
        ("xml", "register_namespace"),
    }
)
"""Package and name of calls that leave something behind whatever they are given."""

_NAMED = r"register\w*|add\w*hook|set_?\w*(?:hooks?|handler|[fF]actory|callback|Class)|seterrcall"
_KEEPING = sorted({name for _, name in KEEPS if not name.startswith("register")})
REGISTERS = re.compile(rf"\b(?:{_NAMED}|copyreg|{'|'.join(_KEEPING)})\b")
"""Found in each source that has such a call."""


@dataclass(frozen=True, slots=True)
class Registration:
    """One such call, as the code tells.

    Attributes:
        called: The dotted name of what is called.
        given: The names in its arguments.
        own: What it is given is the code's own for certain: a lambda, or what it decorates.
    """

    called: tuple[str, ...]
    given: frozenset[str] = frozenset()
    own: bool = False


def registrations_of(tree: ast.AST) -> Iterator[Registration]:
    """The calls and decorators in `tree` that may register something."""
    nodes = list(ast.walk(tree))
    passing = {id(node.context_expr) for node in nodes if isinstance(node, ast.withitem)}
    for node in nodes:
        if isinstance(node, ast.Call) and id(node) not in passing:  # what ends with its block leaves nothing
            called = _dotted(node.func)
            if called and REGISTERS.fullmatch("copyreg" if called[0] == "copyreg" else called[-1]):
                parts = [part for each in (*node.args, *node.keywords) for part in ast.walk(each)]
                names = frozenset(part.id for part in parts if isinstance(part, ast.Name))
                yield Registration(called, names, any(isinstance(part, ast.Lambda) for part in parts))
        elif isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            for each in node.decorator_list:
                called = _dotted(each.func if isinstance(each, ast.Call) else each)
                if called and REGISTERS.fullmatch(called[-1]):
                    yield Registration(called, own=True)


def _dotted(node: ast.expr) -> tuple[str, ...]:
    names: list[str] = []
    while isinstance(node, ast.Attribute):
        names.append(node.attr)
        node = node.value
    return (node.id, *reversed(names)) if isinstance(node, ast.Name) else ()
