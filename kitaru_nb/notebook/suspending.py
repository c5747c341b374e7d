"""A cell that waits ends quietly, and a plain one can be undone before it runs again.

It ends with an error reply, so that the cells queued behind it do not run, and without an error
output: nothing has failed.
"""

from __future__ import annotations

import ast
import re
import sys
from collections.abc import Callable, Mapping
from types import CodeType, FunctionType, ModuleType
from typing import Any

from kitaru_nb.errors import suspended_in

__all__ = ["Quiet", "may_wait"]

_ASKS = re.compile(r"\b(?:wait|async_)\b")
_NAMES = frozenset({"wait", "async_"})
_MANY = 300  # functions that are looked into


class Quiet:
    """Keeps IPython from showing a traceback of a cell that waits.

    It stands before the shell's own way of showing one, since a handler of custom exceptions has
    one place that others may take, and `%%time` and its like do not ask it.
    """

    def __init__(self, shell: Any) -> None:
        self._shell = shell
        self._show: Callable[..., Any] | None = None

    def ensure(self) -> None:
        """Stand there; also where somebody has put something else in the place meanwhile."""
        current = self._shell.showtraceback
        if getattr(current, "__self__", None) is not self:
            self._show = current
            self._shell.showtraceback = self.show

    def remove(self) -> None:
        """Leave the shell as it was, unless somebody stands before this."""
        if getattr(self._shell.showtraceback, "__self__", None) is self:
            self._shell.showtraceback = self._show

    def show(self, exc_tuple: Any = None, *args: Any, **kwargs: Any) -> Any:
        """As `InteractiveShell.showtraceback`."""
        error = exc_tuple[1] if exc_tuple else sys.exc_info()[1]
        if suspended_in(error) is not None:
            self._shell._last_traceback = None  # noqa: SLF001 - else the reply carries that of an earlier cell
            return None
        assert self._show is not None
        return self._show(exc_tuple, *args, **kwargs)


def may_wait(source: str, tree: ast.Module, namespace: Mapping[str, Any]) -> bool:
    """Whether a cell may come to ask something: it says so, or a function of the notebook's does.

    Only for such a cell it is worth while to be able to undo it. One that asks deep inside an
    installed package is not seen.
    """
    if _ASKS.search(source):
        return True
    names = {node.id for node in ast.walk(tree) if isinstance(node, ast.Name)}
    attributes = {node.attr for node in ast.walk(tree) if isinstance(node, ast.Attribute)}
    values = [namespace[name] for name in names if name in namespace]
    modules = [vars(value) for value in values if type(value) is ModuleType]
    values += [found[name] for found in modules for name in attributes if name in found]
    return _reaches(values)


def _reaches(values: list[Any]) -> bool:
    seen: set[int] = set()
    while values and len(seen) < _MANY:
        value = values.pop()
        function = getattr(value, "__kitaru_function__", value) if type(value) is FunctionType else None
        if type(function) is not FunctionType or id(function) in seen or _is_installed(function):
            continue
        seen.add(id(function))
        names = _names_in(function.__code__)
        if names & _NAMES:
            return True
        values += [function.__globals__[name] for name in names if name in function.__globals__]
    return False


def _names_in(code: CodeType) -> set[str]:
    inner = (const for const in code.co_consts if isinstance(const, CodeType))
    return set(code.co_names).union(*(_names_in(each) for each in inner))


def _is_installed(function: FunctionType) -> bool:
    file = function.__code__.co_filename
    return "site-packages" in file or "dist-packages" in file or file.startswith(sys.base_prefix)
