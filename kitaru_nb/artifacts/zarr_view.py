"""A stored value as a tree of zarr nodes: read from the stored buffers where the manifest says how.

What is not on record is read through the value itself, which the caller loads if it may.
"""

from __future__ import annotations

import base64
import itertools
import math
import warnings
from bisect import bisect_right
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from kitaru_nb.artifacts.store import ArtifactStore, ExtentIndex
from kitaru_nb.artifacts.values import checked_buffers, extents_reader
from kitaru_nb.artifacts.zarr_codec import dtype_of
from kitaru_nb.artifacts.zarr_describe import (
    NUMBERS,
    TEXT,
    Branch,
    Leaf,
    Run,
    Strings,
    described,
    run_strings,
)
from kitaru_nb.artifacts.zarr_document import NoZarrFormError
from kitaru_nb.artifacts.zarr_tree import (
    ArrayNode,
    GroupNode,
    Node,
    ReadBytes,
    Tree,
    counted,
    in_memory,
    strided,
    strings,
)
from kitaru_nb.errors import CorruptError, KitaruError, UsageError
from kitaru_nb.model.artifact import Artifact, Extent

__all__ = ["LoadValue", "memory_tree", "stored_tree"]

_AS = {"array": NUMBERS, "string-array": TEXT}

LoadValue = Callable[[], object]
"""Gives the value itself; raises where it may not be loaded."""


def stored_tree(
    artifact: Artifact,
    name: str | None,
    *,
    store: ArtifactStore,
    index: ExtentIndex,
    load: LoadValue,
    title: str,
    hint: str = "kitaru_nb.load(REF)",
) -> Tree:
    """The value `name` of `artifact` for zarr to read.

    Args:
        artifact: Where it is; its manifest is checked here.
        name: The notebook name; None for all names of the artifact, or the only one.
        store: Where the artifact's extents are.
        index: Knows where; asked here, and from any thread where an extent is not where it was.
        load: Gives the value, for what cannot be read from the buffers.
        title: What to call the value in an error.
        hint: What to type when it is no array.

    Raises:
        CorruptError: the manifest is damaged; an extent's damage is told when it is read.
        UsageError: kind ``not-an-array``: it is no array and no group of arrays.
    """
    buffers = _Buffers(artifact, store=store, index=index, title=title)
    meta = artifact.manifest["meta"]
    if artifact.codec == "zarr":
        return Tree(_lone(meta["zarr"], buffers, title), title=title)
    record = _record(meta.get("arrays", {}), name)
    try:
        if record is not None and not _has_later(record):
            return Tree(_node(record, buffers, None), title=title)
        found, lost = _found(load, record, title, hint)
        _warn_left_out(found, title)
        root = _node(record, buffers, found) if record is not None else _live(found)
        return Tree(root, title=title, lost=lost)
    except (KeyError, TypeError, ValueError) as error:
        if isinstance(error, KitaruError):
            raise
        message = f"{title} cannot be read: its manifest does not describe what is stored"
        raise CorruptError(message, kind="corrupt-artifact", hint=hint) from error


def memory_tree(value: object, title: str, *, hint: str = "kitaru_nb.load(REF)") -> Tree:
    """A value in memory for zarr to read.

    Raises:
        UsageError: kind ``not-an-array``: it is no array and no group of arrays.
    """
    found, _ = _found(lambda: value, None, title, hint)
    _warn_left_out(found, title)
    return Tree(_live(found), title=title)


def _record(records: Mapping[str, Any], name: str | None) -> Any:
    if name is not None:
        return records.get(name)
    return {"members": records} if len(records) > 1 else next(iter(records.values()), None)


def _found(
    load: LoadValue, record: Any, title: str, hint: str
) -> tuple[Leaf | Branch | None, KitaruError | None]:
    """What the value itself looks like; or why it cannot be loaded, where some of it is on record."""
    try:
        return described(load()), None
    except NoZarrFormError as reason:
        message = f"{title} is not an array that zarr can hold: {reason}"
        raise UsageError(message, kind="not-an-array", hint=hint) from reason
    except KitaruError as error:
        if record is None:
            raise
        warnings.warn(f"{title}: only a part of it can be read: {error.message}", stacklevel=2)
        return None, error


