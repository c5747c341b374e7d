"""Functions, closure cells and classes defined in a notebook, taken apart and put together.

A function is stored by its code object and comes back on the *live* notebook namespace, so
it sees names bound later. Its closure cells are objects of their own, so functions that share
a cell still share it. What decorators did is in the stored state; they are not run again.

The public names here are part of the stored format: pickles refer to them, so they may not
move or change their meaning.
"""

from __future__ import annotations

import abc
import contextlib
import enum
import functools
import gc
import importlib
import linecache
import marshal
import sys
import threading
import types
import typing
import weakref
from collections.abc import Iterable, Iterator
from typing import Any

from cloudpickle import cloudpickle

from kitaru_nb.artifacts.kinds import (
    attributes_of,
    by_reference,
    class_of_attributes,
    home_of,
    is_imported,
    plain_meta,
)
from kitaru_nb.artifacts.notes import say_made
from kitaru_nb.artifacts.ties import (
    Tie,
    class_there,
    current_tie,
    definition_of,
    function_there,
    keep,
    written_as,
)
from kitaru_nb.errors import UnstorableError

__all__ = [
    "class_state",
    "globals_of",
    "load_code",
    "make_cell",
    "make_class",
    "make_enum",
    "make_function",
    "make_lru",
    "make_module",
    "module_scope",
    "reduce_cell",
    "reduce_class",
    "reduce_code",
    "reduce_function",
    "reduce_lru",
    "remade",
    "remake_of",
    "set_cell",
    "set_class",
    "set_class_cell",
    "set_function",
    "set_lru",
    "take_place",
    "trying",
]

State = dict[str, Any]
_UNSET = object()
_PYTHON = sys.version_info[:2]
trying = threading.local()
"""``trying.on`` is true while a group is decoded only to see whether that works."""

_NOT_STATE = frozenset(
    ["__dict__", "__weakref__", "__slotnames__", "_abc_impl", "__static_attributes__", "__annotate_func__"]
)
_NEVER_EXTRA = frozenset(["_member_state_", "_abc_registry_", "_registered_with_", "__doc__"])
_ENUM_PARTS = frozenset(
    [
        *("_generate_next_value_", "_member_names_", "_member_map_", "_member_type_"),
        *("_value2member_map_", "_unhashable_values_", "_unhashable_values_map_", "_hashable_values_"),
    ]
)


# --- code ---------------------------------------------------------------------------------


def reduce_code(code: types.CodeType, sources: dict[str, str | None]) -> tuple[Any, ...]:
    """How a code object is stored: marshalled, with its Python version and its cell's text.

    Args:
        code: The code object.
        sources: Cell texts already met, by file name, so that each is stored once.
    """
    name = code.co_filename
    if name not in sources:
        entry = linecache.cache.get(name)
        # Only cells: a real file has a modification time, and is read again from disk.
        text = entry is not None and len(entry) == 4 and entry[1] is None
        sources[name] = "".join(entry[2]) if text and entry is not None else None  # type: ignore[misc] # len 4
    where = (name, code.co_qualname, code.co_firstlineno)
    return load_code, (marshal.dumps(code), _PYTHON, where, sources[name])


def load_code(
    data: bytes, python: tuple[int, int], where: tuple[str, str, int], source: str | None
) -> types.CodeType:
    """The code object again, with its source where ``inspect.getsource`` looks for it.

    Raises:
        UnstorableError: it was stored by another Python and cannot be compiled anew.
    """
    filename, qualname, line = where
    if source is not None and filename not in linecache.cache:
        linecache.cache[filename] = (len(source), None, source.splitlines(keepends=True), filename)
    if tuple(python) == tuple(_PYTHON):
        return marshal.loads(data)  # type: ignore[no-any-return] # it was a code object
    if source is not None:
        for code in _codes(compile(source, filename, "exec")):
            if (code.co_qualname, code.co_firstlineno) == (qualname, line):
                return code
    raise UnstorableError(
        f"`{qualname}` was stored by Python {python[0]}.{python[1]} and its source is not on record",
        kind="other-python",
        hint=f"resume with Python {python[0]}.{python[1]}, or run the cell that defines it",
    )


def _codes(code: types.CodeType) -> Iterator[types.CodeType]:
    yield code
    for const in code.co_consts:
        if isinstance(const, types.CodeType):
            yield from _codes(const)


