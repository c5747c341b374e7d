"""Whether a cell only imports, names and defines: it leaves nothing behind that runs by itself."""

from __future__ import annotations

import ast
import re

__all__ = ["is_inert"]

_HARMLESS_MAGIC = re.compile(r"\s*%(?:load_ext\s+kitaru_nb|matplotlib|config)\b[^()]*$")


def is_inert(source: str) -> bool:
    """Whether no code of the notebook runs in a cell, so that none is left in a thread or a callback.

    It holds imports, literals under names, and functions that nothing decorates. What a library
    does while it is imported is the library's own.
    """
    lines = source.splitlines()
    try:
        tree = ast.parse("\n".join("" if _HARMLESS_MAGIC.match(line) else line for line in lines))
    except (SyntaxError, ValueError):  # of other magics nobody knows what they do
        return False
    return all(map(_is_inert, tree.body))


def _is_inert(node: ast.stmt) -> bool:
    if isinstance(node, ast.Import | ast.ImportFrom):
        return True
    if isinstance(node, ast.Assign):
        return all(isinstance(target, ast.Name) for target in node.targets) and _is_literal(node.value)
    if isinstance(node, ast.Expr):
        return isinstance(node.value, ast.Constant)
    if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
        args = node.args
        named = [*args.posonlyargs, *args.args, *args.kwonlyargs, args.vararg, args.kwarg]
        told = [node.returns, *(each.annotation for each in named if each is not None)]
        defaults = [default for default in (*args.defaults, *args.kw_defaults) if default is not None]
        calls = any(isinstance(inner, ast.Call) for each in told if each for inner in ast.walk(each))
        return not node.decorator_list and not calls and all(map(_is_literal, defaults))
    return False


def _is_literal(value: ast.expr) -> bool:
    try:
        ast.literal_eval(value)
    except (ValueError, TypeError, SyntaxError, MemoryError, RecursionError):
        return False
    return True
