"""The state before a step, so that a failed step can be undone in the very same objects.

Before a step runs, every container it can reach is copied shallowly: what is inside stays
shared, so the copy costs about as much as the containers themselves. When the step fails,
what it did stays visible; before the same cell runs again, each container that still holds
what the failure left is given back its old content, and each name its old object. What the
user changed in between is theirs and is left alone.
"""

from __future__ import annotations

import array
import collections
import copy
import functools
import itertools
import operator
import random
import sys
import types
import weakref
from collections.abc import Callable, Iterable, Iterator, Mapping, MutableMapping
from collections.abc import Set as AbstractSet
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import compress, repeat
from typing import Any

import xxhash

from kitaru_nb.artifacts.census import watchers_of
from kitaru_nb.artifacts.compiled import is_compiled, made_of
from kitaru_nb.artifacts.kinds import (
    by_reference,
    class_of_attributes,
    is_atom_type,
    is_imported,
    plain_meta,
    process_object,
)
from kitaru_nb.artifacts.tensors import is_tensor, parts_of
from kitaru_nb.engine import frame_kinds, stated_kinds
from kitaru_nb.engine.tensor_kinds import bytes_of, copy_of, put_back, same_as_copy
from kitaru_nb.model.referents import referents

__all__ = ["COPIED_BYTES", "STATED", "Kind", "Shadow", "kind_of", "last_words_of", "reached"]

COPIED_BYTES = 256 << 20
"""Arrays, tensors and frames are copied up to this many bytes in all; beyond it they cannot be undone."""

_MANY = 500_000  # containers; beyond it a step is not shadowed
_ABSENT = object()
_identity = object.__hash__
_LRU = functools._lru_cache_wrapper  # noqa: SLF001 - the only name of that type
_HOLDERS = (dict, list, set, frozenset, tuple, collections.deque)
_STOP = (
    types.CodeType,
    types.FrameType,
    types.GeneratorType,
    types.CoroutineType,
    types.BuiltinFunctionType,
)


@dataclass(frozen=True, slots=True)
class Kind:
    """How one kind of object is copied, compared with its copy and given it back."""

    copy: Callable[[Any], Any]
    same: Callable[[Any, Any], bool]
    put: Callable[[Any, Any], None]


