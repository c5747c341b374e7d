"""Values to a stored artifact and back: the one place that joins codecs and a store."""

from __future__ import annotations

import base64
import contextlib
import mmap
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from itertools import chain
from operator import attrgetter
from typing import Any, NoReturn, TypeGuard

from kitaru_nb.artifacts.codec import NO_ANCHORS, Anchors, Codec, Encoded, Resolve
from kitaru_nb.artifacts.cuts import SMALL_STREAM, Cut, cut_apart, cut_buffer, cut_stream
from kitaru_nb.artifacts.extent_save import digest_of
from kitaru_nb.artifacts.fitting import raise_named
from kitaru_nb.artifacts.memory import Memory
from kitaru_nb.artifacts.pickle_codec import PickleCodec
from kitaru_nb.artifacts.plain_codec import PlainCodec
from kitaru_nb.artifacts.store import (
    ArtifactStore,
    BulkReader,
    DirectReader,
    ExtentIndex,
    FileReader,
)
from kitaru_nb.artifacts.verify import Verification
from kitaru_nb.artifacts.weave import unwoven
from kitaru_nb.artifacts.zarr_codec import ZarrCodec
from kitaru_nb.errors import CorruptError, KitaruError, StoreError
from kitaru_nb.model.artifact import EXTENT_BYTES, Artifact, Digest, Extent, Location
from kitaru_nb.model.json_text import json_writer

__all__ = [
    "Stored",
    "checked_buffers",
    "extent_reader",
    "extents_reader",
    "load_values",
    "manifest_digest",
    "packed_extents",
    "store_values",
]

_PLAIN, _WOVEN = 1, 2
VERSIONS = (_PLAIN, _WOVEN)
"""Versions of the manifest; a reader refuses a later one. Since 2 large texts may be apart."""

_CODECS: tuple[Codec, ...] = (PlainCodec(), ZarrCodec(), PickleCodec())
_canonical = json_writer(sort_keys=True, ensure_ascii=False, allow_nan=False)
_PARALLEL_BYTES = 8 << 20
_ENTRY = 36  # bytes of one extent in a manifest: its digest, its length
_THREADS = min(4, os.cpu_count() or 1)
_REDO = "run the cell again with --fresh to store its values anew"


@dataclass(frozen=True, slots=True)
class Stored:
    """What a journal commits for one group of names.

    Attributes:
        artifact: The value and its manifest.
        locations: Where its extents are, each once, but for those it shares with what the same
            names were stored as before.
        unstorable: For each name with a part that could not be stored: why.
        needs: Artifacts that must be on record for this one to be whole: what it shares extents
            with, and the definitions that it refers to.
        fresh: Bytes of the value that are not in what the same names were stored as before.
    """

    artifact: Artifact
    locations: tuple[Location, ...]
    unstorable: Mapping[str, str] = field(default_factory=dict)
    needs: frozenset[Digest] = frozenset()
    fresh: int = 0


