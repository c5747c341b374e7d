"""What zarr v3 calls an array's type, and the ``zarr.json`` of arrays and groups, by hand.

Written for the oldest zarr that is supported; tests hold it against what zarr writes and reads.
"""

from __future__ import annotations

import base64
import functools
import sys
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from kitaru_nb.artifacts.zarr_codec import array_document, plain_data_type

__all__ = ["NoZarrFormError", "document_of", "group_document", "strings_document", "zarr_type"]


class NoZarrFormError(TypeError):
    """Zarr cannot hold this; the text says what and why, for the user."""


class ZarrType(NamedTuple):
    """How zarr names a numpy dtype, and how its bytes are to be read."""

    data_type: Any
    fill: Any
    endian: str | None


@functools.lru_cache(maxsize=256)
def zarr_type(dtype: Any) -> ZarrType:
    """How zarr v3 names `dtype`.

    Raises:
        NoZarrFormError: it has no name for it.
    """
    kind, size = dtype.kind, dtype.itemsize
    endian = {"<": "little", ">": "big", "=": sys.byteorder}.get(dtype.byteorder)
    if kind in "biufcmM":
        plain = dtype.newbyteorder("=")
        data_type = plain_data_type(_usual(plain))
        if data_type is not None:
            fill = array_document((1,), plain)["fill_value"]
            return ZarrType(data_type, fill, endian if size > 1 else None)
    if kind == "S" and size:
        return ZarrType(_sized("null_terminated_bytes", size), "", None)
    if kind == "U" and size:
        return ZarrType(_sized("fixed_length_utf32", size), "", endian)
    if kind == "V" and size and dtype.fields is None and dtype.subdtype is None:
        return ZarrType(_sized("raw_bytes", size), _zeros(size), None)
    if kind == "V" and dtype.fields:
        return ZarrType(
            {"name": "structured", "configuration": {"fields": _fields(dtype)}}, _zeros(size), None
        )
    raise NoZarrFormError(f"zarr has no type for `{dtype}`")


def document_of(
    shape: Sequence[int],
    dtype: Any,
    *,
    chunks: Sequence[int],
    dims: Sequence[str] | None = None,
    attrs: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """``zarr.json`` of an uncompressed array of `dtype`, cut into `chunks`.

    Raises:
        NoZarrFormError: zarr has no type for it.
    """
    data_type, fill, endian = zarr_type(dtype)
    codec: dict[str, Any] = {"name": "bytes"}
    if endian is not None:
        codec["configuration"] = {"endian": endian}
    return _document(shape, data_type, fill, codec, chunks=chunks, dims=dims, attrs=attrs)


def strings_document(
    rows: Sequence[int],
    *,
    chunks: Sequence[int],
    dims: Sequence[str] | None = None,
    attrs: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """``zarr.json`` of an array of strings of any length."""
    codec = {"name": "vlen-utf8", "configuration": {}}
    return _document(rows, "string", "", codec, chunks=chunks, dims=dims, attrs=attrs)


def group_document(attrs: Mapping[str, Any], below: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """``zarr.json`` of a group, with the documents of all that is `below` it, by path.

    One read then gives the whole tree, which is what readers of many arrays need.
    """
    return {
        "attributes": dict(attrs),
        "zarr_format": 3,
        "consolidated_metadata": {"kind": "inline", "must_understand": False, "metadata": dict(below)},
        "node_type": "group",
    }


def _document(
    shape: Sequence[int],
    data_type: Any,
    fill: Any,
    codec: Mapping[str, Any],
    *,
    chunks: Sequence[int],
    dims: Sequence[str] | None,
    attrs: Mapping[str, Any] | None,
) -> dict[str, Any]:
    named = {"dimension_names": list(dims)} if dims is not None else {}
    return {
        "shape": list(shape),
        "data_type": data_type,
        "chunk_grid": {"name": "regular", "configuration": {"chunk_shape": list(chunks)}},
        "chunk_key_encoding": {"name": "default", "configuration": {"separator": "/"}},
        "fill_value": fill,
        "codecs": [dict(codec)],
        "attributes": dict(attrs or {}),
        **named,
        "zarr_format": 3,
        "node_type": "array",
        "storage_transformers": [],
    }


def _usual(dtype: Any) -> Any:
    """Of the C types of one size the one that numpy makes of its name; without metadata."""
    np = sys.modules["numpy"]
    return dtype if dtype.kind in "mM" else np.dtype(dtype.str)


def _fields(dtype: Any) -> list[list[Any]]:
    """The fields of a structured type, which zarr keeps without gaps and in this machine's byte order."""
    at, found = 0, []
    for name in dtype.names:
        field, offset = dtype.fields[name][:2]
        if offset != at or len(dtype.fields[name]) > 2 or field.subdtype is not None or not field.isnative:
            raise NoZarrFormError(
                f"zarr has no type for `{dtype}`: it has gaps, sub-arrays or another byte order"
            )
        found.append([name, zarr_type(field).data_type])
        at += field.itemsize
    if at != dtype.itemsize:
        raise NoZarrFormError(f"zarr has no type for `{dtype}`: it has a gap at its end")
    return found


def _sized(name: str, size: int) -> dict[str, Any]:
    return {"name": name, "configuration": {"length_bytes": size}}


def _zeros(size: int) -> str:
    return base64.standard_b64encode(bytes(size)).decode()
