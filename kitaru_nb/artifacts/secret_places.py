"""Where in a block of bytes to look closer for a secret: a few passes at the speed of C.

With numpy a key of a known shape is met at the last character of what it begins with, a secret's
name at what stands right behind it. These bytes are seldom, and the four before them say nearly
always that it is nothing. What is left is looked at by `artifacts.secret_scan`, a Python call
for each: it has to be next to nothing, whatever a value is made of.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

from kitaru_nb.artifacts.secret_rules import is_secret_name

__all__ = ["AHEAD", "Places", "places_in", "plain_places_in"]

AHEAD = 8
"""Bytes that must stand before anything of interest."""

_BEGINNINGS = (
    *("sk-", "glpat-", "gldt-", "glrt-", "glptt-", "gloas-", "xapp-", "GOCSPX-", "pypi-", "xai-", "pplx-"),
    *(f"xox{kind}-" for kind in "abeoprs"),
    *("nvapi-", "-----"),
    *(f"{kind}k_{mode}_" for kind in "sr" for mode in ("live", "test")),
    *(f"gh{kind}_" for kind in "pousr"),
    *("github_pat_", "hf_", "npm_", "gsk_", "lsv2_", "r8_"),
    *(f"do{kind}_v1_" for kind in "opr"),
    *("AKI", "ASI", "eyJ", "AIz", "SG.", "ya29."),
)
"""What keys of a known shape begin with, up to a character that is seldom."""

_WORDS = (
    "key keys token tokens secret secrets password passwords passwd passphrase passphrases credential "
    "credentials authorization"
).split()
_FREQUENT, _BEFORE_IT = b"zI"  # the one beginning that ends in a letter of many texts: asked for as a pair
_GOES_ON = b"_-"
_GOES_ON_PLAIN = b"\x94\x8cxc_-.0123456789"  # in lower case
_BEHIND_NOTED = b"\x94"  # a pickle that takes notes does so after each string
_BEHIND = b"\x94\x8cCX"
_LOWER = 0x20202020


class Places(NamedTuple):
    """Where to look closer."""

    begins: list[int]
    """Where a key of a known shape may begin."""
    names: list[int]
    """The last character of a word that is a secret's name or stands within one."""


def places_in(data: bytes, numpy: Any, *, memo: bool) -> Places:
    """The places in `data`; what stands in its first `AHEAD` bytes is not seen.

    Args:
        data: The bytes.
        numpy: The module.
        memo: Whether it is a pickle that takes notes of its strings.
    """
    if not _tables:
        _tables.append(_Tables(numpy))
    tables = _tables[0]
    x = numpy.frombuffer(data, numpy.uint8)
    wanted = x == _FREQUENT
    wanted[1:] &= x[:-1] == _BEFORE_IT
    for byte in tables.noted if memo else tables.all:
        wanted |= x == byte
    wanted[:AHEAD] = False
    at = wanted.nonzero()[0]
    if len(at):
        two = (x[at - 2].astype(numpy.uint16) << 8) | x[at - 1]
        at = at[(tables.pairs[two] & tables.kinds[x[at]]) != 0]
    if not len(at):
        return Places([], [])
    four = _joined(x, at, range(3, -1, -1), numpy)
    begins = []
    for shape in (four, four & 0xFFFFFF):
        found, away = _away(shape, tables.begins)
        begins += (at[found] - away).tolist()
    lower = _joined(x, at, range(4, 0, -1), numpy) | _LOWER
    named = at[_among(lower, tables.words[0]) | _among(lower & 0xFFFFFF, tables.words[0])]
    return Places(begins, (named[_is_word(x, named, numpy, tables)] - 1).tolist())


def _is_word(x: Any, at: Any, numpy: Any, tables: _Tables) -> Any:
    """Of ends that are a word's, those with the rest of the word before them."""
    tails, rests, masks = tables.words
    before, tail = (_joined(x, at, range(away, away - 4, -1), numpy) | _LOWER for away in (8, 4))
    place = tails.searchsorted(tail)
    place[tails[place] != tail] = 0  # `key`: nothing has to stand before it
    return before & masks[place] == rests[place]


def plain_places_in(data: bytes) -> Places:
    """As `places_in`, without numpy: for short streams, or where it is not loaded."""
    begins = [
        match.end() - len(text)
        for last, texts, pattern in _BY_END
        if last in data
        for match in pattern.finditer(data)
        for text in texts
        if data.startswith(text, max(0, match.end() - len(text)), match.end())
    ]
    lower = data.lower()
    if not (b"ke" in lower or b"cre" in lower or b"pass" in lower or b"auth" in lower):
        return Places(begins, [])  # one of these is in every word, and most bytes hold none
    names = _names_by_string(data)
    return Places(begins, _names_by_word(lower) if names is None else names)