def store_values(
    values: Mapping[str, object],
    *,
    namespace: dict[str, Any],
    store: ArtifactStore,
    index: ExtentIndex,
    anchors: Anchors = NO_ANCHORS,
    before: Digest | None = None,
    known: Callable[[Digest], Artifact | None] = lambda _digest: None,
) -> Stored:
    """Write `values` to `store` as one artifact. Durable once the caller has flushed `store`.

    Args:
        values: Names that share objects, with what they are bound to.
        namespace: The live namespace; functions defined in cells refer to it.
        store: Where new extents go; known ones are not written again.
        index: Where known extents are.
        anchors: Functions and classes stored elsewhere, by id, which `values` may refer to.
        before: What these names were stored as last; what is as it was then is shared.
        known: Gives an artifact on record, None where there is none; asked for `before` unless this
            process stored that itself.

    Raises:
        StoreError: the bytes could not be written.
        UnstorableError: nothing of the group could be stored.
    """
    each = (codec.encode(values, namespace=namespace, anchors=anchors) for codec in _CODECS)
    encoded = next(filter(None, each))  # the last one takes everything
    cuts = _cut(encoded, before, known)
    needs = frozenset(map(Digest, encoded.meta.get("anchors", ()))) | cuts.shared
    try:
        rows, places = _written(cuts.buffers, store, index)
    except StoreError as error:
        if all(name in namespace for name in values):  # else it is something of ours, without such a name
            size = sum(buffer.nbytes for buffer in encoded.buffers)
            _raise_named(error, values, size)
        raise
    manifest: dict[str, Any] = {
        "codec": encoded.codec,
        "version": _WOVEN if cuts.meta else _PLAIN,
        "meta": {**encoded.meta, **cuts.meta},
        "buffers": [packed_extents(row) for row in rows],
    }
    size = sum(map(_length, chain.from_iterable(rows)))
    artifact = Artifact(manifest_digest(manifest), encoded.codec, size, manifest)
    _remember(artifact, rows)
    once = {place.extent.digest: place for place in places}
    there = [extent.length for extent in chain.from_iterable(rows) if extent.digest in cuts.known]
    fresh = size - sum(there)
    return Stored(artifact, tuple(once.values()), dict(encoded.unstorable), needs, fresh)


def _raise_named(error: StoreError, names: Iterable[str], size: int) -> NoReturn:
    listed = list(names)
    what = ", ".join(f"`{name}`" for name in listed)
    raise_named(error, what, size, instead=f"--exclude {','.join(listed)} leaves that out")


@dataclass(frozen=True, slots=True)
class _Cuts:
    """The buffers in pieces.

    Attributes:
        buffers: Each in its pieces.
        shared: The artifact whose extents are among these, if there is one.
        known: The extents that the same names were stored as before.
        meta: What has to be told for putting them together.
    """

    buffers: list[Cut]
    known: AbstractSet[Digest] = frozenset()
    shared: frozenset[Digest] = frozenset()
    meta: Mapping[str, Any] = field(default_factory=dict)


def _cut(encoded: Encoded, before: Digest | None, known: Callable[[Digest], Artifact | None]) -> _Cuts:
    small = not encoded.buffers or encoded.buffers[0].nbytes <= SMALL_STREAM
    if small and len(encoded.buffers) == 1:  # most values by far
        return _Cuts([Cut([encoded.buffers[0].cast("B")])] if encoded.buffers[0].nbytes else [Cut([])])
    grows_from = None if small else encoded.grows_from
    large = any(buffer.nbytes > EXTENT_BYTES for buffer in encoded.buffers)
    rows: list[list[Extent]] = []
    if before is not None and (large or grows_from is not None):
        codec, rows = _stored_as(before, known)
        rows = [*rows] if codec == encoded.codec else []
    rows += [[]] * (len(encoded.buffers) - len(rows))
    cuts = [cut_buffer(buffer, row) for buffer, row in zip(encoded.buffers, rows, strict=False)]
    there = {extent.digest for row in rows for extent in row}
    if grows_from is None:
        return _Cuts(cuts, there)
    stream = encoded.buffers[0].cast("B")
    # Where arrays are in a stream is told by the place of their bytes, so it has to stay as it is.
    apart = None if "arrays" in encoded.meta else unwoven(stream)
    if apart is not None:
        cuts[0] = Cut(cut_apart(apart, rows[0]))
    else:
        cuts[0] = Cut(cut_stream(stream, grows_from, rows[0]))
    shares = before is not None and any(isinstance(piece, Extent) for piece in cuts[0].pieces)
    shared = frozenset([before] if before is not None and shares else [])
    return _Cuts(cuts, there, shared, {} if apart is None else apart.meta)


_Rows = tuple[str, list[list[Extent]]]
"""An artifact's codec, and the extents of each of its buffers."""

_STORED: dict[Digest, _Rows] = {}  # of what this process stored last; a digest never means anything else
_MOST_STORED = 64
_MOST_EXTENTS = 1000


