"""Data frames and tables as zarr groups of columns, in the layout of anndata's files.

A group of columns has its index as ``_index``, its columns in ``column-order``. Categories
are a group of codes and categories; columns with gaps a group of values and a mask.
"""

from __future__ import annotations

import functools
import importlib
import sys
from collections.abc import Callable, Sequence
from typing import Any

from kitaru_nb.artifacts.zarr_describe import (
    NUMBERS,
    TEXT,
    Branch,
    LaterError,
    Leaf,
    Strings,
    as_members,
    json_form,
    member_key,
)
from kitaru_nb.artifacts.zarr_document import NoZarrFormError, zarr_type

__all__ = ["described_table"]

_GAPS = {"i": "nullable-integer", "u": "nullable-integer", "b": "nullable-boolean", "f": "nullable-float"}


def described_table(value: Any, *, saving: int) -> Leaf | Branch:
    """What a pandas, polars or Arrow object looks like to zarr.

    Raises:
        NoZarrFormError: it is none with columns.
        LaterError: `saving`, and only loading will tell.
    """
    for package, describe in (("pandas", _of_pandas), ("polars", _of_polars), ("pyarrow", _of_arrow)):
        module = sys.modules.get(package)
        if module is not None:
            found = describe(value, module, saving=saving)
            if found is not None:
                return found
    raise NoZarrFormError(f"a {type(value).__name__} is no array and no group of arrays")


# --- pandas -------------------------------------------------------------------------------


def _of_pandas(value: Any, pd: Any, *, saving: int) -> Leaf | Branch | None:
    if isinstance(value, pd.DataFrame):
        return _frame(value, pd, saving=saving)
    if isinstance(value, pd.Series):
        frame = _frame(value.to_frame(), pd, saving=saving)
        return Branch(
            frame.members, {**frame.attrs, "kitaru-nb": {**frame.attrs["kitaru-nb"], "type": "pandas.Series"}}
        )
    if isinstance(value, pd.Index):
        if isinstance(value, pd.MultiIndex):
            return _levels(value, saving=saving)
        return _column(value, saving=saving)
    if isinstance(value, pd.api.extensions.ExtensionArray):
        return _column(value, saving=saving)
    return None


def _frame(frame: Any, pd: Any, *, saving: int) -> Branch:
    width = len(frame.columns)
    if saving and width > saving:
        raise LaterError
    labels = list(frame.columns)
    columns = _columns(frame)
    keys: dict[str, int] = {}
    for number, label in enumerate(labels):
        keys[member_key(label, keys, number)] = number
    index = "_index" if frame.index.name is None else member_key(frame.index.name, keys, width)

    def describe(place: int) -> Leaf | Branch:
        if place < 0:
            return _index(frame.index, pd, saving=saving)
        return _column(columns[place], saving=saving)

    members, left_out = as_members([(index, -1), *keys.items()], describe)
    if not any(key in members for key in keys) and width:
        raise NoZarrFormError("; ".join(f"column `{key}`: {why}" for key, why in left_out.items()))
    ours = {
        "type": "pandas.DataFrame",
        "dtypes": {key: _text_of(columns[number].dtype) for key, number in keys.items()},
        "index": str(frame.index.dtype),
        "labels": {key: str(labels[number]) for key, number in keys.items() if labels[number] != key},
        "left-out": left_out,
    }
    return Branch(members, _table_attrs(index, [key for key in keys if key in members], ours), index)


def _columns(frame: Any) -> list[Any]:
    """The array of each column, over the frame's own memory.

    Taken from the blocks: a Series for each column costs more than its numbers, and in older
    versions stays in the frame's cache.
    """
    found: list[Any] = [None] * len(frame.columns)
    for block in frame._mgr.blocks:
        values = block.values
        for row, place in enumerate(block.mgr_locs.as_array):
            found[place] = values[row] if values.ndim > 1 else values
    return found


@functools.lru_cache(maxsize=256)
def _text_of(dtype: Any) -> str:
    return str(dtype)


def _table_attrs(index: str, columns: Sequence[str], ours: dict[str, Any]) -> dict[str, Any]:
    return {
        "encoding-type": "dataframe",
        "encoding-version": "0.2.0",
        "_index": index,
        "column-order": list(columns),
        "kitaru-nb": {key: value for key, value in ours.items() if value},
    }


def _index(index: Any, pd: Any, *, saving: int) -> Leaf | Branch:
    if isinstance(index, pd.RangeIndex):
        return Leaf(range(index.start, index.stop, index.step), attrs=NUMBERS)
    if isinstance(index, pd.MultiIndex):
        return _levels(index, saving=saving)
    return _column(index, saving=saving)


