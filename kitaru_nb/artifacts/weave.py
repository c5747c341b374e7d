"""Large texts of a pickle taken out of its stream, so that each is stored once, wherever it is.

A message that stands in a history and under a name of its own is the same bytes in both streams,
but never at a cut. So the content of large `str` and `bytes` objects becomes pieces of its own, and
what is left, the skeleton, is a few bytes for each. Putting it together again needs no list of
places: a text's length stands before it, so who goes through the skeleton in the same way finds
the same places. A place that only looks like one does no harm, since only bytes are moved.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate, pairwise
from typing import Any

__all__ = ["TEXT_LEAST", "Unwoven", "unwoven", "woven"]

TEXT_LEAST = 1024
"""A text of fewer bytes stays where it is."""

_STEPS = (TEXT_LEAST, 4 * TEXT_LEAST, 16 * TEXT_LEAST)
_LARGEST = 4 << 20  # of a larger stream it would be 128 texts at most: too few to matter
_MOST_TEXTS = 128  # more would make the manifest heavier than what it saves
_SKELETON = 16 << 10  # it is stored anew with each change, so it has to be small, by itself or
_PART = 8  # beside the whole
_OPCODES = b"XB"  # BINUNICODE and BINBYTES, followed by a length of four bytes
_HEADS = {
    least: re.compile(rb"[%b].[%b-\xff]\0\0" % (_OPCODES, re.escape(bytes([least >> 8]))), re.DOTALL)
    for least in _STEPS
}
"""What stands before a text of at least so many bytes and less than 64 KiB: see `_length`."""


@dataclass(frozen=True, slots=True)
class Unwoven:
    """A stream without its large texts, and these in order.

    Attributes:
        skeleton: What is left.
        texts: What was taken out.
        least: The fewest bytes of a text that counts as large.
    """

    skeleton: bytes
    texts: Sequence[memoryview]
    least: int

    @property
    def meta(self) -> dict[str, Any]:
        """What a manifest says of it."""
        return {"woven": [len(self.texts), self.least]}


def unwoven(stream: memoryview) -> Unwoven | None:
    """`stream` taken apart; None where it has no large texts, too many, or too much besides."""
    if len(stream) > _LARGEST:
        return None
    for least in _STEPS:
        found = _apart(stream, least)
        if found is None or not found[1]:
            return None
        if len(found[1]) <= _MOST_TEXTS:
            return Unwoven(b"".join(found[0]), found[1], least)
    return None


def woven(data: memoryview, count: int, least: int) -> memoryview:
    """The stream that was taken apart into a skeleton and `count` texts, which `data` is in a row.

    Raises:
        ValueError: it is something else.
    """
    flat = bytes(data)
    places: list[tuple[int, int]] = []  # behind which byte of the skeleton a text comes, how long it is
    at = 0
    while len(places) < count:
        at = flat.find(b"\0\0", at)
        if at < 0:
            raise ValueError("a text has no place in the stream")
        length = _length(flat, at, least, places[-1][0] if places else 0)
        if length:
            places.append((at + 2, length))
            at += 2
        else:
            at += 1
    ends = list(accumulate((length for _, length in places), initial=0))
    start = len(flat) - ends[-1]
    if start < (places[-1][0] if places else 0):
        raise ValueError("the stream is shorter than its texts")
    pieces: list[bytes] = []
    before = 0
    for (place, _), (low, high) in zip(places, pairwise(ends), strict=True):
        pieces += (flat[before:place], flat[start + low : start + high])
        before = place
    pieces.append(flat[before:start])
    return memoryview(b"".join(pieces))


def _apart(data: memoryview, least: int) -> tuple[list[memoryview], list[memoryview]] | None:
    """What is left of `data` and its large texts; None where more is left than may be.

    No more than that is looked at, however long `data` is, and not after one text too many.
    """
    search, size = _HEADS[least].search, len(data)
    left: list[memoryview] = []
    texts: list[memoryview] = []
    room, at = max(_SKELETON, size // _PART), 0
    for _ in range(_MOST_TEXTS + 1):
        head = search(data, at, at + room)
        if head is None:
            break
        start = head.end()
        left.append(data[at:start])
        room -= start - at
        at = start + (data[start - 4] | data[start - 3] << 8)
        if at > size:
            return None
        texts.append(data[start:at])
    if size - at > room and len(texts) <= _MOST_TEXTS:
        return None
    left.append(data[at:])
    return left, texts


def _length(data: bytes, zeros: int, least: int, resumed: int) -> int:
    """How long the text is whose length ends with the two bytes at `zeros`; 0 where there is none.

    A length is four bytes, the lowest first, so that of a text of less than 64 KiB ends in two zeros.
    What was looked at before `resumed` is a text.
    """
    start = zeros - 3
    if start < resumed or data[start] not in _OPCODES:
        return 0
    length = data[start + 1] | data[start + 2] << 8
    return length if length >= least else 0
