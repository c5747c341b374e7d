"""Where extents are kept, and how a journal says which of them it knows."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from types import MappingProxyType
from typing import Protocol, runtime_checkable

from kitaru_nb.artifacts.memory import Memory
from kitaru_nb.model.artifact import Digest, Location, PackFile

__all__ = [
    "NOTHING_BEFORE",
    "ArtifactStore",
    "Before",
    "BulkReader",
    "DirectReader",
    "ExtentIndex",
    "FileReader",
]

Before = Mapping[int, Sequence[Digest]]
"""By a chunk's number what it may be a changed form of: one extent, or the parts it was stored in."""

NOTHING_BEFORE: Before = MappingProxyType({})


class ExtentIndex(Protocol):
    """Knows where extents are; the journal is one, so placement and commit share a transaction."""

    def locate(self, digests: Iterable[Digest]) -> Mapping[Digest, Location]:
        """Where each known extent of `digests` is; unknown ones are left out."""
        ...


class ArtifactStore(Protocol):
    """Keeps bytes under their digest. Written bytes are never changed or truncated."""

    def write(
        self,
        chunks: Sequence[memoryview],
        *,
        index: ExtentIndex,
        before: Before = NOTHING_BEFORE,
    ) -> list[Location]:
        """Keep `chunks` and say where each is, in order.

        A chunk that `index` already knows is not written again: its known location comes
        back. New bytes count only once `flush` has returned.

        Args:
            chunks: The bytes.
            index: Knows where extents are.
            before: What a chunk may be a changed form of. Such a one may come back as the locations
                of its parts, in order, so that the next change costs parts only; any other comes
                back as one.

        Raises:
            StoreError: they could not be written; nothing already stored is touched.
        """
        ...

    def distrusting(self) -> AbstractContextManager[None]:
        """While it is entered, what is written leans only on stored bytes that were read and are right."""
        ...

    def flush(self) -> None:
        """Return when everything written so far survives a power cut.

        Raises:
            StoreError: the disk refused; what was written since the last flush is not safe.
        """
        ...

    def read(self, location: Location) -> memoryview:
        """The bytes at `location`, checked against their digest.

        Raises:
            CorruptError: they are damaged, cut short or gone.
            StoreError: they could not be read.
        """
        ...

    def packs(self) -> Iterable[PackFile]:
        """Every pack that is there, whoever wrote it, also one that nothing refers to.

        Raises:
            StoreError: the place cannot be listed.
        """
        ...

    def remove(self, name: str) -> None:
        """Remove a pack; one that is gone is no error. Only for one that the journal gave up.

        What has it open or mapped goes on reading it where the place allows.

        Raises:
            StoreError: it could not be removed.
        """
        ...

    def close(self) -> None:
        """Give back open files. Reading opens them again."""
        ...


@runtime_checkable
class DirectReader(Protocol):
    """A store that can also read into memory the caller owns, which saves a copy of large values."""

    def read_into(self, location: Location, target: memoryview) -> None:
        """Put the bytes at `location` into `target`, which has their length, then check them.

        Raises:
            CorruptError: they are damaged, cut short or gone; `target` must not be used.
            StoreError: they could not be read.
        """
        ...


@runtime_checkable
class BulkReader(Protocol):
    """A store that is slow to answer and gladly asked for much at once."""

    def read_all(self, jobs: Sequence[tuple[Location, memoryview]]) -> None:
        """Fill each target with the bytes at its location, as `DirectReader.read_into` does for one.

        Raises:
            CorruptError: some are damaged, cut short or gone; no target must be used.
            StoreError: some could not be read.
        """
        ...


@runtime_checkable
class FileReader(DirectReader, Protocol):
    """A store that keeps extents in files, which can be mapped instead of read."""

    def map_into(self, places: Sequence[Location], memory: Memory) -> bool:
        """Lay the extents at `places` over `memory`, one behind the other. Their bytes are not checked.

        False, with nothing laid, where they do not lie in pages of their own or in too many pieces.

        Raises:
            CorruptError: a file is gone or cut short.
            StoreError: it cannot be read.
        """
        ...
