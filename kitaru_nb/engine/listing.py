"""What a folder lists, as a condition: names only, without those that tools leave anywhere."""

# ruff: noqa: PTH119, PTH208 - paths are plain strings here

from __future__ import annotations

import os
import re
from collections.abc import Callable
from fnmatch import fnmatch
from functools import partial
from pathlib import Path
from types import FrameType
from typing import Any

from blake3 import blake3

__all__ = ["ALL", "listed_by", "listing_digest", "names_in", "told"]

ALL = "*"
"""The pattern of a listing that asks for every name."""

_REGEX = "/regex/"
"""What a pattern begins with that is a regular expression; none of a name holds a slash."""

_NOISE = frozenset({"__pycache__", ".ipynb_checkpoints", ".DS_Store", ".git", ".nfs"})
_NOISE_STARTS = (".~", ".nfs", ".goutputstream", ".kitaru-nb-")


def names_in(folder: str, pattern: str = ALL) -> set[str]:
    """The names in `folder` that match `pattern`; empty when it cannot be listed."""
    try:
        names = os.listdir(folder)
    except OSError:
        return set()
    if pattern.startswith(_REGEX):
        fits: Callable[[str], object] = re.compile(pattern.removeprefix(_REGEX)).match
    else:
        fits = partial(fnmatch, pat=pattern)
    return {name for name in names if not _is_noise(name) and (pattern == ALL or fits(name))}


def told(folder: str, pattern: str) -> str:
    """A folder and what was asked for in it, as a person reads it."""
    return folder if pattern == ALL or pattern.startswith(_REGEX) else str(Path(folder, pattern))


def listing_digest(names: set[str] | frozenset[str]) -> str:
    """The digest of a set of names."""
    return str(blake3("\0".join(sorted(names)).encode("utf-8", "surrogateescape")).hexdigest())


def listed_by(frame: FrameType | None) -> str:
    """The pattern that `glob` is looking for where `frame` lists a folder, else `ALL`.

    So a new file that the pattern does not match is no change.
    """
    while frame is not None and os.path.basename(frame.f_code.co_filename) == "glob.py":
        if frame.f_code.co_name in ("_glob1", "glob1"):
            pattern = frame.f_locals.get("pattern")
            return pattern if isinstance(pattern, str) else ALL
        if frame.f_code.co_name == "select_wildcard":
            return _pattern_of_selector(frame.f_locals.get("match"))
        frame = frame.f_back
    return _pattern_of_path(frame)


def _pattern_of_selector(match: Any) -> str:
    """The pattern of `Path.glob` since Python 3.13, which lists with what it has compiled that to."""
    regex = getattr(match, "__self__", None)
    if not isinstance(regex, re.Pattern) or not isinstance(regex.pattern, str):
        return ALL
    plain = not regex.flags & re.IGNORECASE and "|" not in regex.pattern  # which ends a folder in a condition
    return f"{_REGEX}{regex.pattern}" if plain else ALL


def _pattern_of_path(frame: FrameType | None) -> str:
    """The pattern of `Path.glob`, where that is what lists the folder, and one name is all it matches."""
    wildcard = False
    while frame is not None and os.path.basename(frame.f_code.co_filename) == "pathlib.py":
        name = frame.f_code.co_name
        wildcard = wildcard or type(frame.f_locals.get("self")).__name__ == "_WildcardSelector"
        if name == "glob":
            pattern = frame.f_locals.get("pattern")
            simple = wildcard and isinstance(pattern, str) and not set(pattern) & set("/\\")
            return str(pattern) if simple else ALL
        frame = frame.f_back
    return ALL


def _is_noise(name: str) -> bool:
    return name in _NOISE or name.startswith(_NOISE_STARTS)
