"""Large texts of a pickle taken out of its stream, so that each is stored once, wherever it is.

A message that stands in a history and under a name of its own is the same bytes in both streams,
but never at a cut. So the content of large `str` and `bytes` objects becomes pieces of its own, and
what is left, the skeleton, is a few bytes for each. Putting it together again needs no list of
places: a text's length stands before it, so who goes through the skeleton in the same way finds
the same places. A place that only looks like one does no harm, since only bytes are moved.
"""

from __future__ import annotations

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
_MOST_MISSES = 256  # places that are none; a stream full of numbers has little else
_SKELETON = 16 << 10  # it is stored anew with each change, so it has to be small, by itself or
_PART = 8  # beside the whole
_OPCODES = b"XB"  # BINUNICODE and BINBYTES, followed by a length of four bytes


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
    data = bytes(stream)
    for least in _STEPS:
        places = _places(data, least)
        if places is None or not places:
            return None
        if len(places) <= _MOST_TEXTS:
            break
    else:
        return None
    borders = [0, *(border for place in places for border in place), len(data)]
    spans = list(pairwise(borders))
    skeleton = b"".join(data[low:high] for low, high in spans[::2])
    if len(skeleton) > max(_SKELETON, len(data) // _PART):
        return None
    flat = memoryview(data)
    return Unwoven(skeleton, [flat[low:high] for low, high in places], least)


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


def _places(data: bytes, least: int) -> list[tuple[int, int]] | None:
    """Where large texts begin and end; None where looking for them is not worth the time."""
    found: list[tuple[int, int]] = []
    misses = at = resumed = 0
    while (at := data.find(b"\0\0", at)) >= 0:
        length = _length(data, at, least, resumed)
        if length:
            resumed = at + 2 + length
            if resumed > len(data):
                return None
            found.append((at + 2, resumed))
            at = resumed
        else:
            misses += 1
            if misses > _MOST_MISSES + len(found):
                return None
            at += 1
    return found


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
