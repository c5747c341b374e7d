"""How library objects that pickle cannot hold, or holds wrongly, are stored.

Three answers: by reference to something every process has, made anew (locks, executors: no
state worth keeping), or taken apart here because the stock way loses something. What none of
this fits is left to the object's own ``__reduce_ex__``.

The public names here are part of the stored format: pickles refer to them, so they may not
move or change their meaning.
"""

from __future__ import annotations

import _collections_abc
import asyncio
import collections
import collections.abc
import copyreg
import dataclasses
import enum
import functools
import importlib
import io
import mmap
import operator
import subprocess
import sys
import tempfile
import threading
import types
import warnings
import weakref
from collections.abc import Callable
from typing import Any

import xxhash
from cloudpickle import cloudpickle

from kitaru_nb.artifacts.anew import (
    EXACT,
    RUNTIME,
    Unstorable,
    is_shared,
    reduce_runtime,
    reduce_shared,
)
from kitaru_nb.artifacts.clients import is_client, keeps_cookies, reduce_client, reduce_cookies
from kitaru_nb.artifacts.closed import is_closed_file, reduce_closed_file
from kitaru_nb.artifacts.compiled import is_compiled, reduce_compiled
from kitaru_nb.artifacts.frames import is_polars, reduce_polars, with_attributes
from kitaru_nb.artifacts.functions import (
    make_module,
    reduce_cell,
    reduce_class,
    reduce_function,
    reduce_lru,
)
from kitaru_nb.artifacts.images import is_image, pixels_beside
from kitaru_nb.artifacts.instances import reduce_instance, share_state
from kitaru_nb.artifacts.iterators import ITERATORS
from kitaru_nb.artifacts.kinds import (
    by_reference,
    home_name,
    is_immutable_atom,
    is_imported,
    kind_name,
    may_be_of_process,
    module_constant,
    process_object,
    within_extension,
)
from kitaru_nb.artifacts.marker import Marker, is_marker
from kitaru_nb.artifacts.observers import with_observers
from kitaru_nb.artifacts.owners import make_ctypes_array, reduce_part
from kitaru_nb.artifacts.resource import any_resource, reduce_resource
from kitaru_nb.artifacts.subclasses import (
    is_passed_by,
    make_by_base,
    put_attributes,
    reduce_by_base,
    reduce_kind,
    slots_of,
    with_cached,
)
from kitaru_nb.artifacts.typeforms import TYPE_FORMS, is_alias, reduce_alias
from kitaru_nb.artifacts.varying import settled
from kitaru_nb.artifacts.views import content, numpy
from kitaru_nb.errors import UnstorableError
from kitaru_nb.model.referents import referents

__all__ = [
    "Unstorable",
    "attribute_of",
    "broken_when_restored",
    "hashed_by_value",
    "is_made_bare",
    "is_made_of_state",
    "is_plain_instance",
    "make_dict_view",
    "make_exception",
    "make_hashed",
    "make_memmap",
    "make_memoryview",
    "reduce_hashed",
    "reduce_object",
    "set_attributes",
    "set_exception",
    "singleton_class",
    "singleton_of",
]


_BROKEN = (
    *(threading.Thread, subprocess.Popen, asyncio.AbstractEventLoop, asyncio.Future),
    *(tempfile.TemporaryDirectory, tempfile._TemporaryFileWrapper, weakref.finalize),
    *(
        types.GeneratorType,
        types.CoroutineType,
        types.AsyncGeneratorType,
        types.FrameType,
        types.TracebackType,
    ),
)


def broken_when_restored(obj: object) -> bool:
    """Whether `obj` is of a kind that pickles and comes back unusable: threads, processes, files."""
    return isinstance(obj, _BROKEN) or (isinstance(obj, io.IOBase) and not _in_memory(obj))


def _in_memory(stream: io.IOBase) -> bool:
    return isinstance(stream, (io.BytesIO, io.StringIO))


