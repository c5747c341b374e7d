"""What a namespace looks like: names, values, and which of them are one object.

Two namespaces that look alike have equal pictures. Nothing of the engine is used for them: each
kind of object is taken apart here once more, in the plainest way.
"""

from __future__ import annotations

import array
import collections
import contextlib
import functools
import gc
import io
import itertools
import random
import re
import sys
import types
import warnings
import weakref
from collections.abc import Callable
from types import BuiltinFunctionType, CellType, FunctionType, ModuleType
from typing import Any

import numpy as np

from kitaru_nb.artifacts.views import byte_range

__all__ = ["Drawing", "picture"]


def picture(live: dict[str, Any], **more: object) -> Any:
    """Names, values, and which of them are one object; equal for two namespaces that look alike."""
    drawing = Drawing(live)
    named = [(name, value) for name, value in sorted(live.items()) if name[:2] != "__"]
    shown = [(name, value) for name, value in named if type(value) is not ModuleType or not _has_spec(value)]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # itertools' own about being taken apart
        return [(name, drawing.draw(value)) for name, value in [*shown, *more.items()]]


def _has_spec(module: ModuleType) -> bool:
    return module.__spec__ is not None


_ATOMS = (
    *(int, float, complex, bool, str, bytes, range, type(None), type(...)),
    *(types.GetSetDescriptorType, types.MemberDescriptorType, types.WrapperDescriptorType),
)


