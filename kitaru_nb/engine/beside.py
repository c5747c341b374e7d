"""Which calls ran at the same time, and which files the others were seen to write.

What native code or another process writes is found by looking for it when a call has ended, and
that tells the time of a file, not who wrote it. So a call has to know whether others ran beside it.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager

__all__ = ["Beside"]


class Beside:
    """One call among those of an execution that run at the same time.

    A call inside another one is a part of it, and does not run beside it.

    Args:
        path: The path of its scope.
        running: The calls that run now, which all of an execution share.
        written: See there.

    Attributes:
        any: Whether another call ran at any time while this one did.
        written: Gives the files that it was seen to write so far.
    """

    def __init__(self, path: str, running: set[Beside], written: Callable[[], Collection[str]]) -> None:
        self.any = False
        self._path = path
        self._running = running
        self.written = written
        self._ended: set[str] = set()  # what calls wrote that ran beside this one and have ended

    @contextmanager
    def among_them(self) -> Iterator[None]:
        """The call runs inside the block, and no longer, however that ends."""
        self._running.add(self)  # and then the others are looked for: of two that begin at once one sees both
        try:
            for other in self._others():
                self.any = other.any = True
            yield
        finally:
            for other in self._others():
                other._ended.update(list(self.written()))  # noqa: SLF001 - its own kind
            self._running.discard(self)

    def written_by_others(self) -> set[str]:
        """Files that calls beside this one were seen to write: those are theirs."""
        return self._ended.union(*(list(other.written()) for other in self._others()))

    def _others(self) -> list[Beside]:
        # A copy, made at once: other threads come and go meanwhile.
        return [other for other in list(self._running) if not self._is_part_of(other)]

    def _is_part_of(self, other: Beside) -> bool:
        """Whether one of the two is in the other one, or is it."""
        longer, shorter = sorted((self._path, other._path), key=len, reverse=True)
        return longer == shorter or longer.startswith(f"{shorter}/")