def reduce_object(obj: Any, namespace: dict[str, Any]) -> Any:
    """What stands for `obj` in a pickle: a reduce value as ``__reduce_ex__`` gives it.

    Args:
        obj: Anything pickle does not handle by itself.
        namespace: The live notebook namespace, which notebook functions get as globals.

    Raises:
        Unstorable: nothing can stand for it.
    """
    try:
        return _reduce(obj, namespace)
    except Warning:  # the notebook has made errors of warnings; what we do is no business of its code
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return _reduce(obj, namespace)


def _reduce(obj: Any, namespace: dict[str, Any]) -> Any:
    if any_resource():
        made = reduce_resource(obj)
        if made is not None:
            return made
    if isinstance(obj, type):
        return _reduce_type(obj)
    cls = type(obj)
    if cls is types.FunctionType:
        return obj.__qualname__ if by_reference(obj) else reduce_function(obj, namespace)
    reducer = _REDUCERS.get(cls)
    if reducer is not None:
        return reducer(obj)
    if is_alias(cls):
        return reduce_alias(obj)
    special = _reduce_by_role(obj)
    if special is not None:
        return special
    if is_closed_file(obj):
        return reduce_closed_file(obj)
    if broken_when_restored(obj):
        raise Unstorable(f"a {kind_name(obj)} lives only in its own process")
    value = with_observers(obj, _reduce_stock(obj))
    return pixels_beside(value) if is_image(cls) else value


def is_plain_instance(cls: type) -> bool:
    """Whether instances of `cls` are stored as their class and their attributes, nothing else."""
    return _inherited(cls, "__getstate__") and is_made_of_state(cls)


def is_made_of_state(cls: type) -> bool:
    """Whether instances of `cls` are stored as their class and what they give as their state."""
    return (
        _inherited(cls, "__reduce_ex__")
        and _inherited(cls, "__reduce__")
        and not hasattr(cls, "__getnewargs__")
        and not hasattr(cls, "__getnewargs_ex__")
        and cls.__flags__ & 1 << 9 != 0
        and cls.__dictoffset__ != 0
        and cls.__itemsize__ == 0
        and not issubclass(cls, (list, dict, set, frozenset, BaseException, *_BROKEN, *RUNTIME, io.IOBase))
        and not is_shared(cls)
        and not may_be_of_process(cls)
        and not is_client(cls)
        and not keeps_cookies(cls)
        and cls not in cloudpickle.Pickler.dispatch_table
        and cls not in _REDUCERS
        and not any("__slots__" in vars(base) and vars(base)["__slots__"] for base in cls.__mro__)
        and cls.__base__ is not None
    )


def hashed_by_value(cls: type) -> bool:
    """Whether instances of a plain `cls` are hashed by what they hold."""
    own: Any = cls.__hash__
    return own is not None and own is not object.__hash__ and not hasattr(cls, "__setstate__")


def reduce_hashed(obj: Any, value: Any) -> Any:
    """`value`, changed so that a plain `obj` that is hashed by its attributes can be in a cycle.

    A set or dict deeper in the cycle hashes the object before its attributes are back. Those
    that lead nowhere are therefore given to it when it is made, the rest as ever.
    """
    cls = type(obj)
    attributes = vars(obj)
    early = {name: held for name, held in attributes.items() if is_immutable_atom(held)}
    if not early or len(early) == len(attributes):
        return value
    return make_hashed, (cls, early), attributes, None, None, value[5] if len(value) > 5 else set_attributes


def is_made_bare(value: tuple[Any, ...]) -> bool:
    """Whether what is stored so is made without attributes, and given all of them by nobody's own method."""
    return value[0].__name__ == "__newobj__" and (len(value) < 6 or value[5] is share_state)


def make_hashed(cls: Any, early: dict[str, Any]) -> Any:
    """An instance with the attributes that lead nowhere."""
    made = cls.__new__(cls)
    made.__dict__.update(early)
    return made


