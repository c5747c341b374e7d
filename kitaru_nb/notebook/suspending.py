"""A cell that waits ends quietly, and a plain one can be undone before it runs again.

It ends with an error reply, so that the cells queued behind it do not run, and without an error
output: nothing has failed.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Mapping
from types import CodeType, FunctionType, ModuleType
from typing import Any

from kitaru_nb.errors import suspended_in
from kitaru_nb.notebook.interrupts import leave_out_handler

__all__ = ["Quiet", "may_wait"]

_ASKS = re.compile(r"\b(?:wait|async_)\b")
_NAMES = frozenset({"wait", "async_"})
_WORD = re.compile(r"[^\W\d]\w*")
_LONG = 100_000  # characters of a cell that is all data
_MANY = 100  # functions that are looked into


class Quiet:
    """Keeps IPython from showing a traceback of a cell that waits, or our part of a stopped one's.

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
        suspended = suspended_in(error)
        if suspended is not None:
            # no output, but part of the reply: all that nbclient and its like say of a cell that ended them
            self._shell._last_traceback = str(suspended).splitlines()  # noqa: SLF001 - has no other way in
            return None
        if isinstance(error, KeyboardInterrupt):
            leave_out_handler(error)
        assert self._show is not None
        return self._show(exc_tuple, *args, **kwargs)


def may_wait(source: str, namespace: Mapping[str, Any]) -> bool:
    """Whether a cell may come to ask something: it says so, or a function of the notebook's does.

    Only such a cell is worth the while to be able to undo it. One that asks deep inside an
    installed package is not seen. It costs some ten microseconds for a usual cell.
    """
    if _ASKS.search(source):
        return True
    if len(source) > _LONG:
        return False
    words = set(_WORD.findall(source))
    values = [namespace[word] for word in words if word in namespace]
    modules = [vars(value) for value in values if type(value) is ModuleType and not _is_known(value.__name__)]
    values += [found[word] for found in modules for word in words if word in found]
    return _reaches([value for value in values if type(value) is FunctionType])


def _reaches(values: list[FunctionType]) -> bool:
    seen: set[int] = set()
    while values and len(seen) < _MANY:
        value = values.pop()
        function = getattr(value, "__kitaru_function__", value)
        code = function.__code__
        if id(code) in seen or _is_known(function.__module__) or _is_installed(code.co_filename):
            continue
        seen.add(id(code))
        names = _names_in(code)
        if names & _NAMES:
            return True
        scope = function.__globals__
        values += [scope[name] for name in names if type(scope.get(name)) is FunctionType]
    return False


def _is_known(module: str | None) -> bool:
    """Whether a module asks nothing by itself: ours, or one of Python's own."""
    start = (module or "").partition(".")[0]
    return start == "kitaru_nb" or start in sys.stdlib_module_names


def _names_in(code: CodeType) -> set[str]:
    inner = (const for const in code.co_consts if isinstance(const, CodeType))
    return set(code.co_names).union(*(_names_in(each) for each in inner))


def _is_installed(file: str) -> bool:
    return "site-packages" in file or "dist-packages" in file
