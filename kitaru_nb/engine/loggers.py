"""The loggers of this process: their levels, and their handlers as far as a new process can have them.

Plain handlers to the console or to a file are told in plain values. One to a text in memory (a
``StringIO``) is kept where a name is bound to it or to its text, as that very object. A cell that
adds any other handler runs again in a new process, see `engine.live`. So it is with filters: those of
the notebook, and those that a name is bound to, are put back.
"""

from __future__ import annotations

import io
import logging
import sys
from collections.abc import Mapping
from itertools import chain
from operator import attrgetter
from types import FunctionType
from typing import Any
from weakref import WeakSet

__all__ = ["LOGGERS", "Loggers", "described", "finished", "is_kept_filter"]

_state_of = attrgetter("name", "level", "disabled", "propagate")
_handlers_of = attrgetter("handlers")
_filters_of = attrgetter("filters")


InMemory = list[tuple[Any, ...]]
"""The handlers of one logger that write to texts in memory.

One that has a name is there as it is; else its text, its level and its format are.
"""


class Loggers:
    """All loggers, and whether any of them or of their handlers has changed.

    Attributes:
        attached: Where the handlers of all loggers are in memory, as of the last `token`.
        filtering: The same of the filters that loggers and their handlers have.
    """

    def __init__(self) -> None:
        self._all: list[object] = []
        self._real: list[logging.Logger] = []
        self._seen: object = None
        self._token = object()
        self._in_memory: dict[str, InMemory] = {}
        self._kept: WeakSet[logging.Handler] = WeakSet()
        self._filters: dict[str, list[Any]] = {}
        self.attached: frozenset[int] = frozenset()
        self.filtering: frozenset[int] = frozenset()

    def real(self) -> list[logging.Logger]:
        """Every logger, the root first; not what only holds the place of one."""
        every: list[object] = [logging.root, *logging.root.manager.loggerDict.values()]
        if every != self._all:
            self._all = every
            self._real = [logger for logger in every if isinstance(logger, logging.Logger)]
        return self._real

    def token(self) -> object:
        """The object that was given last where nothing has changed since, else another."""
        loggers = self.real()
        handlers: list[list[Any]] = list(map(_handlers_of, loggers))
        each = list(chain.from_iterable(handlers))
        # No handler is held here: one that a cell takes out may die.
        seen = (
            list(map(_state_of, loggers)),
            list(map(len, handlers)),
            list(map(object.__hash__, each)),  # where they are: `id` would wake audit hooks
            list(map(described, each)),
            list(map(object.__hash__, chain.from_iterable(map(_filters_of, chain(loggers, each))))),
        )
        if seen != self._seen:
            self._seen, self._token = seen, object()
            self.attached, self.filtering = frozenset(seen[2]), frozenset(seen[4])
        return self._token

    def levels(self) -> dict[str, tuple[int, bool, bool]]:
        """Level, whether it is off and whether it passes on, of each logger where that is not the default."""
        return {
            logger.name: (logger.level, logger.disabled, logger.propagate)
            for logger in self.real()
            if logger.level or logger.disabled or not logger.propagate
        }

    def handlers(self) -> dict[str, list[tuple[Any, ...]]]:
        """The plain handlers of the standard library: to the console, to a file, to nowhere."""
        found = {}
        for logger in self.real():
            plain = list(filter(None, map(described, logger.handlers)))
            if plain:
                found[logger.name] = plain
        return found

    def take_named(self, live: Mapping[str, object]) -> None:
        """Where a name holds a handler such as one that was just made again, it is that one.

        Else a level that is set by the name would be set on a handler that no logger has.
        """
        named = [each for each in live.values() if issubclass(type(each), logging.Handler)]
        for logger in self.real() if named else ():
            for place, handler in enumerate(logger.handlers):
                plain = described(handler)
                if plain is None or any(each is handler for each in named):
                    continue
                alike = {id(each): each for each in named if described(each) == plain}
                if len(alike) == 1:
                    logger.handlers[place] = next(iter(alike.values()))  # type: ignore[call-overload] # a handler

    def in_memory(self) -> list[str]:
        """The loggers that write to a text in memory."""
        return [logger.name for logger in self.real() if any(map(_is_in_memory, logger.handlers))]

    def is_kept(self, handler: logging.Handler, live: Mapping[str, object]) -> bool:
        """Whether it writes to a text in memory and is put back: it or its text has a name, or had one."""
        if not _is_in_memory(handler):
            return False
        if _has_name(handler, live) or _has_name(handler.stream, live):  # type: ignore[attr-defined] # such a one
            self._kept.add(handler)
        return handler in self._kept

    def texts_of(self, name: str, live: Mapping[str, object]) -> InMemory:
        """A logger's handlers that are kept; the very list of the last time where they are the same."""
        kept: list[Any] = [handler for handler in _of(name).handlers if self.is_kept(handler, live)]
        found: InMemory = [
            (handler,) if _has_name(handler, live) else (handler.stream, handler.level, _form_of(handler))
            for handler in kept
        ]
        if self._in_memory.get(name) != found:
            self._in_memory[name] = found
        return self._in_memory[name]

    def put_texts(self, name: str, wanted: InMemory, live: Mapping[str, object]) -> None:
        """Give a logger these handlers, and no others that are kept."""
        if self.texts_of(name, live) == wanted:
            return
        logger = _of(name)
        for handler in [handler for handler in logger.handlers if self.is_kept(handler, live)]:
            logger.removeHandler(handler)
        for parts in wanted:
            handler = parts[0] if len(parts) == 1 else finished(logging.StreamHandler(parts[0]), *parts[1:])
            self._kept.add(handler)
            logger.addHandler(handler)

    def filtered(self, live: Mapping[str, object]) -> list[str]:
        """The loggers that have a filter which is put back."""
        return [
            logger.name
            for logger in self.real()
            if logger.filters and any(is_kept_filter(each, live) for each in logger.filters)
        ]

    def filters_of(self, name: str, live: Mapping[str, object]) -> list[Any]:
        """A logger's filters that are put back; the very list of the last time where they are the same."""
        found = [each for each in _of(name).filters if is_kept_filter(each, live)]
        if self._filters.get(name) != found:
            self._filters[name] = found
        return self._filters[name]

    def put_filters(self, name: str, wanted: list[Any], live: Mapping[str, object]) -> None:
        """Give a logger these filters, and no others that are put back."""
        logger = _of(name)
        for each in self.filters_of(name, live):
            logger.removeFilter(each)
        for each in wanted:
            logger.addFilter(each)


