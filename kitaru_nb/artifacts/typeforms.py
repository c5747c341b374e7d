"""Type variables and new types of the notebook, which pickle looks for by name.

The public names here are part of the stored format.
"""

from __future__ import annotations

import sys
import typing
from collections.abc import Callable
from functools import partial
from typing import Any

from cloudpickle import cloudpickle

from kitaru_nb.artifacts.kinds import home_of

__all__ = ["TYPE_FORMS", "is_alias", "make_alias", "make_newtype", "make_variable", "reduce_alias"]

_VARIABLES: dict[str, Any] = {
    "TypeVar": typing.TypeVar,
    "ParamSpec": typing.ParamSpec,
    "TypeVarTuple": typing.TypeVarTuple,
}


def _reduce_variable(variable: Any) -> Any:
    name: str = variable.__name__
    module: Any = sys.modules.get(variable.__module__ or "")
    if home_of(variable) != "__main__" and getattr(module, name, None) is variable:
        return name
    parts = {name: getattr(variable, name, None) for name in ("__bound__", "__constraints__")}
    flags = {name: getattr(variable, name, False) for name in ("__covariant__", "__contravariant__")}
    identity = cloudpickle._get_or_create_tracker_id(variable)
    kind = type(variable).__name__
    return make_variable, (kind, variable.__name__, identity, home_of(variable), parts, flags)


def make_variable(  # noqa: PLR0917 - stored format
    kind: str,
    name: str,
    identity: str,
    module: str,
    parts: dict[str, Any],
    flags: dict[str, bool],
) -> Any:
    """The type variable of that identity if this process has it, else a new one."""
    known = cloudpickle._DYNAMIC_CLASS_TRACKER_BY_ID.get(identity)
    if known is not None:
        return known
    options: dict[str, Any] = {}
    if kind != "TypeVarTuple":
        options = {"covariant": flags["__covariant__"], "contravariant": flags["__contravariant__"]}
        if parts["__bound__"] is not None:
            options["bound"] = parts["__bound__"]
    made = _VARIABLES[kind](name, *(parts["__constraints__"] or ()), **options)
    made.__module__ = module
    return cloudpickle._lookup_class_or_track(identity, made)


def _reduce_newtype(made: Any) -> Any:
    name: str = made.__qualname__
    module: Any = sys.modules.get(made.__module__)
    if home_of(made) != "__main__" and getattr(module, name, None) is made:
        return name
    home = home_of(made)
    return make_newtype, (made.__name__, made.__qualname__, home), {**vars(made), "__module__": home}


def make_newtype(name: str, qualname: str, module: str) -> Any:
    """A new type without what it stands for, which is in its attributes."""
    made: Any = typing.NewType(name, object)  # type: ignore[misc] # a name that is known when it runs
    made.__qualname__, made.__module__ = qualname, module
    return made


def is_alias(cls: type) -> bool:
    """Whether instances are what ``type Row = list[int]`` binds, or what does so in older Pythons."""
    return cls.__name__ == "TypeAliasType" and cls.__module__ in ("typing", "typing_extensions")


def reduce_alias(alias: Any) -> Any:
    """How an alias of a type is stored: by name in a module, else with what it stands for."""
    name: str = alias.__name__
    home = home_of(alias)
    if home != "__main__" and getattr(sys.modules.get(home), name, None) is alias:
        return name
    return make_alias, (type(alias), name, alias.__value__, alias.__type_params__, home)


def make_alias(kind: Any, name: str, value: Any, parameters: tuple[Any, ...], home: str) -> Any:
    """The alias again, of the module it was made in: that is the one whose code makes it."""
    scope = {"__name__": home, "made": partial(kind, name, value, type_params=parameters)}
    return eval("made()", scope)  # noqa: S307 - our own text


TYPE_FORMS: dict[Any, Callable[[Any], Any]] = {
    **dict.fromkeys(_VARIABLES.values(), _reduce_variable),
    typing.NewType: _reduce_newtype,
}
"""How each kind is stored."""
