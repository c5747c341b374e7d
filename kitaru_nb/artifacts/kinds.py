"""What kind of thing an object is: immutable, importable by name, or defined in the notebook.

Grouping, digests and pickling must agree on these questions, so they are answered once, here.
"""

from __future__ import annotations

import datetime as dt
import decimal
import enum
import fractions
import functools
import gc
import pathlib
import re
import sys
import types
import uuid
from importlib.machinery import ExtensionFileLoader
from typing import Any

__all__ = [
    "ATOMS",
    "answers",
    "attributes_of",
    "by_reference",
    "class_of_attributes",
    "held_by_matplotlib",
    "home_name",
    "home_of",
    "is_atom_type",
    "is_cached",
    "is_immutable_atom",
    "is_imported",
    "is_users",
    "kind_name",
    "may_be_of_process",
    "module_constant",
    "package_of",
    "plain_meta",
    "process_object",
    "within_extension",
]

ATOMS: frozenset[type] = frozenset(
    [
        *(int, float, bool, complex, str, bytes, range),
        *(type(None), type(Ellipsis), type(NotImplemented)),
        *(types.CodeType, types.GetSetDescriptorType, types.MemberDescriptorType),
        *(types.WrapperDescriptorType, types.MethodDescriptorType, types.ClassMethodDescriptorType),
        *(dt.date, dt.time, dt.datetime, dt.timedelta, dt.timezone),
        *(decimal.Decimal, fractions.Fraction, uuid.UUID, re.Pattern),
        *(pathlib.PosixPath, pathlib.WindowsPath, pathlib.PurePosixPath, pathlib.PureWindowsPath),
    ]
)
"""Types whose values cannot change and hold nothing that can."""

_HEAP_TYPE = 1 << 9
_IMMUTABLE_TYPE = 1 << 8  # no `class` statement makes one


def is_atom_type(cls: type) -> bool:
    """Whether every value of exactly this type is immutable all the way down."""
    if cls in ATOMS:
        return True
    numpy = sys.modules.get("numpy")
    if numpy is not None and issubclass(cls, (numpy.generic, numpy.dtype)):
        return not issubclass(cls, (numpy.void, numpy.object_))
    return issubclass(cls, enum.Enum) and by_reference(cls)


def is_immutable_atom(value: object) -> bool:
    """Whether `value` cannot change and holds nothing that can.

    True for numbers, text, bytes, None, dates, importable functions and classes, and for
    tuples, frozensets and slices of these, however deep. Such values never tie names together.
    """
    stack = [value]
    seen: set[int] = set()
    while stack:
        item = stack.pop()
        cls = type(item)
        if cls is tuple or cls is frozenset:
            if object.__hash__(item) not in seen:
                seen.add(object.__hash__(item))
                stack.extend(item)  # type: ignore[arg-type] # a tuple or frozenset, by the test above
        elif cls is slice:
            stack += (item.start, item.stop, item.step)  # type: ignore[attr-defined] # a slice
        elif not (is_atom_type(cls) or _stands_alone(item)):
            return False
    return True


def _stands_alone(item: object) -> bool:
    if issubclass(type(item), type) or type(item) is types.FunctionType:
        return by_reference(item)
    if type(item) is types.ModuleType:
        return is_imported(item)
    if type(item) is types.BuiltinFunctionType:
        return item.__self__ is None or isinstance(item.__self__, types.ModuleType)
    return False


def home_of(obj: Any) -> Any:
    """The module of a class or function; a script is ``__main__`` in workers that were spawned, too."""
    return home_name(obj.__module__)


def home_name(module: Any) -> Any:
    """The name of a module, as `home_of` has it."""
    return "__main__" if module == "__mp_main__" else module


def package_of(cls: type) -> str:
    """The package or module at the top of the one that a class is of.

    Not all say that with a text: Cython's functions once had a class whose ``__module__`` is a descriptor.
    """
    return str(cls.__module__).partition(".")[0]


