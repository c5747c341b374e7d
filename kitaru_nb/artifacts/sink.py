"""A file in memory for what a pickler writes: at a third of what `io.BytesIO` costs once it is large.

Memory that is new is handed out by the page, and for a stream of 200 MB that took longer than
writing into it. Linux gives pages of 2 MiB to who asks for them; elsewhere this is `io.BytesIO`.
"""

from __future__ import annotations

import io
import mmap

__all__ = ["Room", "Sink"]

_SMALL = 1 << 20
_LARGE_PAGES: int | None = getattr(mmap, "MADV_HUGEPAGE", None)


class Room(mmap.mmap):
    """Memory of a sink. Nobody else has it, so what is in it does not change any more once it is written."""


class Sink:
    """What is written to it, one behind the other."""

    def __init__(self) -> None:
        self._file = io.BytesIO()
        self._room: Room | None = None
        self._end = 0

    def write(self, data: bytes) -> int:
        """Append `data`.

        Raises:
            MemoryError: there is no room for it.
        """
        end = self._end + len(data)
        if end > _SMALL and _LARGE_PAGES is not None:
            room = self._room_for(end)
            room[self._end : end] = data
        else:
            self._file.write(data)
        self._end = end
        return len(data)

    def tell(self) -> int:
        """How much was written."""
        return self._end

    @property
    def view(self) -> memoryview:
        """All of it; nothing more is to be written after this was asked for."""
        # Not `getbuffer`: Python 3.13 tells stderr of a file that dies in a cycle with a view of it.
        return memoryview(self._file.getvalue() if self._room is None else self._room)[: self._end]

    def _room_for(self, size: int) -> Room:
        try:
            if self._room is None:
                self._room = Room(-1, 4 * size, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
                assert _LARGE_PAGES is not None
                self._room.madvise(_LARGE_PAGES)
                self._room[: self._end] = self._file.getvalue()
                self._file = io.BytesIO()
            elif size > len(self._room):
                self._room.resize(size + size // 4)  # what is not touched takes no memory
        except OSError as error:
            raise MemoryError(str(error)) from error
        return self._room