def _levels(index: Any, *, saving: int) -> Branch:
    """Each level of an index of several, one entry for each row."""
    if saving:
        raise LaterError
    names = [f"level_{n}" if name is None else str(name) for n, name in enumerate(index.names)]
    items = [(name, index.get_level_values(number)) for number, name in enumerate(names)]
    members, left_out = as_members(items, lambda level: _column(level, saving=saving))
    return Branch(
        members, {"kitaru-nb": {"type": "pandas.MultiIndex", "levels": names, "left-out": left_out}}
    )


def _column(array: Any, *, saving: int) -> Leaf | Branch:
    """What the array of a column looks like, be it numpy's or pandas' own; or an Index."""
    np, dtype = sys.modules["numpy"], array.dtype
    if isinstance(dtype, np.dtype) and not hasattr(array, "asi8"):
        return _numpy_column(np.asarray(array), np, saving=saving)
    array = getattr(array, "array", array)
    if isinstance(dtype, np.dtype):
        return described_leaf(Leaf(array.asi8.view(dtype), attrs=NUMBERS))
    if hasattr(dtype, "categories") and hasattr(array, "codes"):
        categories = _column(array.categories, saving=saving)
        attrs = {"encoding-type": "categorical", "encoding-version": "0.2.0", "ordered": bool(array.ordered)}
        return Branch({"codes": Leaf(array.codes, attrs=NUMBERS), "categories": categories}, attrs)
    if hasattr(dtype, "tz"):
        stamps = Leaf(array.asi8.view(f"M8[{dtype.unit}]"), attrs={**NUMBERS, "timezone": str(dtype.tz)})
        return described_leaf(stamps)
    if hasattr(dtype, "freq") and hasattr(array, "asi8"):
        return Leaf(array.asi8, attrs={**NUMBERS, "period": str(dtype)})
    if hasattr(array, "_pa_array"):
        return _arrow_column(array._pa_array, saving=saving)
    if hasattr(array, "_mask") and hasattr(array, "_data"):
        return _gaps(array._data, array._mask)
    if getattr(dtype, "name", "") in {"str", "string"}:
        if saving:
            raise LaterError
        return _text(array.to_numpy(dtype=object, na_value=None).tolist())
    raise NoZarrFormError(f"zarr has no type for columns of `{dtype}`")


def _numpy_column(values: Any, np: Any, *, saving: int) -> Leaf | Branch:
    if values.dtype.kind != "O":
        return described_leaf(Leaf(values, attrs=NUMBERS))
    if saving:
        raise LaterError
    listed = values.tolist()
    missing = [value is None or (isinstance(value, float) and np.isnan(value)) for value in listed]
    if all(type(value) is str or gone for value, gone in zip(listed, missing, strict=True)):
        return _text([None if gone else value for value, gone in zip(listed, missing, strict=True)])
    raise NoZarrFormError("it holds objects that are not strings")


def described_leaf(leaf: Leaf) -> Leaf:
    """`leaf`, when zarr has a type for it.

    Raises:
        NoZarrFormError: it has none.
    """
    zarr_type(leaf.values.dtype)
    return leaf


def _gaps(values: Any, mask: Any) -> Branch:
    kind = _GAPS.get(values.dtype.kind)
    if kind is None:
        raise NoZarrFormError(f"zarr has no type for columns of `{values.dtype}` with gaps")
    attrs = {"encoding-type": kind, "encoding-version": "0.1.0"}
    return Branch({"values": Leaf(values, attrs=NUMBERS), "mask": Leaf(mask, attrs=NUMBERS)}, attrs)


def _text(values: list[str | None]) -> Leaf | Branch:
    np = sys.modules["numpy"]
    missing = [value is None for value in values]
    leaf = Leaf(Strings((len(values),), values=[value or "" for value in values]), attrs=TEXT)
    if not any(missing):
        return leaf
    mask = Leaf(np.array(missing), attrs=NUMBERS)
    return Branch(
        {"values": leaf, "mask": mask},
        {"encoding-type": "nullable-string-array", "encoding-version": "0.1.0"},
    )


# --- polars and Arrow ---------------------------------------------------------------------


def _of_polars(value: Any, pl: Any, *, saving: int) -> Branch | Leaf | None:
    if not isinstance(value, pl.DataFrame | pl.Series):
        return None
    if saving:
        raise LaterError
    try:
        pa = importlib.import_module("pyarrow")
    except ImportError as error:
        raise NoZarrFormError(
            "reading a polars frame through zarr needs pyarrow: pip install pyarrow"
        ) from error
    if isinstance(value, pl.Series):
        return _arrow_column(pa.chunked_array(value.to_arrow()), saving=saving)
    return _table(value.to_arrow(), "polars.DataFrame", [str(dtype) for dtype in value.dtypes], saving=saving)


def _of_arrow(value: Any, pa: Any, *, saving: int) -> Branch | Leaf | None:
    if isinstance(value, pa.Table | pa.RecordBatch):
        kinds = [str(kind) for kind in value.schema.types]
        return _table(value, f"pyarrow.{type(value).__name__}", kinds, saving=saving)
    if isinstance(value, pa.ChunkedArray | pa.Array):
        return _arrow_column(value, saving=saving)
    return None


