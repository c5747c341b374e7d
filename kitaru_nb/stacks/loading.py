"""Loading many modules without looking through them for garbage, which is a tenth to a fifth of the time."""

from __future__ import annotations

import atexit
import gc
from collections.abc import Iterator
from contextlib import contextmanager

from kitaru_nb.artifacts.uncollected import uncollected

__all__ = ["nothing_collected", "rarely_collected"]

_RARELY = 250_000  # objects; all the modules of a run bring half of that, and they all stay


@contextmanager
def nothing_collected() -> Iterator[None]:
    """Load modules where what happens before and after is the user's.

    What has come by the end counts as looked through, so that the next look does not catch up on it.
    Where somebody has switched collecting off, or has frozen objects, it stays as it is.
    """
    if not gc.isenabled() or gc.get_freeze_count():
        yield
        return
    with uncollected():
        try:
            yield
        finally:
            gc.freeze()
            gc.unfreeze()  # into the oldest generation


@contextmanager
def rarely_collected() -> Iterator[None]:
    """For a command in whose process no code of users runs: look for garbage only where much can be.

    At the end of the process, when everything goes anyway, the interpreter does not look for any.
    """
    atexit.register(gc.freeze)
    first, *others = gc.get_threshold()
    if first:  # else it is switched off
        gc.set_threshold(max(first, _RARELY), *others)
    try:
        yield
    finally:
        gc.set_threshold(first, *others)
