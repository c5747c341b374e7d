"""Which objects say themselves how they are pickled, and what must be true when they come back.

A class with its own ``__reduce__``, ``__getstate__`` or ``__setstate__`` can drop state or come
back as something else without a word. Classes of the libraries in `KNOWN` are taken at their
word; instances of others are shown to a judge once per class and version, before what is
stored counts.
"""

from __future__ import annotations

import copyreg
import sys
import threading
from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from types import FunctionType, MemberDescriptorType, ModuleType
from typing import Any

from kitaru_nb.artifacts.digest import digest_by_kind
from kitaru_nb.artifacts.functions import make_class
from kitaru_nb.artifacts.kinds import by_reference, is_atom_type, is_cached, kind_name
from kitaru_nb.artifacts.marker import is_marker
from kitaru_nb.artifacts.resource import any_resource, is_resource
from kitaru_nb.artifacts.subclasses import make_by_base, make_kind
from kitaru_nb.artifacts.views import make_subclass, numpy, says_itself
from kitaru_nb.model.referents import referents

__all__ = [
    "KNOWN",
    "Judge",
    "current_judge",
    "is_foreign",
    "is_of_library",
    "judging",
    "left_out",
    "makes_itself",
    "portrait",
]

Judge = Callable[[Mapping[type, object], dict[str, Any]], Mapping[type, str]]
"""Gives for classes, each with an instance, why some of them must not be stored."""

KNOWN = frozenset(
    [
        *("numpy", "pandas", "polars", "pyarrow", "scipy", "sklearn", "torch", "matplotlib", "PIL", "xarray"),
        *("networkx", "sympy", "statsmodels", "xgboost", "lightgbm", "joblib", "dateutil", "pytz", "tzdata"),
        *(
            "attr",
            "attrs",
            "pydantic",
            "pydantic_core",
            "cloudpickle",
            "requests",
            "urllib3",
            "httpx",
            "httpcore",
        ),
        *(
            "httpx2",
            "httpcore2",
            "openai",
            "anthropic",
            "boto3",
            "botocore",
            "IPython",
            "traitlets",
            "kitaru_nb",
        ),
    ]
)
"""Libraries whose own classes are known to come back as they were; the standard library is, too."""

_OTHERS = frozenset({"PIL.ImageFont", "lightgbm.basic"})
"""Modules of these whose objects do not: they lead to a file, or leave out what they were trained with."""

# Their ways of pickling keep what subclasses add.
_GENERIC = frozenset(
    [
        *("attr", "attrs", "pydantic", "collections", "_collections", "dataclasses", "enum", "typing"),
        *("torch", "sklearn", "lightning", "pytorch_lightning", "matplotlib", "networkx", "sympy"),
    ]
)
_FAR = 1000  # objects of libraries
_CODE = (FunctionType, ModuleType, type)
_identity = object.__hash__
_WAYS = ("__reduce_ex__", "__reduce__", "__getstate__", "__setstate__", "__getnewargs_ex__", "__getnewargs__")


class _Local(threading.local):
    judge: Judge | None = None


_local = _Local()


@contextmanager
def judging(judge: Judge | None) -> Iterator[None]:
    """Let `judge` decide on the foreign classes that are encoded in this thread meanwhile."""
    outer, _local.judge = _local.judge, judge
    try:
        yield
    finally:
        _local.judge = outer


def current_judge() -> Judge | None:
    """Who decides on foreign classes here; None when everything is taken at its word."""
    return _local.judge


def is_foreign(obj: Any, value: Any) -> bool:
    """Whether `obj`, reduced to `value`, is only as complete as its own class made it."""
    cls = type(obj)
    if isinstance(value, str):
        return False
    if isinstance(obj, type):
        return value[0] is make_class and is_of_library(cls)  # its metaclass may want what nobody stores
    if value[0] in (make_kind, make_by_base):
        return is_of_library(cls)  # it may keep more than can be seen of it
    if value[0] is make_subclass:
        return says_itself(cls)
    if str(getattr(value[0], "__module__", "")).startswith("kitaru_nb.") or (
        any_resource() and is_resource(obj)
    ):
        return False
    taken_at_its_word = _root(cls.__module__) in KNOWN | sys.stdlib_module_names
    if taken_at_its_word and cls.__module__ not in _OTHERS:
        return False
    if issubclass(cls, tuple) and hasattr(cls, "_fields"):
        return False
    ways = (*_WAYS, "__new__") if value[0] is copyreg.__newobj__ else _WAYS  # type: ignore[attr-defined] # typeshed lacks it
    return cls in copyreg.dispatch_table or any(_is_own(cls, way, obj) for way in ways)


def left_out(obj: Any, value: Any) -> tuple[str, ...]:
    """The public attributes of `obj` that it leaves out of `value`, which it is reduced to.

    One object of a class may leave out what another one does not have.
    """
    state = value[2] if isinstance(value, tuple) and len(value) > 2 else None
    if type(state) is not dict:
        return ()
    held = getattr(obj, "__dict__", None) or {}
    if held.keys() <= state.keys():
        return ()
    missing = (name for name in held if name not in state and name[:1] != "_")
    return tuple(name for name in missing if not is_cached(type(obj), name))