def set_attributes(obj: Any, attributes: dict[str, Any]) -> None:
    """Give an instance all its attributes, in the order they had."""
    obj.__dict__.clear()
    obj.__dict__.update(attributes)


def _inherited(cls: type, method: str) -> bool:
    return getattr(cls, method, None) is getattr(object, method, None)


def _reduce_type(cls: type) -> Any:
    of_array = _ctypes_array(cls)
    if of_array is not None:
        return of_array
    if cls in (type(None), type(Ellipsis), type(NotImplemented)) or cls in cloudpickle._BUILTIN_TYPE_NAMES:
        return cloudpickle._class_reduce(cls)
    if by_reference(cls):
        if _resolves(cls.__module__, cls.__qualname__, cls):
            return cls.__qualname__
        found = _ctypes_meta(cls) or _named_elsewhere(cls)
        if found is None:
            raise Unstorable("it is a type that no name leads to")
        return found
    generic = vars(cls).get("__pydantic_generic_metadata__")
    if type(generic) is dict and generic.get("origin") is not None:
        # pydantic has one class for each `Box[int]`, which it finds again by what stands in the brackets.
        return operator.getitem, (generic["origin"], generic["args"])
    return reduce_class(cls)


def _ctypes_array(cls: type) -> Any:
    """How the type of a ctypes array is stored: ctypes makes it anew, the same one each time."""
    library = sys.modules.get("ctypes")
    if library is None or not issubclass(cls, library.Array) or "_length_" not in vars(cls):
        return None
    kind, length = cls._type_, cls._length_  # type: ignore[attr-defined] # ctypes arrays have both
    return (make_ctypes_array, (kind, length)) if kind * length is cls else None


def _ctypes_meta(cls: type) -> Any:
    """How a metaclass of ctypes is stored, which has no name of its own."""
    library = sys.modules.get("ctypes")
    bases = (library.Structure, library.Union, library.Array) if library is not None else ()
    return next(((type, (base,)) for base in bases if type(base) is cls), None)


def _named_elsewhere(cls: type) -> Any:
    """How a type of the interpreter is stored that has another name than its own: of an iterator, a view."""
    for home, module in (("types", types), ("_collections_abc", _collections_abc)):
        for name, value in vars(module).items():
            if value is cls:
                return attribute_of, (home, name)
    return None


def _resolves(module: str | None, qualname: str, obj: object) -> bool:
    try:
        found: Any = sys.modules[module or "builtins"]
        for part in qualname.split("."):
            found = getattr(found, part)
    except (KeyError, AttributeError):
        return False
    return found is obj


def _reduce_by_role(obj: Any) -> Any:
    """References to what exists once in every process, and exceptions with all they carry."""
    for name in ("stdout", "stderr", "stdin", "__stdout__", "__stderr__", "__stdin__"):
        if obj is getattr(sys, name):
            return attribute_of, ("sys", name)
    cls = type(obj)
    if singleton_class(obj):
        return singleton_of, (cls,)
    if isinstance(obj, BaseException):
        return _reduce_exception(obj)
    of_process = _reduce_of_process(obj, cls)
    if of_process is not None:
        return of_process
    of_library = _reduce_of_library(obj, cls)
    if of_library is not None:
        return of_library
    if cls is object or (is_plain_instance(cls) and not vars(obj) and by_reference(cls)):
        constant = module_constant(obj)
        if constant is not None:
            return attribute_of, constant
    return None


def _reduce_of_library(obj: Any, cls: type) -> Any:
    if is_polars(cls):
        return reduce_polars(obj)
    if is_compiled(cls):
        return reduce_compiled(obj)
    np = numpy()
    is_mapped = np is not None and isinstance(obj, np.memmap) and obj._mmap is not None
    return _reduce_memmap(obj) if is_mapped else None


