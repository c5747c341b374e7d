"""Memory that belongs to something other than an array: who owns it, and where in it one looks.

A memoryview, or an array made by ``np.frombuffer``, looks into a bytearray, an ``array.array``
or a ctypes array. It is stored as that object and a place in it, so that writing through one
still changes the other.

The public ``make_`` names are part of the stored format.
"""

from __future__ import annotations

import array as arrays
import ctypes
import importlib
import math
import struct
from collections.abc import Iterable
from typing import Any

from kitaru_nb.artifacts.views import byte_range, is_array, is_array_subclass, numpy

__all__ = [
    "looked_into",
    "make_ctypes_array",
    "make_over",
    "make_part",
    "make_within",
    "memory_of",
    "owner_of",
    "reduce_over",
    "reduce_part",
    "reduce_within",
]


class _Buffer(ctypes.Structure):
    """The head of CPython's ``Py_buffer``."""

    _fields_ = (
        ("buf", ctypes.c_void_p),
        ("obj", ctypes.py_object),
        ("rest", ctypes.c_byte * 128),
    )


_FULL_READ_ONLY = 0x011C


def _address(view: memoryview) -> int:
    held = _Buffer()
    ctypes.pythonapi.PyObject_GetBuffer(ctypes.py_object(view), ctypes.byref(held), _FULL_READ_ONLY)
    try:
        return held.buf or 0
    finally:
        ctypes.pythonapi.PyBuffer_Release(ctypes.byref(held))


# --- arrays -------------------------------------------------------------------------------


def owner_of(array: Any) -> Any:
    """The bytearray, ``array.array`` or ctypes array that a numpy array looks into, else None."""
    base = array.base
    if base is None or not array.size or array.dtype.hasobject:
        return None
    np = numpy()
    while isinstance(base, np.ndarray):
        base = base.base
    if type(base) is memoryview:
        base = base.obj
    return base if isinstance(base, bytearray | arrays.array | ctypes.Array) else None


def reduce_over(array: Any, owner: Any) -> tuple[Any, ...]:
    """How an array that looks into `owner` is stored."""
    offset = array.__array_interface__["data"][0] - _address(memoryview(owner))
    return make_over, (owner, offset, array.dtype, array.shape, array.strides, array.flags.writeable)


def make_over(  # noqa: PLR0917 - stored format
    owner: Any,
    offset: int,
    dtype: Any,
    shape: tuple[int, ...],
    strides: tuple[int, ...],
    writeable: bool,  # noqa: FBT001 - stored format
) -> Any:
    """An array that looks into `owner`."""
    np = importlib.import_module("numpy")
    made = np.ndarray(shape, dtype, buffer=owner, offset=offset, strides=strides)
    made.flags.writeable = writeable
    return made


def memory_of(array: Any) -> Any:
    """The array at the end of what an array looks into: itself, where that is no other array."""
    np = numpy()
    while isinstance(array.base, np.ndarray):
        array = array.base
    return array


def looked_into(array: Any, present: Iterable[Any]) -> Any:
    """The first of `present` in whose memory all of an array lies; None where there is none.

    What they both look into may be an array that nothing else leads to. Where they are stored by
    themselves it is not kept, so nothing can be told by that.
    """
    np = numpy()
    if not array.size or array.dtype.hasobject:
        return None
    memory, (low, high) = memory_of(array), byte_range(array)
    if not (memory.flags.c_contiguous or memory.flags.f_contiguous):
        return None
    for each in present:
        if isinstance(each, np.ndarray) and memory_of(each) is memory:
            start, end = byte_range(each)
            if start <= low and high <= end:
                return each
    return None


def reduce_within(array: Any, present: Iterable[Any]) -> tuple[Any, ...] | None:
    """How an array is stored that looks into one of `present`, which is there when it is loaded."""
    there = looked_into(array, present)
    if there is None:
        return None
    offset = array.__array_interface__["data"][0] - there.__array_interface__["data"][0]
    return make_within, (there, offset, array.dtype, array.shape, array.strides, array.flags.writeable)


def make_within(  # noqa: PLR0917 - stored format
    there: Any,
    offset: int,
    dtype: Any,
    shape: tuple[int, ...],
    strides: tuple[int, ...],
    writeable: bool,  # noqa: FBT001 - stored format
) -> Any:
    """An array that looks into the memory of another one, `offset` bytes from its first element on."""
    memory = memory_of(there)
    start = there.__array_interface__["data"][0] - memory.__array_interface__["data"][0]
    flat = (memory if memory.flags.c_contiguous else memory.T).reshape(-1)
    return make_over(flat.view("u1"), start + offset, dtype, shape, strides, writeable)


# --- memoryviews --------------------------------------------------------------------------


def reduce_part(view: memoryview) -> tuple[Any, ...] | None:
    """How a memoryview is stored: what it looks into, and where; None when that cannot be told."""
    try:
        base = view.obj
        whole = memoryview(base).cast("B")
    except (ValueError, TypeError):  # released, or of a format that has no bytes
        return None
    known = is_array(base) or is_array_subclass(base) or isinstance(base, bytes | bytearray | arrays.array)
    if not known or (not view.c_contiguous and (view.ndim != 1 or (view.strides or (0,))[0] < 0)):
        return None
    offset = _address(view) - _address(whole)
    step = 1 if view.c_contiguous else (view.strides or (1,))[0]
    return make_part, (base, offset, view.format, view.shape, step, view.readonly)


def make_part(  # noqa: PLR0917 - stored format
    base: Any,
    offset: int,
    layout: str,
    shape: tuple[int, ...],
    step: int,
    readonly: bool,  # noqa: FBT001 - stored format
) -> memoryview:
    """A view of a part of `base`."""
    whole: Any = memoryview(base).cast("B")
    size = struct.calcsize(layout)
    if step != 1:
        span = whole[offset : offset + (shape[0] - 1) * step + size]
        every = step // size
        view = span.cast(layout)[::every]
    else:
        view = whole[offset : offset + size * math.prod(shape)]
        if layout != "B" or len(shape) != 1:
            view = view.cast(layout, shape)
    return view.toreadonly() if readonly and not view.readonly else view  # type: ignore[no-any-return] # a memoryview


def make_ctypes_array(kind: Any, length: int) -> Any:
    """The type of an array of ctypes values."""
    return kind * length
