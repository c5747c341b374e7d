"""Where buffers are cut into extents, so that those that are as they were are on record already.

Raw memory is cut every 1 MiB, and takes along what was there before, so that the store can tell
an extent that is changed here and there.

A pickle of a history that was appended to begins like the one before, but for the length in
the header of what was its last frame (PEP 3154). So that header is an extent of its own, and a
stream is cut where its predecessor was for as long as the bytes agree. Where a few large texts are
most of the stream they are taken out of it first (see `weave`), and each is an extent. Where cuts lie never
matters to what is read back, only to how much of it is on record already.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import pairwise

from kitaru_nb.artifacts.extent_save import digest_of
from kitaru_nb.artifacts.fingerprints import Fingerprints
from kitaru_nb.artifacts.store import NOTHING_BEFORE, Before
from kitaru_nb.artifacts.weave import Unwoven
from kitaru_nb.model.artifact import EXTENT_BYTES, Digest, Extent

__all__ = ["SMALL_STREAM", "Cut", "cut_apart", "cut_buffer", "cut_stream"]

SMALL_STREAM = 4096
"""A stream of at most this many bytes is one extent."""

_FRAME = 0x95
_HEADER = 9  # the opcode and the frame's length, 8 bytes
_END = 256  # what closes a stream comes after what is appended: it is kept apart
_LEAST = 1024  # a shorter end is not kept apart from what is added to it
_MOST_PIECES = 128  # about; more would make the manifest heavier than what it saves


@dataclass(frozen=True, slots=True)
class Cut:
    """The pieces of a buffer, and by number the extents that a piece may be a changed form of."""

    pieces: Sequence[Extent | memoryview]
    before: Before = field(default_factory=lambda: NOTHING_BEFORE)


def cut_buffer(buffer: memoryview, before: Sequence[Extent]) -> Cut:
    """Raw memory in pieces of 1 MiB, each with the extents of `before` that were in its place."""
    flat = buffer.cast("B")
    pieces = [flat[start : start + EXTENT_BYTES] for start in range(0, len(flat), EXTENT_BYTES)]
    if len(flat) <= EXTENT_BYTES or sum(extent.length for extent in before) != len(flat):
        return Cut(pieces)
    there: dict[int, list[Digest]] = {}
    at = 0
    for extent in before:
        there.setdefault(at // EXTENT_BYTES, []).append(extent.digest)
        at += extent.length
    return Cut(pieces, there)


def cut_stream(stream: memoryview, start: int, before: Sequence[Extent]) -> list[Extent | memoryview]:
    """`stream` in pieces of at most 1 MiB; those that are as before are named by their extents.

    Args:
        stream: Bytes of a pickle, or of several behind each other.
        start: Where the pickle that grows begins.
        before: The extents of the stream that this one may be a longer form of.
    """
    if len(stream) <= SMALL_STREAM:
        return [stream]
    pieces, at = _as_before(stream, before)
    least = max(_LEAST, len(stream) // _MOST_PIECES)
    while pieces and _length(pieces[-1]) < least:
        at -= _length(pieces.pop())
    inner = {*_last_frame(stream, start), len(stream) - _END}
    borders = [at, *sorted(border for border in inner if border > at), len(stream)]
    for low, high in pairwise(borders):
        pieces += [stream[n : min(n + EXTENT_BYTES, high)] for n in range(low, high, EXTENT_BYTES)]
    return pieces


def cut_apart(stream: Unwoven, before: Sequence[Extent]) -> list[Extent | memoryview]:
    """What `stream` was taken apart into, in order; texts that are among `before` by their extents."""
    known = {extent.digest: extent for extent in before}
    skeleton = memoryview(stream.skeleton)
    pieces: list[Extent | memoryview] = [
        skeleton[at : at + EXTENT_BYTES] for at in range(0, len(skeleton), EXTENT_BYTES)
    ]
    return [*pieces, *map(known.get, _digests_of(stream.texts), stream.texts)]


_TEXTS = Fingerprints()  # a history is told from the one before at each step


def _digests_of(texts: Sequence[memoryview]) -> list[Digest]:
    found: list[Digest] = []
    for text, digest in zip(texts, _TEXTS.digests(texts), strict=True):
        if digest is None:
            digest = digest_of(text)  # noqa: PLW2901 - from here on it is known
            _TEXTS.remember(text, digest)
        found.append(digest)
    return found


def _as_before(stream: memoryview, before: Sequence[Extent]) -> tuple[list[Extent | memoryview], int]:
    """The pieces up to the first that is another, and where they end."""
    pieces: list[Extent | memoryview] = []
    at = 0
    for extent in before:
        end = at + extent.length
        piece = stream[at:end]
        if digest_of(piece) == extent.digest:
            pieces.append(extent)
        elif extent.length == len(piece) == _HEADER and piece[0] == _FRAME:
            pieces.append(piece)
        else:
            break
        at = end
    return pieces, at


def _length(piece: Extent | memoryview) -> int:
    return piece.length if isinstance(piece, Extent) else len(piece)


def _last_frame(stream: memoryview, start: int) -> tuple[int, ...]:
    """Where the header of the last frame before the first object too large for one begins and ends."""
    found: tuple[int, ...] = ()
    at = start + 2  # behind the protocol's opcode
    while at + _HEADER <= len(stream) and stream[at] == _FRAME:
        found = at, at + _HEADER
        at += _HEADER + int.from_bytes(stream[at + 1 : at + _HEADER], "little")
    return found