@dataclass(slots=True, weakref_slot=True)
class Shadow:
    """What the objects that a step can reach held before it.

    Attributes:
        live: The namespace, or whatever else binds names to objects.
        names: Names the step can read or bind.
        given_up: Names it deletes. What they hold is not kept alive, since the step may count
            on its death: where it died, the step cannot be undone.
        whole: Whether everything could be copied.
        shows: Whether the step may look into the memory of frames through something else.
        beside: The same of other namespaces, such as those of the project's modules and classes.
        settled: Whether the step has failed, and what it did is noted.
    """

    live: MutableMapping[str, Any]
    names: Iterable[str]
    given_up: Iterable[str] = ()
    whole: bool = True
    shows: bool = False
    beside: list[Shadow] = field(default_factory=list)
    settled: bool = False
    _dying: dict[str, weakref.ref[Any]] = field(default_factory=dict)
    _bound: dict[str, object] = field(default_factory=dict)
    _known: frozenset[str] = frozenset()
    _counters: dict[str, tuple[object, object]] = field(default_factory=dict)
    _last_words: bool = False  # the death of something that is reached runs code of the notebook
    _copied: int = 0
    _abstract: list[Any] = field(default_factory=list)
    _kept: list[tuple[Any, Kind, Any]] = field(default_factory=list)
    _left: list[tuple[Any, Kind, Any, Any]] = field(default_factory=list)
    _rebound: dict[str, tuple[object, object]] = field(default_factory=dict)
    _undone: list[tuple[Any, Kind, Any]] = field(default_factory=list)
    _unbound: dict[str, object] = field(default_factory=dict)

    def take(self) -> None:
        """Copy what is there now."""
        self._bound = {name: self.live[name] for name in self.names if name in self.live}
        self._known = frozenset(self.live)
        for name in self.given_up:
            with suppress(TypeError):  # no weak reference can see it die
                self._dying[name] = weakref.ref(self._bound.get(name))
                del self._bound[name]
        seen = {_identity(self.live), _identity(sys.modules)}
        level = list(self._bound.values())
        while level:
            own = {cls for cls in set(map(type, level)) if cls.__module__ == "__main__"}
            if len(self._kept) > _MANY or _are_watched(level, own):
                self.give_up()
                return
            self._last_words = self._last_words or any(map(last_words_of, own))
            level = self._copy(_new(level, seen))
        for other in self.beside:
            other.take()
            other.keep_counters()
            self.whole = self.whole and other.whole

    def keep_counters(self) -> None:
        """Copy the counters (``itertools.count``) that are bound here: one cannot be set back itself.

        A module's makes numbers for what its classes make; the variable gets the copy then.
        """
        held = ((name, value) for name, value in self._bound.items() if type(value) is itertools.count)
        self._counters = {name: (value, copy.copy(value)) for name, value in held}

    def take_beside(self, spaces: Iterable[tuple[MutableMapping[str, Any], Iterable[str]]]) -> None:
        """Copy what is there now in more namespaces, which the running step has just made."""
        known = {id(each.live) for each in self.beside}
        for live, names in () if self.settled else spaces:
            if id(live) not in known:
                other = Shadow(live, names, shows=self.shows)
                with suppress(Exception):  # a foreign object may raise anything
                    other.take()
                    other.keep_counters()
                    self.beside.append(other)

    def _copy(self, level: list[Any]) -> list[Any]:
        """Keep a copy of each object of a level; what lies inside them comes back."""
        for cls in _COPIES.keys() & {*map(type, level)}:
            copy, kind = _COPIES[cls]
            if copy is not None:
                same = [*compress(level, map(operator.is_, map(type, level), repeat(cls)))]
                self._kept += zip(same, repeat(kind), map(copy, same))  # type: ignore[arg-type] # copy has a kind
        opened, inside = _opened(level)
        for obj in opened:
            self._keep(obj)
        return inside

    def _keep(self, obj: Any) -> None:
        kind = kind_of(obj)
        if kind is None:
            return
        if kind is _FRAME and (self.shows or frame_kinds.is_seen(obj)):
            kind = _ELEMENTS
        if kind in _SIZES:
            self._copied += _SIZES[kind](obj)
            if self._copied > COPIED_BYTES:
                self.whole = False
                return
        if kind is _CLASS and "_abc_impl" in vars(obj):
            self._abstract.append(obj)
        if kind is _FRAME or kind is _ELEMENTS:
            self._kept += [(axis, _AXIS, _AXIS.copy(axis)) for axis in obj._mgr.axes]  # noqa: SLF001
        self._kept.append((obj, kind, kind.copy(obj)))

    def holds(self, name: str) -> bool:
        """Whether `before` knows what `name` was bound to."""
        return self.whole and name in self._bound

    def before(self, name: str) -> object:
        """The object that `name` was bound to before the step."""
        return self._bound[name]

    def keeps_watched(self) -> bool:
        """Whether it shows that something lives which the step, done now, let go.

        Weak references to it show that, and code of its class that runs when it dies.
        """
        gone = [value for name, value in self._bound.items() if self.live.get(name) is not value]
        if any(watchers_of(value) or last_words_of(type(value)) for value in gone):
            return True
        return self._last_words and bool(gone or self.changed())

    def give_up(self) -> None:
        """Hold nothing any more: what only this held dies, and the step cannot be undone."""
        self.whole = False
        self._kept, self._bound, self._dying, self.beside = [], {}, {}, []

    def changed(self) -> list[object]:
        """The objects that hold something else than before the step."""
        return [obj for obj, kind, before in self._kept if not kind.same(obj, before)]

    def settle(self) -> None:
        """The step has failed: note what it did, so that later changes can be told from it."""
        self.settled = True
        for name, reference in self._dying.items():
            held = reference()
            if held is None:
                self.whole = False
            else:
                self._bound[name] = held
        self._dying = {}
        self._left = [
            (obj, kind, before, kind.copy(obj))
            for obj, kind, before in self._kept
            if not kind.same(obj, before)
        ]
        self._kept = []
        for other in self.beside:
            other.settle()
        touched = {name for name in self.live if name not in self._known} | self._bound.keys()
        for name in touched:
            before, now = self._bound.get(name, _ABSENT), self.live.get(name, _ABSENT)
            if before is not now:
                self._rebound[name] = (before, now)
        for name, (counter, as_before) in self._counters.items():
            if self.live.get(name) is counter and repr(counter) != repr(as_before):
                self._rebound[name] = (as_before, counter)
        self._bound = {}  # the rest may die

    def undo(self) -> None:
        """Give everything back what it held, except what was changed since the failure."""
        for other in self.beside:
            other.undo()
        # Told of all before any is put back: arrays may look into the same memory.
        as_left = [
            (obj, kind, before, left) for obj, kind, before, left in self._left if kind.same(obj, left)
        ]
        for obj, kind, before, left in as_left:
            kind.put(obj, before)
            self._undone.append((obj, kind, left))
        self._forget_kinds()
        for name, (before, left) in self._rebound.items():
            if self.live.get(name, _ABSENT) is left:
                self._bind(name, before)
                self._unbound[name] = left

    def redo(self) -> None:
        """Take `undo` back, right after it: everything holds again what the failure left."""
        for other in self.beside:
            other.redo()
        for obj, kind, left in self._undone:
            kind.put(obj, left)
        self._forget_kinds()
        for name, left in self._unbound.items():
            self._bind(name, left)
        self._undone, self._unbound = [], {}

    def _forget_kinds(self) -> None:
        """What abstract classes remember of who is one of theirs, they find out anew.

        A no of theirs that is put back counts as one of now.
        """
        for cls in self._abstract:
            cls._abc_caches_clear()

    def _bind(self, name: str, value: object) -> None:
        if value is _ABSENT:
            self.live.pop(name, None)
        else:
            self.live[name] = value