def _remember(artifact: Artifact, rows: list[list[Extent]]) -> None:
    if sum(map(len, rows)) <= _MOST_EXTENTS:
        if len(_STORED) >= _MOST_STORED:
            _STORED.clear()
        _STORED[artifact.digest] = artifact.codec, rows


def _stored_as(digest: Digest, known: Callable[[Digest], Artifact | None]) -> _Rows:
    found = _STORED.get(digest)
    if found is None:
        artifact = known(digest)
        found = ("", []) if artifact is None else (artifact.codec, checked_buffers(artifact))
    return found


def load_values(
    artifact: Artifact,
    *,
    store: ArtifactStore,
    index: ExtentIndex,
    namespace: dict[str, Any],
    resolve: Resolve | None = None,
    later: list[Verification] | None = None,
) -> dict[str, object]:
    """The values of `artifact`, every byte checked before any of it is used.

    Large buffers come back as private mappings of the files they are in where `later` is given
    and the store allows it: at once, whatever their size, and checked in the background.

    Args:
        artifact: What to load.
        store: Where its extents are.
        index: Knows where in the store.
        namespace: What functions defined in cells get as their globals.
        resolve: Gives the live object that an anchor stands for.
        later: Takes the checks that are not done when this returns. Nobody may use the values
            before each has been waited for.

    Raises:
        CorruptError: kind ``corrupt-artifact``: the manifest or an extent is damaged or
            gone; the message names the values and the file.
        StoreError: the bytes could not be read, or the value could not be made again from
            them (kind ``unloadable-value``).
    """
    buffers = checked_buffers(artifact)
    codec = next((codec for codec in _CODECS if codec.name == artifact.manifest["codec"]), None)
    if codec is None or artifact.manifest["version"] not in VERSIONS:
        raise CorruptError(
            f"{_title(artifact)} was written by a later version of kitaru_nb",
            kind="unknown-format",
            hint="pip install -U kitaru-nb",
        )
    read = _Buffers(artifact, buffers, store, index, mapping=later is not None)
    with _telling_of(artifact):
        try:
            values = codec.decode(artifact.manifest["meta"], read, namespace=namespace, resolve=resolve)
        except Exception:
            for check in read.checks:
                check.wait()  # damage is the better explanation
            raise
    if later is not None:
        later += read.checks
    return values


def manifest_digest(manifest: Mapping[str, Any]) -> Digest:
    """The digest of `manifest`'s canonical JSON: keys sorted, no spaces, UTF-8."""
    return digest_of(_canonical(manifest).encode("utf-8", "surrogatepass"))


def checked_buffers(artifact: Artifact) -> list[list[Extent]]:
    """The extents of each buffer, after the manifest itself was checked against the artifact's digest.

    Raises:
        CorruptError: kind ``corrupt-artifact``: the manifest is not the one that was stored.
    """
    if manifest_digest(artifact.manifest) != artifact.digest:
        message = f"{_title(artifact)} cannot be restored: its manifest in the journal is damaged"
        raise CorruptError(message, kind="corrupt-artifact", hint=_REDO)
    return [list(_unpacked(row)) for row in artifact.manifest["buffers"]]


def packed_extents(extents: Iterable[Extent]) -> str:
    """Extents as a manifest lists them: digest and length in 36 bytes each, in base64."""
    entries = bytes.fromhex("".join(map("%s%08x".__mod__, map(_entry, extents))))
    return base64.b64encode(entries).decode()


_length = attrgetter("length")
_entry = attrgetter("digest", "length")


def _unpacked(row: str) -> Iterable[Extent]:
    entries = base64.b64decode(row)
    for at in range(0, len(entries), _ENTRY):
        length = int.from_bytes(entries[at + 32 : at + _ENTRY])
        yield Extent(Digest(entries[at : at + 32].hex()), length)


