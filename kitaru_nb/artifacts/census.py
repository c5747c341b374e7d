"""One pass over an object graph that finds what its digest must treat with care.

The graph is walked level by level in C where its objects allow it. The result says which
objects are reached more than once (their sharing is part of the digest), which sets there are
(their order is not), and what each object that is no plain container consists of.
"""

from __future__ import annotations

import builtins
import functools
import operator
import os
import pickle
import sys
import threading
import types
import uuid
import weakref
from collections.abc import Callable, Iterable
from itertools import compress
from typing import Any

import xxhash

from kitaru_nb.artifacts.anew import NOTED
from kitaru_nb.artifacts.arrow import arrow_parts
from kitaru_nb.artifacts.code_digest import code_token
from kitaru_nb.artifacts.frames import array_of_index, arrays_within, is_frame, is_manager, with_attributes
from kitaru_nb.artifacts.functions import class_state, globals_of, make_module, remake_of
from kitaru_nb.artifacts.kinds import (
    ATOMS,
    by_reference,
    class_of_attributes,
    home_of,
    is_atom_type,
    is_immutable_atom,
    kind_name,
    module_constant,
)
from kitaru_nb.artifacts.marker import Marker, marker_details
from kitaru_nb.artifacts.owners import owner_of, reduce_over
from kitaru_nb.artifacts.reducers import Unstorable, is_plain_instance, reduce_object
from kitaru_nb.artifacts.resource import any_resource, is_resource, make_resource
from kitaru_nb.artifacts.tensors import reduce_torch
from kitaru_nb.artifacts.typeforms import make_variable, make_written_variable
from kitaru_nb.artifacts.varying import without_varying
from kitaru_nb.artifacts.views import (
    bare,
    content,
    is_array,
    is_array_subclass,
    is_raw,
    layout,
    reduce_objects,
    reduce_subclass,
)
from kitaru_nb.model.referents import referents

__all__ = [
    "DERIVED_MEMBERS",
    "OPAQUE_MET",
    "Census",
    "Parts",
    "atom_parts",
    "set_order",
    "set_surface",
    "told_decorators",
    "touched_opaque",
    "watchers_of",
]

_identity = object.__hash__
_PLAIN = frozenset([list, dict, tuple])
_SETS = frozenset([set, frozenset])
_VALUES = frozenset([tuple, slice])
_LEAVES = frozenset([bytearray])
_LEVELS = 24  # nesting between two objects that are digested on their own
_TEXT = frozenset([str, bytes, int, bool])
_NEAR = _TEXT | {float, type(None)}
_attributes = operator.attrgetter("__dict__")
_opaque: dict[int, tuple[int, Any]] = {}
_process: list[Any] = [0, "", 0]  # its number, its own word, how many opaque objects are let grow


