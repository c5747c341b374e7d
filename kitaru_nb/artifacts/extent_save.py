"""One save: which chunks are stored already, and how the others get into a pack.

What is written is a private copy of the value, taken before it is hashed, so that a thread
of the user which goes on changing the value can never store bytes that do not have their
digest; what nobody can change (`bytes`, a finished pickle) is written from where it is.
Unchanged chunks cost one XXH3 pass: `Fingerprints` remembers which digest belongs to which
mark. One that is changed here and there is stored in parts, so that the next such change
writes parts only.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Protocol

from blake3 import blake3

from kitaru_nb.artifacts.fingerprints import Fingerprints, parts_of
from kitaru_nb.artifacts.pack import padded
from kitaru_nb.artifacts.sink import Room
from kitaru_nb.artifacts.store import NOTHING_BEFORE, Before
from kitaru_nb.model.artifact import INLINE_BYTES, Digest, Extent, Location

__all__ = [
    "INLINE_TOTAL",
    "SMALL_BYTES",
    "UNASKED_BYTES",
    "ExtentSave",
    "PackWriter",
    "PackWriters",
    "digest_of",
    "inline",
]

INLINE_TOTAL = 1 << 20
"""Small chunks ride in the journal until one save has handed it this many bytes."""

_BATCH_BYTES = 8 << 20
_WINDOW = 64
_SYNC_BYTES = 64 << 20
_UNCHANGING = (bytes, Room)

SMALL_BYTES = 4096
"""Up to this much always rides in the journal."""

UNASKED_BYTES = 16 << 10
"""Where this is all there is to write, the journal is given it without being asked whether it has it.

It keeps each extent once by itself, and to be asked costs more than to be given that much.
"""


def digest_of(data: memoryview | bytes) -> Digest:
    """The digest `data` is stored under."""
    return Digest(blake3(data).hexdigest())


def inline(data: memoryview) -> Location:
    """A private copy of `data`, to ride in the journal."""
    copy = bytes(data)
    return Location(Extent(digest_of(copy), len(copy)), data=copy)


class PackWriter(Protocol):
    """A pack that extents are put into."""

    @property
    def name(self) -> str:
        """What the journal calls it."""
        ...

    def reserve(self, length: int) -> int:
        """The page-aligned offset where the next `length` bytes go."""
        ...

    def write(self, pieces: Sequence[tuple[int, memoryview]]) -> None:
        """Write each piece at its reserved offset; the pieces' memory is free afterwards."""
        ...

    def sync_early(self) -> None:
        """Begin to make durable what is written so far, where that saves time later."""
        ...


class PackWriters(Protocol):
    """Gives the pack to write to."""

    def writable(self) -> PackWriter:
        """The pack to append to; a new one when there is none or it is full."""
        ...