def _reduce_of_process(obj: Any, cls: type) -> Any:
    place = process_object(obj)
    if place is not None:
        return attribute_of, place
    if isinstance(obj, RUNTIME):
        return reduce_runtime(obj)
    if is_shared(cls):
        return reduce_shared(obj)
    return reduce_client(obj) if is_client(cls) else reduce_cookies(obj)


def _reduce_stock(obj: Any) -> Any:
    stock = cloudpickle.Pickler.dispatch_table.get(type(obj))
    try:
        value = stock(obj) if stock is not None else reduce_kind(obj) or settled(obj).__reduce_ex__(5)
    except (RecursionError, Warning):
        raise
    except Exception as error:  # a foreign __reduce__ may raise anything; the user reads what it said
        raise Unstorable(f"{error}" or type(error).__name__) from error
    if isinstance(value, str) and home_name(getattr(obj, "__module__", None)) == "__main__":
        value = _reduce_named(obj)
    value = with_cached(obj, with_attributes(obj, reduce_instance(obj, value)))
    value = value if stock is not None else reduce_by_base(obj, value)
    if isinstance(value, tuple) and value[0] is type(obj) and (len(value) == 2 or value[2] is None):
        value = _with_attributes(obj, value)
    if isinstance(value, str):
        module = getattr(obj, "__module__", None) or cloudpickle._whichmodule(obj, value)
        if not _resolves(module, value, obj):
            raise Unstorable(f"no name leads to it: `{value}` in `{module}` is something else")
    elif not (isinstance(value, tuple) and 2 <= len(value) <= 6 and callable(value[0])):
        raise Unstorable("its `__reduce_ex__` gives nothing to rebuild it from")
    elif value[0] is copyreg.__newobj__ and value[1][:1] != (obj.__class__,):  # type: ignore[attr-defined] # typeshed lacks it
        raise Unstorable("its `__reduce_ex__` gives an object of another class")
    return value


def _reduce_named(obj: Any) -> Any:
    """How an object is stored whose class says that it is found under a name of the notebook.

    A decorator has put it there in place of a function; by that name it is found again once it is back.
    """
    inherited: Any = object.__new__
    if type(obj).__new__ is not inherited:
        raise Unstorable("its class stores it as a name of the notebook, under which it is not yet there")
    return copyreg.__newobj__, (type(obj),), object.__getstate__(obj)  # type: ignore[attr-defined] # typeshed lacks both


def _with_attributes(obj: Any, value: tuple[Any, ...]) -> tuple[Any, ...]:
    """`value`, a call of the class of `obj`, with the attributes that some of the standard library drop."""
    cls, held = type(obj), getattr(obj, "__dict__", None)
    way = next(
        vars(base) for base in cls.__mro__ if not {"__reduce__", "__reduce_ex__"}.isdisjoint(vars(base))
    )
    home = str(way.get("__module__", "builtins")).partition(".")[0]
    if (
        type(held) is not dict
        or not held
        or hasattr(cls, "__setstate__")
        or home not in sys.stdlib_module_names
    ):
        return value
    # Methods take theirs from their function, and members of an enumeration have a class that keeps them.
    copied = issubclass(cls, (enum.Enum, staticmethod, classmethod))
    return value if copied else (*value[:2], held, *value[3:])


def singleton_class(obj: object) -> bool:
    """Whether `obj` is the one instance its class keeps, such as the interactive shell."""
    cls = type(obj)
    return (
        getattr(cls, "_instance", None) is obj
        and callable(getattr(cls, "instance", None))
        and by_reference(cls)
    )


# --- one kind each ------------------------------------------------------------------------


def attribute_of(module: str, name: str) -> Any:
    """An object that a module holds under `name`."""
    return getattr(importlib.import_module(module), name)


def singleton_of(cls: Any) -> Any:
    """The one instance of a class that keeps it, such as the interactive shell."""
    return cls.instance()


