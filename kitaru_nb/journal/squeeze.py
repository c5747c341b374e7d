"""Bytes that lie inside the journal, in fewer bytes where that pays.

Deflate, because it is in every Python there will be and costs no import: for pieces of this size
zstd gives the same within a few percent, and the package that brings it loads numpy
(docs/decisions/019). What is squeezed is told from what is not by its length alone, so nothing
is recorded about it: squeezed bytes are always fewer than the extent has.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Iterator

from kitaru_nb.model.artifact import INLINE_BYTES

__all__ = ["LEAST", "squeezed", "squeezed_all", "unsqueezed"]

LEAST = 512
"""Fewer bytes stay as they are: they lie in a page with others anyway."""

_SAMPLE = 2048
_MOST = 128 << 10  # bytes of one commit that time is spent on: at most some milliseconds
_RAW = -zlib.MAX_WBITS  # without a header and a check sum: both are in the row
_SHORT = 8 << 10
_SHORT_RAW, _SHORT_LEVEL = -13, 6
"""For up to 8 KiB: as small within a percent, in a fifth of the memory. To make that ready for each
piece took as long as to squeeze it, and left little of what was in the processor's cache."""


def squeezed(data: bytes) -> bytes:
    """`data` in at most seven eighths of its bytes, or `data` itself where that cannot be had.

    A look at a piece from the middle tells: what does not get smaller costs little time.
    """
    if len(data) < LEAST:
        return data
    middle = max(0, (len(data) - _SAMPLE) // 2)
    sample = data[middle : middle + _SAMPLE]
    # Without repetitions (base64, hexadecimal digits) a search for some takes twice the time, and is worse.
    searched, plain = (_deflated(sample, how) for how in (zlib.Z_DEFAULT_STRATEGY, zlib.Z_HUFFMAN_ONLY))
    small = min(searched, plain, key=len)
    if not _pays(small, sample):
        return data
    if len(sample) < len(data):
        small = _deflated(data, zlib.Z_DEFAULT_STRATEGY if small is searched else zlib.Z_HUFFMAN_ONLY)
    return small if _pays(small, data) else data


def squeezed_all(pieces: Iterable[bytes]) -> Iterator[bytes]:
    """`pieces` squeezed, the first 128 KiB of them: beyond that one commit would take too long."""
    left = _MOST
    for piece in pieces:
        left -= len(piece)
        yield squeezed(piece) if left >= 0 else piece


def unsqueezed(data: bytes, length: int) -> bytes:
    """The `length` bytes that `data` stands for, and never more, whatever `data` is.

    Where it stands for something else, `data` itself comes back; its digest is not the right one.
    """
    if len(data) >= length or not data or length > INLINE_BYTES:
        return data
    engine = zlib.decompressobj(_RAW)
    try:
        found = engine.decompress(data, length)
    except zlib.error:
        return data
    return found if len(found) == length else data


def _deflated(data: bytes, strategy: int) -> bytes:
    bits, level = (_SHORT_RAW, _SHORT_LEVEL) if len(data) <= _SHORT else (_RAW, zlib.DEF_MEM_LEVEL)
    engine = zlib.compressobj(1, zlib.DEFLATED, bits, level, strategy)
    return engine.compress(data) + engine.flush()


def _pays(small: bytes, data: bytes) -> bool:
    return len(small) * 8 <= len(data) * 7
