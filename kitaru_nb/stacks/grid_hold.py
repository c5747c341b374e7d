"""One process at a time begins points of a grid, so that the same command typed twice pays once."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from types import TracebackType
from typing import Self

__all__ = ["GridHold"]

_FOLDER = "grids"


class GridHold:
    """The right to begin points of a grid on this machine; it goes with the process, however that ends.

    On Windows, and where the home has no locks or cannot be written, everybody has it.

    Args:
        home: The folder in which grids are recorded.
        digest: The grid's, see `grid.digest_of`.

    Attributes:
        taken: Whether this process has it.
    """

    def __init__(self, home: Path, digest: str) -> None:
        self.taken = False
        self._path = home / _FOLDER / f"{digest}.lock"
        self._file: int | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.give_up()

    def take(self) -> bool:
        """Try to take it; whether this process has it now."""
        if not self.taken:
            self.taken = sys.platform == "win32" or self._lock()
        return self.taken

    def give_up(self) -> None:
        """Leave it to whoever takes it next."""
        if self._file is not None:
            os.close(self._file)
        self._file, self.taken = None, False

    def _lock(self) -> bool:
        import fcntl  # noqa: PLC0415 - not on Windows

        try:
            if self._file is None:
                self._path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
                self._file = os.open(self._path, os.O_CREAT | os.O_RDWR, 0o600)
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        except OSError:  # whoever can put nothing there is told so by what is recorded there
            return True
        return True
