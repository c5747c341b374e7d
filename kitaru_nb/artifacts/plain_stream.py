"""What is only data in a stored object graph: text, numbers, lists and dicts, read without unpickling.

The stream is read as a list of instructions. Those that build plain data are followed; one that names
a function or class gives a note of its name and nothing is imported, called or made. So it may be
read whoever recorded it.
"""

from __future__ import annotations

import io
import pickletools
import struct
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

__all__ = ["NotPlainError", "Opaque", "plain_names"]

MOST_BYTES = 1 << 20
"""A longer stream is not looked into: following it takes a microsecond for each byte."""

_SAYING = {
    "importlib.import_module": "module {}",
    "kitaru_nb.artifacts.pickle_codec.anchored": "{}",
}
"""Calls whose first argument says more than their name."""

_DTYPE = "numpy.dtype"
_SCALARS = frozenset(("numpy._core.multiarray.scalar", "numpy.core.multiarray.scalar"))
"""How numpy spells one number: this, called with a dtype and the number's bytes."""

_FORMATS = dict(zip("b1 i1 i2 i4 i8 u1 u2 u4 u8 f2 f4 f8".split(), "?bhiqBHIQefd", strict=True))

_NAME_OF = "name_of"  # stands around each name in a stream, see `pickle_codec.name_of`


class NotPlainError(ValueError):
    """The stream is not one that this follows."""


@dataclass(frozen=True, slots=True)
class Opaque:
    """Stands for what is no plain data.

    Attributes:
        name: The function or class that would make it, as the stream names it; nobody vouches for it.
    """

    name: str

    def __repr__(self) -> str:
        """The name in angle brackets."""
        return f"<{self.name}>"


@dataclass(frozen=True, slots=True)
class _Dtype(Opaque):
    """The type of one number of numpy's: how `struct` reads it."""

    format: str


class _Mark:
    """Where a run of items begins on the stack."""


_MARK = _Mark()


def plain_names(stream: bytes) -> dict[str, Any]:
    """The names that a stream holds, each with its value; an `Opaque` wherever that is no plain data.

    Raises:
        NotPlainError: it is too long, or it is made of other instructions.
    """
    if len(stream) > MOST_BYTES:
        raise NotPlainError(f"the stream has {len(stream)} bytes")
    file, reader = io.BytesIO(stream), _Reader()
    try:
        reader.follow(file)  # what is live in every process
        payload = reader.follow(file)
        if not isinstance(payload, list):
            raise NotPlainError("the stream holds no names")
        return {
            name: value for name, value in zip(payload[1::2], payload[2::2], strict=True) if _is_name(name)
        }
    except NotPlainError:
        raise
    except (
        ValueError,
        TypeError,
        LookupError,
        AttributeError,
        OverflowError,
        MemoryError,
        RecursionError,
    ) as error:
        raise NotPlainError(f"the stream cannot be followed: {error}") from error


def _is_name(value: object) -> bool:
    return isinstance(value, str)


class _Reader:
    """The stack and the memo that the instructions work on."""

    def __init__(self) -> None:
        self._stack: list[Any] = []
        self._memo: dict[int, Any] = {}

    def follow(self, file: io.BytesIO) -> Any:
        """What the next stream in `file` gives."""
        for opcode, argument, _ in pickletools.genops(file):
            name = opcode.name
            if name == "STOP":
                return self._stack.pop()
            if name in _PUSH:
                self._stack.append(argument)
            elif name in _CONSTANT:
                self._stack.append(_CONSTANT[name]())
            elif name not in _IGNORED:
                step = _STEPS.get(name)
                if step is None:
                    raise NotPlainError(f"the stream holds the instruction {name}")
                step(self, argument)
        raise NotPlainError("the stream has no end")

    def _marked(self) -> list[Any]:
        """The items since the last mark, taken off the stack with it."""
        at = max(place for place, item in enumerate(self._stack) if item is _MARK)
        items = self._stack[at + 1 :]
        del self._stack[at:]
        return items

    def _taken(self, count: int) -> list[Any]:
        items = self._stack[-count:]
        if len(items) < count or any(item is _MARK for item in items):
            raise NotPlainError("the stream takes what is not there")
        del self._stack[-count:]
        return items

    def memoize(self, _argument: Any) -> None:
        self._memo[len(self._memo)] = self._stack[-1]

    def put(self, argument: Any) -> None:
        self._memo[int(argument)] = self._stack[-1]

    def get(self, argument: Any) -> None:
        self._stack.append(self._memo[int(argument)])

    def pop(self, _argument: Any) -> None:
        self._stack.pop()

    def pop_marked(self, _argument: Any) -> None:
        self._marked()

    def duplicate(self, _argument: Any) -> None:
        self._stack.append(self._stack[-1])

    def tuple_of(self, count: int) -> None:
        self._stack.append(tuple(self._taken(count)))

    def marked_into(self, kind: Callable[[list[Any]], Any]) -> None:
        self._stack.append(kind(self._marked()))

    def add(self, items: list[Any]) -> None:
        """Add to the list or set below; to what is no plain data nothing is added."""
        below = self._stack[-1]
        if isinstance(below, list):
            below += items
        elif isinstance(below, set):
            below.update(items)

    def set_items(self, items: list[Any]) -> None:
        below = self._stack[-1]
        if isinstance(below, dict):
            below.update(zip(items[::2], items[1::2], strict=True))

    def named(self, _argument: Any) -> None:
        module, name = self._taken(2)
        self._stack.append(Opaque(f"{module}.{name}"))

    def named_in_text(self, argument: Any) -> None:
        self._stack.append(Opaque(str(argument).replace(" ", ".")))

    def called(self, count: int) -> None:
        """What a call would give is not known: its name is; but for ours around a name."""
        made, *given = self._taken(count)
        around = isinstance(made, Opaque) and made.name.endswith(f".pickle_codec.{_NAME_OF}")
        match given:
            case [(only,)] if around:
                self._stack.append(only)
            case [(str(name), *_)] if isinstance(made, Opaque) and made.name in _SAYING:
                self._stack.append(Opaque(_SAYING[made.name].format(name)))
            case [(str(code), *_)] if made == Opaque(_DTYPE) and code in _FORMATS:
                self._stack.append(_Dtype(_DTYPE, _FORMATS[code]))
            case [(_Dtype(format=form), bytes(data))] if isinstance(made, Opaque) and made.name in _SCALARS:
                self._stack.append(_number(form, data))
            case _:
                self._stack.append(made if isinstance(made, Opaque) else Opaque("object"))

    def built(self, _argument: Any) -> None:
        [state] = self._taken(1)  # of what is no plain data
        if isinstance(self._stack[-1], _Dtype) and state[1] == ">":
            raise NotPlainError("its numbers are those of a machine with the other byte order")

    def elsewhere(self, _argument: Any) -> None:
        self._stack.append(Opaque("buffer"))


