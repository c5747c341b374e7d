"""Which of an artifact's stored bytes are which array: put on record when a value is stored.

So that a column can be read from a stored frame, slice by slice and without a pickle being
loaded, the manifest says of each array where its elements begin in which buffer, and how
they lie. What lies in no buffer is looked up when the value is loaded.
"""

from __future__ import annotations

import base64
import functools
import json
import math
import sys
from bisect import bisect_right
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from kitaru_nb.artifacts.kinds import package_of
from kitaru_nb.artifacts.views import byte_range
from kitaru_nb.artifacts.zarr_describe import (
    NUMBERS,
    TEXT,
    Branch,
    LaterError,
    Leaf,
    Strings,
    described,
)
from kitaru_nb.artifacts.zarr_document import NoZarrFormError

__all__ = ["arrays_record", "dtype_form"]

_EACH = 1 << 20  # less than this for each array, and looking at it would be felt in the save
_LEAST = 4
_COLUMNS = 32  # of a frame, however small they are: some 15 µs each, and people look at tables
_INLINE = 64  # an array this small is put into the record itself
_STREAM = 1 << 20  # a pickle stream longer than this is not searched for small arrays
_SEARCHED = 16 << 20  # bytes looked at for them, over one value


def arrays_record(values: Mapping[str, object], buffers: Sequence[memoryview]) -> dict[str, Any]:
    """For each name whose arrays lie in `buffers`: its arrays and where they are; JSON values only.

    Costs some 10 µs for each array, and none of its bytes are read but those of arrays under
    64 KiB. A value of many small arrays, or one that it does not understand, is left out. Of what
    lies in the pickle stream as a whole, frames alone are looked at.

    Args:
        values: The names of a group with their values, as they are being stored.
        buffers: The pickle stream, then the buffers beside it.
    """
    if "numpy" not in sys.modules:
        return {}
    most = max(_LEAST, sum(buffer.nbytes for buffer in buffers[1:]) // _EACH)
    in_stream = len(buffers) < 2
    if in_stream:
        values = {name: value for name, value in values.items() if _is_frame(value)}
        if not values or buffers[0].nbytes > _STREAM:
            return {}
    found = {}
    places = _Places(buffers)
    for name, value in values.items():
        try:
            room = max(most, _COLUMNS) if _is_frame(value) else most
            record = _form(described(value, saving=room), places)
        except (LaterError, NoZarrFormError):
            continue
        except Exception:  # noqa: BLE001, S112 - the record is a convenience: no look at a foreign class may cost the save
            continue
        if in_stream or _anywhere(record):
            found[name] = record
    return found


def _is_frame(value: object) -> bool:
    kind = type(value)
    return kind.__name__ in {"DataFrame", "Series"} and package_of(kind) in {
        "pandas",
        "polars",
    }


@functools.lru_cache(maxsize=256)
def dtype_form(dtype: Any) -> Any:
    """A numpy dtype as JSON."""
    form = sys.modules["numpy"].lib.format.dtype_to_descr(dtype)
    return form if isinstance(form, str) else json.loads(json.dumps(form))


class _Place(NamedTuple):
    """A stretch of memory: its addresses, and which buffer it is."""

    low: int
    high: int
    number: int


class _Places:
    """Where in the buffers a live array's memory is."""

    def __init__(self, buffers: Sequence[memoryview]) -> None:
        np = sys.modules["numpy"]
        self._stream = bytes(buffers[0]) if buffers[0].nbytes <= _STREAM else b""
        self._budget = _SEARCHED
        self._buffers = buffers
        ranges = []
        for number, buffer in enumerate(buffers[1:], 1):
            low = np.frombuffer(buffer, "u1").__array_interface__["data"][0]
            ranges.append(_Place(low, low + buffer.nbytes, number))
        self._ranges = sorted(ranges)
        self._lows = [place.low for place in self._ranges]

    def find(self, array: Any) -> tuple[int, int] | None:
        """The buffer that `array` lies in, and where in that its first element is."""
        low, high = byte_range(array)
        first = bisect_right(self._lows, low) - 1
        if first >= 0 and high <= self._ranges[first].high:
            start: int = array.__array_interface__["data"][0] - self._ranges[first].low
            return self._ranges[first].number, start
        return None

    def copy_of(self, array: Any) -> tuple[int, int] | None:
        """The buffer that holds what `array` does: some classes copy their text when they are pickled."""
        for place in self._ranges:
            if place.high - place.low == array.nbytes and _equal(self._buffers[place.number], array):
                return place.number, 0
        return None

    def search(self, data: bytes) -> int | None:
        """Where in the stream `data` is. The same bytes elsewhere in it are as good."""
        if len(self._stream) > self._budget:
            return None
        self._budget -= len(self._stream)
        at = self._stream.find(data)
        return at if at >= 0 else None


def _equal(buffer: memoryview, array: Any) -> bool:
    np = sys.modules["numpy"]
    mine, theirs = np.frombuffer(buffer, "u1"), array.reshape(-1).view("u1")
    whole = len(mine) // 8 * 8
    for start in range(0, whole, _STREAM):
        stop = min(start + _STREAM, whole)
        if not (mine[start:stop].view("u8") == theirs[start:stop].view("u8")).all():
            return False
    return bool((mine[whole:] == theirs[whole:]).all())


def _form(node: Leaf | Branch | None, places: _Places) -> dict[str, Any]:
    if node is None:
        return {"later": True}
    if isinstance(node, Branch):
        members = {name: _form(member, places) for name, member in node.members.items()}
        along = {"along": node.along} if node.along is not None else {}
        return {"members": members, "attrs": dict(node.attrs) if along else _finite(node.attrs), **along}
    named: dict[str, Any] = {"dims": list(node.dims)} if node.dims is not None else {}
    if node.attrs is NUMBERS or node.attrs is TEXT:
        named["as"] = node.attrs["encoding-type"]
    elif node.attrs:
        named["attrs"] = _finite(node.attrs)
    if isinstance(node.values, range):
        return {"range": [node.values.start, node.values.stop, node.values.step], **named}
    if isinstance(node.values, Strings):
        return {**_strings_form(node.values, places), **named}
    return {**_array_form(node.values, places), **named}


def _finite(value: Any) -> Any:
    """`value`; a manifest is strict JSON, which has no infinity."""
    inside = value.values() if isinstance(value, Mapping) else value if isinstance(value, list) else ()
    for one in inside:
        _finite(one)
    if isinstance(value, float) and not math.isfinite(value):
        raise LaterError
    return value


def _array_form(array: Any, places: _Places) -> dict[str, Any]:
    form: dict[str, Any] = {"shape": list(array.shape), "dtype": dtype_form(array.dtype)}
    if array.nbytes <= _INLINE:
        return {**form, "data": base64.b64encode(array.tobytes()).decode()}
    place = places.find(array)
    if place is not None:
        strides = {} if array.flags.c_contiguous else {"strides": list(array.strides)}
        return {**form, "at": list(place), **strides}
    at = places.search(array.tobytes()) if array.nbytes < _STREAM else None
    return {**form, "at": [0, at]} if at is not None else {"later": True}


def _strings_form(strings: Strings, places: _Places) -> dict[str, Any]:
    runs = []
    for rows, offsets, data in strings.runs:
        found = [_array_form(offsets, places), _array_form(data, places)]
        for number, (form, array) in enumerate(zip(found, (offsets, data), strict=True)):
            if form.get("later", False):
                place = places.copy_of(array)
                if place is None:
                    return {"later": True}
                found[number] = {
                    "shape": list(array.shape),
                    "dtype": dtype_form(array.dtype),
                    "at": list(place),
                }
        runs.append([rows, *found])
    return {"strings": runs, "shape": list(strings.shape)} if strings.values is None else {"later": True}


def _anywhere(record: Mapping[str, Any]) -> bool:
    """Whether any array of the record can be read from the buffers."""
    inside = record["members"].values() if "members" in record else ()
    runs = [form for _, *forms in record.get("strings", ()) for form in forms]
    return "at" in record or any(map(_anywhere, [*inside, *runs]))
