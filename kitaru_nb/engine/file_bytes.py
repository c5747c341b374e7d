"""A file's bytes to the store and back: read once, a few MiB at a time, and put in place whole."""

from __future__ import annotations

import os
import secrets
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from blake3 import blake3

from kitaru_nb.artifacts.fitting import raise_named
from kitaru_nb.artifacts.values import (
    Stored,
    checked_buffers,
    extent_reader,
    manifest_digest,
    packed_extents,
)
from kitaru_nb.engine.engine import Engine
from kitaru_nb.engine.observe import now_ns
from kitaru_nb.errors import CorruptError, StoreError
from kitaru_nb.model.artifact import EXTENT_BYTES, Artifact, Digest, Location

__all__ = ["BATCH", "load_file", "store_file"]

BATCH = 16 << 20
"""Bytes of a file that are in memory at a time."""


def store_file(engine: Engine, path: str, below: str) -> tuple[str, Stored]:
    """The digest and the artifact of a file, read once and a `BATCH` at a time."""
    whole = blake3()
    places: list[Location] = []
    with Path(path).open("rb", buffering=0) as file:
        batch = memoryview(bytearray(min(BATCH, max(os.fstat(file.fileno()).st_size + 1, 1))))
        while count := _fill(file, batch):
            whole.update(batch[:count])
            extents = [batch[at : min(at + EXTENT_BYTES, count)] for at in range(0, count, EXTENT_BYTES)]
            try:
                places += engine.store.write(extents, index=engine.journal)
            except StoreError as error:
                size = os.fstat(file.fileno()).st_size
                raise_named(error, f"the file `{below}`", size)
    manifest: dict[str, Any] = {
        "codec": "file",
        "version": 1,
        "meta": {"name": below},
        "buffers": [packed_extents(place.extent for place in places)],
    }
    size = sum(place.extent.length for place in places)
    artifact = Artifact(manifest_digest(manifest), "file", size, manifest)
    once = {place.extent.digest: place for place in places}
    return str(whole.hexdigest()), Stored(artifact, tuple(once.values()), fresh=size)


def _fill(file: Any, batch: memoryview) -> int:
    count = 0
    while count < len(batch) and (got := file.readinto(batch[count:])):
        count += got
    return count


def load_file(engine: Engine, file: Mapping[str, Any], path: str, *, replace: bool) -> None:
    """Write the stored file next to its place, make it durable, then move it there."""
    artifact = engine.artifact(Digest(file["artifact"]))
    read = extent_reader(artifact, store=engine.store, index=engine.journal)
    target = Path(path)
    target.parent.mkdir(parents=True, exist_ok=True)
    spare = target.with_name(f".kitaru-nb-{secrets.token_hex(8)}")
    try:
        whole = blake3()
        with spare.open("xb") as out:
            for extent in checked_buffers(artifact)[0]:
                data = read(extent)
                whole.update(data)
                out.write(data)
            out.flush()
            os.fsync(out.fileno())
        if whole.hexdigest() != file["digest"]:
            message = f"the stored file `{file['below']}` does not have the digest on record"
            raise CorruptError(message, kind="corrupt-artifact", hint="kitaru-nb doctor")
        spare.chmod(file.get("permissions", 0o644))
        os.utime(spare, ns=(now_ns(), file["mtime"]))
        _move(spare, target, replace=replace)
    finally:
        spare.unlink(missing_ok=True)


def _move(spare: Path, target: Path, *, replace: bool) -> None:
    if not replace:
        try:
            os.link(spare, target)  # unlike a rename it never takes the place of a file made meanwhile
        except FileExistsError:
            raise
        except OSError:  # a file system without hard links
            spare.rename(target)
        return
    spare.rename(target)