def reached(root: Any, closed: Callable[[type], bool]) -> Iterator[Any]:
    """What `root` leads to and can change or hold what can, each object once.

    Equal graphs are met in the same order, whichever process they are in. Objects of a type that
    is `closed` are met and not looked into, and arrays of numbers neither.
    """
    seen = {_identity(sys.modules)}
    level = [root]
    while level:
        fresh = _new(level, seen)
        yield from fresh
        kinds = set(map(type, fresh))
        shut, arrays = {*filter(closed, kinds)}, {*filter(_is_array_type, kinds)}
        if shut or arrays:
            # The memory that an array of numbers looks into is there or not, as the array was made.
            fresh = [
                obj
                for obj in fresh
                if type(obj) not in shut and (type(obj) not in arrays or obj.dtype.hasobject)
            ]
        level = _opened(fresh)[1]


def _opened(level: list[Any]) -> tuple[list[Any], list[Any]]:
    """Those objects of a level, besides plain containers, that are looked into; and what is inside all."""
    opened: list[Any] = []
    plain = [*map(_COPIES.__contains__, map(type, level))]
    inside = referents(*compress(level, plain))
    for obj in () if all(plain) else compress(level, map(operator.not_, plain)):
        try:
            parts = _parts(obj)
        except Exception:  # noqa: BLE001 - asked for its class a dead proxy raises, and others may anything
            parts = None
        if parts is not None:
            opened.append(obj)
            inside += parts
    return opened, inside


def last_words_of(cls: type) -> list[type]:
    """The classes of the notebook whose code (`__del__`) may run when an instance of `cls` dies.

    Libraries speak of what is theirs: a client closes itself.
    """
    bases = (base for base in cls.__mro__ if base.__module__ == "__main__")
    return [base for base in bases if type(vars(base).get("__del__")) is types.FunctionType]