def _names_by_string(data: bytes) -> list[int] | None:
    """Where each short string begins that is a secret's name; None where there are too many strings."""
    names = []
    left = len(data) // _APART
    for opcode in _SHORT_STRINGS:
        at = data.find(opcode, 0, -1)
        while at >= 0:
            if left == 0:
                return None
            left -= 1
            start = at + 2
            if is_secret_name(data[start : start + data[at + 1]].decode("latin-1")):
                names.append(start)
            at = data.find(opcode, at + 1, -1)
    return names


def _names_by_word(lower: bytes) -> list[int]:
    names = []
    for word in _STEMS:
        for at in _all(lower, word) if word in lower else ():
            end = at + len(word)
            end += lower[end : end + 1] == b"s"
            if lower[end : end + 1] in _GOES_ON_PLAIN:
                names.append(end - 1)
    return names


def _all(data: bytes, text: bytes) -> Iterator[int]:
    at = data.find(text)
    while at >= 0:
        yield at
        at = data.find(text, at + 1)


def _by_end() -> Iterator[tuple[bytes, list[bytes], re.Pattern[bytes]]]:
    """The last characters of what keys begin with: what ends so, and what finds it by three of its own."""
    texts = [text.encode() for text in _BEGINNINGS]
    for last in sorted({text[-1:] for text in texts}):
        some = [text for text in texts if text.endswith(last)]
        ends = b"|".join(sorted({re.escape(text[-3:]) for text in some}))
        yield last, some, re.compile(re.escape(last) + b"(?<=" + ends + b")")


_BY_END = [*_by_end()]
_STEMS = [word.encode() for word in _WORDS if not word.endswith("s")]
_SHORT_STRINGS = (b"\x8c", b"C")  # what a pickle has before text and bytes of less than 256 characters
_APART = 128  # bytes; strings that are closer are not looked at one by one


def _joined(x: Any, at: Any, places: Iterable[int], numpy: Any) -> Any:
    """The bytes that stand so far before each place, as one number."""
    found = numpy.zeros(len(at), numpy.uint32)
    for away in places:
        found = found << 8 | x[at - away]
    return found


def _among(values: Any, table: Any) -> Any:
    return table[table.searchsorted(values)] == values


def _away(values: Any, table: tuple[Any, Any]) -> tuple[Any, Any]:
    """Which of `values` are in the table's first column, and what the second has for them."""
    known, away = table
    places = known.searchsorted(values)
    found = known[places] == values
    return found, away[places[found]]


class _Tables:
    """What is compared with, made once: shapes of 3 and of 4 bytes never meet, by their highest byte."""

    def __init__(self, numpy: Any) -> None:
        ends = {_number(text[-4:]): len(text) - 1 for text in _BEGINNINGS}
        known = sorted(ends)
        last = numpy.iinfo(numpy.uint32).max  # so that a search always ends at an entry
        self.begins = (
            numpy.array([*known, last], numpy.uint32),
            numpy.array([*(ends[each] for each in known), 0], numpy.int64),
        )
        words = sorted((_number(word[-4:]), word[-8:-4]) for word in _WORDS)
        self.words = tuple(
            numpy.array(column, numpy.uint32)
            for column in (
                [*(tail for tail, _ in words), last],
                [*(_number(rest) for _, rest in words), 0],
                [*((1 << 8 * len(rest)) - 1 for _, rest in words), 0],
            )
        )
        self.kinds = numpy.zeros(256, numpy.uint8)
        self.pairs = numpy.zeros(1 << 16, numpy.uint8)
        stands = sorted({text[-1] for text in _BEGINNINGS})
        for bit, char in enumerate(stands):
            self.kinds[ord(char)] |= 1 << bit
            self._pair(bit, [text[-3:-1] for text in _BEGINNINGS if text[-1] == char])
        bit = len(stands)
        for byte in (*_BEHIND, *_GOES_ON):
            self.kinds[byte] |= 1 << bit
        two = {(word[-2], word[-1]) for word in _WORDS}
        self._pair(
            bit, [a + b for one, other in two for a in one + one.upper() for b in other + other.upper()]
        )
        begin = [*map(ord, stands)]
        begin.remove(_FREQUENT)
        self.noted = list(dict.fromkeys([*begin, *_GOES_ON, *_BEHIND_NOTED]))
        self.all = list(dict.fromkeys([*begin, *_GOES_ON, *_BEHIND]))

    def _pair(self, bit: int, texts: Iterable[str]) -> None:
        for text in texts:
            self.pairs[ord(text[0]) << 8 | ord(text[1])] |= 1 << bit


def _number(text: str) -> int:
    return int.from_bytes(text.encode(), "big")


_tables: list[_Tables] = []