class Parts:
    """What objects other than plain containers consist of, asked once per object.

    Args:
        namespace: The live notebook namespace.
        digest: Gives the digest of a value on its own.
    """

    def __init__(self, namespace: dict[str, Any], digest: Callable[[Any], bytes]) -> None:
        self.namespace = namespace
        self.digest = digest
        self.known: dict[int, tuple[Any, ...]] = {}
        self.kept: list[object] = []
        self.arrays: list[Any] = []
        self.copies: dict[int, tuple[Any, Any]] = {}
        self.framed: set[int] = set()

    def of(self, obj: Any) -> tuple[Any, ...]:
        """A tuple that is equal for equal objects, its children being the object's own."""
        parts = self.known.get(_identity(obj))
        if parts is None:
            try:
                parts = self._take_apart(obj)
            except RecursionError:
                raise
            except Exception:  # noqa: BLE001 - its class may do anything when it is looked at
                parts = _serial(obj)
            self.known[_identity(obj)] = parts
            self.kept.append(obj)
        return parts

    def _take_apart(self, obj: Any) -> tuple[Any, ...]:  # noqa: C901, PLR0912 - one line for each kind
        cls = type(obj)
        if any_resource() and is_resource(obj):
            return self._resource(obj, reduce_object(obj, self.namespace))
        if cls is Marker:
            return ("marker", *marker_details(obj))
        if isinstance(obj, type):
            return self._class(obj)
        if cls is types.FunctionType and not by_reference(obj):
            return self._function(obj)
        if cls is types.CellType:
            return _cell(obj)
        if is_array(obj):
            return self._array(obj)
        if is_frame(cls):
            return self._frame(obj)
        if is_manager(cls):
            self.framed.update(map(id, arrays_within(obj)))
        if (own := array_of_index(obj)) is not None:
            self.framed.add(id(own))
        if isinstance(obj, types.GeneratorType):
            frame = obj.gi_frame
            return _serial(obj) if frame is None else (*_serial(obj), frame.f_lasti, dict(frame.f_locals))
        if is_array_subclass(obj):
            return _reduced(obj, reduce_subclass(obj, bare(obj)))
        if cls is pickle.PickleBuffer:
            return ("buffer", xxhash.xxh3_128_digest(obj.raw()))
        of_arrow = arrow_parts(obj)
        if of_arrow is not None:
            return of_arrow
        try:
            value = reduce_torch(obj, self.copies) or reduce_object(obj, self.namespace)
            again = functools.partial(reduce_object, namespace=self.namespace)
            return _reduced(obj, without_varying(obj, value, again))
        except Unstorable:
            return _serial(obj)

    def _resource(self, obj: Any, value: Any) -> tuple[Any, ...]:
        """The parts of its function; a notebook's counts alike in whichever namespace it lives."""
        if value[0] is not make_resource:
            return _reduced(obj, value)
        function = list(self._function(value[1][0]))
        if home_of(value[1][0]) == "__main__":
            function[4] = ""
        return ("resource", *function, *value[1][1:])

    def _class(self, cls: type) -> tuple[Any, ...]:
        if by_reference(cls):
            return ("type", cls.__module__, cls.__qualname__)
        state = sorted(class_state(cls).items())
        left_out = ("__module__", "__qualname__", "__firstlineno__", "__abstractmethods__", "__dict__")
        state = [
            (name, _member(value))
            for name, value in state
            if name not in left_out and name not in DERIVED_MEMBERS
        ]
        return ("class", type(cls), home_of(cls), cls.__qualname__, cls.__bases__, state)

    def _function(self, function: types.FunctionType) -> tuple[Any, ...]:
        again = remake_of(function)
        if again is not None:
            return ("decorated", *again)
        where: Any = globals_of(function, self.namespace)
        where = "" if where is self.namespace else where
        return (
            *("function", function.__name__, function.__qualname__, home_of(function), where),
            *(code_token(function.__code__), function.__defaults__, function.__kwdefaults__),
            *(function.__annotations__, function.__doc__, _closure(function), function.__dict__),
            *getattr(function, "__type_params__", ()),
        )

    def _array(self, array: Any) -> tuple[Any, ...]:
        dtype, flags = array.dtype, array.flags
        kind = dtype.str if dtype.names is None and dtype.subdtype is None else repr(dtype)
        if dtype.metadata:
            kind = f"{kind} {sorted(dtype.metadata.items(), key=repr)}"
        owner = owner_of(array) if is_raw(array) else None
        if owner is not None:
            return ("over", *reduce_over(array, owner)[1])
        part = None if is_raw(array) or id(array) in self.framed else reduce_objects(array)
        if part is not None:
            return ("part", *part[1])
        if not is_raw(array):
            fortran = flags.f_contiguous and not flags.c_contiguous
            return ("objects", kind, array.shape, fortran, flags.writeable, array.ravel().tolist())
        self.arrays.append(array)
        return (
            "array",
            kind,
            array.shape,
            layout(array),
            flags.writeable,
            xxhash.xxh3_128_digest(content(array)),
        )

    def _frame(self, frame: Any) -> tuple[Any, ...]:
        held = [b.values for b in frame._mgr.blocks if is_array(b.values)]
        reduced = _reduced(frame, with_attributes(frame, frame.__reduce_ex__(5)))
        if any(values.dtype.kind == "O" for values in held):
            return reduced
        # A frame copies on write: what it shares with other frames is not to be seen.
        raw = [values for values in held if is_raw(values)]
        self.arrays += raw
        self.framed.update(map(id, raw))
        return ("frame", self.digest(reduced))