def _are_watched(level: list[Any], own: AbstractSet[type]) -> bool:
    """Whether weak references would show the death of an object, which a copy of its holder puts off.

    Asked of instances of the notebook's `own` classes: libraries refer weakly to much of theirs.
    """
    return bool(own) and any(type(obj) in own and watchers_of(obj) for obj in level)


def _new(level: list[Any], seen: set[int]) -> list[Any]:
    """The objects of `level` that can change or hold what can, and that were not met before."""
    kinds = {*map(type, level)}
    open_ = {cls for cls in kinds if not (is_atom_type(cls) or issubclass(cls, _STOP))}
    going = [*compress(level, map(open_.__contains__, map(type, level)))] if open_ != kinds else level
    fresh = dict(zip(map(_identity, going), going, strict=True))
    for key in seen & fresh.keys():
        del fresh[key]
    seen.update(fresh)
    return list(fresh.values())


def _parts(obj: Any) -> Iterable[Any] | None:
    """What lies inside `obj`; None for what belongs to a library or holds nothing."""
    if isinstance(obj, (types.FunctionType, _LRU)):
        return None if by_reference(obj) else _parts_of_function(obj)
    if isinstance(obj, type):
        if by_reference(obj):
            return None
        # `__slotnames__` comes with the first copy or pickle of an instance.
        members = [value for name, value in vars(obj).items() if name != "__slotnames__"]
        return [*members, *obj.__bases__]
    if isinstance(obj, types.ModuleType):
        return None if type(obj) is not types.ModuleType or is_imported(obj) else [vars(obj)]
    if type(obj) is functools.partial:  # asked for its `__dict__` it would get one, and pickle otherwise
        return [part for part in obj.__reduce__()[2] if part is not None]
    if process_object(obj) is not None or _is_of_the_front_end(obj):
        return None  # undone with the process, and not at all
    if _is_array(obj):
        return [*(obj.ravel().tolist() if obj.dtype == object else ()), obj.base]
    if _is_frame(obj):
        return [obj.attrs]
    if is_tensor(obj):
        return [*parts_of(obj).values()]
    return [made_of(obj)] if is_compiled(type(obj)) else _parts_of_instance(obj)


def _parts_of_instance(obj: Any) -> Iterable[Any]:
    if stated_kinds.has_state(type(obj)):
        return referents(obj)  # many get a `__dict__` when they are asked for it, and pickle otherwise
    own = getattr(obj, "__dict__", None)
    if not isinstance(own, dict):
        return referents(obj)
    items = referents(obj) if isinstance(obj, _HOLDERS) else ()
    return [own, type(obj), *_slots(obj).values(), *items]


def _is_of_the_front_end(obj: Any) -> bool:
    """Whether it is a stream to the front end, or a part of the shell: a thread leads to both.

    They go on while a cell runs, and are nothing that it holds.
    """
    home = str(type(obj).__module__).partition(".")[0]
    if home == "IPython":
        return any(base.__name__ == "Configurable" for base in type(obj).__mro__)
    return home == "ipykernel" or obj is sys.stdout or obj is sys.stderr


def _parts_of_function(function: Any) -> list[Any]:
    if type(function) is not _LRU:
        closed = function.__closure__ or ()
        return [*closed, function.__defaults__, function.__kwdefaults__, function.__dict__]
    # What it has computed: in a plain dict, but with a limit that is not all there is of the cache.
    held = referents(function)
    plain = [one for one in held if type(one) is not dict or not _has_limit(function)]
    return [function.__dict__, *plain]


def _has_limit(function: Any) -> bool:
    return function.cache_parameters()["maxsize"] is not None