def _reduce_exception(error: BaseException) -> Any:
    value = _reduce_stock(error)
    cls = type(error)
    if cls.__reduce__ is BaseException.__reduce__:
        builtin: Any = next(base for base in cls.__mro__ if base.__module__ == "builtins")
        makes_itself = cls.__new__ is not builtin.__new__ and is_passed_by(cls)
        maker = (
            (make_by_base, (cls, builtin, error.args))
            if makes_itself
            else (make_exception, (cls, error.args))
        )
        value = (*maker, *value[2:])
    if len(value) == 3 and not value[2]:
        value = value[:2]  # a `__dict__` that was only looked at says nothing
    links = (error.__cause__, error.__context__, error.__suppress_context__)
    members = {name: getattr(error, name) for name in ("name", "obj") if _is_member(cls, name)}
    members = {name: held for name, held in members.items() if held is not None}
    slots = slots_of(error) if is_passed_by(cls) and len(value) <= 3 else None
    if links == (None, None, False) and not members and not slots:
        return value
    state = value[2] if len(value) > 2 else None
    more = (members, slots) if slots else (members,)
    return (*value[:2], (state, links, *more), None, None, set_exception)


def _is_member(cls: type, name: str) -> bool:
    """Whether a builtin exception keeps `name` beside its arguments and attributes."""
    return type(getattr(cls, name, None)) is types.MemberDescriptorType and issubclass(
        cls, (AttributeError, NameError)
    )


def make_exception(cls: Any, args: tuple[Any, ...]) -> BaseException:
    """The exception again, without calling an ``__init__`` that may want other arguments."""
    if issubclass(cls, BaseExceptionGroup):
        args = (args[0], [*map(_raisable, args[1])])
    made: BaseException = cls.__new__(cls, *args)
    builtin = next(base for base in cls.__mro__ if base.__module__ == "builtins")
    builtin.__init__(made, *args)
    return made


def set_exception(error: BaseException, state: tuple[Any, ...]) -> None:
    """Give an exception its attributes, its cause and its context."""
    attributes, (cause, context, suppress), *more = state
    members, slots = (*more, {}, {})[:2]
    if attributes:
        error.__setstate__(attributes)
    for name, held in members.items():
        setattr(error, name, held)
    put_attributes(error, None, slots)
    error.__cause__, error.__context__ = _raisable(cause), _raisable(context)
    error.__suppress_context__ = suppress


def _raisable(error: Any) -> Any:
    """`error`; the error that says so where it could not be stored, since Python takes nothing else there."""
    try:
        _ = is_marker(error) and bool(error)
    except UnstorableError as instead:
        return instead.with_traceback(None)
    return error


def _reduce_memmap(array: Any) -> Any:
    # Its data is the file's: a copy would no longer follow the file, nor the file the copy.
    if array.filename is None or not isinstance(array.base, mmap.mmap) or array.mode == "c":
        raise Unstorable("its data lives in a file, open the file again")
    order = "C" if array.flags.c_contiguous else "F"
    how = (str(array.filename), array.dtype, array.mode, array.offset, array.shape, order)
    return make_memmap, (*how, xxhash.xxh3_128_digest(content(array)))


def make_memmap(*how: Any) -> Any:
    """The file-backed array opened again; a marker if the file is gone or holds something else."""
    (filename, dtype, mode, offset, shape, order, digest) = how
    np = importlib.import_module("numpy")
    try:
        array = np.memmap(filename, dtype, "r" if mode == "r" else "r+", offset, shape, order)
    except (OSError, ValueError) as error:
        return Marker(filename, "numpy.memmap", f"its file cannot be opened again: {error}")
    if xxhash.xxh3_128_digest(content(array)) != digest:
        return Marker(filename, "numpy.memmap", f"its file `{filename}` has changed since")
    return array


def _reduce_memoryview(view: memoryview) -> Any:
    part = reduce_part(view)
    if part is None:
        raise Unstorable("it looks into memory that another object owns")
    return part