def makes_itself(cls: type) -> bool:
    """Whether the class has a ``__new__``, which may want arguments that nobody stores."""
    inherited: Any = object.__new__
    return getattr(cls, "__new__", inherited) is not inherited


def _root(module: object) -> str:
    return str(module or "builtins").partition(".")[0]


def _is_own(cls: type, way: str, obj: object) -> bool:
    """Whether a class outside the known libraries decides this part of pickling for `obj`."""
    for base in cls.__mro__:
        if way not in vars(base):
            continue
        if base is object or (way == "__new__" and not is_of_library(base)):
            return False  # one of the notebook's own is not called, see `instances`
        home = _root(getattr(vars(base)[way], "__module__", None) or base.__module__)
        if home in _GENERIC or _root(base.__module__) in _GENERIC:
            return False
        if home in sys.stdlib_module_names and _root(base.__module__) in sys.stdlib_module_names:
            return bool(getattr(obj, "__dict__", None))  # many drop what subclasses add
        return True
    return False


def is_of_library(cls: type) -> bool:
    """Whether a class can be imported, and is of a library that is not taken at its word."""
    return by_reference(cls) and _root(cls.__module__) not in KNOWN | sys.stdlib_module_names


def portrait(
    obj: Any, namespace: dict[str, Any], *, kinds_only: Mapping[str, str] | None = None
) -> dict[str, str]:
    """What can be seen of an object without its help: digests of its attributes and content.

    Args:
        obj: Any object.
        namespace: The namespace it lives in.
        kinds_only: Aspects of which only the kind counts, since they lead to what cannot be stored.
    """
    found: dict[str, str] = {"type": kind_name(obj)}
    if isinstance(obj, type):
        return found  # what classes say of themselves names other classes
    aspects: dict[str, Any] = {f".{name}": value for name, value in _attributes(obj).items()}
    content = _content(obj)
    if content is not None:
        aspects["its content"] = content
    if not aspects and _says_itself(obj):
        aspects["its text"] = repr(obj)
    for aspect, value in aspects.items():
        only = kinds_only is not None and aspect in kinds_only
        unseen = only or is_marker(value) or _leads_far(value)
        found[aspect] = "any" if unseen else digest_by_kind({"": value}, namespace=namespace)
    return found


def _leads_far(value: Any) -> bool:
    """Whether it leads into the machinery of a library: to more of its objects than an object holds.

    So a compiled function leads to all that its compiler knows. To digest that takes longer than
    anything it could tell, and what the compiler has learnt meanwhile is no loss.
    """
    seen, far, level = {_identity(sys.modules)}, 0, [value]
    while level:
        fresh = {_identity(one): one for one in level if not _is_closed(type(one))}
        for known in seen & fresh.keys():
            del fresh[known]
        seen.update(fresh)
        far += sum(map(is_of_library, map(type, fresh.values())))
        if far > _FAR:
            return True
        level = referents(*fresh.values())
    return False


def _is_closed(cls: type) -> bool:
    return issubclass(cls, _CODE) or is_atom_type(cls)


def _attributes(obj: Any) -> dict[str, Any]:
    held = getattr(obj, "__dict__", None) or {}
    found = {name: value for name, value in held.items() if not is_cached(type(obj), name)}
    for base in type(obj).__mro__:
        for name, member in vars(base).items():
            if type(member) is MemberDescriptorType and name not in found:
                try:
                    found[name] = member.__get__(obj)
                except AttributeError:
                    continue
    return found


def _content(obj: Any) -> Any:
    """What an instance of a builtin or array type holds, asked of that type and not of its class."""
    if isinstance(obj, dict):
        base: Any = OrderedDict if isinstance(obj, OrderedDict) else dict
        if type(obj).__iter__ is not base.__iter__ and by_reference(type(obj)):
            return [(key, base.__getitem__(obj, key)) for key in obj]  # the order that its class gives it
        return list(base.items(obj))
    for ordered in (list, tuple):
        if isinstance(obj, ordered):
            return [*ordered.__iter__(obj)]  # type: ignore[arg-type] # an instance of it, by the test above
    for unordered in (set, frozenset):
        if isinstance(obj, unordered):
            return {*unordered.__iter__(obj)}  # type: ignore[arg-type] # the same
    for plain in (str, bytes, bytearray, int, float, complex):
        if isinstance(obj, plain):
            return plain.__repr__(obj)
    np = numpy()
    return obj.view(np.ndarray) if np is not None and isinstance(obj, np.ndarray) else None


def _says_itself(obj: Any) -> bool:
    inherited: Any = object.__repr__
    return type(obj).__repr__ is not inherited and " at 0x" not in repr(obj)
