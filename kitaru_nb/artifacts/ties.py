"""To which classes and functions of this process what is decoded belongs, and which it may change.

A class that a script or notebook defines is stored with what it is, since a later process has to
make it by itself. Where that process has it already, `isinstance` and ``==`` only hold if an
instance belongs to the one that is there.
"""

from __future__ import annotations

import contextlib
import functools
import sys
import threading
import types
from collections.abc import Iterator
from enum import Enum, auto
from typing import Any

import xxhash
from cloudpickle import cloudpickle

from kitaru_nb.artifacts.code_digest import code_token
from kitaru_nb.artifacts.kinds import home_of, is_immutable_atom, kind_name
from kitaru_nb.artifacts.secret_scan import is_secret_text

__all__ = [
    "Tie",
    "class_there",
    "current_tie",
    "definition_of",
    "function_there",
    "keep",
    "tied",
    "written_as",
]


class Tie(Enum):
    """How what is decoded is tied to what is there. By default it is `LOADED`.

    Attributes:
        LOADED: A look at what was stored. It belongs to a class of the main module that is the same
            in all that can be seen, or that it was stored from in this process.
        SERVED: The result of a call that is not made again. It belongs to the class of the main module
            that has the same methods; what the call did to the class's other attributes is put back apart.
        RESTORED: What the notebook holds from now on: classes that are there get the attributes they had.
        APART: What is compared with what is there, or was there before: each time it is made anew.
    """

    LOADED = auto()
    SERVED = auto()
    RESTORED = auto()
    APART = auto()


class _Current(threading.local):
    tie = Tie.LOADED


_DEPTH, _MANY = 4, 100
_UNSURE = "\0"  # which no text holds as it is once it is quoted

_current = _Current()


@contextlib.contextmanager
def tied(tie: Tie) -> Iterator[None]:
    """Inside the block what is decoded is tied so. For this thread only."""
    before, _current.tie = _current.tie, tie
    try:
        yield
    finally:
        _current.tie = before


def current_tie() -> Tie:
    """How what is decoded now is tied to what is there."""
    return _current.tie


def class_there(qualname: str, identity: str, definition: str) -> type | None:
    """The class of this process that a stored one is taken for.

    Args:
        qualname: Its name in its module.
        identity: What travels with it, so that what was stored or made here is found again.
        definition: What `definition_of` gave for it.
    """
    if _current.tie is Tie.APART:
        return None
    known: type | None = cloudpickle._DYNAMIC_CLASS_TRACKER_BY_ID.get(identity)
    if _current.tie is Tie.SERVED:
        there = _defined_as(qualname, definition, in_all=False)
        return known if there is None else there
    if _current.tie is Tie.LOADED and known is None:
        return _defined_as(qualname, definition, in_all=True)
    return known


def keep(made: type, identity: str) -> type:
    """Let a class that was made for a stored one be taken for it from now on."""
    if _current.tie is Tie.APART:
        return made
    return cloudpickle._lookup_class_or_track(identity, made)  # type: ignore[no-any-return] # `made`


def function_there(code: types.CodeType, scope: dict[str, Any], definition: str) -> types.FunctionType | None:
    """The function of the main module that a stored one is taken for: the same code on the same globals."""
    if not definition or _current.tie not in (Tie.LOADED, Tie.SERVED):
        return None
    found = _bound_to(code.co_qualname)
    found = found.__func__ if isinstance(found, (staticmethod, classmethod)) else found
    fits = (
        type(found) is types.FunctionType and found.__globals__ is scope and written_as(found) == definition
    )
    return found if fits else None  # type: ignore[return-value] # it is a function, if it fits


def _defined_as(qualname: str, definition: str, *, in_all: bool) -> type | None:
    methods, _, data = definition.partition(" ")
    found = _bound_to(qualname) if methods and (data or not in_all) else None
    if not isinstance(found, type):
        return None
    there = definition_of(found)
    return found if there == definition or (not in_all and there.partition(" ")[0] == methods) else None


def _bound_to(qualname: str) -> object:
    """What the main module has under a name, None where there is no such name."""
    found: Any = sys.modules.get("__main__")
    for part in qualname.split("."):
        found = vars(found).get(part) if isinstance(found, (types.ModuleType, type)) else None
    return found


# --- what tells that something was written in the same way ---------------------------------