# --- functions and cells ------------------------------------------------------------------


def reduce_function(function: types.FunctionType, namespace: dict[str, Any]) -> tuple[Any, ...]:
    """How a function that cannot be imported is stored; see `make_function`."""
    again = remake_of(function)
    if again is not None:
        return remade, again
    state = {
        "__qualname__": function.__qualname__,
        "__module__": function.__module__,
        "__defaults__": function.__defaults__,
        "__kwdefaults__": function.__kwdefaults__,
        "__annotations__": function.__annotations__,
        "__doc__": function.__doc__,
    }
    if hasattr(function, "__type_params__"):
        state["__type_params__"] = function.__type_params__
    where: Any = globals_of(function, namespace)
    if type(where) is dict and where is not namespace:
        module = _module_of(where)
        where = where if module is None else _Scope(module)
    arguments = (function.__code__, where, function.__name__, function.__closure__, written_as(function))
    return make_function, arguments, (state, function.__dict__), None, None, set_function


REMAKE = "__kitaru_remake__"
"""Attribute of a function that a decorator of ours has made: who makes it again, and from what."""


def remake_of(function: types.FunctionType) -> tuple[Any, ...] | None:
    """What `remade` makes a decorated function of again: ``module:name``, and its arguments.

    So what is stored is the user's function and the decorator's options, and never our own code,
    which the next release changes.
    """
    found = function.__dict__.get(REMAKE)
    return found if type(found) is tuple else None


def remade(maker: str, *arguments: Any) -> Any:
    """A decorated function again; pickles refer to this function, and to the makers by name."""
    module, _, name = maker.partition(":")
    if not module.startswith("kitaru_nb."):
        raise UnstorableError(f"`{maker}` makes no functions of ours", kind="unloadable-value")
    return getattr(importlib.import_module(module), name)(*arguments)


def globals_of(function: types.FunctionType, namespace: dict[str, Any]) -> dict[str, Any] | str:
    """A function's globals: the live namespace, the name of a module, or a dict of its own."""
    found = function.__globals__
    main = sys.modules.get("__main__")
    if found is namespace or (main is not None and found is vars(main)):
        return namespace
    name = found.get("__name__")
    module = sys.modules.get(name) if isinstance(name, str) else None
    if module is not None and vars(module) is found and is_imported(module):
        return module.__name__
    return _named(function, found) if function.__code__.co_filename.startswith(_GENERATED) else found


_GENERATED = "<attrs generated "


def _named(function: types.FunctionType, scope: dict[str, Any]) -> dict[str, Any]:
    """What a method that attrs has written finds in its globals, which are a copy of all the notebook's.

    In these is whatever there was when the class was made: results, history, large values.
    """
    names = {name for code in _codes(function.__code__) for name in code.co_names}
    return {name: scope[name] for name in sorted(names) if name in scope}


class _Scope:
    """Stands for the names of a module that was made by hand, which are its functions' globals."""

    def __init__(self, module: types.ModuleType) -> None:
        self.module = module

    def __reduce__(self) -> tuple[Any, ...]:
        return module_scope, (self.module,)


_scopes: weakref.WeakValueDictionary[int, types.ModuleType] = weakref.WeakValueDictionary()


def _module_of(scope: dict[str, Any]) -> types.ModuleType | None:
    """The living module whose names are `scope`."""
    if "__loader__" not in scope:
        return None
    known = _scopes.get(id(scope))
    if known is None or vars(known) is not scope:
        modules = (holder for holder in gc.get_referrers(scope) if type(holder) is types.ModuleType)
        known = next((module for module in modules if vars(module) is scope), None)
        if known is not None:
            _scopes[id(scope)] = known
    return known


def module_scope(module: types.ModuleType) -> dict[str, Any]:
    """The names of a module, as the globals of its functions."""
    return vars(module)


def make_module(name: str | None, registered: bool = False) -> types.ModuleType:  # noqa: FBT001, FBT002 - stored format
    """A module that no import gives, still empty; found by imports where it was `registered`."""
    made = types.ModuleType(name or "")
    if name is None:
        del made.__dict__["__name__"]
    elif registered:
        sys.modules.setdefault(name, made)
    return made


