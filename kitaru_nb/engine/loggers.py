"""The loggers of this process: their levels, and their handlers as far as a new process can have them."""

from __future__ import annotations

import logging
import sys
from itertools import chain
from operator import attrgetter
from typing import Any

__all__ = ["LOGGERS", "Loggers", "described"]

_state_of = attrgetter("name", "level", "disabled", "propagate")
_handlers_of = attrgetter("handlers")


class Loggers:
    """All loggers, and whether any of them or of their handlers has changed."""

    def __init__(self) -> None:
        self._all: list[object] = []
        self._real: list[logging.Logger] = []
        self._seen: object = None
        self._token = object()

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
        )
        if seen != self._seen:
            self._seen, self._token = seen, object()
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


LOGGERS = Loggers()
"""Those of this process."""


def described(handler: Any) -> tuple[Any, ...] | None:
    """A handler of the standard library in plain values; None for any other."""
    formatter = handler.formatter
    if handler.filters or type(formatter) not in _FORMATTERS:
        return None
    form = None if formatter is None else (formatter._fmt, formatter.datefmt, _style_of(formatter))  # noqa: SLF001
    kind = type(handler)
    if kind is logging.FileHandler:
        return "file", handler.baseFilename, handler.mode, handler.encoding, handler.level, form
    if kind is logging.StreamHandler and handler.stream in (sys.stderr, sys.stdout):
        return "stream", "stdout" if handler.stream is sys.stdout else "stderr", handler.level, form
    return ("null", handler.level, form) if kind is logging.NullHandler else None


_FORMATTERS = (logging.Formatter, type(None))
_STYLES = {type(logging.Formatter(style=sign)._style): sign for sign in ("{", "$")}  # noqa: SLF001


def _style_of(formatter: logging.Formatter) -> str:
    return _STYLES.get(type(formatter._style), "%")  # noqa: SLF001