def is_imported(module: types.ModuleType) -> bool:
    """Whether an import gives this very module, in any process.

    One that was made by hand (``types.ModuleType("m")``) is a container like any other, also
    where it was put into ``sys.modules``: no import makes it again.
    """
    attributes = module.__dict__
    name = attributes.get("__name__")
    if not isinstance(name, str) or sys.modules.get(name) is not module:
        return within_extension(module) is not None
    if attributes.get("__spec__") is not None or name in ("__main__", "__mp_main__"):
        return True
    package = sys.modules.get(name.rpartition(".")[0])  # a library may register what it makes
    return package is not None and getattr(package, "__spec__", None) is not None


def within_extension(module: types.ModuleType) -> tuple[str, str] | None:
    """Module and name under which a compiled module holds `module`, which only its import makes.

    So do those written in Rust: their parts are modules that `sys.modules` does not know.
    """
    found = _within_extensions(len(sys.modules)).get(id(module))
    return found[:2] if found is not None and found[2] is module else None


@functools.lru_cache(maxsize=1)
def _within_extensions(modules: int) -> dict[int, tuple[str, str, object]]:  # noqa: ARG001 - looked for anew after an import
    return {
        id(value): (home, name, value)
        for home, module in list(sys.modules.items())
        if isinstance(getattr(getattr(module, "__spec__", None), "loader", None), ExtensionFileLoader)
        for name, value in list(vars(module).items())
        if type(value) is types.ModuleType and value.__spec__ is None
    }


def by_reference(obj: Any) -> bool:
    """Whether a class or function is found again under its module and qualified name.

    False for everything defined in the notebook, since ``__main__`` is new in each kernel.
    """
    module_name = _own(obj, "__module__")
    if issubclass(type(obj), type) and _is_built_in(obj):
        return True
    if not isinstance(module_name, str) or module_name in ("__main__", "__mp_main__"):
        return False
    found: Any = sys.modules.get(module_name)
    if found is None or (type(found) is types.ModuleType and not is_imported(found)):
        return False
    qualified = _own(obj, "__qualname__")  # what `functools` wraps around an object has none
    if not isinstance(qualified, str):
        return False
    for part in qualified.split("."):
        found = vars(found).get(part) if isinstance(found, types.ModuleType) else _own(found, part)
        if found is None:
            return False
    return found is obj


def _is_built_in(cls: type) -> bool:
    return cls.__flags__ & (_HEAP_TYPE | _IMMUTABLE_TYPE) != _HEAP_TYPE


def is_users(cls: type) -> bool:
    """Whether a class belongs to the notebook or the project, not to something installed."""
    path = str(getattr(sys.modules.get(cls.__module__), "__file__", None) or "")
    return home_of(cls) == "__main__" or (path != "" and not path.startswith((sys.prefix, sys.base_prefix)))


def attributes_of(cls: type) -> dict[str, Any]:
    """The very dict of a class's attributes, which code in the class that runs late looks names up in."""
    (found,) = gc.get_referents(vars(cls))
    return found  # type: ignore[no-any-return] # what a mapping proxy stands for


def class_of_attributes(attributes: object) -> type | None:
    """The class whose `attributes_of` this is, if it is those of one."""
    if type(attributes) is not dict or not {"__module__", "__doc__"} <= attributes.keys():
        return None
    own = attributes.get("__dict__") or attributes.get("__weakref__")
    found = [own.__objclass__] if type(own) is types.GetSetDescriptorType else gc.get_referrers(attributes)
    return next((c for c in found if isinstance(c, type) and attributes_of(c) is attributes), None)


def plain_meta(cls: type) -> Any:
    """The metaclass whose ``__setattr__`` sets an attribute of `cls` past all that was written in Python."""
    meta: Any = type(cls)
    return next(each for each in meta.__mro__ if _is_built_in(each))


def _own(owner: Any, part: str) -> Any:
    try:
        return getattr(owner, part, None)
    except Exception:  # noqa: BLE001 - a foreign descriptor or metaclass may raise anything
        return None


