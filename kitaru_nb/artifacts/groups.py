"""Which names of a notebook share objects that can change, and so belong together.

The walk goes level by level through ``gc.get_referents``, which is C, and costs about as much
as pickling the same values. Identity is asked with ``object.__hash__``: the builtin ``id`` is
an audited event, so it costs several times more under an audit hook.
"""

from __future__ import annotations

import builtins
import logging
import sys
import threading
import types
import typing
import weakref
from collections.abc import Container, Iterable, Mapping
from functools import cached_property
from itertools import compress, repeat
from typing import Any, NamedTuple

from kitaru_nb.artifacts.compiled import is_compiled, made_of
from kitaru_nb.artifacts.frames import array_of_index, attributes_set, is_frame
from kitaru_nb.artifacts.functions import globals_of
from kitaru_nb.artifacts.instances import shares_dict
from kitaru_nb.artifacts.kinds import (
    by_reference,
    held_by_matplotlib,
    is_atom_type,
    is_immutable_atom,
    is_imported,
    may_be_of_process,
    package_of,
    process_object,
)
from kitaru_nb.artifacts.reducers import singleton_class
from kitaru_nb.artifacts.resource import any_resource, stands_for
from kitaru_nb.artifacts.tensors import is_storage_class, is_tensor_class, memory_of, parts_of, storage_of
from kitaru_nb.artifacts.typeforms import TYPE_VARIABLES, written_parts
from kitaru_nb.artifacts.uncollected import uncollected
from kitaru_nb.artifacts.views import byte_range, is_array, numpy
from kitaru_nb.model.referents import EMBEDDED, referents

__all__ = ["Grouping", "alias_groups", "group_names"]

_identity = object.__hash__
_PLAIN = frozenset([list, dict, tuple, set, frozenset, types.CellType, types.MethodType, slice])
_VALUES = frozenset([tuple, frozenset, slice])
_GC_TYPE = 1 << 14
_WORKED_OUT = frozenset(["_cache", "_id", "_references"])


def alias_groups(
    values: Mapping[str, object], *, namespace: dict[str, Any], anchors: Container[int] = ()
) -> list[frozenset[str]]:
    """The groups of `group_names` alone."""
    return group_names(values, namespace=namespace, anchors=anchors).groups


class Grouping(NamedTuple):
    """Names by what they share.

    Attributes:
        groups: Each name in exactly one, in the order of their first names.
        owned: For each object met (by `object.__hash__`) the number of a name that leads to it;
            a definition that is stored by itself only for the names bound to it.
        refers: For names of definitions that are stored by themselves: the other such
            definitions (by `object.__hash__`) that they lead to.
        meets: The same for all other names.
        spans: For each array met the addresses `[low, high)` of its elements, and the number of
            a name that leads to it.
    """

    groups: list[frozenset[str]]
    owned: dict[int, int]
    refers: dict[str, set[int]]
    meets: dict[str, set[int]]
    spans: list[tuple[int, int, int]]


def group_names(
    values: Mapping[str, object],
    *,
    namespace: dict[str, Any],
    anchors: Container[int] = (),
    outside: Iterable[object] = (),
) -> Grouping:
    """Split names into groups that share nothing that can change.

    Two names are in one group when a list, dict, instance, array memory, closure cell or
    notebook class can be reached from both. Numbers, text, modules, importable classes and
    functions, tuples of these, and the notebook namespace itself tie nothing together.

    Args:
        values: Names with their values.
        namespace: The live notebook namespace, the globals of notebook functions.
        anchors: Ids of the functions and classes that names are bound to and that are stored
            by themselves: reaching one from elsewhere ties nothing together.
        outside: More such functions and classes, whose names are not among `values`.

    Definitions that lead to each other are one group: neither can be stored before the other.

    Returns:
        The groups. About half a microsecond per container, 1 ms for 200 small names.
    """
    with uncollected():
        walk = _Walk(values, namespace, anchors)
        walk.definitions.update(map(_identity, outside))
        groups = walk.groups()
        walk.owner.update(walk.rooted)
        rooted = set(walk.rooted.values())
        refers = {walk.names[index]: keys for index, keys in walk.refers.items() if index in rooted}
        meets = {walk.names[index]: keys for index, keys in walk.refers.items() if index not in rooted}
        return Grouping(groups, walk.owner, refers, meets, walk.spans)


