"""Whether a graph of plain objects is exactly as it was, in one pass of the collector's own walk.

A digest says what a value is; a trace says, five times faster and in this process only, that
nothing in it was touched. It keeps every container of the graph and everything each of them
referred to: while all of them refer to the very same objects, in the same order, and all
leaves are immutable, the value is unchanged.
"""

from __future__ import annotations

import builtins
import collections
import functools
import sys
import types
from collections.abc import Iterable, Sequence
from itertools import chain, compress
from operator import is_
from typing import Any

from kitaru_nb.artifacts.functions import globals_of
from kitaru_nb.artifacts.kinds import by_reference, is_atom_type, is_imported
from kitaru_nb.artifacts.marker import Marker
from kitaru_nb.artifacts.reducers import is_plain_instance
from kitaru_nb.model.referents import referents

__all__ = ["Trace"]

_identity = object.__hash__
_DICTS = frozenset([dict, collections.defaultdict])
_CONTAINERS = _DICTS | {
    *(list, tuple, set, frozenset, slice, collections.deque, types.CellType, types.MethodType),
    *(staticmethod, classmethod, property, functools.partial, types.MappingProxyType),
}
_PLAIN = frozenset([list, tuple, dict, set, frozenset])
_DATA = frozenset([str, bytes, int, float, complex, bool, type(None)])
_MOST = 300_000  # containers; beyond that the digest's time is paid rather than this much memory


class Trace:
    """What the containers of one or more graphs referred to.

    Holds its objects: while it is kept, none of them dies.

    Attributes:
        weak: Something in it could be referred to weakly, so that its death would be seen.
        data: There is nothing in it but numbers and text in plain containers.
    """

    __slots__ = ("_dicts", "_keys", "_objects", "_referents", "data", "weak")

    def __init__(self, objects: list[Any], *, weak: bool, data: bool = False) -> None:
        self.weak = weak
        self.data = data
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
        """The trace of everything `roots` lead to; None where a part of it cannot be told so."""
        walk = _Walk(namespace)
        try:
            return cls(walk.objects, weak=walk.weak, data=walk.data) if walk.over(list(roots)) else None
        finally:
            walk.forget()

    def holds(self) -> bool:
        """Whether nothing in the graph has changed."""
        return _same(referents(*self._objects), self._referents) and _same(
            list(chain.from_iterable(self._dicts)), self._keys
        )

    def absorb(self, other: Trace) -> None:
        """Make this the trace of both."""
        self._objects += other._objects
        self._referents += other._referents
        self._dicts += other._dicts
        self._keys += other._keys
        self.weak = self.weak or other.weak


def _same(now: Sequence[Any], before: Sequence[Any]) -> bool:
    return len(now) == len(before) and all(map(is_, now, before))


class _Walk:
    def __init__(self, namespace: dict[str, Any]) -> None:
        self.objects: list[Any] = []
        self.weak = False
        self._namespace = namespace
        self._seen = {_identity(d) for d in (namespace, vars(builtins), sys.modules)}
        self._leaves: set[type] = set()
        self._verdicts: dict[type, Any] = {}  # of all other types

    def forget(self) -> None:
        """Let go of itself: the objects must not live on until the collector comes by."""
        self._verdicts.clear()

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

    def _look(self, kind: type) -> Any:
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
        return lambda _: None

    def _function(self, function: types.FunctionType) -> Sequence[Any] | None:
        if by_reference(function):
            return ()
        return (function,) if globals_of(function, self._namespace) is self._namespace else None

    def _instance(self, obj: Any) -> Sequence[Any] | None:
        self.weak = True
        try:
            vars(obj)  # from now on its attributes are a dict, which the collector shows
        except Exception:  # noqa: BLE001 - a class may put anything in the place of `__dict__`
            return None
        return (obj,)


def _builtin(function: types.BuiltinFunctionType) -> Sequence[Any] | None:
    owner = function.__self__
    return () if owner is None or isinstance(owner, types.ModuleType) else None
