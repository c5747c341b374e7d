"""Arrays as bytes, and which arrays of a group look into the same memory.

numpy is used only when the values hold arrays, so the user has imported it already; it is
looked up in ``sys.modules``. The public ``make_`` names are part of the stored format.
"""

from __future__ import annotations

import importlib
import itertools
import mmap
import pickle
import sys
import types
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from kitaru_nb.artifacts.memory import adopted

__all__ = [
    "Block",
    "bare",
    "byte_range",
    "content",
    "is_array",
    "is_array_subclass",
    "is_mapped",
    "is_raw",
    "layout",
    "make_array",
    "make_block",
    "make_hollow",
    "make_objects",
    "make_strided",
    "make_subclass",
    "make_view",
    "numpy",
    "overlapping",
    "reduce_array",
    "reduce_hollow",
    "reduce_objects",
    "reduce_subclass",
    "reduce_view",
    "says_itself",
    "set_items",
    "set_subclass",
    "shared_blocks",
]

_LARGE = 1 << 20
_OWN = ("__reduce__", "__reduce_ex__", "__setstate__")
_ADDING = ("__reduce__", "__setstate__")
_RAW_KINDS = frozenset("biufcSUVmM")


def numpy() -> Any:
    """numpy, if this process has it, else None."""
    return sys.modules.get("numpy")


def is_array(value: object) -> bool:
    """Whether `value` is exactly a numpy array, not of a subclass."""
    np = numpy()
    return np is not None and type(value) is np.ndarray


def is_raw(array: Any) -> bool:
    """Whether the array's memory holds its values themselves, not references to them."""
    dtype = array.dtype
    return dtype.kind in _RAW_KINDS and not dtype.hasobject and dtype.itemsize > 0


def layout(array: Any) -> tuple[Any, ...]:
    """How the array lies in memory: ``("C",)``, ``("F",)`` or its strides in bytes."""
    flags = array.flags
    if flags.c_contiguous:
        return ("C", "F") if flags.f_contiguous and array.ndim > 1 else ("C",)
    return ("F",) if flags.f_contiguous else ("S", *array.strides)


def byte_range(array: Any) -> tuple[int, int]:
    """The addresses `[low, high)` the array's elements lie in."""
    low = high = array.__array_interface__["data"][0]
    if array.size == 0:
        return low, low
    for length, stride in zip(array.shape, array.strides, strict=True):
        if stride > 0:
            high += (length - 1) * stride
        else:
            low += (length - 1) * stride
    return low, high + array.itemsize


def overlapping(arrays: Sequence[Any]) -> list[list[int]]:
    """Indices of the arrays that share memory, one list per stretch of memory, in order."""
    spans = sorted((*byte_range(a), i) for i, a in enumerate(arrays) if a.size)
    groups: list[list[int]] = []
    end = -1
    for low, high, index in spans:
        if low < end:
            groups[-1].append(index)
        else:
            groups.append([index])
        end = max(end, high)
    return [sorted(group) for group in groups if len(group) > 1]


def content(array: Any) -> Any:
    """The array's elements as flat bytes without gaps, in memory order, without a copy if possible.

    Repeated axes (stride 0) are given once: the shape and the strides say the rest.
    """
    np = numpy()
    if 0 in array.strides and array.size:
        array = array[tuple(slice(0, 1) if s == 0 else slice(None) for s in array.strides)]
    if array.flags.c_contiguous:
        flat = array.reshape(-1)
    else:
        flat = array.T.reshape(-1) if array.flags.f_contiguous else np.ascontiguousarray(array).reshape(-1)
    return flat.view(np.uint8)


# --- a lone array -------------------------------------------------------------------------


def reduce_array(array: Any) -> tuple[Any, ...]:
    """How an array that shares no memory is stored: its elements once, and its layout."""
    lay = layout(array)
    buffer = pickle.PickleBuffer(content(array))
    if lay[0] != "S":
        return make_array, (buffer, array.dtype, array.shape, lay[0], array.flags.writeable)
    return make_strided, (buffer, array.dtype, array.shape, array.strides, array.flags.writeable)


def make_array(buffer: Any, dtype: Any, shape: tuple[int, ...], order: str, writeable: bool) -> Any:  # noqa: FBT001
    """The array again, on `buffer` itself where that is writable."""
    np = importlib.import_module("numpy")
    made = adopted(buffer, shape, dtype, order)
    if made is not None:
        made.flags.writeable = writeable
        return made
    made = np.ndarray(shape, dtype, buffer=memoryview(buffer), order=order)
    if not is_mapped(buffer, writeable=writeable):
        made = np.empty(shape, dtype, order)  # it owns its memory, as nearly every array does
        if made.size:
            content(made)[:] = np.frombuffer(buffer, np.uint8)  # with what lies between fields, too
    made.flags.writeable = writeable
    return made


