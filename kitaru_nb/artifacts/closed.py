"""Files that are closed: what every ``with open(...) as f`` leaves behind.

A closed file holds nothing but how it had been opened, so it comes back closed, and no file
is touched for it. The public names here are part of the stored format.
"""

from __future__ import annotations

import io
import os
from typing import Any

__all__ = ["is_closed_file", "make_closed_file", "reduce_closed_file"]

_KINDS: dict[str, type] = {
    kind.__name__: kind
    for kind in (io.TextIOWrapper, io.BufferedReader, io.BufferedWriter, io.BufferedRandom, io.FileIO)
}


def is_closed_file(obj: object) -> bool:
    """Whether `obj` is one of Python's own file objects, opened by a name, and closed."""
    if type(obj) not in _KINDS.values():
        return False
    file: Any = obj
    try:
        return bool(file.closed) and isinstance(file.name, str | bytes) and isinstance(file.mode, str)
    except (AttributeError, ValueError):  # made by hand over something else, or detached
        return False


def reduce_closed_file(file: Any) -> Any:
    """How a closed file is stored."""
    text = (file.encoding, file.errors) if isinstance(file, io.TextIOWrapper) else (None, None)
    return make_closed_file, (type(file).__name__, file.name, file.mode, *text)


def make_closed_file(
    kind: str, name: str | bytes, mode: str, encoding: str | None, errors: str | None
) -> Any:
    """A file object of `kind` that is closed and tells the name and mode it was opened with."""
    how = "r+" if kind == "TextIOWrapper" else mode.replace("b", "").replace("x", "w")
    raw: Any = io.FileIO(os.devnull, how)
    raw.name = name
    made: Any = raw
    if kind != "FileIO":
        made = io.BufferedRandom(raw) if kind == "TextIOWrapper" else _KINDS[kind](raw)
    if kind == "TextIOWrapper":
        made = io.TextIOWrapper(made, encoding=encoding, errors=errors)
        made.mode = mode
    made.close()
    return made
