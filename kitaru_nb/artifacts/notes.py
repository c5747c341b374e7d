"""What is noted while values are put back: what was made again, and what could not come back.

Makers run deep inside an unpickler and have nobody to tell. Whoever loads values for a user
collects what they note; nobody else pays for it.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

__all__ = ["Note", "noting", "now_at", "place", "say_lost", "say_made"]


@dataclass(frozen=True, slots=True)
class Note:
    """One thing that did not simply come back.

    Attributes:
        name: The notebook name whose value was being loaded.
        kind: The type of what was made again or lost, as its user knows it.
        text: How it was made, or the reason it was not.
        lost: Whether it is not back; a marker stands for it.
    """

    name: str
    kind: str
    text: str
    lost: bool = False


class _Local(threading.local):
    notes: list[Note] | None = None
    at: str = ""


_local = _Local()


@contextmanager
def noting() -> Iterator[list[Note]]:
    """Collect what is noted in this thread meanwhile; an inner collection keeps its own."""
    outer = _local.notes, _local.at
    found: list[Note] = []
    _local.notes, _local.at = found, ""
    try:
        yield found
    finally:
        _local.notes, _local.at = outer


def now_at(name: str) -> None:
    """The value of `name` comes next."""
    _local.at = name


def place() -> str:
    """The name whose value is being loaded, or nothing."""
    return _local.at


def say_made(kind: str, text: str = "") -> None:
    """Note that something was made again."""
    if _local.notes is not None:
        _local.notes.append(Note(_local.at, kind, text))


def say_lost(kind: str, reason: str) -> None:
    """Note that something is not back and a marker stands for it."""
    if _local.notes is not None:
        _local.notes.append(Note(_local.at, kind, reason, lost=True))