def _closure(function: types.FunctionType) -> Any:
    """Its cells; nobody can tell which cell it is that leads to the attributes of a class."""
    closure = function.__closure__
    if not closure or "__classdict__" not in function.__code__.co_freevars:
        return closure
    classes = [class_of_attributes(_cell(cell)[-1]) for cell in closure]
    return tuple(("attributes", c) if c else cell for c, cell in zip(classes, closure, strict=True))


def _cell(cell: types.CellType) -> tuple[Any, ...]:
    try:
        return ("cell", cell.cell_contents)
    except ValueError:
        return ("cell",)


# What pydantic makes of a class's other attributes. It names the class by its address in it.
DERIVED_MEMBERS = frozenset(["__pydantic_core_schema__", "__pydantic_serializer__", "__pydantic_validator__"])


def _member(value: Any) -> Any:
    if type(value) in (types.MemberDescriptorType, types.GetSetDescriptorType):
        return ("descriptor", value.__name__)
    return told_decorators(value)


def told_decorators(value: Any) -> Any:
    """What the decorators of a pydantic model say, without its address; anything else is itself.

    The functions that they decorate are attributes of the class, too.
    """
    if type(value).__name__ != "DecoratorInfos" or not str(type(value).__module__).startswith("pydantic."):
        return value
    return [
        (kind, name, decorator.info)
        for kind in type(value).__dataclass_fields__
        if type(getattr(value, kind)) is dict
        for name, decorator in getattr(value, kind).items()
    ]


def _reduced(obj: Any, value: Any) -> tuple[Any, ...]:
    if isinstance(value, str):
        return ("name", getattr(obj, "__module__", None), value)
    if isinstance(obj, (set, frozenset)) and value[0] is type(obj):
        value = (value[0], (set(obj),), *value[2:])  # its order is not part of what it is
    place = NOTED.get(_identity(value[0])) or _NAMED.get(_identity(value[0]))
    if place is not None:  # how things stood is no part of what it is
        value = (value[0], (*value[1][:place], *value[1][place + 1 :]), *value[2:])
    value = _in_order(obj, _untouched(obj, value))
    rest = [list(part) if hasattr(part, "__next__") else part for part in value[1:5]]
    return ("made", value[0], *rest)


def _in_order(obj: Any, value: tuple[Any, ...]) -> tuple[Any, ...]:
    """`value` with a state that is the same in each process.

    A class with slots may put its state together from a set of their names.
    """
    state = value[2] if len(value) > 2 else None
    if type(state) is not dict or state is getattr(obj, "__dict__", None):
        return value
    if not any(vars(base).get("__slots__") for base in type(obj).__mro__) or set(map(type, state)) != {str}:
        return value
    return (*value[:2], dict(sorted(state.items())), *value[3:])


def _untouched(obj: Any, value: tuple[Any, ...]) -> tuple[Any, ...]:
    """`value` as it was before anybody looked at the object's `__dict__`, which makes an empty one."""
    if isinstance(obj, functools.partial) and type(value[2]) is tuple and value[2][3:] == ({},):
        return (*value[:2], (*value[2][:3], None), *value[3:])
    if isinstance(obj, BaseException) and value[2:] == ({},):
        return value[:2]
    return value


# An identity that is another one in each run; whether imports find a module that was made by hand.
_NAMED = {_identity(make_variable): 2, _identity(make_written_variable): 2, _identity(make_module): 1}


