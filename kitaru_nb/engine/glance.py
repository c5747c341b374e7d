"""Whether the process is as it was, told from raw values at a fraction of the price of reading its state.

Every step looks at the process twice, and hardly ever has anything changed. What is compared
here covers all that the parts of `process` are read from, so "the same" is exact.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Iterator
from collections.abc import Set as AbstractSet
from functools import partial
from operator import attrgetter
from typing import Any

from kitaru_nb.artifacts.uncollected import is_collecting
from kitaru_nb.engine.loggers import LOGGERS
from kitaru_nb.engine.parts import CELLS, PARTS, mark_of
from kitaru_nb.engine.switches import RARE, SIGNALS, SWITCHES, handler_of

__all__ = ["Glance"]

Taker = Callable[[], object]
"""Gives a value that is equal to an earlier one where nothing has changed."""


class Glance:
    """The raw values that a snapshot was last taken from.

    Args:
        heard: The settings in `switches.RARE` that are looked at.
    """

    def __init__(self, heard: AbstractSet[str]) -> None:
        self._heard = heard
        self._loaded: list[object] = []
        self._takers: list[Taker] = []
        self._values: list[object] | None = None

    def is_same(self) -> bool:
        """Whether all is as it was when this was asked last. The first answer is no."""
        loaded: list[object] = [*map(sys.modules.get, _MODULES), len(self._heard)]
        if loaded != self._loaded:
            self._values, self._loaded = None, loaded
            self._takers = list(_takers(self._heard))
        before, self._values = self._values, None
        try:
            values = [take() for take in self._takers]
            same = values == before
        except Exception:  # noqa: BLE001 - no working folder, a library of another form: its parts are read one by one
            return False
        self._values = values
        return same


_TABLE = {name: (module, read) for name, (module, read, _) in (*PARTS.items(), *SWITCHES.items())}
_MODULES = sorted({module for module, _ in _TABLE.values()})


def _takers(heard: AbstractSet[str]) -> Iterator[Taker]:
    for name, (where, read) in _TABLE.items():
        module = sys.modules.get(where)
        if module is None or (name in RARE and name not in heard):
            continue
        if name in _RAW:
            yield from _RAW[name](module)
        elif name in PARTS:
            yield _Marked(name, module, read)
        else:
            yield partial(read, module)


class _Marked:
    """Gives one object for as long as the mark of a part fits."""

    def __init__(self, part: str, module: Any, read: Callable[[Any], Any]) -> None:
        self._part, self._module, self._read = part, module, read
        self._known: Any = None
        self._token: object = None

    def __call__(self) -> object:
        mark = mark_of(self._part, self._module)
        if mark is None:
            return self._read(self._module)
        take, fits = mark
        if self._token is None or not fits(self._module, self._known):
            self._known, self._token = take(self._module), object()
        return self._token


def _filters(module: Any) -> list[Any]:
    return list(module.filters)


def _signals(_module: Any) -> list[object]:
    return list(map(handler_of, SIGNALS))


_RAW: dict[str, Callable[[Any], Iterable[Taker]]] = {
    "cwd": lambda module: (module.getcwd,),
    "recursion limit": lambda module: (module.getrecursionlimit,),
    "future imports": lambda module: (partial(CELLS.imports, module),),
    "warnings": lambda module: (partial(_filters, module),),
    "logging": lambda _: (LOGGERS.token,),
    "log handlers": lambda _: (),  # with the levels
    "gc": lambda module: (is_collecting, module.get_threshold, module.get_debug),
    "signals": lambda module: (partial(_signals, module),),
    "faulthandler": lambda module: (module.is_enabled,),
    "switch interval": lambda module: (module.getswitchinterval,),
    "integer digits": lambda module: (module.get_int_max_str_digits,),
    "asyncio policy": lambda module: (partial(attrgetter("_event_loop_policy"), module.events),),
    "socket timeout": lambda module: (module.getdefaulttimeout,),
}
