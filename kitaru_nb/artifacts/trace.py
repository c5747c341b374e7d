"""Whether a graph of plain objects is exactly as it was, in one pass of the collector's own walk.

A digest says what a value is; a trace says, five times faster and in this process only, that
nothing in it was touched. It keeps every container of the graph and everything each of them
referred to: while all of them refer to the very same objects, in the same order, and all
leaves are immutable, the value is unchanged. Arrays are compared by their bytes, as long as
they are few; objects of libraries that say themselves what their state is are asked again.
"""

from __future__ import annotations

import builtins
import collections
import functools
import sys
import types
from collections.abc import Iterable, Sequence
from itertools import chain, compress
from operator import attrgetter, eq, is_
from typing import Any

import xxhash

from kitaru_nb.artifacts.asked import Asked
from kitaru_nb.artifacts.functions import globals_of
from kitaru_nb.artifacts.kinds import by_reference, is_atom_type, is_imported
from kitaru_nb.artifacts.marker import Marker
from kitaru_nb.artifacts.owners import memory_of
from kitaru_nb.artifacts.reducers import is_plain_instance
from kitaru_nb.artifacts.views import bare, content, is_array, is_array_subclass, is_raw, numpy
from kitaru_nb.model.referents import referents

__all__ = ["Trace"]

_identity = object.__hash__
_DICTS = frozenset([dict, collections.defaultdict, collections.OrderedDict])
_CONTAINERS = _DICTS | {
    *(list, tuple, set, frozenset, slice, collections.deque, types.CellType, types.MethodType),
    *(staticmethod, classmethod, property, functools.partial, types.MappingProxyType),
}
_PLAIN = frozenset([list, tuple, dict, set, frozenset])
_DATA = frozenset([str, bytes, int, float, complex, bool, type(None)])
_MOST = 300_000  # containers; beyond that the digest's time is paid rather than this much memory
_MOST_BYTES = 4 << 20  # of arrays, which would live on with the trace
_FEW_BYTES = 2048  # are kept, of more their digest
_dtype = attrgetter("dtype")
_form = attrgetter("shape", "strides", "flags.writeable")


class Trace:
    """What the containers of one or more graphs referred to.

    Holds its objects: while it is kept, none of them dies.

    Attributes:
        weak: Something in it could be referred to weakly, so that its death would be seen.
        data: There is nothing in it but numbers and text in plain containers.
    """

    __slots__ = (
        *("_arrays", "_asked", "_dicts", "_dtypes", "_forms", "_held", "_keys", "_objects", "_referents"),
        *("data", "weak"),
    )

    def __init__(
        self,
        objects: list[Any],
        *,
        weak: bool,
        data: bool = False,
        arrays: Iterable[Any] = (),
        asked: Iterable[tuple[Asked, Any, Any]] = (),
    ) -> None:
        self.weak = weak
        self.data = data
        self._arrays = [*arrays]
        self._dtypes = [*map(_dtype, self._arrays)]
        self._forms = [*map(_form, self._arrays)]
        self._held = [*map(_elements, self._arrays)]
        self._asked = [*asked]
        self._objects = objects
        self._referents = referents(*objects)
        # The collector does not see the keys of a dict that are text.
        self._dicts = [*compress(objects, map(_DICTS.__contains__, map(type, objects)))]
        self._keys = list(chain.from_iterable(self._dicts))

    @classmethod
    def merged(cls, traces: Iterable[Trace]) -> Trace:
        """One trace for the graphs of many."""
        whole = cls([], weak=False)
        for trace in traces:
            whole.absorb(trace)
        return whole

    @classmethod
    def of(cls, roots: Iterable[object], namespace: dict[str, Any]) -> Trace | None:
        """The trace of everything `roots` lead to; None where a part of it cannot be told so.

        Arrays alone have none: their digest takes no longer, and nothing is to hold them meanwhile.
        """
        walk = _Walk(namespace)
        values = list(roots)
        try:
            if all(map(is_array, values)) or not walk.over(values):
                return None
            return cls(walk.objects, weak=walk.weak, data=walk.data, arrays=walk.arrays, asked=walk.asked)
        finally:
            walk.forget()

    def holds(self) -> bool:
        """Whether nothing in the graph has changed."""
        return (
            _same(referents(*self._objects), self._referents)
            and _same(list(chain.from_iterable(self._dicts)), self._keys)
            and (not self._arrays or self._arrays_hold())
            and (not self._asked or self._answers_hold())
        )

    def _arrays_hold(self) -> bool:
        return (
            _same([*map(_dtype, self._arrays)], self._dtypes)
            and all(map(eq, map(_form, self._arrays), self._forms))
            and all(map(_same_elements, map(_elements, self._arrays), self._held))
        )

    def _answers_hold(self) -> bool:
        try:
            return all(way.agrees(way.answer(obj), before) for way, obj, before in self._asked)
        except Exception:  # noqa: BLE001 - the object's class may do anything
            return False

    def absorb(self, other: Trace) -> None:
        """Make this the trace of both."""
        self._objects += other._objects
        self._referents += other._referents
        self._dicts += other._dicts
        self._keys += other._keys
        self._arrays += other._arrays
        self._dtypes += other._dtypes
        self._forms += other._forms
        self._held += other._held
        self._asked += other._asked
        self.weak = self.weak or other.weak