def take_place(module: types.ModuleType) -> None:
    """Let imports find this restored module where they found the one it was in this process."""
    known = sys.modules.get(module.__name__)
    if known is not None and known is not module and not is_imported(known):
        sys.modules[module.__name__] = module


def make_function(
    code: types.CodeType,
    where: dict[str, Any] | str,
    name: str,
    closure: tuple[types.CellType, ...] | None,
    definition: str = "",
) -> types.FunctionType:
    """A bare function; `set_function` gives it its state, so that it may refer to itself.

    A function of the main module may come first, see `Tie`.

    Args:
        code: What it does.
        where: Its globals: the live notebook namespace, a dict of its own, or a module's name.
        name: Its ``__name__``.
        closure: Its cells, shared with other functions of the same group.
        definition: See `written_as`.
    """
    scope = vars(importlib.import_module(where)) if isinstance(where, str) else where
    there = function_there(code, scope, definition)
    if there is not None:
        return there
    made = types.FunctionType(code, scope, name, None, closure)
    _bare[id(made)] = made
    return made


def set_function(function: types.FunctionType, state: tuple[State, State]) -> None:
    """Give a function made by `make_function` its defaults, annotations and attributes."""
    if _bare.pop(id(function), None) is None:
        return  # it was there
    slots, attributes = state
    for name, value in slots.items():
        setattr(function, name, value)
    function.__dict__.clear()
    function.__dict__.update(attributes)


def reduce_cell(cell: types.CellType) -> tuple[Any, ...]:
    """How a closure cell is stored: empty first, since it may lead back to itself."""
    try:
        contents = cell.cell_contents
    except ValueError:
        return make_cell, ()
    cls = class_of_attributes(contents)
    if cls is not None:
        return make_cell, (), (cls,), None, None, set_class_cell
    return make_cell, (), (contents,), None, None, set_cell


def make_cell() -> types.CellType:
    """An empty closure cell."""
    return types.CellType()


def set_cell(cell: types.CellType, state: tuple[Any]) -> None:
    """Fill a closure cell."""
    (cell.cell_contents,) = state


def set_class_cell(cell: types.CellType, state: tuple[type]) -> None:
    """Fill a closure cell with the attributes of a class: these very ones, which change with it."""
    cell.cell_contents = attributes_of(*state)


def reduce_lru(wrapper: Any) -> tuple[Any, ...]:
    """How an ``lru_cache`` wrapper is stored: what it wraps and how, without its entries."""
    parameters = wrapper.cache_parameters()
    attributes = {k: v for k, v in vars(wrapper).items() if k not in ("__wrapped__", "cache_parameters")}
    if "__module__" in attributes:
        attributes["__module__"] = home_of(wrapper)
    held = wrapper.cache_info().currsize
    arguments = (wrapper.__wrapped__, parameters["maxsize"], parameters["typed"], held)
    return make_lru, arguments, attributes, None, None, set_lru


def make_lru(function: Any, maxsize: int | None, typed: bool, held: int = 0) -> Any:  # noqa: FBT001 - as lru_cache has it
    """The wrapper again. Its cache is empty: that costs time and changes no result.

    `held` is how many results it had, which is told and is no part of what it is.
    """
    if held:
        say_made("functools.lru_cache", f"without the {held} results it held")
    return functools.lru_cache(maxsize, typed)(function)


def set_lru(wrapper: Any, attributes: State) -> None:
    """Give a wrapper the attributes it had."""
    vars(wrapper).update(attributes)


# --- classes ------------------------------------------------------------------------------


def reduce_class(cls: type) -> tuple[Any, ...]:
    """How a class defined in a notebook is stored: a bare class first, then its attributes.

    Each class has an identity that travels with it, so the same class restored twice in one
    process is one class, and instances restored later belong to it. In another process that has
    made the class itself, instances may belong to that one (see `Tie`).
    """
    identity = cloudpickle._get_or_create_tracker_id(cls)
    definition = definition_of(cls)
    if "__members__" in dir(type(cls)) and hasattr(cls, "_member_map_"):
        members = {name: member._value_ for name, member in cls.__members__.items()}  # type: ignore[attr-defined]
        arguments = (
            cls.__bases__,
            cls.__name__,
            cls.__qualname__,
            members,
            cls.__module__,
            identity,
            definition,
        )
        return make_enum, arguments, class_state(cls), None, None, set_class
    body: State = {"__module__": cls.__module__, "__qualname__": cls.__qualname__}
    body |= {name: vars(cls)[name] for name in _AT_BIRTH if name in vars(cls)}
    if _is_ctypes(cls):
        body |= {name: vars(cls)[name] for name in _LAYOUT if name in vars(cls)}
    # Some have to see the bases as they were written: Generic[T], TypedDict. NamedTuple must not.
    bases = vars(cls).get("__orig_bases__", cls.__bases__)
    if type(cls) is type and types.resolve_bases(bases) != cls.__bases__:
        written = {typing.get_origin(base): base for base in bases}
        bases = tuple(written.get(base, base) for base in cls.__bases__)
    return (
        make_class,
        (type(cls), cls.__name__, bases, body, identity, definition),
        class_state(cls),
        None,
        None,
        set_class,
    )


