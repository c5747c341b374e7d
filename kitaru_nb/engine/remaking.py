"""Calling a resource's function again, with the names it reads in place first.

While values are loaded the namespace is not back yet, and a resource's function may read
any of its names. So what it reads is loaded before it is called, however the names are
ordered, and the namespace is left as it was: binding is the business of whoever restores.
"""

from __future__ import annotations

import contextlib
import io
from collections.abc import Callable, Iterable, Iterator
from types import FunctionType
from typing import Any

from kitaru_nb.analysis.code_names import function_names
from kitaru_nb.artifacts.kinds import by_reference
from kitaru_nb.artifacts.resource import recipe_of, recipes
from kitaru_nb.engine.rollback import Shadow
from kitaru_nb.engine.stoppable import stoppable

__all__ = ["call_resource", "living_resource"]

_ABSENT = object()


def call_resource(
    function: FunctionType, live: dict[str, Any], find: Callable[[str], object], absent: object
) -> object:
    """What `function` gives when the names it reads hold what `find` gives for them.

    Args:
        function: Made by `@resource`; its globals are `live` or a module's.
        live: The namespace; left as it is.
        find: Gives what a name will hold, or `absent`.
        absent: Stands for a name that will hold nothing.

    What it prints is dropped, and what it does to the names it reads is taken back: both were
    recorded when it was made first.
    """
    wanted = dict(_read(function, live, find, absent))
    before = {name: live.get(name, _ABSENT) for name in wanted}
    live.update(wanted)
    shadow = Shadow(live, wanted.keys())
    shadow.take()
    try:
        with contextlib.redirect_stdout(io.StringIO()), stoppable():
            return function()
    finally:
        shadow.settle()
        shadow.undo()
        for name, value in before.items():
            if value is _ABSENT:
                live.pop(name, None)
            else:
                live[name] = value


def living_resource(function: FunctionType, same: Callable[[object, object], bool]) -> object | None:
    """A resource that this process already made by the same function, the newest; else None."""
    for made, other in recipes():
        if other.__code__.co_name == function.__code__.co_name and same(other, function):
            return made
    return None


def _read(
    function: FunctionType, live: dict[str, Any], find: Callable[[str], object], absent: object
) -> Iterator[tuple[str, object]]:
    """The notebook names that calling `function` can read, with what they will hold."""
    seen: set[str] = set()
    waiting: list[object] = [function]
    while waiting:
        for inner in _functions(waiting.pop()):
            if inner.__globals__ is not live:
                continue
            for name in function_names(inner.__code__).names - seen:
                seen.add(name)
                value = find(name)
                if value is not absent:
                    yield name, value
                    waiting.append(recipe_of(value) or value)


def _functions(value: object) -> Iterable[FunctionType]:
    """The functions of the notebook that using `value` can call."""
    if isinstance(value, FunctionType):
        closed = [cell.cell_contents for cell in value.__closure__ or () if _is_filled(cell)]
        return [value, *(inner for inner in closed if isinstance(inner, FunctionType))]
    cls = value if isinstance(value, type) else type(value)
    if by_reference(cls):
        return ()
    held = (getattr(part, "__func__", part) for base in cls.__mro__ for part in vars(base).values())
    return [part for part in held if isinstance(part, FunctionType)]


def _is_filled(cell: Any) -> bool:
    try:
        cell.cell_contents  # noqa: B018 - an empty cell raises
    except ValueError:
        return False
    return True