def _serial(obj: Any) -> tuple[Any, ...]:
    """A token that stands for one live object of this process and never for another."""
    if _process[0] != os.getpid():
        _process[:] = os.getpid(), uuid.uuid4().hex, 0
        _opaque.clear()
    key = _identity(obj)
    if key not in _opaque:
        try:
            held: Any = weakref.ref(obj, lambda _: _opaque.pop(key, None))
        except TypeError:
            held = obj  # kept alive, or its identity could be taken over by another object
            _let_go()
        _opaque[key] = (uuid.uuid4().int, held)
    OPAQUE_MET.keys.add(key)
    if OPAQUE_MET.by_kind:
        return ("opaque", kind_name(obj))
    return ("opaque", kind_name(obj), _process[1], _opaque[key][0])


def _let_go() -> None:
    """Forget the objects that are only kept alive here: nobody can meet them again.

    They are gone through when there are half as many more of all than were left the last time.
    """
    if len(_opaque) < _process[2]:
        return
    for key, (_, held) in list(_opaque.items()):
        if type(held) is not weakref.ref and sys.getrefcount(held) <= _OURS:
            del _opaque[key]
    _process[2] = len(_opaque) * 3 // 2


_OURS = 3  # references while one is looked at: of the entry, of the loop and of the call


def watchers_of(obj: Any) -> int:
    """How many weak references others have to an object."""
    known = _opaque.get(_identity(obj))
    own = known is not None and type(known[1]) is weakref.ref and known[1]() is obj
    return weakref.getweakrefcount(obj) - own


class _OpaqueMet(threading.local):
    """What this thread has met in the digest that it makes.

    Attributes:
        keys: Addresses of opaque objects; cleared by who wants to know.
        by_kind: Whether only their kind counts, and not which one each is.
    """

    def __init__(self) -> None:
        self.keys: set[int] = set()
        self.by_kind = False


OPAQUE_MET = _OpaqueMet()


def touched_opaque(keys: Iterable[int]) -> None:
    """A step could use these opaque objects: what they hold now may be something else."""
    for key in keys:
        if key in _opaque:
            _opaque[key] = (uuid.uuid4().int, _opaque[key][1])


def atom_parts(obj: Any) -> tuple[Any, ...] | None:
    """The parts of an immutable that pickle does not write canonically by itself, else None."""
    cls = type(obj)
    if isinstance(obj, type):
        return ("type", home_of(obj), obj.__qualname__)
    if cls is types.CodeType:
        return ("code", code_token(obj))
    if cls is types.ModuleType:
        return ("module", obj.__name__)
    if cls in (types.FunctionType, types.BuiltinFunctionType):
        return ("name", home_of(obj), obj.__qualname__)
    if cls in (types.GetSetDescriptorType, types.MemberDescriptorType, types.MethodDescriptorType):
        return ("descriptor", obj.__objclass__.__qualname__, obj.__name__)
    if cls in (types.WrapperDescriptorType, types.ClassMethodDescriptorType):
        return ("descriptor", obj.__objclass__.__qualname__, obj.__name__)
    return None


def set_order(items: Any, key: Callable[[Any], Any]) -> list[Any]:
    """The elements of a set in an order that depends on their values only."""
    kinds = set(map(type, items))
    if len(kinds) == 1 and kinds <= _TEXT:
        return sorted(items)
    return sorted(items, key=key)


def set_surface(items: Any) -> list[Any]:
    """What shows of a set where its elements are not looked into, in an order of its own.

    Constants are all there is of themselves; of anything else it is the kind.
    """
    return sorted(
        f"{type(item).__name__} {item!r}" if type(item) in ATOMS else type(item).__qualname__
        for item in items
    )


@functools.cache
def _caches(cls: type) -> bool:
    """Whether objects of a class of pandas keep what they have worked out among their attributes."""
    members = (member for base in cls.__mro__ for member in vars(base).values())
    return any(type(member).__name__ == "CachedProperty" for member in members)


def _is_plain(cls: type) -> bool:
    try:
        return is_plain_instance(cls) and not (str(cls.__module__).startswith("pandas.") and _caches(cls))
    except Exception:  # noqa: BLE001 - its metaclass may do anything
        return False


