"""Leaves until it is asked for what takes longer to load than a whole notebook takes to run.

`jsonschema` imports what checks each format of a text: the grammar of internationalized addresses, which
`rfc3987_syntax` builds then, the patterns of `rfc3986_validator`, and for spans of time `arrow` with all
its languages. They are installed beside JupyterLab, and only a schema that names such a format asks for
them. `papermill` imports `requests` for notebooks whose address begins with ``http:``, and for ``hdfs:``
`pyarrow`, where that is installed, and that numpy. Together they took more than half of the CPU of
`kitaru-nb run` for a notebook of two cells.

Only the import statements of these two modules are answered with stand-ins. Everybody else who imports
the same gets the real thing.
"""

from __future__ import annotations

import builtins
import importlib
import importlib.util
import sys
from collections.abc import Mapping, Sequence
from functools import partial
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder
from types import ModuleType
from typing import Any

__all__ = ["defer_imports"]

_DEFERRED: Mapping[str, Mapping[str, Mapping[str, object]]] = {
    "jsonschema._format": {
        "isoduration": {"DurationParsingException": ValueError},  # what it derives from, and says as much
        "rfc3986_validator": {},
        "rfc3987_syntax": {},
    },
    "papermill.iorw": {"pyarrow.fs": {}, "requests": {}},
}
"""For each importing module what it is given a stand-in for, with what that has from the beginning."""
_FUNCTIONS = {
    "pyarrow.fs": ("FileSelector", "HadoopFileSystem"),
    "rfc3986_validator": ("validate_rfc3986",),
    "rfc3987_syntax": ("is_valid_syntax",),
}
"""What is imported by name is called and nothing else; any other name is imported as ever."""


def defer_imports() -> None:
    """Let these modules be loaded when they are first asked for anything, and not when they are imported.

    For a command or a worker, before anything else is imported: in a kernel or a server it is theirs
    to say what is loaded.
    """
    if not any(isinstance(each, _Finder) for each in sys.meta_path):  # an earlier command of this process
        sys.meta_path.insert(0, _Finder())


class _Finder(MetaPathFinder):
    """Finds the importing modules where they are, and has `_Loader` load them."""

    def find_spec(self, name: str, path: Sequence[str] | None, _target: object = None) -> ModuleSpec | None:
        if name not in _DEFERRED:
            return None
        spec = PathFinder.find_spec(name, path)
        if spec is not None and spec.loader is not None:
            spec.loader = _Loader(spec.loader)
        return spec


class _Loader(Loader):
    """Loads a module that sees an ``import`` of its own."""

    def __init__(self, loader: Loader) -> None:
        self._loader = loader

    def create_module(self, spec: ModuleSpec) -> ModuleType | None:
        return self._loader.create_module(spec)

    def exec_module(self, module: ModuleType) -> None:
        assert module.__spec__ is not None
        module.__spec__.loader = module.__loader__ = self._loader  # as without us for whoever asks later
        own_import = partial(_imported, _DEFERRED[module.__name__])
        vars(module)["__builtins__"] = {**vars(builtins), "__import__": own_import}
        self._loader.exec_module(module)


def _imported(
    deferred: Mapping[str, Mapping[str, object]],
    name: str,
    *rest: Any,
    **named: Any,
) -> ModuleType:
    """What ``import`` gives there: a stand-in for what is to be deferred, as long as nobody has it loaded."""
    names, level = _told(*rest, **named)
    functions = _FUNCTIONS.get(name, ())
    known = set(names) <= set(functions) if names else not functions
    if level or name not in deferred or name in sys.modules or not known:
        return builtins.__import__(name, *rest, **named)
    if importlib.util.find_spec(name.partition(".")[0]) is None:
        raise ModuleNotFoundError(f"No module named {name!r}", name=name)
    stand_in = _StandIn(name)
    vars(stand_in).update(deferred[name], **{each: partial(_call, name, each) for each in names})
    return stand_in


def _told(
    _globals: object = None, _locals: object = None, fromlist: Sequence[str] | None = (), level: int = 0
) -> tuple[Sequence[str], int]:
    """Of what ``import`` is told, what matters here."""
    return fromlist or (), level


class _StandIn(ModuleType):
    def __getattr__(self, name: str) -> object:
        return getattr(importlib.import_module(self.__name__), name)


def _call(module: str, name: str, *args: Any, **kwargs: Any) -> object:
    return getattr(importlib.import_module(module), name)(*args, **kwargs)
