"""Columns of tables whose names say that they hold secrets.

A column of a few keys is what a variable of that name is: each value is a secret. One of many
different values is data, such as the tokens of a text: of these only what is known otherwise, and
what has the shape of a key, is a secret.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator
from contextlib import suppress
from typing import Any

from kitaru_nb.artifacts.kinds import package_of
from kitaru_nb.artifacts.secret_rules import is_secret_name
from kitaru_nb.artifacts.vault import VAULT

__all__ = ["MOST", "is_table", "notice_columns"]

MOST = 64
"""Different values of a column up to which each may be a secret by the column's name."""

_ROOTS = frozenset(["pandas", "polars", "pyarrow"])
_TABLES = frozenset(["DataFrame", "Series", "Table", "RecordBatch"])


def is_table(cls: type) -> bool:
    """Whether `cls` is a table, or a column with a name, of a library that is known here."""
    return cls.__name__ in _TABLES and package_of(cls) in _ROOTS


def notice_columns(table: Any) -> None:
    """Take note of the secrets in columns that are named as such."""
    with suppress(Exception):  # a table of a class that only looks like one: it has no such columns
        for name, column in _columns(table):
            values = list(_values(column))
            if len(values) <= MOST:
                for value in values:
                    VAULT.notice(name, value)
        for name, value in _labelled(table):
            VAULT.notice(name, value)


def _labelled(table: Any) -> Iterator[tuple[str, Any]]:
    """Values in rows with a secret's name: a row that was taken out of a table, or a table of settings."""
    if package_of(type(table)) != "pandas" or len(table.index) > MOST:
        return
    for number, name in enumerate(table.index):
        if type(name) is str and is_secret_name(name):
            row = table.iloc[number]
            yield from ((name, value) for value in ([row] if type(table).__name__ == "Series" else row))


def _columns(table: Any) -> Iterator[tuple[str, Any]]:
    """The columns with a secret's name, of which there is mostly none."""
    root = package_of(type(table))
    if root == "pandas":
        for number, name in enumerate(table.index.names):
            if type(name) is str and is_secret_name(name):
                yield name, table.index.get_level_values(number).to_series()
    if type(table).__name__ == "Series":
        if type(table.name) is str and is_secret_name(table.name):
            yield table.name, table
        return
    names: Iterable[Any] = table.column_names if root == "pyarrow" else table.columns
    for number, name in enumerate(names):
        if type(name) is str and is_secret_name(name):
            yield name, _column(table, number, root)


def _column(table: Any, number: int, root: str) -> Any:
    if root == "pandas":
        return table.iloc[:, number]
    return table.to_series(number) if root == "polars" else table.column(number)


def _values(column: Any) -> Iterable[Any]:
    """The different texts of a column; none where it does not hold text."""
    root = package_of(type(column))
    if root == "pandas":
        if column.dtype.kind not in "OSU" and str(column.dtype) != "category":
            return []
        return [value for value in column.unique() if type(value) in (str, bytes)]
    if root == "polars":
        polars = sys.modules["polars"]
        held = column.dtype in (polars.String, polars.Binary, polars.Categorical, polars.Enum)
        return column.unique().to_list() if held else []
    types = sys.modules["pyarrow"].types
    inner = column.type.value_type if types.is_dictionary(column.type) else column.type
    if not (types.is_string(inner) or types.is_large_string(inner) or types.is_string_view(inner)):
        return []
    values: list[Any] = column.unique().to_pylist()
    return values
