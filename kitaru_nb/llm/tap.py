"""The tap on model calls: put on the HTTP clients that are there, and on those that come later.

Nothing is imported for it. A client library that is already loaded is patched at once, one that
is imported later at the end of its import, so that ``import openai`` in the first cell is covered
and a notebook that calls no model pays nothing.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from types import ModuleType

from kitaru_nb.llm import botocore_tap, httpx_tap
from kitaru_nb.llm.meter import Meter
from kitaru_nb.llm.patches import Patches

__all__ = ["install", "uninstall"]

MeterOf = Callable[[], Meter | None]
Patch = Callable[[ModuleType, MeterOf], Callable[[], None]]

_PATCHES: dict[str, tuple[str, Patch]] = {
    "httpx": ("AsyncClient", httpx_tap.patch),
    "httpx2": ("AsyncClient", httpx_tap.patch),
    "botocore.endpoint": ("Endpoint", botocore_tap.patch),
}
"""Modules to patch, each with the name that is there once the module is whole."""

_lock = threading.RLock()
_tap: Patches | None = None


def install(meter_of: MeterOf) -> None:
    """Meter every model call from now on with the meter that `meter_of` gives for it.

    `meter_of` is asked in the thread and context of each call, so it tells calls of different
    steps apart; while it gives None, calls go straight through. Installing again replaces it.
    Safe to call from any thread, and after `httpx` and `botocore` were imported.
    """
    global _tap  # noqa: PLW0603 - there is one interpreter, hence one tap
    with _lock:
        uninstall()
        _tap = Patches({name: (last, _bound(patch, meter_of)) for name, (last, patch) in _PATCHES.items()})
        _tap.put_on()


def uninstall() -> None:
    """Take the tap off; harmless when it is not on. Streams under way are still recorded."""
    global _tap  # noqa: PLW0603 - as in `install`
    with _lock:
        if _tap is not None:
            _tap.take_off()
            _tap = None


def _bound(patch: Patch, meter_of: MeterOf) -> Callable[[ModuleType], Callable[[], None]]:
    return lambda module: patch(module, meter_of)
