"""One plain numpy array as a zarr v3 array: its ``zarr.json`` and its flat C-order bytes.

zarr itself is not imported here (that would cost hundreds of modules in every kernel): the
document is written by hand, and a test holds it against what zarr writes.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from math import prod
from typing import Any

from kitaru_nb.artifacts.codec import NO_ANCHORS, Anchors, Encoded, ReadBuffer, Resolve
from kitaru_nb.artifacts.memory import adopted
from kitaru_nb.artifacts.views import is_mapped
from kitaru_nb.errors import CorruptError

__all__ = ["ZarrCodec", "array_document", "chunk_shape", "dtype_of", "plain_data_type"]

_CHUNK_BYTES = 4 << 20
_SLAB_BYTES = 8 << 20
_NAT = -(1 << 63)
_ZEROS: Mapping[str, Any] = {"b": False, "i": 0, "u": 0, "f": 0.0, "c": (0.0, 0.0), "m": _NAT, "M": _NAT}
_PLAIN = frozenset(("bool", "float16", "float32", "float64", "complex64", "complex128")) | frozenset(
    f"{sign}int{bits}" for sign in ("", "u") for bits in (8, 16, 32, 64)
)


class ZarrCodec:
    """Holds exactly one name bound to a plain, C-contiguous, non-empty numpy array."""

    name = "zarr"

    def encode(
        self,
        values: Mapping[str, object],
        *,
        namespace: dict[str, Any],  # noqa: ARG002 - a codec's signature
        anchors: Anchors = NO_ANCHORS,  # noqa: ARG002 - a codec's signature
    ) -> Encoded | None:
        """The array as metadata and one buffer, without a copy.

        None where `values` is anything but one plain array that comes back exactly: type, dtype, shape,
        order, bytes. Subclasses, other byte orders, Fortran order, 0-d, empty, structured and object
        arrays are left to the pickle codec.
        """
        if not _is_plain_array(values):
            return None
        ((name, value),) = values.items()
        array: Any = value
        meta = {
            "name": name,
            "writeable": bool(array.flags.writeable),
            "zarr": array_document(array.shape, array.dtype),
        }
        # datetime64 has no buffer format of its own; the same bytes as int64 have one
        plain = array.view("i8") if array.dtype.kind in "mM" else array
        return Encoded(codec=self.name, meta=meta, buffers=[memoryview(plain).cast("B")])

    def decode(
        self,
        meta: Mapping[str, Any],
        read: ReadBuffer,
        *,
        namespace: dict[str, Any],  # noqa: ARG002 - a codec's signature
        resolve: Resolve | None = None,  # noqa: ARG002 - a codec's signature
    ) -> dict[str, object]:
        """The array again, over the bytes `read` gives (not copied when they are writable).

        Anybody's array is loaded, so it is one of plain numbers and exactly as large as its bytes,
        whatever its description says.

        Raises:
            CorruptError: kind ``corrupt-artifact``: it describes something else.
        """
        import numpy as np  # noqa: PLC0415 - a process that restores no array does not need it

        data, shape, dtype = read(0), *_described(meta["zarr"])
        if memoryview(data).nbytes != prod(shape) * dtype.itemsize:
            raise _not_described()
        array = adopted(data, shape, dtype)
        if array is None:
            array = np.frombuffer(data, dtype=dtype).reshape(shape)
            if not is_mapped(data, writeable=meta["writeable"]):
                array = array.copy()  # it owns its memory, as nearly every array does
        array.flags.writeable = meta["writeable"]
        return {meta["name"]: array}


def _described(document: Mapping[str, Any]) -> tuple[tuple[int, ...], Any]:
    """The shape and dtype that a document gives."""
    shape, dtype = tuple(document["shape"]), dtype_of(document["data_type"])
    if (
        not shape
        or not all(type(size) is int and size > 0 for size in shape)
        or plain_data_type(dtype) is None
    ):
        raise _not_described()
    return shape, dtype


def _not_described() -> CorruptError:
    message = "it is not the array that its description tells of"
    return CorruptError(message, kind="corrupt-artifact", hint="kitaru-nb store verify")


def chunk_shape(shape: tuple[int, ...], itemsize: int) -> tuple[int, ...]:
    """Chunks of 4 to 8 MiB that are each one run of the flat bytes.

    Whole rows while a row has at most 8 MiB; a larger row is cut along the first inner
    axis whose slices are small enough.
    """
    for axis in range(len(shape)):
        inner = prod(shape[axis + 1 :]) * itemsize
        if inner <= _SLAB_BYTES:
            count = min(shape[axis], max(1, -(-_CHUNK_BYTES // inner)))
            return (1,) * axis + (count,) + shape[axis + 1 :]
    raise AssertionError("an element is smaller than a slab")


def dtype_of(data_type: str | Mapping[str, Any]) -> Any:
    """The numpy dtype of a zarr data type."""
    import numpy as np  # noqa: PLC0415 - a process that restores no array does not need it

    if isinstance(data_type, str):
        return np.dtype(data_type)
    unit = data_type["configuration"]["unit"]
    factor = data_type["configuration"]["scale_factor"]
    return np.dtype(f"{data_type['name'].removeprefix('numpy.')}[{factor}{unit}]")


def array_document(shape: tuple[int, ...], dtype: Any) -> dict[str, Any]:
    """``zarr.json`` as zarr writes it for an uncompressed array."""
    data_type = plain_data_type(dtype)
    fill = _ZEROS[dtype.kind]
    codec: dict[str, Any] = {"name": "bytes"}
    if dtype.itemsize > 1:
        codec["configuration"] = {"endian": "little"}
    chunks = chunk_shape(shape, dtype.itemsize)
    return {
        "shape": list(shape),
        "data_type": data_type,
        "chunk_grid": {"name": "regular", "configuration": {"chunk_shape": list(chunks)}},
        "chunk_key_encoding": {"name": "default", "configuration": {"separator": "/"}},
        "fill_value": list(fill) if isinstance(fill, tuple) else fill,
        "codecs": [codec],
        "attributes": {},
        "zarr_format": 3,
        "node_type": "array",
        "storage_transformers": [],
    }


def plain_data_type(dtype: Any) -> str | dict[str, Any] | None:
    """`dtype` as zarr v3 names it; None when zarr would not give the very same dtype back."""
    if sys.byteorder != "little" or not dtype.isnative or dtype.metadata is not None:
        return None
    if dtype.kind in "mM":
        unit, factor = sys.modules["numpy"].datetime_data(dtype)
        if unit == "generic":
            return None
        kind = "datetime64" if dtype.kind == "M" else "timedelta64"
        return {"name": f"numpy.{kind}", "configuration": {"unit": unit, "scale_factor": factor}}
    name = str(dtype.name)
    # int64 has two C types on most platforms; only the usual one comes back by its name
    same = name in _PLAIN and dtype.char == sys.modules["numpy"].dtype(name).char
    return name if same else None


def _is_plain_array(values: Mapping[str, object]) -> bool:
    numpy = sys.modules.get("numpy")  # no array exists before numpy is imported
    if numpy is None or len(values) != 1:
        return False
    array: Any = next(iter(values.values()))
    return (
        type(array) is numpy.ndarray
        and array.ndim > 0
        and array.size > 0
        and bool(array.flags.c_contiguous)
        and bool(array.flags.aligned)
        and plain_data_type(array.dtype) is not None
    )