class _Walk:
    def __init__(
        self, values: Mapping[str, object], namespace: dict[str, Any], anchors: Container[int]
    ) -> None:
        self.values = values
        self.namespace = namespace
        self.roots = {_identity(value): value for value in values.values() if id(value) in anchors}
        self.rooted: dict[int, int] = {}
        self.definitions = set(self.roots)
        self.refers: dict[int, set[int]] = {}
        self.names = list(values)
        self.parent = list(range(len(self.names)))
        self.owner: dict[int, int] = {}
        self.kept: list[object] = []
        self.arrays: list[tuple[Any, int, bool]] = []
        self.spans: list[tuple[int, int, int]] = []
        self.axes: list[tuple[Any, int]] = []
        self.stops: dict[type, bool] = {}
        self.constant: dict[int, bool] = {}
        self.outside = {_identity(d) for d in (namespace, vars(builtins), sys.modules)}
        main = sys.modules.get("__main__")
        if main is not None:
            self.outside.add(_identity(vars(main)))

    @cached_property
    def of_drawing(self) -> frozenset[int]:
        """What every figure has from matplotlib itself: who meets it in two figures, has two figures."""
        found = held_by_matplotlib()
        self.kept.append(found)
        return frozenset(map(_identity, found)) - set(map(_identity, self.values.values()))

    def groups(self) -> list[frozenset[str]]:
        self.outside |= self.definitions
        for index, name in enumerate(self.names):
            value = self.values[name]
            if _identity(value) in self.roots:
                self._reach_root(value, index)
            elif not self._stops(type(value)):
                self._reach([value], index)
        self._join_arrays()
        self._join_axes()
        self._join_circles()
        found: dict[int, list[str]] = {}
        for index, name in enumerate(self.names):
            found.setdefault(self._root(index), []).append(name)
        return [frozenset(names) for names in found.values()]

    def _reach_root(self, definition: object, index: int) -> None:
        key = _identity(definition)
        if key in self.rooted:
            self._join(self.rooted[key], index)
            return
        self.rooted[key] = index
        parts = referents(*self._inside([definition], index))
        self._reach([part for part in parts if not self._stops(type(part))], index)

    def _root(self, index: int) -> int:
        while self.parent[index] != index:
            self.parent[index] = index = self.parent[self.parent[index]]
        return index

    def _join(self, one: int, other: int) -> None:
        low, high = sorted((self._root(one), self._root(other)))
        self.parent[high] = low

    def _stops(self, cls: type) -> bool:
        stops = self.stops.get(cls)
        if stops is None:
            stops = self.stops[cls] = is_atom_type(cls)
        return stops

    def _reach(self, level: list[Any], index: int) -> None:
        """Own everything `level` leads to; meeting what another name owns joins the two."""
        while True:
            level = self._new(level, index)
            if not level:
                return
            if any_resource():
                level = [stands_for(obj) for obj in level]  # what it holds is its own affair
            kinds = set(map(type, level))
            level = referents(*(level if kinds <= _PLAIN else self._inside(level, index)))
            kinds = set(map(type, level))
            stopped = {cls for cls in kinds if self._stops(cls)}
            if stopped:
                going = kinds - stopped
                level = list(compress(level, map(going.__contains__, map(type, level)))) if going else []

    def _new(self, level: list[Any], index: int) -> list[Any]:
        """The objects of `level` met for the first time, each once; the others join names."""
        found = dict(zip(map(_identity, level), level, strict=True))
        owner = self.owner
        if not owner.keys().isdisjoint(found.keys()):
            for key in [key for key in found if key in owner]:
                obj = found.pop(key)
                if owner[key] != index and not self._is_value(key, obj) and key not in self.of_drawing:
                    self._join(owner[key], index)
        if not found.keys().isdisjoint(self.outside):  # this way around the shorter one is gone through
            met = self.outside.intersection(found)
            for key in met:
                del found[key]
            if not self.definitions.isdisjoint(met):
                self.refers.setdefault(index, set()).update(met & self.definitions)
        owner.update(dict.fromkeys(found, index))
        new = list(found.values())
        self.kept.append(new)
        return new

    def _is_value(self, key: int, obj: Any) -> bool:
        """Whether being reached twice means nothing: equal constants are often one object."""
        if type(obj) not in _VALUES:
            return False
        if key not in self.constant:
            self.constant[key] = is_immutable_atom(obj)
        return self.constant[key]

    def _inside(self, level: list[Any], index: int) -> list[Any]:
        """What to look into for each object of a level, as objects for ``gc.get_referents``."""
        kinds = {cls: self._look_safely(cls) for cls in set(map(type, level))}
        direct = {cls for cls, look in kinds.items() if look is None}
        inside: list[Any] = list(compress(level, map(direct.__contains__, map(type, level))))
        inside.append([cls for cls in direct - _PLAIN if not by_reference(cls)])
        if len(direct) < len(kinds):
            for obj in level:
                look = kinds[type(obj)]
                if look is None:
                    continue
                try:
                    look(obj, index, inside)
                except Exception:  # noqa: BLE001 - its class may do anything when it is looked at
                    inside.append(obj)
        self.kept.append(inside)
        return inside

    def _look_safely(self, cls: type) -> Any:
        try:
            return self._look(cls)
        except Exception:  # noqa: BLE001 - its metaclass may do anything; the collector sees what it holds
            return None

    def _look(self, cls: type) -> Any:  # noqa: C901, PLR0912 - one line for each kind
        """How to look into objects of a type; None: the collector sees all there is."""
        if cls in _PLAIN:
            return None
        if issubclass(cls, type):
            return self._look_into_class
        if issubclass(cls, threading.local):
            return lambda obj, _, inside: inside.append(vars(obj))  # the collector does not see it
        if cls in _LOOK:
            look = _LOOK[cls]
            return lambda obj, _, inside: inside.append(look(obj))
        np = numpy()
        if np is not None and issubclass(cls, np.ndarray):
            return self._look_into_array
        if is_tensor_class(cls):
            return self._look_into_tensor
        if is_storage_class(cls):
            return lambda storage, _, inside: inside.append([getattr(storage, "_untyped_storage", None)])
        if cls is types.ModuleType:
            return self._look_into_module
        if issubclass(cls, BaseException):
            return _look_into_exception
        if cls in (types.FunctionType, types.BuiltinFunctionType):
            return self._look_into_function
        if package_of(cls) == "pandas" or is_frame(cls):
            return self._look_into_frame
        if issubclass(cls, logging.Logger) or hasattr(cls, "_instance") or may_be_of_process(cls):
            return self._look_into_singleton
        if is_compiled(cls):
            return self._look_into_compiled
        if EMBEDDED and shares_dict(cls):
            return _look_into_holder
        return None if cls.__flags__ & _GC_TYPE else self._look_into_stored

    def _look_into_class(self, cls: type, _: int, inside: list[Any]) -> None:
        if by_reference(cls):
            self._disown(cls)
        else:
            inside.append([*vars(cls).values(), *cls.__bases__, type(cls)])

    def _look_into_module(self, module: types.ModuleType, _: int, inside: list[Any]) -> None:
        if is_imported(module):
            self._disown(module)
        else:
            inside.append([vars(module)])  # the dict itself: it may be the globals of functions

    def _disown(self, obj: object) -> None:
        # An importable thing ties nothing together, whoever meets it next.
        del self.owner[_identity(obj)]
        self.outside.add(_identity(obj))
        self.kept.append(obj)

    def _look_into_array(self, array: Any, index: int, inside: list[Any]) -> None:
        self.arrays.append((array, index, False))
        if array.dtype.hasobject:
            inside.append(array.ravel().tolist())
        if type(array) is not numpy().ndarray:
            inside.append(getattr(array, "__dict__", None))
        base = array.base
        while is_array(base):
            base = base.base
        if base is not None:
            inside.append([base])

    def _look_into_tensor(self, tensor: Any, index: int, inside: list[Any]) -> None:
        memory = memory_of(tensor, {}) if tensor.device.type == "cpu" else None
        if memory is not None:
            self.arrays.append((memory, index, False))
        else:
            storage = storage_of(tensor)
            inside.append([storage] if storage is not None else list(tensor.detach().__reduce_ex__(5)[1]))
        inside.append([*parts_of(tensor).values()])

    def _look_into_function(self, function: Any, _: int, inside: list[Any]) -> None:
        if type(function) is types.FunctionType:
            if by_reference(function):
                self._disown(function)
            else:
                inside.append(_function_parts(function))
                scope = globals_of(function, self.namespace)
                if isinstance(scope, dict):
                    inside.append([scope])  # the live namespace is outside, a dict of its own is not
        elif isinstance(function.__self__, (types.ModuleType, type(None))) or (
            type(function.__self__).__module__ == "pybind11_builtins"  # a method's record: its class has it
        ):
            self._disown(function)
        else:
            inside.append([function.__self__])

    def _look_into_frame(self, frame: Any, index: int, inside: list[Any]) -> None:
        # Frames copy on write: what they share among themselves cannot be told from copies.
        manager = getattr(frame, "_mgr", None)
        own = array_of_index(frame)
        if own is not None:
            self.arrays.append((own, index, True))
            inside.append([*frame.names, *(own.tolist() if own.dtype.kind == "O" else ())])
            return
        if manager is None:
            # Views of an index have these from it; they are not stored, so nobody shares them later.
            held = getattr(frame, "__dict__", None) or {}
            is_index = "_id" in held and "_cache" in held
            inside.append([v for k, v in held.items() if k not in _WORKED_OUT] if is_index else frame)
            return
        self.axes += zip(manager.axes, repeat(index))
        for block in manager.blocks:
            if is_array(block.values):
                self.arrays.append((block.values, index, True))
                if block.values.dtype.kind == "O":
                    inside.append(block.values.ravel().tolist())
        if frame.attrs:
            inside.append(frame.attrs)
        inside.append([*attributes_set(frame).values()])

    def _look_into_singleton(self, obj: Any, _: int, inside: list[Any]) -> None:
        if isinstance(obj, logging.Logger) or singleton_class(obj) or process_object(obj) is not None:
            self._disown(obj)
        else:
            inside.append(obj)

    def _look_into_compiled(self, function: Any, _: int, inside: list[Any]) -> None:
        if by_reference(function):
            self._disown(function)
        else:
            inside.append(made_of(function))

    def _look_into_stored(self, obj: Any, _: int, inside: list[Any]) -> None:
        # A type the collector does not know may still hold objects: ask what it would store.
        try:
            value: Any = obj.__reduce_ex__(5)
        except Exception:  # noqa: BLE001 - a foreign __reduce__ may raise anything; then there is nothing to see
            return
        if isinstance(value, tuple):
            inside.append(list(value[1:]))

    def _join_circles(self) -> None:
        """Join the definitions that lead to each other."""
        onward: dict[int, set[int]] = {}
        for index in self.refers.keys() & set(self.rooted.values()):
            keys = self.refers[index]
            aims = {self._root(self.rooted[key]) for key in keys & self.rooted.keys()}
            onward.setdefault(self._root(index), set()).update(aims - {self._root(index)})
        while True:
            dead = {index for index, aims in onward.items() if not aims & onward.keys()}
            if not dead:
                break
            onward = {index: aims for index, aims in onward.items() if index not in dead}
        for index in onward:
            for aim in _reached(onward, index):
                if aim != index and index in _reached(onward, aim):
                    self._join(index, aim)

    def _join_arrays(self) -> None:
        """Join the names whose arrays look into the same memory."""
        spans = sorted((*byte_range(a), n) for n, (a, _, _) in enumerate(self.arrays) if a.size)
        self.spans = [(low, high, self.arrays[n][1]) for low, high, n in spans]
        run: list[int] = []
        end = -1
        for low, high, n in [*spans, (sys.maxsize, sys.maxsize, -1)]:
            if low >= end:
                self._join_run(run)
                run = []
            run.append(n)
            end = max(end, high)

    def _join_axes(self) -> None:
        """Join frames with who has their index or columns themselves: whoever renames these, renames both.

        Frames that only have one of them together are not joined, which most that are made of each
        other do.
        """
        for axis, index in self.axes:
            owner = self.owner.get(_identity(axis))
            if owner is not None:
                self._join(owner, index)

    def _join_run(self, run: list[int]) -> None:
        members = [self.arrays[n] for n in run]
        framed = any(in_frame for _, _, in_frame in members)
        if framed and not any(not in_frame and a.flags.writeable for a, _, in_frame in members):
            members = [m for m in members if not m[2]]
        for _, index, _ in members[1:]:
            self._join(members[0][1], index)


