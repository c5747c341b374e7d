"""Frames: what their own pickle does badly.

That of polars is one stream, written and read through memory twice over: its frames are stored as
the Arrow data they are made of, buffer by buffer and without a copy. That of pandas forgets what a
cell has set on a frame (``df.note = "raw"``). The public ``make_`` names are part of the stored format.
"""

from __future__ import annotations

import importlib
import importlib.util
from typing import Any

from kitaru_nb.artifacts.kinds import by_reference, package_of
from kitaru_nb.artifacts.views import is_array

__all__ = [
    "array_of_index",
    "arrays_within",
    "attributes_set",
    "is_frame",
    "is_manager",
    "is_polars",
    "make_frame",
    "make_series",
    "reduce_polars",
    "with_attributes",
    "with_own_values",
]

_WORTH_IT = 64 << 10  # bytes; a smaller one is stored as polars stores it


def is_polars(cls: type) -> bool:
    """Whether `cls` is polars' own DataFrame or Series."""
    return package_of(cls) == "polars" and cls.__name__ in ("DataFrame", "Series")


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


def with_attributes(obj: Any, value: Any) -> Any:
    """`value`, a reduce value of `obj`; of a frame or series of pandas with the attributes set on it.

    Pandas itself gives them back.
    """
    if not is_frame(type(obj)) or not isinstance(value, tuple) or len(value) < 3:
        return value
    cls, state, own = type(obj), value[2], attributes_set(obj)
    if type(state) is not dict:
        return value
    if not by_reference(cls) and state.get("_metadata") is getattr(cls, "_metadata", None):
        # The class is the notebook's and stored, too; pandas 2 would give the instance a list of its own.
        state = {name: held for name, held in state.items() if name != "_metadata"}
        return (*value[:2], state | own, *value[3:])
    return (*value[:2], state | own, *value[3:]) if own else value


def is_frame(cls: type) -> bool:
    """Whether `cls` is pandas' DataFrame or Series, or derives from one, as geopandas' frames do."""
    return hasattr(cls, "_AXIS_ORDERS")


def is_manager(cls: type) -> bool:
    """Whether instances of `cls` hold the columns of a frame or series of pandas."""
    return str(cls.__module__) == "pandas.core.internals.managers"


def arrays_within(manager: Any) -> list[Any]:
    """The arrays in the blocks of a frame's manager, also those within pandas' own kinds of columns."""
    found: list[Any] = []
    for values in (block.values for block in manager.blocks):
        held = values, getattr(values, "_ndarray", None), *(getattr(values, "__dict__", None) or {}).values()
        found += filter(is_array, held)
    return found


def with_own_values(manager: Any) -> Any:
    """`manager` with other objects for the same columns.

    Frames have them in common until one of them writes. Who writes is told by pandas, which no
    pickle keeps: what comes back as one object would be written through.
    """
    made = manager.copy(deep=False)
    made.axes = manager.axes  # the very ones, which names may be bound to
    for block in made.blocks:
        held = getattr(block.values, "__dict__", {})
        block.values = block.values[:]
        for name in getattr(block.values, "__dict__", {}).keys() - held.keys():  # how the part was taken
            delattr(block.values, name)
    return made


def array_of_index(obj: Any) -> Any:
    """The array that an index of pandas is made of; None for anything else.

    It may be the memory of a frame as well, which a frame copies before it writes: to whoever
    cannot look behind both of them each has its own.
    """
    cls = type(obj)
    if cls.__name__ != "Index" or package_of(cls) != "pandas":
        return None
    data = getattr(obj, "_data", None)
    return data if is_array(data) else None


def attributes_set(frame: Any) -> dict[str, Any]:
    """What cells have set on a frame or series of pandas.

    What pandas keeps in an instance by itself has a name of the class, as accessors have, is among
    its fields, or has a name that begins with an underscore.
    """
    cls, held = type(frame), getattr(frame, "__dict__", None)
    fields = getattr(cls, "_metadata", ())
    return {
        name: value
        for name, value in (held or {}).items()
        if name[:1] != "_" and name not in fields and not hasattr(cls, name)
    }
