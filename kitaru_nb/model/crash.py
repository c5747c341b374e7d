"""Named instants at which a test can make this process die as if by `kill -9`."""

from __future__ import annotations

import os
import signal
from collections import Counter

__all__ = ["crash_point"]

_hits: Counter[str] = Counter()


def crash_point(name: str) -> None:
    """Do nothing, unless ``KITARU_NB_CRASH_AT`` is this `name`: then SIGKILL this process.

    ``NAME:3`` dies at the third hit of that name, ``NAME`` at the first. Nothing is
    flushed or closed, exactly as when the machine kills the process.
    """
    wanted = os.environ.get("KITARU_NB_CRASH_AT")
    if not wanted:
        return
    at, _, hit = wanted.partition(":")
    if at != name:
        return
    _hits[name] += 1
    if _hits[name] == int(hit or 1):
        os.kill(os.getpid(), signal.SIGKILL)
