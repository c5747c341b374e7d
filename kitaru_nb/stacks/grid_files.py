"""Files of parameters and files of grids, and the plain rule that tells one from the other.

A grid is a ``.csv`` file with a header row, a YAML or JSON list of mappings, or a mapping whose one
key is ``grid`` and holds a mapping. Everything else is a file of parameters, whatever its values.
"""

from __future__ import annotations

import csv
import itertools
import keyword
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from papermill.iorw import read_yaml_file

from kitaru_nb.errors import UsageError
from kitaru_nb.stacks.grid import GRID, Factor

__all__ = ["axis_typed", "check_names", "file_read", "value_read"]

_WORDS = {"True": True, "False": False, "None": None}


def value_read(text: str) -> Any:
    """`text` as papermill's command reads a value: True, False, None, a number, or the text."""
    if text in _WORDS:
        return _WORDS[text]
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    return text


def axis_typed(typed: str) -> tuple[str, list[str]]:
    """The name and the values of ``NAME=V1,V2``.

    Raises:
        UsageError: kind ``bad-grid``.
    """
    name, equals, text = typed.partition("=")
    values = [value.strip() for value in text.split(",")]
    if not equals or not name.strip() or not all(values):
        message = f"--grid is `{typed}`, which gives no name its values"
        hint = "--grid NAME=V1,V2; values that are empty or hold a comma can stand in -f grid.yaml"
        raise UsageError(message, kind="bad-grid", hint=hint)
    return name.strip(), values


def file_read(path: str, *, read: Callable[[str], Any] = value_read) -> tuple[dict[str, Any], list[Factor]]:
    """What a file given with ``-f`` holds: parameters, or the factors of a grid.

    `read` makes a value of a text in CSV.

    Raises:
        UsageError: kind ``bad-parameter-file`` or ``bad-grid``.
    """
    if path.lower().endswith(".csv"):
        return {}, [_csv(path, read)]
    content = _yaml(path)
    if content is None:
        return {}, []
    if isinstance(content, list) and content and all(isinstance(each, dict) for each in content):
        return {}, [_filled(path, content)]
    if not isinstance(content, dict):
        raise UsageError(
            f"parameter file `{path}` holds no names with values",
            kind="bad-parameter-file",
            hint="NAME: VALUE, one a line",
        )
    if list(content) == [GRID] and isinstance(content[GRID], dict):
        return {}, _axes(path, content[GRID])
    return content, []


def check_names(names: Sequence[object], *, hint: str = "-p NAME VALUE") -> None:
    """Refuse what papermill could not set.

    Raises:
        UsageError: kind ``bad-parameter``.
    """
    for name in names:
        if not str(name).isidentifier() or keyword.iskeyword(str(name)):
            message = f"`{name}` cannot be a parameter: it is not a Python name"
            raise UsageError(message, kind="bad-parameter", hint=hint)


def _yaml(path: str) -> Any:
    try:
        return read_yaml_file(path)
    except OSError as error:
        raise _unreadable(path, error.strerror or str(error), hint="-f params.yaml") from error
    except Exception as error:  # the YAML library's errors; it is papermill's choice, not ours
        raise UsageError(
            f"parameter file `{path}` is not YAML: {' '.join(str(error).split())}",
            kind="bad-parameter-file",
            hint="NAME: VALUE, one a line",
        ) from error


def _axes(path: str, axes: Mapping[Any, Any]) -> list[Factor]:
    if not axes:
        message = f"grid file `{path}` varies nothing, so it has no points"
        raise UsageError(message, kind="bad-grid", hint="grid: {NAME: [V1, V2]}")
    for name, values in axes.items():
        if not isinstance(values, list) or not values:
            message = f"`{name}` in grid file `{path}` has no list of values"
            raise UsageError(message, kind="bad-grid", hint=f"{name}: [V1, V2]")
    return [[{str(name): value} for value in values] for name, values in axes.items()]


def _filled(path: str, points: Sequence[Mapping[Any, Any]]) -> Factor:
    if not all(points):
        message = f"a point in grid file `{path}` sets nothing"
        raise UsageError(message, kind="bad-grid", hint="- {NAME: VALUE, OTHER: VALUE}, one a line")
    return [{str(name): value for name, value in point.items()} for point in points]


def _csv(path: str, read: Callable[[str], Any]) -> Factor:
    try:
        # utf-8-sig: a spreadsheet puts a mark in front of the first name
        with Path(path).open(encoding="utf-8-sig", newline="") as file:
            rows = [row for row in csv.reader(file, strict=True) if row]
    except OSError as error:
        raise _unreadable(path, error.strerror or str(error), hint="-f grid.csv") from error
    except (csv.Error, UnicodeDecodeError) as error:
        message = f"grid file `{path}` is not CSV: {error}"
        raise UsageError(
            message, kind="bad-grid", hint="NAME,OTHER in the first line, then values"
        ) from error
    if len(rows) < 2:
        message = f"grid file `{path}` has no points"
        raise UsageError(message, kind="bad-grid", hint="NAME,OTHER in the first line, then values")
    head = [name.strip() for name in rows[0]]
    twice = next((name for name in head if head.count(name) > 1), None)
    if twice is not None:
        message = f"grid file `{path}` has two columns `{twice}`"
        raise UsageError(message, kind="bad-grid", hint="name each column once")
    for number, row in enumerate(itertools.islice(rows, 1, None), 2):
        if len(row) != len(head):
            message = f"row {number} of grid file `{path}` has {len(row)} values for {len(head)} columns"
            raise UsageError(message, kind="bad-grid", hint='"a, b" in quotes is one value')
    return [dict(zip(head, map(read, row), strict=True)) for row in rows[1:]]


def _unreadable(path: str, why: str, *, hint: str) -> UsageError:
    return UsageError(
        f"parameter file `{path}` could not be read: {why}", kind="bad-parameter-file", hint=hint
    )