# Given to a class when it is made: later they would mean something else.
_AT_BIRTH = ("__slots__", "__class__")
_LAYOUT = ("_anonymous_", "_pack_", "_fields_")


def _is_ctypes(cls: type) -> bool:
    return type(cls).__module__ == "_ctypes"


def class_state(cls: type) -> State:
    """The attributes of a class that say what it is, without those Python makes by itself."""
    state = {k: v for k, v in vars(cls).items() if k not in _NOT_STATE}
    if _is_ctypes(cls):  # made anew from `_fields_`
        state = {k: v for k, v in state.items() if type(v).__module__ != "_ctypes" or isinstance(v, type)}
    slots = state.get("__slots__", ())
    for name in (slots,) if isinstance(slots, str) else tuple(slots):
        mangled = (
            f"_{cls.__name__.lstrip('_')}{name}" if name.startswith("__") and name[-2:] != "__" else name
        )
        state.pop(mangled, None)
    if isinstance(cls, abc.ABCMeta):
        registry = abc._get_dump(cls)[0]  # type: ignore[attr-defined] # typeshed lacks it
        state["_abc_registry_"] = sorted(
            (ref() for ref in registry), key=lambda c: (c.__module__, c.__qualname__)
        )
    registered = _registered_with(cls)
    if registered:
        state["_registered_with_"] = registered
    members = vars(cls).get("_member_map_")
    if members is not None and "_member_names_" in state:
        for name in (*_ENUM_PARTS, *members):
            state.pop(name, None)
        state["_member_state_"] = {
            name: {k: None if k == "__objclass__" else v for k, v in vars(member).items()}
            for name, member in members.items()
        }
    return state


def abstract_classes() -> Iterator[Any]:
    """The abstract base classes with which a class that is stored is registered again."""
    for module in ("collections.abc", "numbers", "os", "importlib.abc", "io", "contextlib", "selectors"):
        if module in sys.modules:
            yield from (base for base in vars(sys.modules[module]).values() if type(base) is abc.ABCMeta)


def _registered_with(cls: type) -> list[Any]:
    known = _registrations(abc.get_cache_token(), len(sys.modules))
    return [base for ref, base in known.get(id(cls), ()) if ref() is cls]


@functools.lru_cache(maxsize=1)
def _registrations(token: object, modules: int) -> dict[int, list[tuple[Any, Any]]]:  # noqa: ARG001 - until one is added
    """By the address of a class: with which abstract classes it is registered."""
    found: dict[int, list[tuple[Any, Any]]] = {}
    for base in abstract_classes():
        for ref in abc._get_dump(base)[0]:  # type: ignore[attr-defined] # typeshed lacks it
            found.setdefault(id(ref()), []).append((ref, base))
    return found


_bare: dict[int, type | types.FunctionType] = {}
"""Classes and functions that were just made and have no attributes yet, by id."""


def make_class(  # noqa: PLR0917 - stored format
    meta: type, name: str, bases: tuple[Any, ...], body: State, identity: str, definition: str = ""
) -> type:
    """The class of that identity if this process has it, else a bare one.

    A class of the main module may come first, see `Tie`.

    Hooks the notebook itself defines (``__init_subclass__``, a metaclass's ``__new__``) are
    not run: what they did is in the stored state.
    """
    known = class_there(body.get("__qualname__", name), identity, definition)
    resolved = types.resolve_bases(bases)
    if known is not None:
        _give_bases(known, resolved)
        return known
    if by_reference(meta) and _notebook_hook(resolved) is None:
        try:
            made = types.new_class(name, bases, {"metaclass": meta}, lambda ns: ns.update(body))
        except TypeError:
            # It refuses the bases its own classes end up with (TypedDict); the state has the rest.
            made = type.__new__(meta, name, resolved, dict(body))
    else:
        made = _make_quietly(meta, name, resolved, body)
    return _tracked(made, identity)


