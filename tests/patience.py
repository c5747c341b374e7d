"""How long tests wait for what has to come: a guard against hanging, not an expectation."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

__all__ = ["PATIENCE", "until"]

PATIENCE = 200.0
"""Seconds. Less than a test may take in all, so that what never came is named by whoever waited for it."""

Found = TypeVar("Found")


def until(look: Callable[[], Found], what: str = "what the test waits for") -> Found:
    """What `look` gives, once that is something."""
    deadline = time.monotonic() + PATIENCE
    while not (found := look()):
        assert time.monotonic() < deadline, f"{what} never came"
        time.sleep(0.02)  # polls, bounded by the deadline
    return found