def extent_reader(
    artifact: Artifact, *, store: ArtifactStore, index: ExtentIndex
) -> Callable[[Extent], memoryview]:
    """A function that reads one verified extent of `artifact`, from any thread; see `extents_reader`."""
    read = extents_reader(artifact, store=store, index=index)
    return lambda extent: read([extent])


def extents_reader(
    artifact: Artifact, *, store: ArtifactStore, index: ExtentIndex
) -> Callable[[Sequence[Extent]], memoryview]:
    """A function that reads some extents of `artifact` in one piece, verified, from any thread.

    Asks `index` here, and again only where an extent is not where it was.
    """
    places = _locate(artifact, checked_buffers(artifact), index)

    def read(extents: Sequence[Extent]) -> memoryview:
        row = [places[extent.digest] for extent in extents]
        try:
            return _assemble(row, store)
        except CorruptError:
            found = _locate(artifact, [extents], index)
            now = [found[extent.digest] for extent in extents]
            if now == row:
                raise
            return _assemble(now, store)

    return read


def _locate(
    artifact: Artifact, buffers: Sequence[Sequence[Extent]], index: ExtentIndex
) -> Mapping[Digest, Location]:
    wanted = {extent.digest: extent for row in buffers for extent in row}
    try:
        places = index.locate(wanted)
    except CorruptError as error:
        told = f"{_title(artifact)} cannot be restored: {error.message}"
        raise CorruptError(told, kind=error.kind, hint=error.hint) from error
    for digest, extent in wanted.items():
        place = places.get(digest)
        if place is None or place.extent != extent:
            message = f"{_title(artifact)} cannot be restored: the journal has no place for `{digest[:12]}`"
            raise CorruptError(message, kind="corrupt-artifact", hint=_REDO)
    return places


def _written(
    buffers: Sequence[Cut], store: ArtifactStore, index: ExtentIndex
) -> tuple[list[list[Extent]], list[Location]]:
    """The extents of each buffer, and where those are that are not on record as they are."""
    fresh: list[memoryview] = []
    before: dict[int, Sequence[Digest]] = {}
    for cut in buffers:
        if not cut.before:
            fresh += [piece for piece in cut.pieces if type(piece) is memoryview]
            continue
        for number, piece in enumerate(cut.pieces):
            if not isinstance(piece, Extent):
                if number in cut.before:
                    before[len(fresh)] = cut.before[number]
                fresh.append(piece)
    places = store.write(fresh, index=index, before=before) if before else store.write(fresh, index=index)
    left = iter(places)
    rows: list[list[Extent]] = []
    for cut in buffers:
        row: list[Extent] = []
        for piece in cut.pieces:
            if type(piece) is memoryview:
                row += _extents_of(piece, left)
            else:
                row.append(piece)
        rows.append(row)
    return rows, places


def _extents_of(piece: memoryview, places: Iterator[Location]) -> list[Extent]:
    found = [next(places).extent]
    while sum(extent.length for extent in found) < len(piece):
        found.append(next(places).extent)
    return found


class _Buffers:
    """The buffers of one artifact by number, each in one piece; what is mapped is checked by `checks`."""

    def __init__(
        self,
        artifact: Artifact,
        rows: Sequence[Sequence[Extent]],
        store: ArtifactStore,
        index: ExtentIndex,
        *,
        mapping: bool,
    ) -> None:
        self.checks: list[Verification] = []
        self._artifact = artifact
        self._rows = rows
        self._store = store
        self._index = index
        self._mapping = mapping
        self._places = _locate(artifact, rows, index)

    def __call__(self, number: int) -> memoryview:
        row = self._rows[number]
        # A pickle stream is read from end to end right away: mapped, that would take longer.
        mapping = self._mapping and (number > 0 or self._artifact.codec != PickleCodec.name)
        try:
            return self._fetched([self._places[extent.digest] for extent in row], mapping=mapping)
        except CorruptError:
            # They may have been moved while this was being read: `gc` writes sparse packs anew.
            now = _locate(self._artifact, [row], self._index)
            if all(now[extent.digest] == self._places[extent.digest] for extent in row):
                raise
            return self._fetched([now[extent.digest] for extent in row], mapping=mapping)

    def _fetched(self, row: Sequence[Location], *, mapping: bool) -> memoryview:
        mapped = _mapped(row, self._store, self.checks) if mapping else None
        return _assemble(row, self._store) if mapped is None else mapped


