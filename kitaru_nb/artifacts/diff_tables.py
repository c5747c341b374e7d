"""How two tables differ, in lines for a person: rows, columns, how many values of each column."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from kitaru_nb.artifacts.diff_arrays import number
from kitaru_nb.artifacts.kinds import package_of

__all__ = ["is_table", "table_lines"]

_TABLES = {"pandas": ("DataFrame", "Series"), "polars": ("DataFrame", "Series"), "pyarrow": ("Table",)}


@dataclass(frozen=True, slots=True)
class _Table:
    """A table of any library.

    Attributes:
        rows: How many.
        columns: Each by its name; a name that comes again has its number.
        apart: How many values of two columns of one length differ; what is missing in both is equal.
        mean: The mean of a column of numbers, None of another one.
        index: The labels of the rows, where there are such.
    """

    rows: int
    columns: Mapping[str, Any]
    apart: Callable[[Any, Any], int]
    mean: Callable[[Any], float | None]
    index: Any = None


def is_table(value: object) -> bool:
    """Whether it is a frame or column of pandas or polars, or a table of Arrow."""
    return type(value).__name__ in _TABLES.get(_library(value), ())


def _library(value: object) -> str:
    return package_of(type(value))


def table_lines(before: Any, after: Any) -> Iterator[str]:
    """What differs between two tables of one library; nothing where they are equal."""
    one, other = _OPENED[_library(before)](before), _OPENED[_library(after)](after)
    if one.rows != other.rows or len(one.columns) != len(other.columns):
        yield f"- {one.rows:,} rows, {len(one.columns)} columns"
        yield f"+ {other.rows:,} rows, {len(other.columns)} columns"
    for name in dict.fromkeys([*one.columns, *other.columns]):
        if name not in other.columns:
            yield f"- column {name}"
        elif name not in one.columns:
            yield f"+ column {name} ({_type_of(other.columns[name])})"
        else:
            yield from _column_lines(name, one, other)
    if one.index is not None and one.rows == other.rows and not one.index.equals(other.index):
        yield "the labels of the rows differ"


def _column_lines(name: str, one: _Table, other: _Table) -> Iterator[str]:
    before, after = one.columns[name], other.columns[name]
    if _library(before) != _library(after) or _type_of(before) != _type_of(after):
        yield f"- column {name}: {_type_of(before)}"
        yield f"+ column {name}: {_type_of(after)}"
        return
    told = f"column {name}:"
    if one.rows == other.rows:
        changed = one.apart(before, after)
        if not changed:
            return
        told = f"column {name}: {changed:,} of {one.rows:,} values differ"
    means = one.mean(before), other.mean(after)
    if means[0] is not None and means[1] is not None:
        told += f", mean {number(means[0])} became {number(means[1])}"
    if told.endswith(":"):
        return
    yield told


def _type_of(column: Any) -> str:
    return str(column.type if hasattr(column, "type") else column.dtype)


def _numbered(columns: Iterator[tuple[Any, Any]]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for label, column in columns:
        name, again = str(label), 2
        while name in found:
            name, again = f"{label}#{again}", again + 1
        found[name] = column
    return found


def _of_pandas(table: Any) -> _Table:
    frame = table.to_frame() if table.ndim == 1 else table
    columns = _numbered((label, frame.iloc[:, at]) for at, label in enumerate(frame.columns))
    return _Table(len(frame), columns, _pandas_apart, _pandas_mean, frame.index)


def _pandas_apart(before: Any, after: Any) -> int:
    one, other = before.reset_index(drop=True), after.reset_index(drop=True)
    apart = (one != other).fillna(value=True).astype(bool)
    return int((apart & ~(one.isna() & other.isna())).sum())


def _pandas_mean(column: Any) -> float | None:
    return float(column.mean()) if column.dtype.kind in "iuf" and column.notna().any() else None


def _of_polars(table: Any) -> _Table:
    columns = [table] if type(table).__name__ == "Series" else table.get_columns()
    return _Table(len(table), _numbered((each.name, each) for each in columns), _polars_apart, _polars_mean)


def _polars_apart(before: Any, after: Any) -> int:
    return int(before.ne_missing(after).sum())


def _polars_mean(column: Any) -> float | None:
    mean = column.mean() if column.dtype.is_numeric() else None
    return None if mean is None else float(mean)


def _of_arrow(table: Any) -> _Table:
    columns = _numbered(zip(table.column_names, table.columns, strict=True))
    return _Table(table.num_rows, columns, _arrow_apart, _arrow_mean)


def _arrow_apart(before: Any, after: Any) -> int:
    import pyarrow as pa  # noqa: PLC0415 - the table has brought it
    from pyarrow import compute  # noqa: PLC0415 - as above

    try:
        gone = [compute.is_null(side, nan_is_null=True) for side in (before, after)]
        apart = compute.fill_null(compute.not_equal(before, after), fill_value=True)
        counted = compute.and_not(apart, compute.and_(*gone))
    except pa.ArrowNotImplementedError:  # of lists and the like
        pairs = zip(before.to_pylist(), after.to_pylist(), strict=True)
        return sum(one != other for one, other in pairs)
    return int(compute.sum(counted).as_py() or 0)


def _arrow_mean(column: Any) -> float | None:
    import pyarrow as pa  # noqa: PLC0415 - as above
    from pyarrow import compute  # noqa: PLC0415 - as above

    if not (pa.types.is_integer(column.type) or pa.types.is_floating(column.type)):
        return None
    mean = compute.mean(column).as_py()
    return None if mean is None else float(mean)


_OPENED: Mapping[str, Callable[[Any], _Table]] = {
    "pandas": _of_pandas,
    "polars": _of_polars,
    "pyarrow": _of_arrow,
}