def _reached(onward: Mapping[int, set[int]], start: int) -> set[int]:
    found: set[int] = set()
    waiting = [start]
    while waiting:
        new = onward.get(waiting.pop(), set()) - found
        found |= new
        waiting += new
    return found


def _look_into_holder(obj: Any, _: int, inside: list[Any]) -> None:
    """Into an instance, and its ``__dict__``, which others may have: the collector sees past it."""
    inside += (obj, [object.__getattribute__(obj, "__dict__")])


def _look_into_exception(error: Any, _: int, inside: list[Any]) -> None:
    # It is stored without its traceback, whose frames lead to all that ran.
    inside.append([part for part in referents(error) if type(part) is not types.TracebackType])


def _function_parts(function: types.FunctionType) -> list[Any]:
    parts: list[Any] = [*(function.__closure__ or ()), *(function.__defaults__ or ())]
    parts += (function.__kwdefaults__ or {}).values()
    parts += (function.__annotations__, function.__dict__)
    return parts


def _generator_parts(generator: Any) -> list[Any]:
    frame = getattr(generator, "gi_frame", None) or getattr(generator, "cr_frame", None)
    frame = frame or getattr(generator, "ag_frame", None)
    return list(frame.f_locals.values()) if frame is not None else []


def _frame_parts(frame: types.FrameType) -> list[Any]:
    return list(frame.f_locals.values())