def _table(table: Any, kind: str, types: list[str], *, saving: int) -> Branch:
    if saving and table.num_columns > saving:
        raise LaterError
    keys: dict[str, int] = {}
    for number, label in enumerate(table.schema.names):
        keys[member_key(label, keys, number)] = number
    describe: Callable[[Any], Leaf | Branch] = lambda place: _arrow_column(table.column(place), saving=saving)  # noqa: E731
    members, left_out = as_members(keys.items(), describe)
    if keys and not members:
        raise NoZarrFormError("; ".join(f"column `{key}`: {why}" for key, why in left_out.items()))
    index = member_key("_index", keys, len(keys))
    members = {index: Leaf(range(table.num_rows), attrs=NUMBERS), **members}
    ours = {"type": kind, "dtypes": dict(zip(keys, types, strict=True)), "left-out": left_out}
    return Branch(members, _table_attrs(index, [key for key in keys if key in members], ours), index)


def _arrow_column(column: Any, *, saving: int) -> Leaf | Branch:
    pa = sys.modules["pyarrow"]
    kind = column.type
    chunks = column.chunks if isinstance(column, pa.ChunkedArray) else [column]
    if saving and column.null_count:
        raise LaterError
    if pa.types.is_string(kind) or pa.types.is_large_string(kind):
        if column.null_count:
            return _text(column.to_pylist())
        return Leaf(Strings((len(column),), tuple(_run(chunk, kind, pa) for chunk in chunks)), attrs=TEXT)
    if pa.types.is_dictionary(kind):
        return _arrow_categories(column, chunks, pa, saving=saving)
    if saving and (len(chunks) != 1 or pa.types.is_boolean(kind)):
        raise LaterError
    if pa.types.is_string_view(kind):
        return _text(column.to_pylist())
    attrs = {**NUMBERS, "timezone": kind.tz} if pa.types.is_timestamp(kind) and kind.tz else NUMBERS
    if not (pa.types.is_primitive(kind) or pa.types.is_boolean(kind)):
        raise NoZarrFormError(f"zarr has no type for columns of Arrow's `{kind}`")
    whole = chunks[0] if len(chunks) == 1 else pa.concat_arrays(chunks) if chunks else pa.array([], kind)
    if not column.null_count:
        return described_leaf(Leaf(_numbers(whole, kind, pa), attrs=attrs))
    mask = whole.is_null().to_numpy(zero_copy_only=False)
    filled = pa.Array.from_buffers(kind, len(whole), [None, *whole.buffers()[1:]], offset=whole.offset)
    values = described_leaf(Leaf(_numbers(filled, kind, pa), attrs=attrs))
    gaps = {"encoding-type": _GAPS.get(values.values.dtype.kind, "nullable"), "encoding-version": "0.1.0"}
    return Branch({"values": values, "mask": Leaf(mask, attrs=NUMBERS)}, gaps)


def _numbers(array: Any, kind: Any, pa: Any) -> Any:
    """An Arrow array without gaps as a numpy array, over the same memory where its values are bytes."""
    if pa.types.is_time(kind):
        array = array.cast(pa.int32() if kind.bit_width == 32 else pa.int64())
    return array.to_numpy(zero_copy_only=False)


def _run(chunk: Any, kind: Any, pa: Any) -> tuple[int, Any, Any]:
    """An Arrow array of strings without gaps as its rows, its offsets and its bytes."""
    np = sys.modules.get("numpy") or importlib.import_module("numpy")
    width = "i8" if pa.types.is_large_string(kind) else "i4"
    _, offsets, data = chunk.buffers()
    if offsets is None or not len(chunk):
        return 0, np.zeros(1, width), np.zeros(0, "u1")
    places = np.frombuffer(offsets, width)[chunk.offset : chunk.offset + len(chunk) + 1]
    held = np.frombuffer(data, "u1")[: places[-1]] if data is not None else np.zeros(0, "u1")
    return len(chunk), places, held


def _arrow_categories(column: Any, chunks: list[Any], pa: Any, *, saving: int) -> Branch:
    if saving:
        raise LaterError
    whole = pa.chunked_array(chunks, column.type).unify_dictionaries().combine_chunks()
    whole = whole.chunk(0) if isinstance(whole, pa.ChunkedArray) else whole
    codes = whole.indices.fill_null(-1).to_numpy(zero_copy_only=False)
    attrs = {
        "encoding-type": "categorical",
        "encoding-version": "0.2.0",
        "ordered": json_form(column.type.ordered),
    }
    categories = _arrow_column(whole.dictionary, saving=saving)
    return Branch({"codes": Leaf(codes, attrs=NUMBERS), "categories": categories}, attrs)