def module_constant(obj: object) -> tuple[str, str] | None:
    """Module and name of a stateless module-level object such as ``dataclasses.MISSING``.

    Code compares such sentinels by identity, so they must come back as the same object.
    Only objects without any state count: then a reference loses nothing.
    """
    cls = type(obj)
    if cls is object:
        return _module_of_bare(obj)
    module = sys.modules.get(cls.__module__)
    if module is None or home_of(cls) == "__main__" or getattr(obj, "__dict__", None):
        return None
    for name, value in list(vars(module).items()):
        if value is obj:
            return cls.__module__, name
    return None


_OF_PROCESS: dict[str, tuple[tuple[str, str], ...]] = {
    "Random": (("random", "_inst"),),
    "RandomState": (("numpy.random.mtrand", "_rand"),),
    "_Environ": (("os", "environ"), ("os", "environb")),
    "RcParams": (("matplotlib", "rcParams"),),
}


def may_be_of_process(cls: type) -> bool:
    """Whether objects of `cls` are asked whether they are a `process_object`."""
    return cls.__name__ in _OF_PROCESS


def process_object(obj: object) -> tuple[str, str] | None:
    """Module and name of `obj` where it is a part of the process that a name may be bound to, too.

    That is the generator that the functions of `random` or numpy draw from (``from random import
    choice`` is a method of it), the environment (``from os import environ``) and the options of
    matplotlib. What it holds is the process's, not that of who has it.
    """
    for module, name in _OF_PROCESS.get(type(obj).__name__, ()):
        if module in sys.modules and getattr(sys.modules[module], name, None) is obj:
            return module, name
    return None


def held_by_matplotlib() -> list[object]:
    """What it keeps once and gives to every figure: lists of its options, the shapes of ticks."""
    module = sys.modules.get("matplotlib")
    if module is None:
        return []
    options = getattr(module, "rcParams", {})
    return [*_held_by_its_modules(len(sys.modules)), *(v for v in dict.values(options) if type(v) is list)]


@functools.lru_cache(maxsize=1)
def _held_by_its_modules(modules: int) -> list[object]:  # noqa: ARG001 - looked for anew after an import
    homes = {home: m for home, m in list(sys.modules.items()) if home.partition(".")[0] == "matplotlib"}
    found = [value for module in homes.values() for value in list(vars(module).values())]
    found += [held for cls in found if isinstance(cls, type) for held in list(vars(cls).values())]
    kinds = {"numpy", *homes}
    return [value for value in found if type(value).__module__ in kinds]


def is_cached(cls: type, name: str) -> bool:
    """Whether an attribute is only the memory of a property that is computed on demand."""
    found = next((vars(base)[name] for base in cls.__mro__ if name in vars(base)), None)
    return isinstance(found, functools.cached_property)


def _module_of_bare(obj: object) -> tuple[str, str] | None:
    """Module and name of an ``object()``, whose class does not say where it was made."""
    found = _bare_objects(len(sys.modules)).get(id(obj))
    if found is None:
        return None
    home, name, _ = found
    return (home, name) if getattr(sys.modules.get(home), name, None) is obj else None


@functools.lru_cache(maxsize=1)
def _bare_objects(modules: int) -> dict[int, tuple[str, str, object]]:  # noqa: ARG001 - looked for anew after an import
    """Each ``object()`` that a variable of a module held, by its id, with where that is."""
    return {
        id(value): (home, name, value)
        for home, module in list(sys.modules.items())
        if home not in ("__main__", "__mp_main__") and type(module) is types.ModuleType
        for name, value in list(vars(module).items())
        if type(value) is object
    }


def answers(value: object) -> bool:
    """Whether `value` can be asked for its class; a proxy may raise anything."""
    try:
        value.__class__  # noqa: B018 - that it can be asked is the answer
    except Exception:  # noqa: BLE001
        return False
    return True


def kind_name(obj: object) -> str:
    """The type of `obj` as its user knows it: ``sqlite3.Connection``, ``generator``."""
    cls = type(obj)
    module = home_of(cls)
    return cls.__qualname__ if module in ("builtins", "__main__") else f"{module}.{cls.__qualname__}"
