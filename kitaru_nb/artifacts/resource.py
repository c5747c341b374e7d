"""Resources: objects that are not stored but made again by the function that made them.

``@resource`` calls its function at once and binds the result. What is remembered beside the
object is the function; that is what is stored, what counts in keys, and what is called again
when the object is needed in another process.

`make_resource` and `module_resource` are part of the stored format: pickles refer to them, so
they may not move or change their meaning.
"""

from __future__ import annotations

import importlib
import inspect
import sys
import threading
import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FunctionType
from typing import Any, TypeVar, overload

from kitaru_nb.artifacts.kinds import home_of, is_immutable_atom, kind_name
from kitaru_nb.artifacts.marker import Marker
from kitaru_nb.artifacts.notes import place, say_lost, say_made
from kitaru_nb.errors import UsageError

__all__ = [
    "Made",
    "any_resource",
    "is_resource",
    "make_resource",
    "making",
    "module_resource",
    "recipe_of",
    "recipes",
    "reduce_resource",
    "register",
    "resource",
    "stands_for",
]

T = TypeVar("T")
Made = Callable[[FunctionType, str, str], object]
"""Makes a resource again from its function, its name and what kind of object it was."""

_identity = object.__hash__
_recipes: dict[int, tuple[Callable[[], Any], FunctionType]] = {}
_VALUES = (list, dict, tuple, set, frozenset, bytearray)


@overload
def resource(function: Callable[[], T]) -> T: ...
@overload
def resource(function: None = None) -> Callable[[Callable[[], T]], T]: ...
def resource(function: Callable[[], Any] | None = None) -> Any:
    """What the decorated function gives, remembered together with how to make it again.

    Use it for connections, sessions and the like, which no file can hold::

        @kt.resource
        def conn():
            return sqlite3.connect("x.db")

    The function is called at once, and `conn` is the connection. After ``%resume``, and where a
    checkpoint that bound it is restored, the function is called again and its result bound. In
    keys the resource counts by the function's code and by what that reads, never by the state
    of the object. When calling it again fails, the name holds a marker with the reason.

    Args:
        function: A plain function without required parameters. It may be called many times,
            so it must do nothing that should happen once only.

    Raises:
        UsageError: it is no such function.
    """
    if function is None:
        return resource
    if type(function) is not FunctionType or _is_lazy(function):
        what = getattr(function, "__name__", None) or kind_name(function)
        why = "only a plain function can, one that is neither async nor a generator"
        message = f"`{what}` cannot be a resource: {why}"
        raise UsageError(message, kind="not-a-function", hint="@kt.resource above def conn(): return ...")
    needed = [p.name for p in inspect.signature(function).parameters.values() if p.default is p.empty]
    if needed:
        why = f"it needs `{needed[0]}`, and is called without arguments"
        message = f"`{function.__name__}` cannot be a resource: {why}"
        raise UsageError(
            message, kind="resource-arguments", hint=f"def {function.__name__}(): with the value inside"
        )
    made = function()
    register(made, function)
    return made


def _is_lazy(function: FunctionType) -> bool:
    return (
        inspect.iscoroutinefunction(function)
        or inspect.isgeneratorfunction(function)
        or (inspect.isasyncgenfunction(function))
    )


def register(made: object, function: FunctionType) -> None:
    """Remember that `function` made `made`. Plain data is stored as it is and needs no recipe."""
    if isinstance(made, (*_VALUES, type, FunctionType)) or is_immutable_atom(made):
        return
    _forget_unused()
    key = _identity(made)
    try:
        forget = _recipes.pop  # bound now: at the end of the process the name may be gone
        ref: Callable[[], Any] = weakref.ref(made, lambda _: forget(key, None))
    except TypeError:
        ref = _Held(made)  # kept alive, or its identity could be taken over
    _recipes[key] = ref, function


def _forget_unused() -> None:
    """Let go of resources that only this module still holds."""
    for key, (ref, _) in list(_recipes.items()):
        held = getattr(ref, "held", None)
        # referred to by the list, by the loop's own name and by the call: by nobody else
        if held is not None and sys.getrefcount(held[0]) <= _OWN_REFERENCES:
            del _recipes[key]


_OWN_REFERENCES = 2


class _Held:
    """Holds an object that cannot be referred to weakly."""

    def __init__(self, made: object) -> None:
        self.held = [made]

    def __call__(self) -> object:
        return self.held[0]


def any_resource() -> bool:
    """Whether this process has resources; asked before anything is done for their sake."""
    return bool(_recipes)


def recipe_of(obj: object) -> FunctionType | None:
    """The function that made `obj`, if it is a resource."""
    found = _recipes.get(_identity(obj))
    return found[1] if found is not None and found[0]() is obj else None


def is_resource(obj: object) -> bool:
    """Whether `obj` was made by a function under ``@resource``."""
    return recipe_of(obj) is not None


def stands_for(obj: object) -> object:
    """What counts for `obj`: the function that made it if it is a resource, else itself."""
    return recipe_of(obj) or obj


def recipes() -> list[tuple[object, FunctionType]]:
    """The living resources of this process with their functions, newest first."""
    _forget_unused()
    return [(ref(), function) for ref, function in reversed(_recipes.values()) if ref() is not None]


def reduce_resource(obj: object) -> tuple[Any, ...] | None:
    """How a resource is stored: its function, or the module that makes it; None for other objects."""
    function = recipe_of(obj)
    if function is None:
        return None
    module = sys.modules.get(function.__module__)
    if home_of(function) != "__main__" and getattr(module, function.__qualname__, None) is obj:
        return module_resource, (function.__module__, function.__qualname__, kind_name(obj))
    return make_resource, (function, function.__name__, kind_name(obj))


class _Local(threading.local):
    make: Made | None = None


_local = _Local()


@contextmanager
def making(make: Made) -> Iterator[None]:
    """Let resources that are loaded in this thread meanwhile be made by `make`."""
    outer, _local.make = _local.make, make
    try:
        yield
    finally:
        _local.make = outer


def make_resource(function: FunctionType, name: str, kind: str) -> object:
    """The resource again; a marker where it cannot be made or nobody asked for it."""
    if _local.make is None:
        return _not_made(kind, f"it is made by `{name}()` when the notebook is resumed")
    try:
        made = _local.make(function, name, kind)
    except Exception as error:  # noqa: BLE001 - whatever the user's function raises; the name says so
        return _not_made(kind, f"`{name}()` failed: {type(error).__name__}: {error}")
    if not is_resource(made):  # a living one was taken
        register(made, function)
    say_made(kind, f"by calling `{name}()`")
    return made


def module_resource(module: str, name: str, kind: str) -> object:
    """The resource that a module makes when it is imported."""
    try:
        made = getattr(importlib.import_module(module), name)
    except Exception as error:  # noqa: BLE001 - whatever the module raises; the name says so
        return _not_made(kind, f"importing `{module}` failed: {type(error).__name__}: {error}")
    say_made(kind, f"by importing `{module}`")
    return made


def _not_made(kind: str, reason: str) -> Marker:
    say_lost(kind, reason)
    return Marker(place(), kind, reason)
