"""Files that are behind the cache of a function (`functools.lru_cache`).

Whoever calls such a function a second time reads no file and depends on one all the same: what
the file held when it was read is what the cache gives. So the files that a step was seen to read
inside a cached function count for every later step that reaches the function.
"""

from __future__ import annotations

import functools
import sys
import weakref
from collections.abc import Iterable, Mapping
from types import CodeType, FunctionType, ModuleType
from typing import Any

from kitaru_nb.analysis.modules import variables_of
from kitaru_nb.engine.observe import Observed, state_of

__all__ = ["caches_of", "read_through"]

_read: weakref.WeakKeyDictionary[Any, dict[str, str]] = weakref.WeakKeyDictionary()


def caches_of(values: Iterable[object], modules: Iterable[str]) -> dict[CodeType, object]:
    """The caches among `values` and the variables of `modules`, by the code of the function inside."""
    held = list(values)
    for name in modules:
        module = sys.modules.get(name)
        if type(module) is ModuleType:
            held += variables_of(module).values()
    found: dict[CodeType, object] = {}
    for value in held:
        if type(value) is functools._lru_cache_wrapper:  # noqa: SLF001 - the only name of that type
            function = value.__dict__.get("__wrapped__")
            if type(function) is FunctionType:
                found[function.__code__] = value
    return found


def read_through(observed: Observed, caches: Mapping[CodeType, Any]) -> dict[str, str]:
    """The files that are behind `caches` after a step, with their digests when they were read."""
    found: dict[str, str] = {}
    for code, cache in caches.items():
        for path in observed.cached.get(code, ()):
            _read.setdefault(cache, {})[path] = state_of(path)
        if cache.cache_info().currsize:
            found |= _read.get(cache, {})
    return found