def definition_of(cls: type) -> str:
    """What tells whether a class of the main module is the one that was written there, by its name.

    Two digests: of its bases, methods and annotations and the members of an enumeration; and of
    what its other attributes hold, which is missing where one of them can change by itself. Empty
    for a class that no name leads to, and for one in which a secret is written: no digest of that
    is put on record.
    """
    if home_of(cls) != "__main__" or "<locals>" in cls.__qualname__ or _states_secret(cls):
        return ""
    said: list[object] = [type(cls).__qualname__, *(base.__qualname__ for base in cls.__bases__)]
    said += sorted((name, _code_of(each)) for name, each in _methods(cls))
    said += sorted(vars(cls).get("__annotations__", ()))
    members = vars(cls).get("_member_map_", {})
    for label, member in members.items():
        said += [label, _told(member._value_)]
    held = ((name, value) for name, value in vars(cls).items() if name not in members)
    data = repr(sorted((name, _told(value)) for name, value in held if _is_data(name, value)))
    return _digest(said) + (" " + _digest(data) if repr(_UNSURE)[1:-1] not in data else "")


def written_as(function: types.FunctionType) -> str:
    """As `definition_of`, for a function."""
    qualname = function.__qualname__
    is_named = "<" not in qualname and qualname == function.__code__.co_qualname
    if home_of(function) != "__main__" or function.__closure__ or not is_named:
        return ""
    if any(is_secret_text(*each) for each in _texts_of(function)):
        return ""
    return _digest(_code_of(function))


def _states_secret(cls: type) -> bool:
    members = vars(cls).get("_member_map_", {})
    texts = [each for name, member in members.items() for each in _texts_in(name, member._value_)]
    texts += [each for name, value in vars(cls).items() for each in _texts_in(name, value)]
    for _, function in _methods(cls):
        texts += _texts_of(function)
    return any(is_secret_text(*each) for each in texts)


def _texts_of(function: types.FunctionType) -> list[tuple[str, str]]:
    """The texts in a function, each with the name that it goes by, if it has one."""
    code, defaults = function.__code__, function.__defaults__ or ()
    first = max(0, code.co_argcount - len(defaults))
    named = [*zip(code.co_varnames[first : code.co_argcount], defaults, strict=False)]
    named += (function.__kwdefaults__ or {}).items()
    codes = [code]
    for each in codes:
        codes += (const for const in each.co_consts if type(const) is types.CodeType)
        named += (("", const) for const in each.co_consts)
    return [each for name, value in named for each in _texts_in(name, value)]


def _texts_in(name: str, value: Any, depth: int = _DEPTH) -> Iterator[tuple[str, str]]:
    if type(value) is str:
        yield name, value
    elif _is_small(value, depth):
        items = value.items() if type(value) is dict else ((name, item) for item in value)
        for key, item in items:
            yield from _texts_in(key if type(key) is str else "", item, depth - 1)


def _digest(said: object) -> str:
    return xxhash.xxh3_128_hexdigest(repr(said).encode("utf-8", "surrogatepass"))


def _code_of(function: types.FunctionType) -> tuple[str, str, str]:
    defaults = _told(function.__defaults__), _told(function.__kwdefaults__)
    return code_token(function.__code__).hex(), *defaults


def _told(value: Any, depth: int = _DEPTH) -> str:
    """A value that code states, as text; of one that can change by itself, its kind."""
    if _is_small(value, depth):
        items = value.items() if type(value) is dict else value
        return repr([type(value).__name__, *(_told(item, depth - 1) for item in items)])
    if isinstance(value, (type, types.FunctionType, types.BuiltinFunctionType)):
        return f"{home_of(value)}.{value.__qualname__}"
    return repr(value) if is_immutable_atom(value) else _UNSURE + kind_name(value)


def _is_small(value: Any, depth: int) -> bool:
    """Whether a value is a container that is looked into: code that states one does so in a few lines."""
    return type(value) in (tuple, list, dict) and depth > 0 and len(value) <= _MANY


_CODE = (
    *(type, types.FunctionType, staticmethod, classmethod, property, functools.cached_property),
    *(types.MemberDescriptorType, types.GetSetDescriptorType, functools._lru_cache_wrapper),
)


def _is_data(name: str, value: object) -> bool:
    """Whether an attribute of a class is neither code nor what Python and libraries note in it."""
    return not isinstance(value, _CODE) and not (
        name[:1] == "_" and (name[-1:] == "_" or name == "_abc_impl")
    )


def _methods(cls: type) -> Iterator[tuple[str, types.FunctionType]]:
    for name, value in vars(cls).items():
        parts = (value.fget, value.fset, value.fdel) if type(value) is property else (value,)
        for part in parts:
            function = part.__func__ if isinstance(part, (staticmethod, classmethod)) else part
            if type(function) is types.FunctionType:
                yield name, function