class Drawing:
    """Turns values into nested lists; an object met again is drawn as the number it got."""

    def __init__(self, live: dict[str, Any]) -> None:
        self.live = live
        self.memory: list[tuple[int, int, Any]] = []
        self.seen: dict[int, tuple[int, Any]] = {}  # with the object, so that no id is used twice

    def draw(self, value: Any) -> Any:
        cls = type(value)
        if cls is tuple:
            return ("tuple", [self.draw(item) for item in value])
        if cls is frozenset:
            return ("frozenset", self._set(value))
        if cls is slice:
            return ("slice", self.all(value.start, value.stop, value.step))
        if cls in _ATOMS or isinstance(value, np.generic | np.dtype):
            return (cls.__name__, repr(value))
        if id(value) in self.seen:
            return ("again", self.seen[id(value)][0])
        number = len(self.seen)
        self.seen[id(value)] = number, value
        kind = cls.__name__
        return ("iterator" if "iterator" in kind else kind, number, self._inside(value))

    def all(self, *values: Any) -> list[Any]:
        return [self.draw(value) for value in values]

    def _inside(self, value: Any) -> Any:
        for kind, look in _LOOKS:
            if isinstance(value, kind):
                return look(self, value)
        if type(value).__module__.partition(".")[0] == "pandas":
            return self._frame(value)
        if hasattr(value, "__func__"):
            return self.all(value.__self__, value.__func__)
        if hasattr(value, "__next__"):
            return self._iterator(value)
        if type(value).__module__ == "__main__" or hasattr(value, "__dict__"):
            return self._instance(value)
        return re.sub(r" at 0x\w+", "", repr(value))

    def _instance(self, value: Any) -> Any:
        """Its class, its attributes, and what it holds as a container or a number."""
        base = next((kind for kind in _BASES if isinstance(value, kind)), None)
        held = _BASES[base](self, value) if base is not None else None
        slots = {
            name: getattr(value, name)
            for kind in type(value).__mro__
            for name in _slots(kind)
            if hasattr(value, name)
        }
        return [self.draw(type(value)), self.draw(getattr(value, "__dict__", None)), self.draw(slots), held]

    def _set(self, value: Any) -> Any:
        if all(type(item) in _ATOMS for item in value):
            return sorted(map(repr, value))
        # In an order that does not depend on addresses; what has been drawn before comes first.
        return [self.draw(item) for item in sorted(value, key=self._place)]

    def _place(self, item: Any) -> Any:
        if id(item) in self.seen:
            return 0, self.seen[id(item)][0], ""
        return 1, 0, repr(Drawing(self.live).draw(item))

    def _dict(self, value: dict[Any, Any]) -> Any:
        items = [(self.draw(key), self.draw(item)) for key, item in value.items()]
        return items if type(value) is dict else [items, self.draw(getattr(value, "default_factory", None))]

    def _view(self, value: Any) -> Any:
        return self.draw(gc.get_referents(value)[0])

    def _iterator(self, iterator: Any) -> Any:
        try:
            _, parts, *rest = iterator.__reduce__()
        except RuntimeError:
            return "the dict under it has grown"
        over = parts[0] if len(parts) == 1 else None
        alone = type(over) is list and id(over) not in self.seen
        if type(iterator).__name__ == "set_iterator" or alone:
            # One over a set comes back as one over a list of what is left.
            return self.draw(tuple(over)[rest[0] if rest else 0 :])
        return self.all(*parts, *rest)

    def _array(self, array: Any) -> Any:
        # The stride of an axis of length one means nothing.
        strides = [step for step, length in zip(array.strides, array.shape, strict=True) if length > 1]
        shape = array.dtype.str, str(array.dtype.names), array.shape, strides, array.flags.writeable
        more = self.draw(vars(array)) if hasattr(array, "__dict__") else None
        if array.dtype.hasobject:
            return shape, self._where(array), self.all(*array.ravel().tolist()), more
        return shape, self._where(array), array.tobytes(), more

    def _where(self, memory: Any) -> Any:
        """Which memory it looks into, and where: stretches that overlap are numbered as they are met."""
        array = memory if isinstance(memory, np.ndarray) else np.asarray(memory)
        low, high = byte_range(array)
        for number, (start, stop, _) in enumerate(self.memory):
            if low < stop and start < high:
                return number, low - start
        self.memory.append((low, high, array))
        return len(self.memory) - 1, 0

    def _bytes(self, value: Any) -> Any:
        if isinstance(value, memoryview) and isinstance(value.obj, np.ndarray) and value.obj.dtype.hasobject:
            return self._where(value), value.nbytes  # of the bytes, which are addresses
        if isinstance(value, array.array):
            return self._where(value), value.typecode, value.tobytes()
        return self._where(value), bytes(value)

    def _frame(self, frame: Any) -> Any:
        if not hasattr(frame, "dtypes"):
            return type(frame).__name__, repr(getattr(frame, "obj", frame))  # an index, or grouped
        columns = [frame] if frame.ndim == 1 else [frame.iloc[:, n] for n in range(frame.shape[1])]
        held = [
            (str(column.dtype), self.all(*column.tolist()) if column.dtype == object else column.tolist())
            for column in columns
        ]
        names = frame.name if frame.ndim == 1 else list(frame.columns)
        return repr(names), repr(frame.index), repr(held), self.draw(frame.attrs)

    def _function(self, function: FunctionType) -> Any:
        if function.__module__ != "__main__":
            # `lru_cache(f)` and `lru_cache()(f)` make the same in two places of theirs
            return f"{function.__module__}.{function.__qualname__.rpartition('<locals>.')[2]}"
        code = function.__code__
        constants = [constant for constant in code.co_consts if not hasattr(constant, "co_code")]
        cells = [*(function.__closure__ or ())]
        parts = [function.__defaults__, function.__kwdefaults__, cells, vars(function)]
        parts += [function.__annotations__, function.__doc__, function.__name__]
        main = vars(sys.modules["__main__"])  # which a kernel has as its namespace
        return [
            function.__globals__ is self.live or function.__globals__ is main,
            code.co_code,
            constants,
            *map(self.draw, parts),
        ]

    def _cell(self, cell: CellType) -> Any:
        try:
            return self.draw(cell.cell_contents)
        except ValueError:
            return "empty"

    def _class(self, cls: type) -> Any:
        if cls.__module__ != "__main__":
            return f"{cls.__module__}.{cls.__qualname__}"
        left_out = ("_abc_impl", "__weakref__", "__dict__", "__doc__", "__module__")
        own = {
            k: v
            for k, v in vars(cls).items()
            if k not in left_out and not k.startswith("__") and not _is_slot(v)
        }
        own |= {k: vars(cls)[k] for k in ("__init__", "__eq__", "__call__", "__slots__") if k in vars(cls)}
        return [cls.__qualname__, self.all(*cls.__bases__), self.draw(type(cls)), self.draw(own)]

    def _exception(self, error: BaseException) -> Any:
        links = error.__cause__, error.__context__, error.__suppress_context__
        return self.all(type(error), error.args, vars(error), *links)

    def _module(self, module: ModuleType) -> Any:
        if _has_spec(module):
            return module.__name__
        return self.draw({name: value for name, value in vars(module).items() if name[:2] != "__"})