def make_strided(
    buffer: Any,
    dtype: Any,
    shape: tuple[int, ...],
    strides: tuple[int, ...],
    writeable: bool,  # noqa: FBT001 - stored format
) -> Any:
    """The array again with the strides it had; the gaps between its elements are zeros."""
    np = importlib.import_module("numpy")
    low = sum((n - 1) * s for n, s in zip(shape, strides, strict=True) if s < 0)
    high = sum((n - 1) * s for n, s in zip(shape, strides, strict=True) if s > 0)
    memory = np.zeros(high - low + dtype.itemsize, np.uint8)
    made = np.ndarray(shape, dtype, buffer=memory, offset=-low, strides=strides)
    once = made[tuple(slice(0, 1) if s == 0 else slice(None) for s in strides)]
    once[...] = np.ndarray(once.shape, dtype, buffer=memoryview(buffer))
    made.flags.writeable = writeable
    return made


def is_mapped(buffer: Any, *, writeable: bool) -> bool:
    """Whether an array is to lie on `buffer` itself: a large one that was mapped and not read."""
    view = memoryview(buffer)
    return isinstance(view.obj, mmap.mmap) and view.nbytes >= _LARGE and not (writeable and view.readonly)


# --- arrays that share memory -------------------------------------------------------------


@dataclass(frozen=True, eq=False, slots=True)
class Block:
    """A stretch of memory that several arrays look into."""

    low: int
    high: int
    owners: tuple[Any, ...]
    writeable: bool
    root: Any = None  # the member that holds all of the memory, if the others are views of it

    def __reduce__(self) -> tuple[Any, ...]:
        """Stored once; the arrays refer to it."""
        np = numpy()
        return make_block, (pickle.PickleBuffer(np.asarray(_Memory(self))), self.writeable)


class _Memory:
    """Lets numpy read a block's bytes and keeps their owners alive meanwhile."""

    def __init__(self, block: Block) -> None:
        self.block = block
        self.__array_interface__ = {
            "version": 3,
            "typestr": "|u1",
            "shape": (block.high - block.low,),
            "data": (block.low, True),
        }


def shared_blocks(arrays: Sequence[Any], private: set[int]) -> dict[int, Block]:
    """The block of each array that shares memory with another one, by the array's id.

    Args:
        arrays: Every array of the group whose memory holds its values.
        private: Ids of arrays inside data frames. Frames copy on write, so memory that only
            they share cannot be told from copies and must not come back shared: they would
            no longer know of each other. A read-only array beside them is such a copy too.
    """
    blocks: dict[int, Block] = {}
    for group in overlapping(arrays):
        members = [arrays[i] for i in group]
        if any(id(a) in private for a in members) and not any(
            id(a) not in private and a.flags.writeable for a in members
        ):
            members = [a for a in members if id(a) not in private]
        if len(members) > 1:
            spans = [byte_range(a) for a in members]
            low, high = min(s[0] for s in spans), max(s[1] for s in spans)
            writeable = any(a.flags.writeable for a in members)
            root = _root(members, (low, high), writeable=writeable)
            block = Block(low, high, tuple(members), writeable, root)
            blocks.update(zip(map(id, members), itertools.repeat(block), strict=False))
    return blocks


def _root(members: Sequence[Any], span: tuple[int, int], *, writeable: bool) -> Any:
    """The one of `members` that all others are views of, if it can stand for their memory."""
    for array in members:
        if array.flags.c_contiguous and byte_range(array) == span and array.flags.writeable == writeable:
            others = [other for other in members if other is not array]
            if all(other.base is array for other in others):
                return array
    return None


def make_block(buffer: Any, writeable: bool) -> Any:  # noqa: FBT001 - stored format
    """The memory of a block, as bytes."""
    np = importlib.import_module("numpy")
    view = memoryview(buffer)
    block = adopted(view, (view.nbytes,), np.dtype(np.uint8))
    if block is not None:
        block.flags.writeable = writeable
        return block
    block = np.frombuffer(view, np.uint8)
    return block if is_mapped(buffer, writeable=writeable) else block.copy()


def make_view(  # noqa: PLR0917 - stored format
    block: Any,
    dtype: Any,
    shape: tuple[int, ...],
    strides: tuple[int, ...],
    offset: int,
    writeable: bool,  # noqa: FBT001 - stored format
) -> Any:
    """An array that looks into `block`, the bytes or the array that its group shares."""
    np = importlib.import_module("numpy")
    memory = block.reshape(-1).view(np.uint8)  # not every dtype gives its memory away
    made = np.ndarray(shape, dtype, buffer=memory, offset=offset, strides=strides)
    made.flags.writeable = writeable
    return made


# --- arrays of subclasses -----------------------------------------------------------------


def is_array_subclass(obj: object) -> bool:
    """Whether `obj` is of a subclass of numpy's array that adds nothing but attributes to what is stored."""
    np = numpy()
    cls = type(obj)
    if np is None or cls is np.ndarray or not issubclass(cls, np.ndarray) or issubclass(cls, np.memmap):
        return False
    if str(cls.__module__).startswith("numpy.ma") and cls.__name__ == "MaskedArray":
        return is_raw(obj)  # it would be copied
    return (not says_itself(cls) or _adds_state(cls)) and is_raw(obj)