def _weak_items(mapping: Any) -> list[Any]:
    return [*mapping.keys(), *mapping.values()]


def _proxy_target(proxy: Any) -> list[Any]:
    try:
        return [proxy.__repr__.__self__]
    except ReferenceError:
        return []


def _type_parts(made: Any) -> list[object]:
    """What is stored of a type variable or alias: not what the code of its parts has given meanwhile."""
    codes = [*written_parts(made).values()]
    return [*codes, *getattr(made, "__type_params__", ())] if codes else referents(made)


_LOOK: dict[type, Any] = {
    getattr(typing, "TypeAliasType", typing.TypeVar): _type_parts,
    **dict.fromkeys(TYPE_VARIABLES.values(), _type_parts),
    types.GeneratorType: _generator_parts,
    types.CoroutineType: _generator_parts,
    types.AsyncGeneratorType: _generator_parts,
    types.FrameType: _frame_parts,
    types.TracebackType: lambda _: None,  # as with exceptions; a task has one beside its exception
    weakref.ref: lambda ref: [ref()],
    weakref.WeakMethod: lambda ref: [ref()],
    weakref.ProxyType: _proxy_target,
    weakref.CallableProxyType: _proxy_target,
    weakref.WeakValueDictionary: _weak_items,
    weakref.WeakKeyDictionary: _weak_items,
    weakref.WeakSet: list,
    type(iter(set())): lambda iterator: iterator.__reduce__()[1],
}