def _number(form: str, data: bytes) -> Any:
    try:
        return struct.unpack(f"<{form}", data)[0]
    except struct.error as error:
        raise NotPlainError(f"the stream holds a number of {len(data)} bytes: {error}") from error


def _pairs(items: list[Any]) -> dict[Any, Any]:
    return dict(zip(items[::2], items[1::2], strict=True))


_PUSH = frozenset(
    "INT BININT BININT1 BININT2 LONG LONG1 LONG4 FLOAT BINFLOAT STRING BINSTRING SHORT_BINSTRING "
    "UNICODE BINUNICODE SHORT_BINUNICODE BINUNICODE8 BINBYTES SHORT_BINBYTES BINBYTES8 BYTEARRAY8".split()
)
_IGNORED = frozenset(("PROTO", "FRAME", "READONLY_BUFFER"))
_CONSTANT: dict[str, Callable[[], Any]] = {
    "NONE": lambda: None,
    "NEWTRUE": lambda: True,
    "NEWFALSE": lambda: False,
    "EMPTY_LIST": list,
    "EMPTY_DICT": dict,
    "EMPTY_TUPLE": tuple,
    "EMPTY_SET": set,
    "MARK": lambda: _MARK,
}
_STEPS: dict[str, Callable[[_Reader, Any], None]] = {
    "MEMOIZE": _Reader.memoize,
    "PUT": _Reader.put,
    "BINPUT": _Reader.put,
    "LONG_BINPUT": _Reader.put,
    "GET": _Reader.get,
    "BINGET": _Reader.get,
    "LONG_BINGET": _Reader.get,
    "POP": _Reader.pop,
    "POP_MARK": _Reader.pop_marked,
    "DUP": _Reader.duplicate,
    "TUPLE1": lambda reader, _: reader.tuple_of(1),
    "TUPLE2": lambda reader, _: reader.tuple_of(2),
    "TUPLE3": lambda reader, _: reader.tuple_of(3),
    "TUPLE": lambda reader, _: reader.marked_into(tuple),
    "LIST": lambda reader, _: reader.marked_into(list),
    "DICT": lambda reader, _: reader.marked_into(_pairs),
    "FROZENSET": lambda reader, _: reader.marked_into(frozenset),
    "APPEND": lambda reader, _: reader.add(reader._taken(1)),
    "APPENDS": lambda reader, _: reader.add(reader._marked()),
    "ADDITEMS": lambda reader, _: reader.add(reader._marked()),
    "SETITEM": lambda reader, _: reader.set_items(reader._taken(2)),
    "SETITEMS": lambda reader, _: reader.set_items(reader._marked()),
    "STACK_GLOBAL": _Reader.named,
    "GLOBAL": _Reader.named_in_text,
    "REDUCE": lambda reader, _: reader.called(2),
    "NEWOBJ": lambda reader, _: reader.called(2),
    "NEWOBJ_EX": lambda reader, _: reader.called(3),
    "BUILD": _Reader.built,
    "NEXT_BUFFER": _Reader.elsewhere,
}