def says_itself(cls: type) -> bool:
    """Whether a subclass of numpy's array says itself how it is pickled."""
    array = numpy().ndarray
    return any(getattr(cls, name) is not getattr(array, name) for name in _OWN)


def _adds_state(cls: type) -> bool:
    """Whether a class written in Python hands its attributes on beside those of the array, as quantities do.

    It does so because numpy's own way forgets them; where attributes are stored, nothing is missing.
    """
    ways = [next(vars(base)[name] for base in cls.__mro__ if name in vars(base)) for name in _ADDING]
    return {type(way) for way in ways} == {types.FunctionType} and not issubclass(cls, numpy().ma.MaskedArray)


def bare(array: Any) -> Any:
    """The same memory as a plain array."""
    return array.view(numpy().ndarray)


def reduce_subclass(array: Any, plain: Any) -> tuple[Any, ...]:
    """How an array of a subclass is stored: a plain array, the class and its attributes."""
    return make_subclass, (plain, type(array)), getattr(array, "__dict__", None), None, None, set_subclass


def make_subclass(plain: Any, cls: Any) -> Any:
    """`plain` as an array of `cls`."""
    return plain.view(cls)


def set_subclass(array: Any, attributes: dict[str, Any]) -> None:
    """Give an array of a subclass exactly the attributes it had."""
    array.__dict__.clear()
    array.__dict__.update(attributes)


# --- arrays of objects --------------------------------------------------------------------


def reduce_objects(array: Any) -> tuple[Any, ...] | None:
    """How an array of objects that looks into another one is stored; None where that is not so."""
    if array.base is None or _is_all_of(array):
        return None
    root = array.base
    if not is_array(root) or root.dtype != array.dtype or not array.size:
        return None
    while is_array(root.base):
        root = root.base
    if not (root.flags.c_contiguous or root.flags.f_contiguous) or root.dtype != array.dtype:
        return None
    start = array.__array_interface__["data"][0] - root.__array_interface__["data"][0]
    place = start // array.itemsize
    return make_objects, (root, place, array.shape, array.strides, array.flags.writeable)


def _is_all_of(array: Any) -> bool:
    """Whether an array shows the whole of one that nothing else leads to, so that it is as good as that.

    Pickle leaves an index of pandas 2 so.
    """
    if sys.getrefcount(array.base) > 2:  # by the array and by the question
        return False
    root = array.base
    if not is_array(root) or root.base is not None:
        return False
    same = (root.shape, root.strides, root.dtype) == (array.shape, array.strides, array.dtype)
    return same and root.flags.writeable == array.flags.writeable


def reduce_hollow(array: Any) -> tuple[Any, ...] | None:
    """How an array of objects with memory of its own is stored; None where that is not so.

    Its shape first, its items later: among them may be one that looks into it.
    """
    order = layout(array)[0]
    if (array.base is not None and not _is_all_of(array)) or array.dtype != object or order == "S":
        return None
    items = array.ravel("K").tolist()
    return make_hollow, (array.shape, order, array.flags.writeable), items, None, None, set_items


def make_hollow(shape: tuple[int, ...], order: str, writeable: bool) -> Any:  # noqa: FBT001 - stored format
    """An array of objects that holds nothing yet."""
    made = importlib.import_module("numpy").empty(shape, object, order)
    made.flags.writeable = writeable
    return made


def set_items(array: Any, items: list[Any]) -> None:
    """Fill an array made by `make_hollow`, in the order of its memory."""
    writeable = array.flags.writeable
    array.flags.writeable = True
    flat = (array if array.flags.c_contiguous else array.T).reshape(-1)
    flat[:] = importlib.import_module("numpy").fromiter(items, object, len(items))
    array.flags.writeable = writeable


def make_objects(
    root: Any,
    place: int,
    shape: tuple[int, ...],
    strides: tuple[int, ...],
    writeable: bool,  # noqa: FBT001 - stored format
) -> Any:
    """An array that looks into `root`, an array of objects."""
    np = importlib.import_module("numpy")
    fixed = writeable and not root.flags.writeable
    if fixed:
        root.flags.writeable = True  # the view was made before it was set
    flat = (root if root.flags.c_contiguous else root.T).reshape(-1)
    if root.dtype.kind == "T" and len(shape) == 1 and strides[0] > 0:  # numpy 2.5 refuses a buffer of these
        made = flat[place :: strides[0] // root.itemsize][: shape[0]]
    else:
        made = np.ndarray(shape, root.dtype, buffer=flat, offset=place * root.itemsize, strides=strides)
    if fixed:
        root.flags.writeable = False
    if not writeable:
        made.flags.writeable = False
    return made


def reduce_view(array: Any, block: Block) -> tuple[Any, ...]:
    """How an array that shares memory is stored: the block and the way it looks into it."""
    if array is block.root:
        return reduce_array(array)
    offset = array.__array_interface__["data"][0] - block.low
    memory = block if block.root is None else block.root
    return make_view, (memory, array.dtype, array.shape, array.strides, offset, array.flags.writeable)