def _warn_left_out(found: Leaf | Branch | None, title: str) -> None:
    left_out = dict(_left_out(found))
    if left_out:
        listed = "; ".join(f"`{path}`: {why}" for path, why in left_out.items())
        warnings.warn(f"{title}: zarr cannot hold {listed}", stacklevel=2)


class _Buffers:
    """The stored buffers of an artifact, any bytes of which can be read; each extent is verified."""

    def __init__(self, artifact: Artifact, *, store: ArtifactStore, index: ExtentIndex, title: str) -> None:
        self._extents = checked_buffers(artifact)
        self._starts = [[0, *itertools.accumulate(extent.length for extent in row)] for row in self._extents]
        self._read = extents_reader(artifact, store=store, index=index)
        self._title = title

    def size(self, number: int) -> int:
        """The bytes of a buffer."""
        return self._starts[number][-1] if 0 <= number < len(self._starts) else 0

    def reader(self, number: int) -> ReadBytes:
        """Reads from one buffer."""
        return lambda start, stop: self.read(number, start, stop)

    def read(self, number: int, start: int, stop: int) -> bytes:
        """Bytes `start` to `stop` of a buffer.

        Raises:
            CorruptError: an extent is damaged or gone; names the value.
        """
        starts = self._starts[number]
        if not 0 <= start <= stop <= starts[-1]:
            message = f"{self._title} cannot be read: it says that it lies outside what is stored"
            raise CorruptError(message, kind="corrupt-artifact")
        if start == stop:
            return b""
        first, last = bisect_right(starts, start) - 1, bisect_right(starts, stop - 1) - 1
        data = self._run(self._extents[number][first : last + 1])
        return bytes(data[start - starts[first] : stop - starts[first]])

    def _run(self, extents: Sequence[Extent]) -> memoryview:
        try:
            return self._read(extents)
        except KitaruError as error:
            message = f"{self._title} cannot be read: {error.message}"
            raise type(error)(message, kind=error.kind, hint=error.hint) from error
        except FileNotFoundError as error:
            # zarr takes that for "never written" and fills in zeros
            message = f"{self._title} cannot be read: {error}"
            raise CorruptError(message, kind="corrupt-artifact", hint="kitaru-nb doctor") from error


def _lone(document: Mapping[str, Any], buffers: _Buffers, title: str) -> ArrayNode:
    """A lone plain array, whose document was put on record when it was stored."""
    dtype, shape = dtype_of(document["data_type"]), tuple(document["shape"])
    if buffers.size(0) != math.prod(shape) * dtype.itemsize:
        raise CorruptError(f"{title} does not hold the array it describes", kind="corrupt-artifact")
    return strided(buffers.reader(0), dtype, shape, _c_strides(shape, dtype.itemsize))


def _has_later(record: Mapping[str, Any]) -> bool:
    return record.get("later", False) or any(map(_has_later, record.get("members", {}).values()))


def _node(
    record: Mapping[str, Any], buffers: _Buffers, found: Leaf | Branch | None, along: str | None = None
) -> Node:
    """The node that `record` describes; what it does not is taken from the value, `found`."""
    if record.get("later", False):
        return _live(found, along)
    if "members" in record:
        axis = record.get("along")
        records = record["members"]
        whole = found.members if isinstance(found, Branch) else {}
        known = {
            name: form for name, form in records.items() if name in whole or not form.get("later", False)
        }
        members = {
            str(name): _node(known[name], buffers, whole.get(name), axis)
            if name in known
            else _live(whole[name], axis)
            for name in [*whole, *(name for name in known if name not in whole)]
        }
        return GroupNode(members, found.attrs if isinstance(found, Branch) else record.get("attrs", {}))
    named = {
        "dims": record.get("dims", _axis(along)),
        "attrs": record.get("attrs", _AS.get(record.get("as", ""))),
    }
    if "range" in record:
        return counted(range(*record["range"]), **named)
    shape = tuple(map(int, record["shape"]))
    if "strings" in record:
        runs = [_run(run, buffers) for run in record["strings"]]
        if sum(run[0] for run in runs) != math.prod(shape):
            raise ValueError("the strings do not fill their array")
        return strings(shape, lambda start, stop: list(run_strings(runs, start, stop)), **named)
    dtype, strides, offset, read = _stretch(record, buffers)
    return strided(read, dtype, shape, strides, offset=offset, **named)


