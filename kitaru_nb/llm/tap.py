"""The tap on model calls: put on the HTTP clients that are there, and on those that come later.

Nothing is imported for it. A client library that is already loaded is patched at once, one that
is imported later at the end of its import, so that ``import openai`` in the first cell is covered
and a notebook that calls no model pays nothing.
"""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable, Sequence
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from types import ModuleType

from kitaru_nb.llm import botocore_tap, httpx_tap
from kitaru_nb.llm.meter import Meter

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
_tap: _Tap | None = None


def install(meter_of: MeterOf) -> None:
    """Meter every model call from now on with the meter that `meter_of` gives for it.

    `meter_of` is asked in the thread and context of each call, so it tells calls of different
    steps apart; while it gives None, calls go straight through. Installing again replaces it.
    Safe to call from any thread, and after `httpx` and `botocore` were imported.
    """
    global _tap  # noqa: PLW0603 - there is one interpreter, hence one tap
    with _lock:
        uninstall()
        _tap = _Tap(meter_of)
        _tap.put_on()


def uninstall() -> None:
    """Take the tap off; harmless when it is not on. Streams under way are still recorded."""
    global _tap  # noqa: PLW0603 - as in `install`
    with _lock:
        if _tap is not None:
            _tap.take_off()
            _tap = None


class _Tap:
    def __init__(self, meter_of: MeterOf) -> None:
        self._meter_of = meter_of
        self._undo: dict[str, Callable[[], None]] = {}
        self._finder = _Finder(self._patch)

    def put_on(self) -> None:
        # The hook comes first: what is imported between the two is met by both, and patched once.
        sys.meta_path.insert(0, self._finder)
        for name in _PATCHES:
            if (module := sys.modules.get(name)) is not None:
                self._patch(module)

    def take_off(self) -> None:
        if self._finder in sys.meta_path:  # else somebody has put the list back as it was before us
            sys.meta_path.remove(self._finder)
        for name in list(self._undo):
            self._undo.pop(name)()

    def _patch(self, module: ModuleType) -> None:
        last_name, patch = _PATCHES[module.__name__]
        with _lock:
            whole = getattr(module, last_name, None) is not None  # else its import is under way
            if whole and module.__name__ not in self._undo and _tap is self:
                self._undo[module.__name__] = patch(module, self._meter_of)


class _Finder(MetaPathFinder):
    """Lets the other finders find, and patches once the module that they found has been run."""

    def __init__(self, patch: Callable[[ModuleType], None]) -> None:
        self._patch = patch

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if fullname not in _PATCHES:
            return None
        for finder in list(sys.meta_path):
            if isinstance(finder, _Finder) or not hasattr(finder, "find_spec"):
                continue
            spec = finder.find_spec(fullname, path, target)
            if spec is not None:
                if spec.loader is not None:
                    self._watch(spec.loader, fullname)
                return spec
        return None

    def _watch(self, loader: Loader, fullname: str) -> None:
        """Have `loader` call back after it has run this one module; it stays the loader it is.

        A wrapper in its place would hide what other tools ask a loader for: source, resources,
        whether it is frozen or zipped.
        """
        run = loader.exec_module

        def exec_module(module: ModuleType) -> None:
            run(module)
            if module.__name__ == fullname:
                loader.__dict__.pop("exec_module", None)
                self._patch(module)

        loader.exec_module = exec_module  # type: ignore[method-assign] # on this one instance
