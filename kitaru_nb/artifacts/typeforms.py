"""Type variables, aliases and new types of the notebook, which pickle looks for by name.

What the syntax of Python 3.12 makes (``def f[T: Row](x: T)``, ``type Row = list[Row]``) is stored by
the code of its parts, which Python runs when somebody asks for one: until then a name in it need
not be bound, and it may lead back to what it is a part of.

The public names here are part of the stored format.
"""

from __future__ import annotations

import sys
import typing
from collections.abc import Callable
from functools import partial
from types import FunctionType
from typing import Any

from cloudpickle import cloudpickle

from kitaru_nb.artifacts.kinds import home_of
from kitaru_nb.errors import UnstorableError
from kitaru_nb.model.referents import referents

__all__ = [
    "TYPE_FORMS",
    "TYPE_VARIABLES",
    "is_alias",
    "make_alias",
    "make_newtype",
    "make_variable",
    "make_written_alias",
    "make_written_variable",
    "reduce_alias",
    "set_written",
    "written_parts",
]

TYPE_VARIABLES: dict[str, Any] = {
    "TypeVar": typing.TypeVar,
    "ParamSpec": typing.ParamSpec,
    "TypeVarTuple": typing.TypeVarTuple,
}


def _reduce_variable(variable: Any) -> Any:
    name: str = variable.__name__
    module: Any = sys.modules.get(variable.__module__ or "")
    if home_of(variable) != "__main__" and getattr(module, name, None) is variable:
        return name
    identity = cloudpickle._get_or_create_tracker_id(variable)
    kind = type(variable).__name__
    if home_of(variable) == "typing":
        codes = written_parts(variable)
        forms = tuple(codes)
        return make_written_variable, (kind, name, identity, forms), codes or None, None, None, set_written
    parts: dict[str, Any] = {name: getattr(variable, name, None) for name in ("__bound__", "__constraints__")}
    flags = {name: getattr(variable, name, False) for name in ("__covariant__", "__contravariant__")}
    if getattr(variable, "__infer_variance__", False):
        flags["__infer_variance__"] = True
    if getattr(variable, "has_default", bool)():
        parts["__default__"] = variable.__default__
    return make_variable, (kind, name, identity, home_of(variable), parts, flags)


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
        if "__infer_variance__" in flags:
            options["infer_variance"] = True
    if "__default__" in parts:
        options["default"] = parts["__default__"]
    made = TYPE_VARIABLES[kind](name, *(parts["__constraints__"] or ()), **options)
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
    parameters = alias.__type_params__
    parts = written_parts(alias)
    if parts:
        return make_written_alias, (name, parameters, home), parts, None, None, set_written
    return make_alias, (type(alias), name, alias.__value__, parameters, home)


def make_alias(kind: Any, name: str, value: Any, parameters: tuple[Any, ...], home: str) -> Any:
    """The alias again, of the module it was made in: that is the one whose code makes it."""
    scope = {"__name__": home, "made": partial(kind, name, value, type_params=parameters)}
    return eval("made()", scope)  # noqa: S307 - our own text


# --- what syntax makes --------------------------------------------------------------------

_HELD = "__kitaru_held__"
_SYNTAX = {"bound": ": {}()", "constraints": ": (*{}(),)", "default": " = {}()"}
_STARS = {"TypeVar": "", "TypeVarTuple": "*", "ParamSpec": "**"}


def _codes_in(made: Any) -> list[FunctionType]:
    """What Python calls when it is asked for a part: of a variable its bound or constraints, its default."""
    return [each for each in referents(made) if type(each) is FunctionType]


def written_parts(made: Any) -> dict[str, FunctionType]:
    """The code of each part of what syntax made, by what the part is; what it has given is a memory of it."""
    codes = _codes_in(made)
    for code in codes:
        if _HELD in code.__globals__:
            return code.__globals__[_HELD]  # type: ignore[no-any-return] # as `set_written` put it there
    if is_alias(type(made)):
        return dict(zip(("value",), codes, strict=False))
    if not codes or home_of(made) != "typing":  # the syntax says no module
        return {}
    forms = ["default"] if getattr(made, "has_default", bool)() else []
    if len(codes) > len(forms):
        forms.insert(0, "constraints" if _is_constrained(made) else "bound")
    return dict(zip(forms, codes, strict=True))


def _is_constrained(variable: Any) -> bool:
    try:
        return bool(variable.__constraints__)  # of one with a bound it is empty, and no code runs
    except Exception:  # noqa: BLE001 - the code of the constraints may raise anything
        return True


def make_written_variable(kind: str, name: str, identity: str, forms: tuple[str, ...]) -> Any:
    """The type variable of that identity if this process has it, else a new one without its `forms`."""
    known = cloudpickle._DYNAMIC_CLASS_TRACKER_BY_ID.get(identity)
    if known is not None:
        return known
    syntax = "".join(_SYNTAX[form].format(f"{_HELD}['{form}']") for form in forms)
    scope: dict[str, Any] = {_HELD: {}}
    exec(f"def made[{_STARS[kind]}{_checked(name)}{syntax}](): pass", scope)  # noqa: S102 - our own text
    return cloudpickle._lookup_class_or_track(identity, scope["made"].__type_params__[0])


def make_written_alias(name: str, parameters: tuple[Any, ...], home: str) -> Any:
    """An alias of that name, without what it stands for."""
    scope: dict[str, Any] = {"__name__": home, _HELD: {}}
    code = compile(f"type {_checked(name)} = {_HELD}['value']()", "<kitaru_nb>", "exec")
    if parameters:  # Python makes an alias of a name, its parameters or None, and the code of its value
        code = code.replace(co_consts=tuple(parameters if c is None else c for c in code.co_consts))
    exec(code, scope)  # noqa: S102 - our own text
    return scope[name]


def _checked(name: str) -> str:
    if not name.isidentifier():
        raise UnstorableError(f"`{name}` is the name of no type", kind="unloadable-value")
    return name


def set_written(made: Any, parts: dict[str, FunctionType]) -> None:
    """Give what was just made the code of its parts."""
    for code in _codes_in(made)[:1]:
        held = code.__globals__.get(_HELD)
        if held == {}:
            held.update(parts)


TYPE_FORMS: dict[Any, Callable[[Any], Any]] = {
    **dict.fromkeys(TYPE_VARIABLES.values(), _reduce_variable),
    typing.NewType: _reduce_newtype,
}
"""How each kind is stored."""