def _slots(obj: Any) -> dict[str, Any]:
    found = {}
    for kind in type(obj).__mro__:
        declared = vars(kind).get("__slots__", ())
        for name in (declared,) if isinstance(declared, str) else declared:
            slot = vars(kind).get(name)
            if isinstance(slot, types.MemberDescriptorType):
                try:
                    found[name] = slot.__get__(obj)
                except AttributeError:
                    continue
    return found


def _is_array(obj: object) -> bool:
    numpy = sys.modules.get("numpy")
    return numpy is not None and isinstance(obj, numpy.ndarray)


def _is_array_type(cls: type) -> bool:
    numpy = sys.modules.get("numpy")
    return numpy is not None and issubclass(cls, numpy.ndarray)


def _is_frame(obj: object) -> bool:
    pandas = sys.modules.get("pandas")
    return pandas is not None and isinstance(obj, (pandas.DataFrame, pandas.Series))


def kind_of(obj: Any) -> Kind | None:
    """How an object's own content is kept; None for one that has none, or none that can be told."""
    plain = _COPIES.get(type(obj))
    if plain is not None:
        return plain[1]
    for types_, kind in _KINDS:
        if isinstance(obj, types_):
            return kind
    if _is_array(obj):
        return _OBJECTS if obj.dtype.hasobject else _ARRAY
    if _is_frame(obj):
        return _FRAME
    if is_tensor(obj):
        return _TENSOR
    if isinstance(obj, type):
        return _CLASS
    if stated_kinds.has_state(type(obj)):
        return STATED
    return _SLOTTED if _slots(obj) else None


def _same_items(one: Iterable[Any], other: Iterable[Any]) -> bool:
    return all(map(operator.is_, one, other))


def _same_dict(one: Mapping[Any, Any], other: Mapping[Any, Any]) -> bool:
    return len(one) == len(other) and _same_items(one, other) and _same_items(one.values(), other.values())


def _raw_dict(obj: dict[Any, Any]) -> dict[Any, Any]:
    return dict(dict.items(obj))  # whatever a subclass says that it holds


def _same_raw_dict(one: dict[Any, Any], other: dict[Any, Any]) -> bool:
    whole = dict.__len__(one) == len(other) and _same_items(dict.keys(one), other)
    return whole and _same_items(dict.values(one), other.values())


def _raw_list(obj: list[Any]) -> list[Any]:
    return [*list.__iter__(obj)]


def _same_raw_list(one: list[Any], other: list[Any]) -> bool:
    return list.__len__(one) == len(other) and _same_items(list.__iter__(one), other)


def _put_list(obj: list[Any], before: list[Any]) -> None:
    list.__setitem__(obj, slice(None), before)


def _put_dict(obj: dict[Any, Any], before: Mapping[Any, Any]) -> None:
    cls = class_of_attributes(obj)
    if cls is not None:  # Python keeps what it has found there, until it is told
        _put_class(cls, {name: value for name, value in before.items() if name not in _OF_TYPE})
        return
    leaving = [*filter(_takes_itself_out, dict.items(obj))]
    dict.clear(obj)
    dict.update(obj, before)
    for key, reference in leaving:
        dict.setdefault(obj, key, reference)


def _takes_itself_out(item: tuple[Any, Any]) -> bool:
    """Whether it is an entry of a registry for something that lives, and goes when that dies.

    So matplotlib's transforms know their parents. What the step had made dies now or with the next
    garbage collection, and the callback would fail on an entry that is gone.
    """
    value = item[1]
    return isinstance(value, weakref.ref) and value.__callback__ is not None


def _put_ordered(obj: collections.OrderedDict[Any, Any], before: Mapping[Any, Any]) -> None:
    obj.clear()
    obj.update(before)


def _put_set(obj: set[Any], before: set[Any]) -> None:
    set.clear(obj)
    set.update(obj, before)


def _put_deque(obj: collections.deque[Any], before: list[Any]) -> None:
    if _are_waiters(before) and _are_waiters(obj):
        return  # tasks wait there: those of then have gone on, and those of now are to be woken
    obj.clear()
    obj.extend(before)