def _stretch(record: Mapping[str, Any], buffers: _Buffers) -> tuple[Any, tuple[int, ...], int, ReadBytes]:
    """The type of an array on record, its strides, where it begins, and what reads its bytes."""
    import numpy as np  # noqa: PLC0415 - a process that reads no array does not need it

    form, shape = record["dtype"], tuple(map(int, record["shape"]))
    dtype = np.dtype(form) if isinstance(form, str) else np.lib.format.descr_to_dtype(_tuples(form))
    if dtype.hasobject or dtype.itemsize == 0 or any(size < 0 for size in shape):
        raise ValueError("no type for stored bytes")
    strides = tuple(map(int, record.get("strides") or _c_strides(shape, dtype.itemsize)))
    if "data" in record:
        data = base64.b64decode(record["data"])
        offset, size, read = 0, len(data), lambda start, stop: data[start:stop]
    else:
        number, offset = map(int, record["at"])
        size, read = buffers.size(number), buffers.reader(number)
    reach = [(n - 1) * step for n, step in zip(shape, strides, strict=True)]
    low, high = offset + sum(r for r in reach if r < 0), offset + sum(r for r in reach if r > 0)
    if math.prod(shape) and (low < 0 or high + dtype.itemsize > size):
        raise ValueError("the array lies outside its buffer")
    return dtype, strides, offset, read


def _run(run: Sequence[Any], buffers: _Buffers) -> Run:
    rows, offsets, data = run
    dtype, _, first, read_offsets = _stretch(offsets, buffers)
    _, _, base, read_data = _stretch(data, buffers)
    if dtype.kind != "i" or math.prod(offsets["shape"]) != rows + 1:
        raise ValueError("no offsets")
    size = dtype.itemsize

    def places(start: int, stop: int) -> Any:
        import numpy as np  # noqa: PLC0415 - as above

        return np.frombuffer(read_offsets(first + start * size, first + stop * size), dtype)

    return rows, places, lambda low, high: read_data(base + low, base + high)


def _live(found: Leaf | Branch | None, along: str | None = None) -> Node:
    assert found is not None
    if isinstance(found, Branch):
        members = {name: _live(member, found.along) for name, member in found.members.items()}
        return GroupNode(members, found.attrs)
    dims = _axis(along) if found.dims is None else found.dims
    if isinstance(found.values, Strings):
        return strings(found.values.shape, found.values.read, dims=dims, attrs=found.attrs)
    make = counted if isinstance(found.values, range) else in_memory
    return make(found.values, dims=dims, attrs=found.attrs)


def _axis(along: str | None) -> tuple[str, ...] | None:
    return None if along is None else (along,)


def _left_out(found: Leaf | Branch | None, path: str = "") -> Iterator[tuple[str, str]]:
    if isinstance(found, Branch):
        for name, why in found.attrs.get("kitaru-nb", {}).get("left-out", {}).items():
            yield path + name, why
        for name, member in found.members.items():
            yield from _left_out(member, f"{path}{name}/")


def _c_strides(shape: Sequence[int], itemsize: int) -> tuple[int, ...]:
    steps = itertools.accumulate(reversed(shape[1:]), lambda a, b: a * b, initial=1)
    return tuple(step * itemsize for step in reversed(list(steps)))[-len(shape) :] if shape else ()


def _tuples(form: Any) -> Any:
    """A structured dtype's description again as numpy wants it: fields as tuples."""
    if isinstance(form, str):
        return form
    return [(field[0], _tuples(field[1]), *map(tuple, field[2:])) for field in form]
