"""Instances whose class does something of its own when one is made or its attributes are set.

The stock way calls the class's `__new__`, asks the half-made object for ``__setstate__`` and
copies attributes into a fresh ``__dict__``. That repeats effects, runs into ``__getattr__``
too early, and parts objects that share one ``__dict__``.

The public names here are part of the stored format: pickles refer to them, so they may not
move or change their meaning.
"""

from __future__ import annotations

import copyreg
import dis
import threading
import weakref
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from types import FunctionType
from typing import Any

from kitaru_nb.artifacts.kinds import by_reference

__all__ = [
    "beside",
    "dicts_are_given",
    "make_instance",
    "reduce_instance",
    "set_state",
    "share_state",
    "shares_dict",
]


class _Beside(threading.local):
    dicts: frozenset[int] = frozenset()


class _Given:
    """Whether code of the notebook has given an object another one's ``__dict__``, from outside its class."""

    dicts = False


_beside = _Beside()
_shares: dict[int, tuple[weakref.ref[type], bool]] = {}


@contextmanager
def beside(values: Iterable[object]) -> Iterator[None]:
    """Inside the block instances are stored beside `values`, which may be their ``__dict__`` itself."""
    before, _beside.dicts = _beside.dicts, frozenset(id(value) for value in values if type(value) is dict)
    try:
        yield
    finally:
        _beside.dicts = before


def reduce_instance(obj: object, value: Any) -> Any:
    """`value`, the stock way to store `obj`, changed where its class would get in the way."""
    if not (isinstance(value, tuple) and value[0] is copyreg.__newobj__ and len(value) < 6):  # type: ignore[attr-defined] # typeshed lacks it
        return value
    cls = type(obj)
    maker, arguments, state, items, pairs = (*value, None, None, None)[:5]
    if _makes_itself(cls) or _lies(obj, cls):
        maker = make_instance
    if hasattr(cls, "__setstate__"):
        setter = None
    elif _is_shared(obj, cls) and (state is None or state is vars(obj)):
        state, setter = vars(obj), share_state
    elif state is None:
        setter = None
    else:
        setter = set_state if _answers_all(cls) else None
    if setter is None:
        return (maker, *value[1:])
    return maker, arguments, state, items, pairs, setter


def make_instance(cls: Any, *arguments: Any) -> Any:
    """A bare instance, without the notebook's own ``__new__``: what that did is in the stored state."""
    base = next(base for base in cls.__mro__ if not isinstance(_own_new(base), FunctionType | None))
    return base.__new__(cls, *arguments)


def set_state(obj: Any, state: Any) -> None:
    """Give an instance its attributes without asking it for anything."""
    attributes, slots = state if isinstance(state, tuple) else (state, None)
    if attributes:
        object.__getattribute__(obj, "__dict__").update(attributes)
    for name, value in (slots or {}).items():
        object.__setattr__(obj, name, value)


def dicts_are_given() -> None:
    """From now on any two instances of the notebook's classes may have one ``__dict__``."""
    _Given.dicts = True


def share_state(obj: Any, state: dict[str, Any]) -> None:
    """Let an instance have `state` itself as its ``__dict__``, as others may."""
    dicts_are_given()
    object.__setattr__(obj, "__dict__", state)


def _own_new(cls: type) -> object:
    found = vars(cls).get("__new__")
    return getattr(found, "__func__", found)


def _makes_itself(cls: type) -> bool:
    """Whether the notebook wrote a ``__new__`` and nothing that gives arguments for it."""
    maker = next((base for base in cls.__mro__ if "__new__" in vars(base)), object)
    if by_reference(maker) or not isinstance(_own_new(maker), FunctionType):
        return False
    given = (getattr(cls, name, None) for name in ("__getnewargs__", "__getnewargs_ex__"))
    return not any(isinstance(method, FunctionType) for method in given)


def _lies(obj: object, cls: type) -> bool:
    return obj.__class__ is not cls


def _answers_all(cls: type) -> bool:
    return any(
        isinstance(vars(base).get(name), FunctionType)
        for base in cls.__mro__
        for name in ("__getattr__", "__getattribute__", "__setattr__")
    )


def _is_shared(obj: object, cls: type) -> bool:
    """Whether an instance has its ``__dict__`` together with others, or with a name."""
    if shares_dict(cls) or not _beside.dicts or not cls.__dictoffset__:
        return shares_dict(cls)
    return id(object.__getattribute__(obj, "__dict__")) in _beside.dicts


def shares_dict(cls: type) -> bool:
    """Whether a method of a notebook class sets ``self.__dict__``, or code outside of it may have."""
    if _Given.dicts and cls.__dictoffset__ and not by_reference(cls):
        return True
    known = _shares.get(id(cls))
    if known is None or known[0]() is not cls:
        found = any("__dict__" in _attributes_set(function) for function in _functions(cls))
        known = _shares[id(cls)] = weakref.ref(cls), found
    return known[1]


def _functions(cls: type) -> Iterator[FunctionType]:
    for base in cls.__mro__:
        if base is not object and not by_reference(base):
            yield from (part for part in vars(base).values() if isinstance(part, FunctionType))


def _attributes_set(function: FunctionType) -> set[str]:
    if "__dict__" not in function.__code__.co_names:
        return set()
    return {step.argval for step in dis.get_instructions(function) if step.opname == "STORE_ATTR"}