class Census:
    """What is shared, what is a set, and what everything else consists of.

    Args:
        root: Where to start; itself not part of the graph's sharing.
        parts: Takes objects apart, and remembers how.
        digest: Gives the digest of a value on its own, to order the elements of sets; without it,
            what is inside of sets is left out.

    Attributes:
        seeds: Objects digested on their own and referred to by number, in canonical order.
        sets: Every set reached, with its elements in canonical order.
        plain: Types whose instances are their class and their ``__dict__``.
    """

    def __init__(self, root: list[Any], parts: Parts, digest: Callable[[Any], bytes] | None) -> None:
        self.parts = parts
        self.digest = digest
        self.seeds: dict[int, Any] = {}
        self.sets: dict[int, tuple[Any, list[Any]]] = {}
        self.plain: set[type] = set()
        self.live = {_identity(d): d for d in (parts.namespace, vars(builtins))}
        self.seen: set[int] = set()
        self.kept: list[list[Any]] = []
        self.atoms: dict[type, bool] = {}
        self.constants: dict[int, bool] = {}
        self.near: dict[type, bool] = {}
        self.places: dict[int, int] = {}
        self.placed = 0  # how many of those kept have a place
        self._walk(root)

    def _walk(self, root: list[Any]) -> None:
        depth = 1
        level = self._new(referents(root), depth)
        done = 0
        while level or done < len(self.sets):
            while level:
                depth += 1
                inside = self._inside(level)
                self.kept.append(inside)
                level = self._new(referents(*inside), depth)
            pending = list(self.sets.items())[done:]
            done = len(self.sets)
            level = self._set_elements(pending, depth)

    def _set_elements(self, pending: list[tuple[int, tuple[Any, list[Any]]]], depth: int) -> list[Any]:
        elements: list[Any] = []
        for key, (found, _) in pending:
            if all(map(self._constant, found)):
                self.sets[key] = (found, set_order(found, self._constant_key))
            elif self.digest is None:
                self.sets[key] = (found, set_surface(found))
            else:
                ordered = self._ordered(found)
                self.sets[key] = (found, ordered)
                elements += ordered
        return self._new(elements, depth) if elements else []

    def _ordered(self, found: Any) -> list[Any]:
        """The elements in canonical order. Only those that look alike from near are looked into further.

        Where objects lead to each other, each look would be at all of them.
        """
        alike: dict[str, list[Any]] = {}
        for item in found:
            alike.setdefault(self._near(item), []).append(item)
        groups = (alike[near] for near in sorted(alike))
        return [
            item
            for group in groups
            for item in (sorted(group, key=self._element_key) if len(group) > 1 else group)
        ]

    def _near(self, item: Any) -> str:
        """What an element is, without what it leads to."""
        cls = type(item)
        if self._constant(item):
            return repr(self._constant_key(item))
        if cls not in self.near:
            self.near[cls] = _is_plain(cls)
        held = item.__dict__ if self.near[cls] else {}
        atoms = sorted((name, repr(value)) for name, value in held.items() if type(value) in _NEAR)
        return f"{home_of(cls)} {cls.__qualname__} {atoms}"

    def _constant(self, item: Any) -> bool:
        return type(item) in ATOMS or (type(item) is tuple and is_immutable_atom(item))

    def _constant_key(self, item: Any) -> Any:
        return (type(item).__name__, repr(item)) if type(item) is not float else ("float", item.hex())

    def _element_key(self, item: Any) -> tuple[int, Any, int]:
        key = _identity(item)
        if key in self.seeds:
            return 0, list(self.seeds).index(key), 0
        assert self.digest is not None  # else the elements are left out
        return 1, self.digest(item), self._place(key) if key in self.seen else sys.maxsize

    def _place(self, key: int) -> int:
        """When an object was met: of two that are alike, one may be held by somebody else, too."""
        for level in self.kept[self.placed :]:
            for obj in level:
                self.places.setdefault(_identity(obj), len(self.places))
        self.placed = len(self.kept)
        return self.places.get(key, sys.maxsize)

    def _new(self, level: list[Any], depth: int) -> list[Any]:
        """The objects of a level met for the first time; what is met again becomes a seed."""
        kinds = list(map(type, level))
        going = {cls for cls in set(kinds) if not self._is_atom(cls)}
        if not going:
            return []
        level = list(compress(level, map(going.__contains__, kinds)))
        ids = list(map(_identity, level))
        fresh = dict(zip(ids, level, strict=True))
        if len(fresh) < len(ids) or not self.seen.isdisjoint(fresh):
            fresh = self._again(ids, level)
        for key in self.live.keys() & fresh.keys():
            del fresh[key]
        self.seen.update(fresh)
        new = list(fresh.values())
        self.kept.append(new)
        if depth % _LEVELS == 0:
            self.seeds.update((key, obj) for key, obj in fresh.items() if type(obj) not in _SETS)
        return new

    def _again(self, ids: list[int], level: list[Any]) -> dict[int, Any]:
        fresh: dict[int, Any] = {}
        for key, obj in zip(ids, level, strict=True):
            if key not in self.seen and key not in fresh:
                fresh[key] = obj
            elif key not in self.seeds and key not in self.sets and not self._is_constant(key, obj):
                self.seeds[key] = obj
        return fresh

    def _is_constant(self, key: int, obj: Any) -> bool:
        if type(obj) in _SETS:
            return True  # every set has a number of its own
        if type(obj) not in _VALUES and not isinstance(
            obj, (type, types.FunctionType, types.BuiltinFunctionType, types.ModuleType)
        ):
            return False
        if key not in self.constants:
            self.constants[key] = is_immutable_atom(obj)
        return self.constants[key]

    def _is_atom(self, cls: type) -> bool:
        atom = self.atoms.get(cls)
        if atom is None:
            atom = self.atoms[cls] = is_atom_type(cls)
        return atom

    def _inside(self, level: list[Any]) -> list[Any]:
        inside: list[Any] = []
        kinds: dict[type, list[Any]] = {}
        if len(set(map(type, level))) == 1:
            kinds[type(level[0])] = level
        else:
            for obj in level:
                kinds.setdefault(type(obj), []).append(obj)
        for cls, same in kinds.items():
            if cls in _PLAIN:
                inside += same
            elif cls in _SETS:
                self.sets.update((_identity(o), (o, [])) for o in same)
            elif cls not in _LEAVES:
                self._inside_others(cls, same, inside)
        return inside

    def _inside_others(self, cls: type, same: list[Any], inside: list[Any]) -> None:
        if cls in (types.FunctionType, types.BuiltinFunctionType, types.ModuleType) or issubclass(cls, type):
            same = [o for o in same if not self._is_constant(_identity(o), o)]
            if issubclass(cls, type):
                self.seeds.update((_identity(o), o) for o in same)
        if not (_is_plain(cls) and cls is not Marker):
            inside += map(self.parts.of, same)
            return
        if any_resource():
            made = list(filter(is_resource, same))
            inside += map(self.parts.of, made)
            same = [o for o in same if not is_resource(o)] if made else same
        self.plain.add(cls)
        if by_reference(cls):
            self.seeds.setdefault(_identity(cls), cls)
            bare = [o for o in same if not o.__dict__ and module_constant(o)]
            inside += map(self.parts.of, bare)
        elif _identity(cls) not in self.seen:
            inside.append((cls, cls))  # twice: a class of the notebook is always a seed
        dicts = list(map(_attributes, same))
        ids = list(map(_identity, dicts))
        for key, attributes in zip(ids, dicts, strict=True):
            if key in self.seen:
                self.seeds[key] = attributes
        self.seen.update(ids)
        self.kept.append(dicts)
        # In order of insertion: the collector sees the attributes in order of their first use.
        inside += map(list, map(dict.values, dicts))