def make_memoryview(base: Any, layout: str, readonly: bool) -> memoryview:  # noqa: FBT001 - stored format
    """A view of the whole of `base`."""
    view: memoryview = memoryview(base).cast(layout)  # type: ignore[call-overload] # a format a memoryview had
    return view.toreadonly() if readonly and not view.readonly else view


def _reduce_weak_mapping(mapping: Any) -> Any:
    return type(mapping), (dict(mapping),)


def _reduce_mappingproxy(proxy: Any) -> Any:
    if proxy is getattr(dataclasses, "_EMPTY_METADATA", None):  # all fields without any have this one
        return attribute_of, ("dataclasses", "_EMPTY_METADATA")
    # The dict itself, not a copy: a proxy shows later changes of what it stands for.
    found = referents(proxy)
    if (
        found
        and isinstance(found[0], collections.abc.Mapping)
        and not isinstance(found[0].get("__dict__"), types.GetSetDescriptorType)
    ):
        return types.MappingProxyType, (found[0],)
    return types.MappingProxyType, (dict(proxy),)


_DICTS: tuple[dict[str, object], ...] = ({}, collections.OrderedDict())
_DICT_VIEWS: dict[type, str] = {
    type(getattr(made, kind)()): kind for made in _DICTS for kind in ("keys", "values", "items")
}


def _reduce_dict_view(view: Any) -> Any:
    # The dict itself, not a copy: a view shows later changes of what it looks at.
    (mapping,) = referents(view)
    return make_dict_view, (mapping, _DICT_VIEWS[type(view)])


def make_dict_view(mapping: dict[Any, Any], kind: str) -> Any:
    """The keys, values or items of `mapping`, as they are seen through it."""
    base = collections.OrderedDict if isinstance(mapping, collections.OrderedDict) else dict
    return getattr(base, kind)(mapping)


def _reduce_lru(wrapper: Any) -> Any:
    if by_reference(wrapper):
        return wrapper.__qualname__
    return reduce_lru(wrapper)


def _reduce_module(module: types.ModuleType) -> Any:
    if is_imported(module):
        if sys.modules.get(module.__name__) is module:
            return importlib.import_module, (module.__name__,)
        return attribute_of, within_extension(module)
    name = vars(module).get("__name__")  # `%run` takes it out of the module that a script was run in
    registered = name is not None and sys.modules.get(name) is module
    # What is in it afterwards: it may lead back to it.
    return make_module, (name, registered), vars(module)


def _reduce_builtin(function: Any) -> Any:
    owner = function.__self__
    if owner is None or isinstance(owner, types.ModuleType):
        if not _resolves(function.__module__, function.__qualname__, function):
            value = function.__reduce__()
            if isinstance(value, tuple):  # such as one of torch, which belongs to a class
                return value
            raise Unstorable("it is a function that no name leads to")
        return function.__qualname__
    return getattr, (owner, function.__name__)


def _reduce_super(bound: Any) -> Any:
    # Asked for anything, it answers for the object it is bound to.
    of, held = (vars(super)[name].__get__(bound) for name in ("__thisclass__", "__self__"))
    return super, (of,) if held is None else (of, held)


_REDUCERS: dict[type, Callable[[Any], Any]] = {
    types.CellType: reduce_cell,
    types.ModuleType: _reduce_module,
    types.MappingProxyType: _reduce_mappingproxy,
    types.BuiltinFunctionType: _reduce_builtin,
    functools._lru_cache_wrapper: _reduce_lru,
    memoryview: _reduce_memoryview,
    super: _reduce_super,
    weakref.WeakValueDictionary: _reduce_weak_mapping,
    weakref.WeakKeyDictionary: _reduce_weak_mapping,
    **dict.fromkeys(_DICT_VIEWS, _reduce_dict_view),
    **ITERATORS,
    **TYPE_FORMS,
    **EXACT,
}
