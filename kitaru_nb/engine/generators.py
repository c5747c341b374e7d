"""Random generators of the process: whether a call has moved them, and putting them where it left them.

Those are the global ones, of `random`, of numpy and of torch, where these are loaded. A generator
of one's own is an object like any other.
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

from kitaru_nb.engine.parts import PARTS, mark_of

__all__ = ["GENERATORS", "Marks", "marks", "moved", "put"]

GENERATORS = ("random", "numpy", "torch")

Marks = Mapping[str, Any]
"""By generator, what is another value once it has moved."""


def marks() -> Marks:
    """Where they are now. Microseconds, and nothing is loaded for it."""
    found: dict[str, Any] = {}
    for part in GENERATORS:
        where, read, _ = PARTS[part]
        module = sys.modules.get(where)
        if module is not None:
            with suppress(AttributeError):  # it is still being loaded
                mark = mark_of(part, module)
                found[part] = read(module) if mark is None else mark[0](module)
    return found


def moved(since: Marks) -> dict[str, Any]:
    """The states of those that are elsewhere than at `since`, as `put` takes them."""
    now = marks()
    if now == since:
        return {}
    moved_parts = [part for part, mark in now.items() if mark != since.get(part)]
    return {part: PARTS[part][1](sys.modules[PARTS[part][0]]) for part in moved_parts}


def put(states: Mapping[str, Any]) -> list[str]:
    """Put them where they were left; gives a sentence for each that could not be."""
    failed = []
    for part, state in states.items():
        try:
            module, _, put_back = PARTS[part]
            put_back(importlib.import_module(module), state)
        except (ImportError, ValueError, TypeError, RuntimeError, AttributeError) as error:
            failed.append(f"the random generator of {part} was not put back: {error}")
    return failed
