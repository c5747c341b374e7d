"""Leaves until it is asked for what takes longer to load than a whole notebook takes to run.

`jsonschema` imports `rfc3987_syntax` where that is installed, as it is beside JupyterLab; it builds
the grammar of internationalized addresses then, which only a schema with the format ``iri`` asks
for. That was 1.0 s of the 2.6 s of CPU that `kitaru-nb run` took for a notebook of two cells.

`papermill` imports `pyarrow` where that is installed, and that numpy, for notebooks whose address
begins with ``hdfs:``. That was a quarter of what was left.
"""

from __future__ import annotations

import importlib
import importlib.util
import sys
from functools import partial
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any

__all__ = ["defer_imports"]

_GRAMMAR = "rfc3987_syntax"
_FILE_SYSTEMS = "pyarrow.fs"
_MADE = ("FileSelector", "HadoopFileSystem")
_READER = "papermill.iorw"


def defer_imports() -> None:
    """Let these modules be loaded when they are first asked for anything, and not when they are imported.

    For a command or a worker, before anything else is imported: in a kernel or a server it is theirs
    to say what is loaded.
    """
    if _GRAMMAR not in sys.modules and importlib.util.find_spec(_GRAMMAR) is not None:
        sys.modules[_GRAMMAR] = _Grammar(_GRAMMAR)
    is_there = any(isinstance(each, _Reader) for each in sys.meta_path)  # an earlier command of this process
    if not is_there and _READER not in sys.modules and importlib.util.find_spec("pyarrow") is not None:
        sys.meta_path.insert(0, _Reader())


class _Grammar(ModuleType):
    def is_valid_syntax(self, term: str, value: str) -> bool:
        """Bound to `jsonschema` at its import: the one name that must not load the rest."""
        return bool(self._real().is_valid_syntax(term, value))

    def __getattr__(self, name: str) -> object:
        if name.startswith("__"):
            raise AttributeError(name)  # what the import system looks at
        return getattr(self._real(), name)

    def _real(self) -> ModuleType:
        if sys.modules.get(_GRAMMAR) is self:
            del sys.modules[_GRAMMAR]
        return importlib.import_module(_GRAMMAR)


class _Reader(MetaPathFinder, Loader):
    """Loads papermill's reader, once, with a stand-in for `pyarrow.fs` that nobody else sees."""

    _loader: Loader

    def find_spec(self, name: str, *_where: object) -> ModuleSpec | None:
        if name != _READER:
            return None
        sys.meta_path.remove(self)
        spec = importlib.util.find_spec(name)
        if spec is None or spec.loader is None or _FILE_SYSTEMS in sys.modules:
            return spec
        self._loader, spec.loader = spec.loader, self
        return spec

    def create_module(self, spec: ModuleSpec) -> ModuleType | None:
        return self._loader.create_module(spec)

    def exec_module(self, module: ModuleType) -> None:
        sys.modules[_FILE_SYSTEMS] = stand_in = ModuleType(_FILE_SYSTEMS)
        vars(stand_in).update({name: partial(_make, name) for name in _MADE})
        try:
            self._loader.exec_module(module)
        finally:
            del sys.modules[_FILE_SYSTEMS]


def _make(name: str, *args: Any, **kwargs: Any) -> object:
    return getattr(importlib.import_module(_FILE_SYSTEMS), name)(*args, **kwargs)