class ExtentSave:
    """One `write`: what it found, what it wrote, and how to take that back."""

    def __init__(
        self,
        packs: PackWriters,
        known: Fingerprints,
        find: Callable[[set[Digest]], Mapping[Digest, Location]],
        room: Callable[[int], None] = lambda _bytes: None,
    ) -> None:
        self.written: dict[Digest, Location] = {}
        self._packs = packs
        self._known = known
        self._find = find
        self._room = room
        self._screens = len(known) > 0
        self._hits = True
        self._inline = 0
        self._unsynced = 0
        self._sync_every = _SYNC_BYTES
        self._stages: list[bytearray | None] = [None, None]
        self._jobs: list[Future[None] | None] = [None, None]
        self._turn = 0
        self._syncs: list[Future[None]] = []
        self._threads: ThreadPoolExecutor | None = None

    def keep(self, chunks: Sequence[memoryview], before: Before = NOTHING_BEFORE) -> list[Location]:
        """Find or write every chunk; where each is, in order, some in parts.

        `before` names by number what a chunk may be a changed form of, in one piece or in parts.
        """
        total = sum(map(len, chunks))
        if total > _BATCH_BYTES:
            # One batch is hashed while the one before goes to the disk, which hides nearly all of it.
            self._threads = ThreadPoolExecutor(2, thread_name_prefix="kitaru-nb-write")
        self._sync_every = max(_SYNC_BYTES, total // 3)
        found: list[Location] = []
        try:
            for start in range(0, len(chunks), _WINDOW):
                found += self._kept(chunks, range(start, min(start + _WINDOW, len(chunks))), before)
            for job in (*self._jobs, *self._syncs):
                if job is not None:
                    job.result()
        finally:
            if self._threads is not None:
                self._threads.shutdown(wait=True)
        return found

    def _kept(
        self, chunks: Sequence[memoryview], window: Iterable[int], before: Before
    ) -> Iterator[Location]:
        marks = self._marks(chunks, window, before)
        whole = {number: self._known.digest(mark) for number, mark in marks.items()}
        parts = {
            number: self._known.in_parts(marks.get(number, b""))
            for number in window
            if number in before
            and whole.get(number) is None
            and self._known.belongs_in_parts(marks.get(number, b""), before[number])
        }
        self._hits = bool(parts) or any(whole.values())
        places = self._places(
            digest for row in (whole.values(), *parts.values()) for digest in row if digest is not None
        )
        views: list[memoryview] = []
        kept: list[Location | int] = []  # where it is, or which of `views` will say so
        for number in window:
            pieces = parts_of(chunks[number]) if number in parts else [chunks[number]]
            digests = parts.get(number) or [whole.get(number)]
            for place, piece in enumerate(pieces):
                digest = digests[place] if place < len(digests) else None
                if digest is not None and digest in places:
                    kept.append(places[digest])
                else:
                    kept.append(len(views))
                    views.append(piece)
        fresh = [place for batch in _batches(views) for place in self._fresh(batch)]
        return (fresh[place] if isinstance(place, int) else place for place in kept)

    def _marks(self, chunks: Sequence[memoryview], window: Iterable[int], before: Before) -> dict[int, bytes]:
        """The marks of chunks that this process may have stored in an earlier save."""
        numbers = [number for number in window if len(chunks[number]) > INLINE_BYTES]
        if not self._screens or not numbers:
            return {}
        first = numbers[0]
        marks = {first: self._known.mark(chunks[first])}
        if not self._hits and self._known.digest(marks[first]) is None:
            # A window without a hit is mostly followed by others: probe before the whole pass.
            numbers = [number for number in numbers if number in before]
        return marks | {number: self._known.mark(chunks[number]) for number in numbers if number != first}

    def _fresh(self, batch: Sequence[memoryview]) -> list[Location]:
        """Copy the batch, name each copy by its digest, and write those that are stored nowhere."""
        copies, digests = [], []
        for copy in self._copied(batch):
            # one chunk after the other: what was just copied is still in the processor's cache
            digest = digest_of(copy)
            if len(copy) > INLINE_BYTES:
                self._known.remember(copy, digest)
            copies.append(copy)
            digests.append(digest)
        places = self._places(digests)
        pieces: list[tuple[int, memoryview]] = []
        pack: PackWriter | None = None
        for copy, digest in zip(copies, digests, strict=True):
            if digest in places:
                continue
            extent = Extent(digest, len(copy))
            if self._rides_inline(len(copy)):
                places[digest] = Location(extent, data=bytes(copy))
            else:
                pack = pack or self._packs.writable()
                offset = pack.reserve(len(copy))
                pieces.append((offset, copy))
                places[digest] = Location(extent, pack=pack.name, offset=offset)
            self.written[digest] = places[digest]
        if pack is not None:
            self._room(sum(len(view) for _, view in pieces))
            self._hand_over(pack, pieces)
        return [places[digest] for digest in digests]

    def _places(self, digests: Iterable[Digest]) -> dict[Digest, Location]:
        asked = set(digests)
        places = {digest: self.written[digest] for digest in asked if digest in self.written}
        asked -= places.keys()
        if asked:
            places.update(self._find(asked))
        return places

    def _copied(self, chunks: Sequence[memoryview]) -> Iterator[memoryview]:
        """Private copies of `chunks`, in memory that no job writes from any more.

        What nobody can change is not copied.
        """
        if self._threads is not None:
            self._turn ^= 1
        job = self._jobs[self._turn]
        if job is not None:
            job.result()
        need = sum(padded(len(chunk)) for chunk in chunks if type(chunk.obj) not in _UNCHANGING)
        stage = self._stages[self._turn]
        if stage is None or len(stage) < need:
            stage = self._stages[self._turn] = bytearray(need)
        room, at = memoryview(stage), 0
        for chunk in chunks:
            if type(chunk.obj) in _UNCHANGING:
                yield chunk
                continue
            copy = room[at : at + len(chunk)]
            copy[:] = chunk
            yield copy
            at += padded(len(chunk))

    def _rides_inline(self, length: int) -> bool:
        if length > INLINE_BYTES or (length > SMALL_BYTES and self._inline + length > INLINE_TOTAL):
            return False
        self._inline += length
        return True

    def _hand_over(self, pack: PackWriter, pieces: Sequence[tuple[int, memoryview]]) -> None:
        if self._threads is None:
            pack.write(pieces)
            return
        self._jobs[self._turn] = self._threads.submit(pack.write, pieces)
        self._unsynced += sum(len(view) for _, view in pieces)
        if self._unsynced >= self._sync_every:
            # A disk that works now is not waited for in the flush.
            self._syncs.append(self._threads.submit(pack.sync_early))
            self._unsynced = 0


def _batches(chunks: Iterable[memoryview]) -> Iterator[list[memoryview]]:
    """`chunks` in runs that fill at most one stage; a larger chunk is a run of its own."""
    batch: list[memoryview] = []
    size = 0
    for chunk in chunks:
        need = padded(len(chunk))
        if batch and size + need > _BATCH_BYTES:
            yield batch
            batch, size = [], 0
        batch.append(chunk)
        size += need
    if batch:
        yield batch