def _are_waiters(items: Iterable[Any]) -> bool:
    """Whether all of them are what tasks wait for, as a queue or a lock of asyncio keeps them."""
    events = sys.modules.get("asyncio")
    return events is not None and all(type(item) is events.Future for item in items)


def _put_slice(obj: Any, before: Any) -> None:
    obj[:] = before


def _same_array(array: Any, before: tuple[Any, bytes]) -> bool:
    copy, fingerprint = before
    return array.shape == copy.shape and array.dtype == copy.dtype and _fingerprint(array) == fingerprint


def _fingerprint(array: Any) -> bytes:
    return xxhash.xxh3_128_digest(array if array.flags.c_contiguous else array.tobytes())


def _put_array(array: Any, before: tuple[Any, Any]) -> None:
    copy = before[0]
    if array.shape != copy.shape or array.dtype != copy.dtype:
        array.__setstate__((1, copy.shape, copy.dtype, copy.flags.fnc, copy.tobytes("A")))
        return
    if array.flags.writeable:  # which cannot be said again of every view
        array[...] = copy
        return
    array.flags.writeable = True
    array[...] = copy
    array.flags.writeable = False


def _frame_parts(frame: Any) -> list[Any]:
    return [*frame._mgr.axes, *(block.values for block in frame._mgr.blocks)]  # noqa: SLF001 - the public way copies


def _same_frame(frame: Any, before: tuple[Any, list[Any]]) -> bool:
    parts = _frame_parts(frame)
    return len(parts) == len(before[1]) and _same_items(parts, before[1])


def _put_frame(frame: Any, before: tuple[Any, list[Any] | None]) -> None:
    frame._mgr = before[0].copy(deep=False)._mgr  # noqa: SLF001 - the same object gets its old content
    if before[1] is not None:  # these very ones, which a name may hold
        frame._mgr.axes = before[1][: frame.ndim]  # noqa: SLF001


def _axis_names(axis: Any) -> list[Any]:
    return [*axis.names]


def _same_names(axis: Any, before: list[Any]) -> bool:
    return _same_length(_axis_names(axis), before)


def _put_names(axis: Any, before: list[Any]) -> None:
    axis.names = before


def _function_state(function: Any) -> tuple[Any, ...]:
    return function.__code__, function.__defaults__, function.__kwdefaults__


def _put_function(function: Any, before: tuple[Any, ...]) -> None:
    function.__code__, function.__defaults__, function.__kwdefaults__ = before


_OF_TYPE = ("__dict__", "__weakref__")


def _class_state(cls: type) -> dict[str, Any]:
    return {name: value for name, value in vars(cls).items() if name not in _OF_TYPE}


def _put_class(cls: type, before: Mapping[str, Any]) -> None:
    for name in _class_state(cls).keys() - before.keys():
        plain_meta(cls).__delattr__(cls, name)
    for name, value in before.items():
        if vars(cls).get(name, _ABSENT) is not value:
            plain_meta(cls).__setattr__(cls, name, value)


def _cell_content(cell: types.CellType) -> tuple[Any, ...]:
    try:
        return (cell.cell_contents,)
    except ValueError:
        return ()


def _put_cell(cell: types.CellType, before: tuple[Any, ...]) -> None:
    if before:
        cell.cell_contents = before[0]
    else:
        del cell.cell_contents


def _put_slots(obj: Any, before: Mapping[str, Any]) -> None:
    for name in _slots(obj).keys() - before.keys():
        _slot(obj, name).__delete__(obj)
    for name, value in before.items():
        _slot(obj, name).__set__(obj, value)


def _slot(obj: Any, name: str) -> Any:
    # The member itself: a kind that is written in C may refuse `object.__setattr__`.
    found = (vars(kind).get(name) for kind in type(obj).__mro__)
    return next(slot for slot in found if isinstance(slot, types.MemberDescriptorType))


def _same_bytes(one: array.array[Any], other: array.array[Any]) -> bool:
    return one.tobytes() == other.tobytes()


