"""polars frames, stored as the Arrow data they are made of, buffer by buffer and without a copy.

polars' own pickle is one stream that is written and read through memory twice over. The
public ``make_`` names are part of the stored format.
"""

from __future__ import annotations

import importlib
import importlib.util
from typing import Any

__all__ = ["is_polars", "make_frame", "make_series", "reduce_polars"]

_WORTH_IT = 64 << 10  # bytes; a smaller one is stored as polars stores it


def is_polars(cls: type) -> bool:
    """Whether `cls` is polars' own DataFrame or Series."""
    return cls.__module__.partition(".")[0] == "polars" and cls.__name__ in ("DataFrame", "Series")


def reduce_polars(obj: Any, *, least: int = _WORTH_IT) -> tuple[Any, ...] | None:
    """How a polars frame or series of `least` bytes or more is stored; None to leave it to its own pickle.

    That is where pyarrow is not installed, and for types that Arrow does not give back as they were.
    """
    frame = obj.to_frame() if type(obj).__name__ == "Series" else obj
    if frame.estimated_size() < least or importlib.util.find_spec("pyarrow") is None:
        return None
    polars = importlib.import_module("polars")
    if polars.Object in {dtype.base_type() for dtype in frame.dtypes}:
        return None
    table = frame.to_arrow(compat_level=polars.CompatLevel.newest())
    if polars.from_arrow(table.slice(0, 0)).schema != frame.schema:
        return None
    return (make_frame if frame is obj else make_series), (table,)


def make_frame(table: Any) -> Any:
    """The frame again, on the table's memory."""
    return importlib.import_module("polars").from_arrow(table, rechunk=False)


def make_series(table: Any) -> Any:
    """The series again, a table's only column."""
    return make_frame(table).to_series()
