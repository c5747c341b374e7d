"""Patches of other people's modules: put on those that are there, and on those that come later.

Nothing is imported for a patch. A module that is already loaded is patched at once, one that is
imported later at the end of its import.
"""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable, Container, Mapping, Sequence
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from types import ModuleType

__all__ = ["Patch", "Patches"]

Patch = Callable[[ModuleType], Callable[[], None]]
"""Patches a module, and gives what takes the patch off."""

_lock = threading.RLock()


class Patches:
    """Some patches, put on and taken off together.

    Args:
        patches: Modules to patch, each with the name that is there once the module is whole.
    """

    def __init__(self, patches: Mapping[str, tuple[str, Patch]]) -> None:
        self._patches = patches
        self._undo: dict[str, Callable[[], None]] = {}
        self._finder = _Finder(patches, self._patch)
        self._is_on = False

    def put_on(self) -> None:
        """From now on."""
        # The hook comes first: what is imported between the two is met by both, and patched once.
        self._is_on = True
        sys.meta_path.insert(0, self._finder)
        for name in self._patches:
            if (module := sys.modules.get(name)) is not None:
                self._patch(module)

    def take_off(self) -> None:
        """No longer."""
        self._is_on = False
        if self._finder in sys.meta_path:  # else somebody has put the list back as it was before us
            sys.meta_path.remove(self._finder)
        for name in list(self._undo):
            self._undo.pop(name)()

    def _patch(self, module: ModuleType) -> None:
        last_name, patch = self._patches[module.__name__]
        with _lock:
            whole = getattr(module, last_name, None) is not None  # else its import is under way
            if whole and module.__name__ not in self._undo and self._is_on:
                self._undo[module.__name__] = patch(module)


class _Finder(MetaPathFinder):
    """Lets the other finders find, and patches once the module that they found has been run."""

    def __init__(self, names: Container[str], patch: Callable[[ModuleType], None]) -> None:
        self._names = names
        self._patch = patch

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if fullname not in self._names:
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
