"""The artifact store in a bucket: extents by digest, gathered in immutable objects."""

from __future__ import annotations

import threading
import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, as_completed
from pathlib import Path
from types import MappingProxyType

from kitaru_nb.artifacts.bucket import Bucket
from kitaru_nb.artifacts.bucket_errors import EXISTS
from kitaru_nb.artifacts.extent_save import digest_of
from kitaru_nb.artifacts.extent_store import ExtentStore
from kitaru_nb.artifacts.object_packs import ObjectPacks
from kitaru_nb.artifacts.pack import pack_key
from kitaru_nb.artifacts.read_cache import ReadCache
from kitaru_nb.errors import StoreError
from kitaru_nb.model.artifact import Location, PackFile

__all__ = ["ObjectStore"]

_OWNER = "owner"
_READS = 8
_RUN_BYTES = 4 << 20
_LONGEST_RUN = 16 << 20
_RUNS = 32  # a request brings a part of the whole: those under way are a quarter of it at most
_GAP_BYTES = 256 << 10

_Job = tuple[Location, memoryview]


class ObjectStore(ExtentStore):
    """Keeps extents in an object store: S3, GCS, Azure. Safe for threads, forks, many machines.

    New extents are gathered into objects of about 16 MiB that are never changed; a few are
    under way while the next are hashed, so that a save takes at most about 150 MiB of memory
    however large it is. `flush` returns when the service has acknowledged every one. What a
    crash leaves is at most an object that no journal refers to.

    ``file://`` and ``memory://`` are for tests: neither survives a power cut.

    Args:
        url: Where, in fsspec's spelling: ``s3://bucket/prefix``, ``gs://…``, ``az://…``.
        options: Region, endpoint, credentials and what else obstore takes; what is missing
            comes from the environment (``AWS_*``, ``GOOGLE_*``, ``AZURE_*``).
        cache: A folder for what was read, so that the next kernel on this machine does not
            download it again.
        read_only: Refuse to write, with a clear error.
        owner: Names the journal this store belongs to. The first one to write marks the place
            as its own, and others are refused: what one journal does not know, its `gc`
            would take for left over, and it may be all that another one has.
        room: Told how many bytes are about to be written; raises a StoreError when they may not be.

    Raises:
        UsageError: kind ``bad-store-url``. The network is not touched here.
    """

    def __init__(
        self,
        url: str,
        *,
        options: Mapping[str, str] = MappingProxyType({}),
        cache: Path | None = None,
        read_only: bool = False,
        owner: str | None = None,
        room: Callable[[int], None] = lambda _bytes: None,
    ) -> None:
        self._bucket = Bucket(url, options)
        self._cache = ReadCache(cache) if cache is not None else None
        self._owner = owner
        self._claimed = owner is None
        super().__init__(read_only=read_only, room=room)

    def __repr__(self) -> str:
        return f"ObjectStore({self.url!r})"

    @property
    def url(self) -> str:
        """Where the packs are."""
        return self._bucket.url

    def read_into(self, location: Location, target: memoryview) -> None:
        """Put the bytes at `location` into `target`, which has their length, then check them.

        Raises:
            CorruptError: they are damaged, cut short or gone; `target` must not be used.
            StoreError: they could not be read.
        """
        if not self._cached(location, target):
            super().read_into(location, target)
            self._keep(location, target)

    def read_all(self, jobs: Sequence[_Job]) -> None:
        """As `read_into` for each of `jobs`: neighbours in one request, several requests at a time.

        Raises:
            CorruptError: as `read_into`; no target must be used.
            StoreError: some could not be read.
        """
        threads = self._threads()
        far: list[_Job] = []
        for job, near in zip(jobs, threads.map(lambda job: self._cached(*job), jobs), strict=True):
            if job[0].data is not None:
                self.read_into(*job)
            elif not near:
                far.append(job)
        longest = _longest_run(sum(len(target) for _, target in far))
        _settle([threads.submit(self._read_run, run) for run in _runs(far, longest)])

    def packs(self) -> Iterable[PackFile]:
        """Every pack in the bucket, whoever wrote it.

        Raises:
            StoreError: they could not be listed, or belong to another journal.
        """
        self._claim()
        return self._packs_found()

    def remove(self, name: str) -> None:
        """Remove a pack; one that is gone is no error. Only for one that the journal gave up.

        Raises:
            StoreError: it could not be removed, or belongs to another journal.
        """
        if self._key(name) is not None:
            self._claim()
            self._remove(name)

    def check(self) -> None:
        """Raise unless values can be stored there now; one that is only read must be listable.

        Puts a small object and removes it again.

        Raises:
            StoreError: what is wrong, and what to do.
        """
        if self._read_only:
            next(iter(self._bucket.files("packs/")), None)
            return
        self._claim()
        probe = f"probes/{uuid.uuid4().hex}"
        self._bucket.put_new(probe, memoryview(b"kitaru_nb looks whether it can write here"))
        self._bucket.remove(probe)

    def start_over(self) -> None:
        """Begin as a fresh process does; for a forked child."""
        self._bucket.start_over()
        if self._cache is not None:
            self._cache.start_over()
        self._seen: dict[str, int] = {}
        self._pool: ThreadPoolExecutor | None = None
        self._pool_lock = threading.Lock()
        super().start_over()

    def close(self) -> None:
        """Give back connections and threads. Bytes that were not flushed are not safe."""
        super().close()
        with self._pool_lock:
            if self._pool is not None:
                self._pool.shutdown(wait=False, cancel_futures=True)
                self._pool = None

    def _new_packs(self) -> ObjectPacks:
        return ObjectPacks(self._put, self._remove)

    def _put(self, name: str, content: memoryview) -> None:
        key = self._key(name)
        assert key is not None, name
        self._claim()
        self._bucket.put_new(key, content)
        self._seen[name] = len(content)

    def _claim(self) -> None:
        """Mark the place as this journal's, or make sure that it is."""
        if self._claimed or self._owner is None:
            return
        mine = memoryview(self._owner.encode())
        found = self._mark()
        if found is None and self._read_only:
            return
        if found is None and next(iter(self._packs_found()), None) is not None:
            found = self._mark()  # who is the first marks the place before anything else is there
            if found is None:
                raise self._unmarked(self._owner)
        if found is None:
            try:
                self._bucket.put_new(_OWNER, mine)
            except StoreError as error:
                if error.kind != EXISTS:
                    raise
                raise self._foreign() from None
        elif found != mine:
            raise self._foreign()
        self._claimed = True

    def _mark(self) -> memoryview | None:
        """What says whose the place is; None where nothing does."""
        try:
            return self._bucket.get(_OWNER, 0, len(str(self._owner).encode()) + 1)
        except FileNotFoundError:
            return None

    def _unmarked(self, owner: str) -> StoreError:
        return StoreError(
            f"`{self.url}` holds values, and the object `{_OWNER}`, which says whose they are, is gone",
            kind="foreign-store",
            hint=f"if they are this journal's, put an object `{_OWNER}` with the content `{owner}` there; "
            f"else another prefix, such as {self.url}-2",
        )

    def _foreign(self) -> StoreError:
        return StoreError(
            f"`{self.url}` belongs to another journal: each journal needs a place of its own",
            kind="foreign-store",
            hint=f"another prefix, such as {self.url}-2, or one PostgreSQL journal for all who share it",
        )

    def _remove(self, name: str) -> None:
        key = self._key(name)
        if key is not None:
            self._seen.pop(name, None)
            self._bucket.remove(key)

    def _lengths(self, packs: set[str]) -> Mapping[str, int]:
        """Asked once per pack: packs never change, and journals forget what `gc` removes first."""
        unseen = sorted(packs - self._seen.keys())
        for name, size in zip(unseen, self._threads().map(self._size, unseen), strict=True):
            if size is not None:
                self._seen[name] = size
        return {name: self._seen.get(name, -1) for name in packs}

    def _size(self, name: str) -> int | None:
        key = self._key(name)
        found = self._bucket.file(key) if key else None
        return found.bytes if found else None

    def _fetch(self, location: Location, target: memoryview) -> None:
        target[:] = self._get(location, location.offset, len(target))

    def _get(self, location: Location, start: int, length: int) -> memoryview:
        name = location.pack or ""
        key = self._key(name)
        if key is None:
            self._refuse(location, "its recorded place is not a pack")
        try:
            data = self._bucket.get(key, start, length)
        except FileNotFoundError:
            self._seen.pop(name, None)
            self._refuse(location, "the object is gone")
        if len(data) < length:
            self._seen.pop(name, None)
            self._refuse(location, "the object is cut short")
        return data

    def _read_run(self, run: Sequence[_Job]) -> None:
        first, last = run[0][0], run[-1][0]
        start, end = first.offset, last.offset + last.extent.length
        data = self._get(last, start, end - start)
        for location, target in run:
            at = location.offset - start
            target[:] = data[at : at + location.extent.length]
            self._check(location, target)
            self._keep(location, target)

    def _cached(self, location: Location, target: memoryview) -> bool:
        """Whether `target` was filled from the cache with what it has to hold."""
        if self._cache is None or location.data is not None or location in self._damaged:
            return False
        if not self._cache.read_into(location.extent, target):
            return False
        if digest_of(target) != location.extent.digest:
            self._cache.drop(location.extent)
            return False
        return True

    def _keep(self, location: Location, checked: memoryview) -> None:
        if self._cache is not None and location.data is None:
            self._cache.keep(location.extent, checked)

    def _packs_found(self) -> Iterator[PackFile]:
        for key, file in self._bucket.files("packs/"):
            if self._key(file.name) == key:
                yield file

    def _threads(self) -> ThreadPoolExecutor:
        with self._pool_lock:
            if self._pool is None:
                self._pool = ThreadPoolExecutor(_READS, thread_name_prefix="kitaru-nb-get")
            return self._pool

    @staticmethod
    def _key(name: str) -> str | None:
        return pack_key(name)

    def _place(self, pack: str) -> str:
        key = self._key(pack)
        return f"{self.url}/{key}" if key else pack

    def _told(self, error: OSError, what: str) -> StoreError:
        return StoreError(
            f"{what} in `{self.url}`: {error}", kind="store-unreachable", hint="run the cell again"
        )

    def _read_only_error(self) -> StoreError:
        return StoreError(
            f"the values cannot be written in `{self.url}`: it was opened only to be read",
            kind="store-read-only",
            hint="use a stack whose store takes writes",
        )


def _longest_run(size: int) -> int:
    """What one request should bring of `size` bytes: more takes fewer, and memory."""
    return min(_LONGEST_RUN, max(_RUN_BYTES, size // _RUNS))


def _runs(jobs: Iterable[_Job], longest: int = _RUN_BYTES) -> Iterator[list[_Job]]:
    """`jobs` by pack, neighbours together up to `longest` bytes."""
    run: list[_Job] = []
    for job in sorted(jobs, key=lambda job: (job[0].pack or "", job[0].offset)):
        if run and not _joins(run, job[0], longest):
            yield run
            run = []
        run.append(job)
    if run:
        yield run


def _joins(run: Sequence[_Job], place: Location, longest: int) -> bool:
    first, last = run[0][0], run[-1][0]
    return (
        place.pack == first.pack
        and place.offset - (last.offset + last.extent.length) <= _GAP_BYTES
        and place.offset + place.extent.length - first.offset <= longest
    )


def _settle(jobs: Sequence[Future[None]]) -> None:
    """Wait for all `jobs`; the first error stops those that have not begun."""
    try:
        for job in as_completed(jobs):
            job.result()
    except BaseException:
        for job in jobs:
            job.cancel()
        raise
