"""What of the project holds variables: a module, the classes it defines, and its functions.

A function holds those of its attributes, of its parameters' defaults and of the variables of the
function that made it. Each holder is a mapping, so that its variables are read and bound alike.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, MutableMapping
from contextlib import suppress
from enum import EnumMeta
from functools import lru_cache
from pathlib import Path
from types import CellType, FunctionType, MethodType, ModuleType
from typing import Any

from kitaru_nb.analysis.modules import is_local_file, variables_of
from kitaru_nb.artifacts.digest import is_immutable_atom
from kitaru_nb.artifacts.kinds import plain_meta

__all__ = ["held_by", "holders_of", "is_project_code", "is_project_file", "variables_in"]

_ANYWHERE = [Path("/")]
_PLAIN = frozenset({bool, bytes, complex, float, int, str, type(None)})
_DEFAULT, _NONLOCAL = "default ", "nonlocal "


def holders_of(module: ModuleType) -> Iterator[tuple[str, Any]]:
    """A module, the classes that it defines and the functions of both, each by its place.

    The place is ``module`` or ``module|name.name``. Members of an enumeration never change.
    """
    name = module.__name__
    yield name, module
    for member, value in list(variables_of(module).items()):
        if issubclass(type(value), type):
            cls: Any = value
            if _is_class(cls) and cls.__module__ == name and "." not in cls.__qualname__:
                yield from _class_holders(f"{name}|{cls.__qualname__}", cls)
        elif type(value) is not FunctionType or _may_hold(value):
            yield from _function_holders(f"{name}|{member}", value, name)


def held_by(holder: Any) -> list[tuple[str, object]]:
    """The variables of a holder that `holders_of` gives, with what they hold."""
    if isinstance(holder, ModuleType):
        return list(variables_of(holder).items())
    if isinstance(holder, type):
        return [item for item in list(vars(holder).items()) if item[0][:2] != "__"]
    return list(_Parts(holder).items())


def variables_in(holder: Any) -> MutableMapping[str, Any] | None:
    """The variables of a holder; None where it is none."""
    if isinstance(holder, MethodType):
        holder = holder.__func__
    if isinstance(holder, ModuleType):
        return variables_of(holder)
    if isinstance(holder, type):
        return _Attributes(holder)
    return _Parts(holder) if type(holder) is FunctionType else None


@lru_cache(maxsize=1024)
def is_project_code(module: str) -> bool:
    """Whether a loaded module is no part of Python and of no installed package."""
    file = getattr(sys.modules.get(module), "__file__", None)
    return file is not None and is_project_file(file)


def is_project_file(file: str) -> bool:
    """Whether a file is no part of Python and of no installed package."""
    return is_local_file(file, _ANYWHERE)


def _is_class(cls: Any) -> bool:
    return not issubclass(type(cls), EnumMeta)


def _class_holders(place: str, cls: type) -> Iterator[tuple[str, Any]]:
    yield place, cls
    for member, value in list(vars(cls).items()):
        if issubclass(type(value), type):
            inner: Any = value
            if _is_class(inner) and inner.__qualname__ == f"{cls.__qualname__}.{member}":
                yield from _class_holders(f"{place}.{member}", inner)
        elif type(value) in (staticmethod, classmethod) or (type(value) is FunctionType and _may_hold(value)):
            yield from _function_holders(f"{place}.{member}", value, cls.__module__)


def _function_holders(place: str, value: Any, module: str) -> Iterator[tuple[str, Any]]:
    """A function, and those that it wraps, as far as one of them holds anything that may change."""
    if type(value) in (staticmethod, classmethod):
        value = value.__func__
    while True:
        if type(value) is FunctionType:
            if _may_hold(value):
                # One that was imported from elsewhere in the project is looked at there.
                made_here = value.__module__ == module or "<locals>" in value.__qualname__
                if made_here and is_project_code(str(value.__globals__.get("__name__"))):
                    yield place, value
        elif not hasattr(type(value), "cache_info"):
            return
        value, place = getattr(value, "__dict__", {}).get("__wrapped__"), f"{place}.__wrapped__"
        if value is None:
            return


def _may_hold(function: FunctionType) -> bool:
    """Whether there is anything in a function that may change; asked of each of them in each look."""
    if function.__dict__ or function.__closure__ or function.__kwdefaults__:
        return True
    given = function.__defaults__
    return given is not None and not _PLAIN.issuperset(map(type, given))


class _Attributes(MutableMapping[str, Any]):
    """The plain attributes of a class, bound past what its metaclass does when one is set."""

    def __init__(self, cls: type) -> None:
        self._cls = cls

    def __getitem__(self, name: str) -> Any:
        return vars(self._cls)[name]

    def __setitem__(self, name: str, value: Any) -> None:
        plain_meta(self._cls).__setattr__(self._cls, name, value)

    def __delitem__(self, name: str) -> None:
        plain_meta(self._cls).__delattr__(self._cls, name)

    def __iter__(self) -> Iterator[str]:
        return (name for name in list(vars(self._cls)) if name[:2] != "__")

    def __len__(self) -> int:
        return sum(1 for _ in self)


class _Parts(MutableMapping[str, Any]):
    """What a function holds: ``name`` of an attribute, ``default name``, ``nonlocal name``.

    Defaults that cannot change are left out.
    """

    def __init__(self, function: FunctionType) -> None:
        self._function = function

    def __getitem__(self, name: str) -> Any:
        if name.startswith(_DEFAULT):
            return self._defaults()[name.removeprefix(_DEFAULT)]
        if name.startswith(_NONLOCAL):
            try:
                return self._cells()[name.removeprefix(_NONLOCAL)].cell_contents
            except ValueError:
                raise KeyError(name) from None  # not bound
        return vars(self._function)[name]

    def __setitem__(self, name: str, value: Any) -> None:
        if name.startswith(_DEFAULT):
            self._set_default(name.removeprefix(_DEFAULT), value)
        elif name.startswith(_NONLOCAL):
            self._cells()[name.removeprefix(_NONLOCAL)].cell_contents = value
        else:
            setattr(self._function, name, value)

    def __delitem__(self, name: str) -> None:
        if name.startswith(_NONLOCAL):
            del self._cells()[name.removeprefix(_NONLOCAL)].cell_contents
        elif not name.startswith(_DEFAULT):
            delattr(self._function, name)

    def __iter__(self) -> Iterator[str]:
        yield from (name for name in list(vars(self._function)) if name[:2] != "__")
        yield from (
            _DEFAULT + name for name, value in self._defaults().items() if not is_immutable_atom(value)
        )
        for name, cell in self._cells().items():
            with suppress(ValueError):  # not bound
                _ = cell.cell_contents
                yield _NONLOCAL + name

    def __len__(self) -> int:
        return sum(1 for _ in self)

    def _cells(self) -> dict[str, CellType]:
        function = self._function
        return dict(zip(function.__code__.co_freevars, function.__closure__ or (), strict=True))

    def _defaults(self) -> dict[str, Any]:
        found = dict(self._function.__kwdefaults__ or {})
        if self._function.__defaults__:
            found.update(zip(self._positional(), self._function.__defaults__, strict=True))
        return found

    def _positional(self) -> tuple[str, ...]:
        """The names of the parameters that `__defaults__` are of."""
        function = self._function
        count = function.__code__.co_argcount
        return function.__code__.co_varnames[count - len(function.__defaults__ or ()) : count]

    def _set_default(self, name: str, value: Any) -> None:
        function, positional = self._function, self._positional()
        if name in positional:
            given = zip(positional, function.__defaults__ or (), strict=True)
            function.__defaults__ = tuple(value if known == name else held for known, held in given)
        else:
            function.__kwdefaults__ = {**(function.__kwdefaults__ or {}), name: value}