def _tracked(made: type, identity: str) -> type:
    kept = keep(made, identity)
    _bare[id(kept)] = kept
    return kept


def _give_bases(cls: type, bases: tuple[Any, ...]) -> None:
    """Let a live class derive from `bases`, where one of the notebook's own was defined again meanwhile."""
    if current_tie() is not Tie.RESTORED or getattr(trying, "on", False) or len(bases) != len(cls.__bases__):
        return
    # Of libraries' some are none in the end: TypedDict stands where dict comes to be.
    other = [
        base for pair in zip(cls.__bases__, bases, strict=True) if pair[0] is not pair[1] for base in pair
    ]
    if other and not any(map(by_reference, other)):
        cls.__bases__ = bases


def _notebook_hook(bases: Iterable[Any]) -> type | None:
    """The base whose ``__init_subclass__`` would run, if the notebook defines it."""
    for base in bases:
        for cls in base.__mro__:
            if cls is not object and "__init_subclass__" in vars(cls):
                return None if by_reference(cls) else cls
    return None


def _make_quietly(meta: Any, name: str, bases: tuple[Any, ...], body: State) -> type:
    builder = next(m for m in meta.__mro__ if by_reference(m))
    owner = _notebook_hook(bases)
    if owner is None:
        return builder.__new__(meta, name, bases, dict(body))  # type: ignore[no-any-return] # a class
    # A base put in front would change the layout, so the hook itself steps aside for a moment.
    hook = vars(owner)["__init_subclass__"]
    plain_meta(owner).__setattr__(owner, "__init_subclass__", classmethod(lambda _, **__: None))
    try:
        return builder.__new__(meta, name, bases, dict(body))  # type: ignore[no-any-return] # a class
    finally:
        plain_meta(owner).__setattr__(owner, "__init_subclass__", hook)


def make_enum(  # noqa: PLR0917 - stored format
    bases: tuple[Any, ...],
    name: str,
    qualname: str,
    members: State,
    module: str,
    identity: str,
    definition: str = "",
) -> type:
    """An enum with its members and aliases; `set_class` gives both their attributes."""
    known = class_there(qualname, identity, definition)
    if known is not None:
        return known
    # As the notebook said: a function or class is no member by itself.
    members = {label: enum.member(value) if callable(value) else value for label, value in members.items()}
    tracked_as = None if current_tie() is Tie.APART else identity
    made = cloudpickle._make_skeleton_enum(bases, name, qualname, members, module, tracked_as, None)
    return _tracked(made, identity)


def set_class(cls: type, state: State) -> None:
    """Give a class exactly the attributes it had when it was stored; a live one only where it is restored.

    Not during a trial (`trying`): then the classes are live already and must stay untouched.
    """
    made = _bare.pop(id(cls), None)
    if getattr(trying, "on", False) or (made is None and current_tie() is not Tie.RESTORED):
        return
    state = dict(state)
    for subclass in state.pop("_abc_registry_", ()):
        cls.register(subclass)  # type: ignore[attr-defined] # an abstract base class
    for base in state.pop("_registered_with_", ()):
        base.register(cls)
    for name, attributes in state.pop("_member_state_", {}).items():
        kept = cls.__members__[name].__dict__  # type: ignore[attr-defined] # an enum
        kept.clear()
        kept.update((k, cls if k == "__objclass__" else v) for k, v in attributes.items())
    extra = set(class_state(cls)) - set(state) - _NEVER_EXTRA
    for name in extra:
        # Some are made by the interpreter and not ours to remove.
        with contextlib.suppress(AttributeError, TypeError):
            plain_meta(cls).__delattr__(cls, name)
    for name, value in state.items():
        if name in _AT_BIRTH or (name == "_fields_" and _is_ctypes(cls)):
            continue
        if vars(cls).get(name, _UNSET) is not value:
            plain_meta(cls).__setattr__(cls, name, value)
