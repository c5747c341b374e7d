"""Packs on their way into a bucket: gathered in memory, put there whole, a few at a time.

A pack is one immutable object. It appears when its put is acknowledged, and never in part, so
there is nothing to cut off after a crash: what was not acknowledged was not committed either.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, as_completed, wait
from functools import partial

from kitaru_nb.artifacts.pack import new_pack_name, padded
from kitaru_nb.model.crash import crash_point

__all__ = ["OBJECT_BYTES", "UPLOADS", "ObjectPack", "ObjectPacks"]

OBJECT_BYTES = 16 << 20
"""A pack that has reached this size is put into the bucket; one save may add as much again first."""

UPLOADS = 4
"""Packs under way at a time. With the one that is filled they bound a save's memory."""


class ObjectPack:
    """A pack that is being filled, or is under way. Its `done` says when and whether it arrived."""

    def __init__(self) -> None:
        self.name = new_pack_name()
        self.end = 0
        self.done: Future[int] = Future()
        self._lock = threading.Lock()
        self._content = bytearray()
        self._reserved = 0
        self._written = 0
        self._send: Callable[[ObjectPack, memoryview], None] | None = None

    def reserve(self, length: int) -> int:
        """The page-aligned offset where the next `length` bytes go."""
        offset = padded(self.end)
        self.end = offset + length
        self._reserved += length
        return offset

    def write(self, pieces: Sequence[tuple[int, memoryview]]) -> None:
        """Keep a copy of each piece at its reserved offset."""
        with self._lock:
            try:
                for offset, piece in pieces:
                    self._put(offset, piece)
            except BaseException:
                self._fail()
                raise
            self._leave()

    def sync_early(self) -> None:
        """Nothing to do: a full pack is on its way already."""

    def seal(self, send: Callable[[ObjectPack, memoryview], None]) -> None:
        """Put no more into it; `send` is called with the content once all of that is there."""
        with self._lock:
            self._send = send
            self._leave()

    def cut(self, end: int, reserved: int) -> None:
        """Forget what was put there since it ended at `end` with `reserved` bytes in it."""
        with self._lock:
            del self._content[end:]
            self.end, self._reserved, self._written = end, reserved, reserved

    def mark(self) -> Callable[[], None]:
        """A function that cuts off what is put there from now on."""
        return partial(self.cut, self.end, self._reserved)

    @property
    def sealed(self) -> bool:
        """Whether it is full or was asked for."""
        return self._send is not None

    def settle(self) -> None:
        """Say that it never arrives if something that was to be put there was not."""
        with self._lock:
            if self._reserved != self._written:
                self._fail()

    def _put(self, offset: int, piece: memoryview) -> None:
        gap = offset - len(self._content)
        if gap >= 0:
            self._content += bytes(gap)
            self._content += piece
        else:
            self._content[offset : offset + len(piece)] = piece
        self._written += len(piece)

    def _fail(self) -> None:
        if not self.done.done():
            self.done.set_exception(OSError("a pack could not be filled"))

    def _leave(self) -> None:
        if self._send is not None and self._reserved == self._written:
            content, self._content = self._content, bytearray()
            self._send(self, memoryview(content))


class ObjectPacks:
    """The packs one process puts into a bucket. Not safe for threads: the store holds a lock.

    Args:
        put: Puts a pack of that name into the bucket and returns when that is acknowledged.
        remove: Removes it again.
    """

    def __init__(self, put: Callable[[str, memoryview], None], remove: Callable[[str], None]) -> None:
        self._put = put
        self._remove = remove
        self._current: ObjectPack | None = None
        self._sealed: list[ObjectPack] = []
        self._threads: ThreadPoolExecutor | None = None

    @property
    def dirty(self) -> bool:
        """Whether something written is not yet acknowledged."""
        return bool(self._sealed) or (self._current is not None and self._current.end > 0)

    def writable(self) -> ObjectPack:
        """The pack to append to. Waits while as many as may be are under way.

        Raises:
            StoreError: one of those under way was refused.
        """
        if self._current is not None and self._current.end >= OBJECT_BYTES:
            self._seal()
        self._wait_for_room()
        if self._current is None:
            self._current = ObjectPack()
        return self._current

    def savepoint(self) -> Callable[[], None]:
        """A function that takes back what is written from now on."""
        current = self._current
        return partial(self._undo, current, current.mark() if current else None, len(self._sealed))

    def sync(self) -> None:
        """Return when every pack is acknowledged.

        Raises:
            StoreError: one was refused; it will not come.
        """
        if self._current is not None and self._current.end > 0:
            self._seal()
        for pack in self._sealed:
            pack.settle()
        for pack in self._sealed:
            pack.done.result()
        self._sealed.clear()

    def close(self) -> None:
        """Give up what is not acknowledged; the next `writable` is a new pack."""
        self._abandon(self._sealed)
        self._sealed = []
        self._current = None
        if self._threads is not None:
            self._threads.shutdown(wait=False, cancel_futures=True)
            self._threads = None

    def _seal(self) -> None:
        assert self._current is not None
        if self._threads is None:
            self._threads = ThreadPoolExecutor(UPLOADS, thread_name_prefix="kitaru-nb-put")
        pack, self._current = self._current, None
        self._sealed.append(pack)
        pack.seal(self._send)

    def _send(self, pack: ObjectPack, content: memoryview) -> None:
        assert self._threads is not None
        self._threads.submit(self._upload, pack, content)

    def _upload(self, pack: ObjectPack, content: memoryview) -> None:
        length = len(content)
        try:
            crash_point("before-object-put")
            self._put(pack.name, content)
            crash_point("after-object-put")
        except BaseException as error:  # noqa: BLE001 - whatever it is, the one who waits is told
            pack.done.set_exception(error)
        else:
            pack.done.set_result(length)

    def _wait_for_room(self) -> None:
        running = {pack.done for pack in self._sealed}
        for done in [done for done in running if done.done()]:
            done.result()
            running.discard(done)
        while len(running) >= UPLOADS:
            finished, running = wait(running, return_when=FIRST_COMPLETED)
            for done in finished:
                done.result()

    def _undo(self, current: ObjectPack | None, cut: Callable[[], None] | None, sealed: int) -> None:
        """Whatever of `current` was there before stays, with what follows it if that is on its way."""
        since = [pack for pack in self._sealed[sealed:] if pack is not current]
        del self._sealed[sealed:]
        self._abandon(since)
        self._current = None
        if current is None or cut is None:
            return
        if current.sealed:
            self._sealed.append(current)
        else:
            cut()
            self._current = current

    def _abandon(self, packs: Sequence[ObjectPack]) -> None:
        """Leave nothing of `packs` in the bucket, as far as that can be: no journal refers to it.

        Nobody waits for that; the service may be down, and `gc` finds what stays.
        """
        if packs:
            names = {pack.done: pack.name for pack in packs}
            threading.Thread(target=_remove_all, args=(names, self._remove), daemon=True).start()


def _remove_all(names: Mapping[Future[int], str], remove: Callable[[str], None]) -> None:
    with contextlib.suppress(Exception):
        for done in as_completed(names):
            remove(names[done])