LOGGERS = Loggers()
"""Those of this process."""


def described(handler: Any) -> tuple[Any, ...] | None:
    """A handler of the standard library in plain values; None for any other."""
    if not _is_plain(handler):
        return None
    form = _form_of(handler)
    kind = type(handler)
    if kind is logging.FileHandler:
        return "file", handler.baseFilename, handler.mode, handler.encoding, handler.level, form
    if kind is logging.StreamHandler and handler.stream in (sys.stderr, sys.stdout):
        return "stream", "stdout" if handler.stream is sys.stdout else "stderr", handler.level, form
    return ("null", handler.level, form) if kind is logging.NullHandler else None


def finished(handler: logging.Handler, level: int, form: tuple[Any, ...] | None) -> logging.Handler:
    """A handler with the level and format of one that was told in plain values."""
    handler.setLevel(level)
    if form is not None:
        handler.setFormatter(logging.Formatter(form[0], form[1], form[2]))
    return handler


def is_kept_filter(each: Any, live: Mapping[str, object]) -> bool:
    """Whether a filter of a logger is put back: it is the notebook's, or has a name there."""
    kind = each if isinstance(each, FunctionType | type) else type(each)
    return kind.__module__ == "__main__" or _has_name(each, live)


def _is_in_memory(handler: Any) -> bool:
    kind = type(handler) is logging.StreamHandler and type(handler.stream) is io.StringIO
    return kind and _is_plain(handler)


def _has_name(value: object, live: Mapping[str, object]) -> bool:
    return any(value is held for held in live.values())


def _form_of(handler: logging.Handler) -> tuple[Any, ...] | None:
    form = handler.formatter
    return None if form is None else (form._fmt, form.datefmt, _style_of(form))  # noqa: SLF001 - no public way


def _of(name: str) -> logging.Logger:
    return logging.getLogger(None if name == "root" else name)


def _is_plain(handler: Any) -> bool:
    return not handler.filters and type(handler.formatter) in _FORMATTERS


_FORMATTERS = (logging.Formatter, type(None))
_STYLES = {type(logging.Formatter(style=sign)._style): sign for sign in ("{", "$")}  # noqa: SLF001


def _style_of(formatter: logging.Formatter) -> str:
    return _STYLES.get(type(formatter._style), "%")  # noqa: SLF001