def _slots(kind: type) -> tuple[str, ...]:
    declared = vars(kind).get("__slots__", ())
    return (declared,) if isinstance(declared, str) else tuple(declared)


def _is_slot(value: object) -> bool:
    return isinstance(value, types.MemberDescriptorType | types.GetSetDescriptorType)


def _stream(drawing: Drawing, stream: Any) -> Any:
    return None if stream.closed else (stream.getvalue(), stream.tell())


_BASES: dict[type, Callable[[Drawing, Any], Any]] = {
    dict: Drawing._dict,
    list: lambda drawing, value: drawing.all(*value),
    tuple: lambda drawing, value: drawing.all(*tuple(value)),
    collections.deque: lambda drawing, value: [value.maxlen, *drawing.all(*value)],
    set: Drawing._set,
    frozenset: Drawing._set,
    str: lambda _, value: str.__repr__(value),
    int: lambda _, value: int.__repr__(value),
    float: lambda _, value: float.__repr__(value),
    array.array: Drawing._bytes,
}
_PLAIN_BASES = tuple(_BASES)


class _Exactly(type):
    def __instancecheck__(cls, value: object) -> bool:
        return type(value) in _PLAIN_BASES


class _OfABase(metaclass=_Exactly):
    """A value of exactly one of the types in `_BASES`."""


_LOOKS: list[tuple[Any, Callable[[Drawing, Any], Any]]] = [
    (_OfABase, lambda drawing, value: _BASES[type(value)](drawing, value)),
    (collections.OrderedDict | collections.defaultdict | collections.Counter, Drawing._instance),
    (FunctionType, Drawing._function),
    (CellType, Drawing._cell),
    (type, Drawing._class),
    (np.ma.MaskedArray, lambda drawing, array: drawing.all(np.asarray(array.data), np.asarray(array.mask))),
    (np.ndarray, Drawing._array),
    (BuiltinFunctionType, lambda drawing, value: (value.__name__, drawing.draw(value.__self__))),
    (bytearray | memoryview, Drawing._bytes),
    (BaseException, Drawing._exception),
    (ModuleType, Drawing._module),
    (weakref.ref, lambda drawing, ref: drawing.draw(ref())),
    (
        weakref.WeakValueDictionary | weakref.WeakKeyDictionary,
        lambda drawing, held: drawing._dict(dict(held)),
    ),
    (weakref.WeakSet, lambda drawing, held: drawing._set(set(held))),
    (functools.partial, lambda d, value: d.all(value.func, value.args, value.keywords, vars(value))),
    (functools.cached_property, lambda d, value: d.all(value.func, value.attrname)),
    (functools._lru_cache_wrapper, lambda d, f: d.all(f.__wrapped__, tuple(f.cache_parameters().items()))),
    (property, lambda drawing, value: drawing.all(value.fget, value.fset, value.fdel)),
    (staticmethod | classmethod, lambda drawing, value: drawing.draw(value.__func__)),
    (types.MappingProxyType | type({}.keys()) | type({}.values()) | type({}.items()), Drawing._view),
    (random.Random, lambda _, value: repr(value.getstate())),
    (np.random.Generator, lambda drawing, value: drawing.draw(value.bit_generator)),
    (
        np.random.BitGenerator,
        lambda _, value: repr((value.state, getattr(value.seed_seq, "n_children_spawned", None))),
    ),
    (np.random.RandomState, lambda _, value: repr(value.get_state(legacy=False))),
    (io.StringIO | io.BytesIO, _stream),
    (types.SimpleNamespace, lambda drawing, value: drawing.draw(vars(value))),
    (itertools.count, lambda _, value: repr(value)),
    (contextlib.nullcontext, Drawing._instance),
]
