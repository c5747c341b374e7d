"""numpy's arrays of texts of any length, stored as two buffers: how long each is, and what they are.

numpy's own pickle is a list of texts, which takes several times the memory of the array. The
public ``make_`` name is part of the stored format.
"""

from __future__ import annotations

import importlib
import pickle
from typing import Any

from kitaru_nb.artifacts.views import layout

__all__ = ["make_strings", "reduce_strings"]

_WORTH_IT = 1024  # texts; fewer are stored as numpy stores them
_BLOCK = 1 << 16  # texts that are objects at a time


def reduce_strings(array: Any) -> tuple[tuple[Any, ...], memoryview] | None:
    """How a large array of `StringDType` with memory of its own is stored, and the bytes of its text.

    None to leave it to numpy: small ones, views, and those in which a text stands for what is missing.
    """
    if array.dtype.kind != "T" or array.size < _WORTH_IT or array.base is not None:
        return None
    missing = getattr(array.dtype, "na_object", None)
    order = layout(array)[0]
    if isinstance(missing, str) or order == "S":
        return None
    numpy = importlib.import_module("numpy")
    flat = (array if order == "C" else array.T).reshape(-1)
    lengths = numpy.empty(flat.size, numpy.int32)
    data = bytearray()
    for at in range(0, flat.size, _BLOCK):
        texts = [None if item is missing else item.encode() for item in flat[at : at + _BLOCK].tolist()]
        lengths[at : at + _BLOCK] = [-1 if text is None else len(text) for text in texts]
        data += b"".join(text for text in texts if text is not None)
    shown = array.shape, order, array.flags.writeable
    return (make_strings, (array.dtype, shown, lengths, pickle.PickleBuffer(data))), memoryview(data)


def make_strings(dtype: Any, shown: tuple[tuple[int, ...], str, bool], lengths: Any, data: Any) -> Any:
    """The array again, from how many bytes each text has (-1: it is missing) and all of them."""
    shape, order, writeable = shown
    numpy = importlib.import_module("numpy")
    missing = getattr(dtype, "na_object", None)
    made = numpy.empty(shape, dtype, order)
    flat = (made if order == "C" else made.T).reshape(-1)
    view, start = memoryview(data), 0
    for at in range(0, flat.size, _BLOCK):
        ends = lengths[at : at + _BLOCK]
        stop = start + int(ends.clip(0).sum())
        flat[at : at + _BLOCK] = _texts(bytes(view[start:stop]), ends.tolist(), missing)
        start = stop
    made.flags.writeable = writeable
    return made


def _texts(data: bytes, lengths: list[int], missing: Any) -> list[Any]:
    whole = data.decode()
    plain = len(whole) == len(data)  # a character is a byte: no text has to be decoded by itself
    found: list[Any] = []
    at = 0
    for length in lengths:
        if length < 0:
            found.append(missing)
            continue
        found.append(whole[at : at + length] if plain else data[at : at + length].decode())
        at += length
    return found