def _same_length(one: Any, other: Any) -> bool:
    return len(one) == len(other) and _same_items(one, other)


def _same_set(one: set[Any], other: set[Any]) -> bool:
    return {id(item) for item in set.__iter__(one)} == {id(item) for item in other}


def _same_objects(array: Any, before: tuple[Any, None]) -> bool:
    return array.shape == before[0].shape and _same_items(array.ravel().tolist(), before[0].ravel().tolist())


def _same_cell(cell: types.CellType, before: tuple[Any, ...]) -> bool:
    return _same_length(_cell_content(cell), before)


def _same_function(function: Any, before: tuple[Any, ...]) -> bool:
    return _same_items(_function_state(function), before)


def _same_class(cls: type, before: Mapping[str, Any]) -> bool:
    return _same_dict(_class_state(cls), before)


def _same_slots(obj: Any, before: Mapping[str, Any]) -> bool:
    return _same_dict(_slots(obj), before)


def _same_random(generator: random.Random, before: Any) -> bool:
    return bool(generator.getstate() == before)


def _misses(function: Any) -> int:
    return int(function.cache_info().misses) if _has_limit(function) else 0


def _same_misses(function: Any, before: int) -> bool:
    return _misses(function) == before


_ARRAY = Kind(lambda array: (array.copy(order="K"), _fingerprint(array)), _same_array, _put_array)
_OBJECTS = Kind(lambda array: (array.copy(order="K"), None), _same_objects, _put_array)
_FRAME = Kind(lambda frame: (frame.copy(deep=False), _frame_parts(frame)), _same_frame, _put_frame)
_AXIS = Kind(_axis_names, _same_names, _put_names)
_ELEMENTS = Kind(frame_kinds.elements_of, frame_kinds.same_elements, frame_kinds.put_back)
_TENSOR = Kind(copy_of, same_as_copy, lambda tensor, before: put_back(tensor, before[0]))
_CLASS = Kind(_class_state, _same_class, _put_class)
_SLOTTED = Kind(_slots, _same_slots, _put_slots)
STATED = Kind(stated_kinds.state_of, stated_kinds.same_state, stated_kinds.put_back)
"""Of objects whose content only they themselves can tell."""
_DICT = Kind(_raw_dict, _same_raw_dict, _put_dict)
_LIST = Kind(_raw_list, _same_raw_list, _put_list)
_SET = Kind(set, _same_set, _put_set)
_SIZES: dict[Kind, Callable[[Any], int]] = {
    _ARRAY: operator.attrgetter("nbytes"),
    _ELEMENTS: frame_kinds.bytes_of,
    _TENSOR: bytes_of,
    STATED: stated_kinds.size_of,
}
# The plain containers, of which there are many, are copied and looked into all at once.
_COPIES: dict[type, tuple[Callable[[Any], Any] | None, Kind | None]] = {
    dict: (dict.copy, _DICT),
    list: (list.copy, _LIST),
    set: (set.copy, _SET),
    tuple: (None, None),
    frozenset: (None, None),
}
_KINDS: tuple[tuple[type, Kind], ...] = (
    (collections.OrderedDict, Kind(dict, _same_dict, _put_ordered)),
    (dict, _DICT),
    (list, _LIST),
    (set, _SET),
    (collections.deque, Kind(list, _same_length, _put_deque)),
    (bytearray, Kind(bytes, operator.eq, _put_slice)),
    (array.array, Kind(copy.copy, _same_bytes, _put_slice)),
    (types.CellType, Kind(_cell_content, _same_cell, _put_cell)),
    (types.FunctionType, Kind(_function_state, _same_function, _put_function)),
    # One with a limit forgets all it has computed; the next call computes it anew.
    (_LRU, Kind(_misses, _same_misses, lambda function, _: function.cache_clear())),
    (random.Random, Kind(random.Random.getstate, _same_random, random.Random.setstate)),
)