def _same(now: Sequence[Any], before: Sequence[Any]) -> bool:
    return len(now) == len(before) and all(map(is_, now, before))


def _elements(array: Any) -> Any:
    """What an array holds: its bytes, a digest of many, or the objects themselves."""
    if array.dtype.kind == "O":
        return bare(array).ravel().tolist()
    if array.nbytes <= _FEW_BYTES:
        return numpy().ndarray.tobytes(array)
    return xxhash.xxh3_128_digest(content(bare(array)))


def _same_elements(now: Any, before: Any) -> bool:
    return _same(now, before) if type(now) is list else bool(now == before)


class _Walk:
    def __init__(self, namespace: dict[str, Any]) -> None:
        self.objects: list[Any] = []
        self.arrays: list[Any] = []
        self.asked: list[tuple[Asked, Any, Any]] = []
        self._room = _MOST_BYTES
        self.weak = False
        self._namespace = namespace
        self._seen = {_identity(d) for d in (namespace, vars(builtins), sys.modules)}
        self._leaves: set[type] = set()
        self._verdicts: dict[type, Any] = {}  # of all other types
        self._ways: dict[type, Asked] = {}
        self.shallow: list[Any] = []  # attributes that are not looked into, for what they are is asked

    def forget(self) -> None:
        """Let go of itself: the objects must not live on until the collector comes by."""
        self._verdicts.clear()
        self._ways.clear()

    def over(self, level: list[Any]) -> bool:
        """Collect every container; False when there is an object whose state the collector does not see."""
        leaves, verdicts, seen = self._leaves, self._verdicts, self._seen
        while level:
            kinds = {*map(type, level)} - leaves
            for kind in kinds - verdicts.keys():
                verdict = self._verdict(kind)
                if verdict is None:
                    leaves.add(kind)
                    kinds.discard(kind)
                else:
                    verdicts[kind] = verdict
            inner = [*compress(level, map(verdicts.__contains__, map(type, level)))]
            met = dict(zip(map(_identity, inner), inner, strict=True))
            for key in met.keys() & seen:
                del met[key]
            seen.update(met)
            fresh = [*met.values()]
            if not kinds <= _CONTAINERS:
                apart = [verdicts[type(obj)](obj) for obj in fresh]
                if None in apart:
                    return False
                fresh = [*chain.from_iterable(apart)]
            self.objects += fresh
            if len(self.objects) > _MOST:
                return False
            level = referents(*fresh)
        self.objects += self.shallow
        return True

    @property
    def data(self) -> bool:
        """Whether it met nothing but numbers and text in plain containers."""
        return self._verdicts.keys() <= _PLAIN and self._leaves <= _DATA

    def _verdict(self, kind: type) -> Any:
        """For a type: None for leaves, else what to look into for an object of it (None: cannot tell)."""
        try:
            return self._look(kind)
        except Exception:  # noqa: BLE001 - its metaclass may do anything
            return lambda _: None

    def _look(self, kind: type) -> Any:  # noqa: C901 - one line for each kind
        if kind in _CONTAINERS:
            return lambda obj: (obj,)
        if kind is types.FunctionType:
            return self._function
        if kind is types.BuiltinFunctionType:
            return _builtin
        if kind is types.ModuleType:
            return lambda module: () if is_imported(module) else None
        if kind is type:
            return lambda cls: () if by_reference(cls) else (cls,)
        if is_atom_type(kind):
            return None
        if issubclass(kind, type):
            return lambda cls: () if by_reference(cls) else None
        if kind is not Marker and is_plain_instance(kind):
            return self._instance
        if kind is object:
            return None
        np = numpy()
        if np is not None and issubclass(kind, np.ndarray):
            return self._array
        if np is not None and kind is np.ufunc:
            return lambda ufunc: () if getattr(np, ufunc.__name__, None) is ufunc else None
        if issubclass(kind, tuple) and _is_plain_tuple(kind):
            return self._instance if kind.__dictoffset__ else lambda obj: (obj,)
        return self._ask if Asked.can_be(kind) else lambda _: None

    def _array(self, array: Any) -> Sequence[Any] | None:
        """An array that has its elements to itself, or with other arrays."""
        plain, objects = is_array(array), array.dtype == object
        self._room -= array.nbytes
        if self._room < 0 or type(memory_of(array).base) not in (type(None), bytes):
            return None  # what else is behind an array may be written to from elsewhere, or read from a file
        if not (plain or is_array_subclass(array)) or not (objects or is_raw(array)):
            return None
        self.weak = True
        self.arrays.append(array)
        inside = [] if plain else [array, vars(array)]
        return [*inside, bare(array).ravel().tolist()] if objects else inside

    def _ask(self, obj: Any) -> Sequence[Any] | None:
        kind = type(obj)
        way = self._ways.get(kind)
        try:
            if way is None:
                way = self._ways[kind] = Asked(obj, self._namespace)
            answer = way.answer(obj)
            held = way.held(obj, answer)
            self.shallow.append(vars(obj))
        except Exception:  # noqa: BLE001 - its class may do anything when it is asked
            return None
        if held is None:
            return None
        self.weak = True
        self.asked.append((way, obj, answer))
        return (held,)

    def _function(self, function: types.FunctionType) -> Sequence[Any] | None:
        if by_reference(function):
            return ()
        where = globals_of(function, self._namespace)
        if where is self._namespace:
            return (function,)
        if not isinstance(where, str):
            return None
        self.shallow.append(function)  # what its module holds is no part of it
        parts = (function.__closure__, function.__defaults__, function.__kwdefaults__)
        return ([*parts, function.__annotations__, function.__dict__],)

    def _instance(self, obj: Any) -> Sequence[Any] | None:
        self.weak = True
        try:
            vars(obj)  # from now on its attributes are a dict, which the collector shows
        except Exception:  # noqa: BLE001 - a class may put anything in the place of `__dict__`
            return None
        return (obj,)


def _builtin(function: types.BuiltinFunctionType) -> Sequence[Any] | None:
    owner = function.__self__
    return () if owner is None or isinstance(owner, types.ModuleType) else ([owner],)


def _is_plain_tuple(kind: type) -> bool:
    """Whether an instance of a subclass of `tuple` is its elements and its attributes, nothing else."""
    return (
        by_reference(kind)
        and all(getattr(kind, way) is getattr(object, way) for way in ("__reduce__", "__reduce_ex__"))
        and getattr(kind, "__getstate__", None) is getattr(object, "__getstate__", None)
        and (hasattr(kind, "_fields") or kind.__getnewargs__ is tuple.__getnewargs__)  # type: ignore[attr-defined] # typeshed lacks it
        and not any(vars(base).get("__slots__") for base in kind.__mro__)
    )
