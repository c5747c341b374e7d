"""What was taken note of in memory inside a transaction, and is to be forgotten where that is undone."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

__all__ = ["Noted"]


class Noted:
    """The ways back from what one thread has noted inside a block.

    Outside any block what is noted is on record already, and nothing is kept here.
    """

    def __init__(self) -> None:
        self._ways: list[Callable[[], None]] | None = None
        self._thread = 0

    @property
    def is_open(self) -> bool:
        """Whether this thread is inside a block."""
        return self._ways is not None and self._thread == threading.get_ident()

    @contextmanager
    def together(self) -> Iterator[None]:
        """Where the block raises, all that was noted in it is forgotten, the last of it first."""
        if self._ways is not None:
            yield  # the block around it decides
            return
        ways: list[Callable[[], None]] = []
        self._ways, self._thread = ways, threading.get_ident()
        try:
            yield
        except BaseException:
            for back in reversed(ways):
                back()
            raise
        finally:
            self._ways = None

    def add(self, back: Callable[[], None]) -> None:
        """Something was noted, and this forgets it again."""
        if self._ways is not None and self.is_open:
            self._ways.append(back)