@contextlib.contextmanager
def _telling_of(artifact: Artifact) -> Iterator[None]:
    """Errors name the artifact, and whatever a class raises while it is rebuilt is one of ours."""
    try:
        yield
    except CorruptError as error:
        raise CorruptError(
            f"{_title(artifact)} cannot be restored: {error.message}", kind=error.kind, hint=error.hint
        ) from error
    except StoreError:
        raise
    except KitaruError as error:
        message = f"{_title(artifact)} cannot be restored: {error.message}"
        raise StoreError(message, kind=error.kind, hint=error.hint) from error
    except Exception as error:
        message = f"{_title(artifact)} cannot be made again: {type(error).__name__}: {error}"
        raise StoreError(message, kind="unloadable-value", hint=_REDO) from error


def _mapped(
    places: Sequence[Location], store: ArtifactStore, checks: list[Verification]
) -> memoryview | None:
    """The extents at `places` mapped in one piece, with the check begun; None where that cannot be."""
    if not _maps(store):
        return None
    memory = Memory.to_map(sum(place.extent.length for place in places))
    if memory is None or not store.map_into(places, memory):
        return None
    checks.append(Verification(store, places, memory))
    return memory.view


# Asking an object for a protocol takes as long as reading a small value; asking for a method does not.


def _maps(store: ArtifactStore) -> TypeGuard[FileReader]:
    return hasattr(store, "map_into")


def _reads_all(store: ArtifactStore) -> TypeGuard[BulkReader]:
    return hasattr(store, "read_all")


def _reads_into(store: ArtifactStore) -> TypeGuard[DirectReader]:
    return hasattr(store, "read_into")


def _assemble(places: Sequence[Location], store: ArtifactStore) -> memoryview:
    """The extents at `places` in one piece of private, writable memory."""
    if len(places) == 1 and places[0].data is None:
        return store.read(places[0])
    size = sum(place.extent.length for place in places)
    memory = Memory.of(size) if size >= EXTENT_BYTES else None
    if size < EXTENT_BYTES:
        whole = memoryview(bytearray(size))
    elif memory is not None:
        whole = memory.view
    else:
        # Fresh pages come zeroed and only when touched; bytearray would write zeros first.
        region = mmap.mmap(-1, size)
        if hasattr(mmap, "MADV_HUGEPAGE"):
            region.madvise(mmap.MADV_HUGEPAGE)
        whole = memoryview(region)
    jobs, at = [], 0
    for place in places:
        jobs.append((place, whole[at : at + place.extent.length]))
        at += place.extent.length
    if _reads_all(store):
        store.read_all(jobs)
        return whole
    if size < _PARALLEL_BYTES or _THREADS == 1:
        for place, target in jobs:
            _fill(store, place, target)
        return whole
    with ThreadPoolExecutor(_THREADS, thread_name_prefix="kitaru-nb-read") as pool:
        for job in [pool.submit(_fill, store, place, target) for place, target in jobs]:
            job.result()
    return whole


def _fill(store: ArtifactStore, place: Location, target: memoryview) -> None:
    if _reads_into(store):
        store.read_into(place, target)
    else:
        target[:] = store.read(place)


def _title(artifact: Artifact) -> str:
    """What to call the artifact in an error: the user's names where the manifest has them."""
    meta = artifact.manifest.get("meta", {})
    names = [meta["name"]] if "name" in meta else list(meta.get("names", ()))
    listed = ", ".join(f"`{name}`" for name in names)
    return f"the stored value of {listed}" if listed else f"the artifact `{artifact.digest[:12]}`"
