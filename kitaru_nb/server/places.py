"""Which records a request is about: the server's own place, and that of a notebook below its folder."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from kitaru_nb.engine.engine import Engine
from kitaru_nb.model.settings import Settings
from kitaru_nb.stacks.open import open_engine
from kitaru_nb.stacks.settings import resolve

__all__ = ["Places"]


class Places:
    """Opens the records for one request at a time; nothing is opened before the first one.

    Args:
        root: The folder that the server serves.
        stack: The stack to use; None for the one that is current in that folder.
    """

    def __init__(self, root: Path, stack: str | None) -> None:
        self._root = root
        self._stack = stack

    def settings(self) -> Settings:
        """What holds in the server's folder, as it is now."""
        return resolve(cwd=self._root, stack=self._stack)

    @contextmanager
    def reading(self) -> Iterator[Engine]:
        """The engine, for reading only."""
        with closing(open_engine(self.settings(), read_only=True)) as engine:
            yield engine

    @contextmanager
    def writing(self) -> Iterator[Engine]:
        """The engine."""
        with closing(open_engine(self.settings())) as engine:
            yield engine
