"""Whether bytes about to be written may hold a secret: fast, and wrong in one direction only.

A pickle stream is looked through for the values that are known, for the beginnings of key
shapes, and for text that stands right behind a secret's name. Whatever is suspected is looked
at again by the exact way, `Vault.parts`; what is not suspected costs about a nanosecond per byte,
and nothing when the same block was looked through before.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from typing import Any

import xxhash

from kitaru_nb.artifacts.secret_rules import (
    BEGINNINGS,
    LEAST,
    SECRET_WORDS,
    is_secret_name,
    is_secret_under,
    may_have_shape,
)
from kitaru_nb.artifacts.vault import VAULT

__all__ = ["hints_at_secret", "is_secret_text", "may_hold_secret"]

_BLOCK = 32 << 10
_SMALL_BLOCK = 8 << 10
_OVERLAP = 512
_LONGEST_NAME = 102
_WITH_NUMPY = 8 << 10
_WORTH_NUMPY = 2 << 20  # bytes for which numpy is loaded where it is not
_LONG = 2048
_REMEMBERED = 1 << 16

_SHAPES = re.compile(
    rb"sk-[A-Za-z0-9_-]{16}|[sr]k_(?:live|test)_[A-Za-z0-9]{16}|gh[pousr]_[A-Za-z0-9]{20}|github_pat_[A-Za-z0-9_]{20}"
    rb"|gl(?:pat|dt|rt|ptt|oas)-[A-Za-z0-9_-]{16}|A[KS]IA[A-Z0-9]{16}|xox[abeoprs]-[A-Za-z0-9-]{10}|xapp-[A-Za-z0-9-]{16}"
    rb"|AIza[A-Za-z0-9_-]{30}|GOCSPX-[A-Za-z0-9_-]{20}|hf_[A-Za-z0-9]{20}|npm_[A-Za-z0-9]{30}|pypi-[A-Za-z0-9_-]{40}"
    rb"|gsk_[A-Za-z0-9]{20}|xai-[A-Za-z0-9]{20}|pplx-[A-Za-z0-9]{20}|nvapi-[A-Za-z0-9_-]{20}"
    rb"|lsv2_[a-z]{2}_\w{20}"
    rb"|r8_[A-Za-z0-9]{30}|do[opr]_v1_[a-f0-9]{40}"
    rb"|eyJ[A-Za-z0-9_-]{8,400}\.eyJ|-----BEGIN (?:[A-Z]+ )*PRIVATE KEY"
    rb"|://[^\s:/@\x00-\x1f\x80-\x9f]{0,200}:[^\s/@\x00-\x1f\x80-\x9f]{12,400}@"
)
_NAMES = (b"key", b"token", b"secret", b"password", b"passwd", b"passphrase", b"credential", b"authorization")
_BEHIND = b"\x94\x8cxc_-.0123456789"  # what a name may go on with, in lower case
_BEGIN = [(within.encode(), [begin.encode() for begin in begins]) for within, begins in BEGINNINGS]

# What is looked for, and the two letters that stand before it in lower case.
_ALL = [bytes([byte]) for byte in range(256)]
_KINDS = (
    (
        b"-",
        [
            b"sk",
            b"at",
            b"dt",
            b"rt",
            b"tt",
            b"as",
            b"xa",
            b"xb",
            b"xo",
            b"xp",
            b"xr",
            b"xs",
            b"xe",
            b"pp",
            b"px",
            b"pi",
            b"ai",
            b"lx",
            b"--",
        ],
    ),
    (
        b"_",
        [
            b"hp",
            b"ho",
            b"hu",
            b"hs",
            b"hr",
            b"at",
            b"hf",
            b"ve",
            b"st",
            b"pm",
            b"sk",
            b"pt",
            b"ls",
            b"r8",
            b"v1",
        ],
    ),
    (b"I", [b"ak", b"as"]),
    (b"J", [b"ey"]),
    (b"z", [b"ai"]),
    (b"@", [one + other for one in _ALL for other in _ALL]),
    # the last letters of a name, and of the word in a name that goes on
    (
        b"\x94\x8cCX",
        [b"ey", b"ys", b"en", b"ns", b"et", b"ts", b"rd", b"ds", b"wd", b"on", b"al", b"ls", b"se"],
    ),
    (b"_-", [b"ey", b"ys", b"en", b"ns", b"et", b"ts", b"rd", b"ds", b"wd"]),
)


def hints_at_secret(text: str) -> bool:
    """Whether a text has to be looked at by the exact way; for short ones."""
    if len(text) < LEAST:
        return False
    lower = text.lower()
    if any(word in lower for word in SECRET_WORDS):
        return True
    return may_have_shape(text) or any(value in text for value in VAULT.values())


def is_secret_text(name: str, text: str) -> bool:
    """Whether a text that goes by `name` is a secret or holds one."""
    if len(text) < LEAST:
        return False
    if len(text) > _LONG:
        return may_hold_secret(text.encode("utf-8", "surrogatepass")) and VAULT.parts(text, name) is not None
    return (is_secret_name(name) or hints_at_secret(text)) and VAULT.parts(text, name) is not None


def may_hold_secret(data: Any, *, memo: bool = False) -> bool:
    """Whether a pickle stream, or a part of one that holds whole strings, may hold a secret.

    Args:
        data: Bytes or a memoryview of them.
        memo: Whether it is a pickle that takes notes of its strings, which is looked through faster.
    """
    view = memoryview(data).cast("B")
    size = len(view)
    if size < LEAST:
        return False
    changes = VAULT.changes
    if changes != _needles[0]:
        _needles[:] = changes, [value.encode("utf-8", "surrogatepass") for value in VAULT.values()]
    needles = _needles[1]
    step = _BLOCK if "numpy" in sys.modules else _SMALL_BLOCK
    if size <= step:
        return _is_suspect(bytes(view), needles, memo=memo)
    if changes != _clean[0]:
        _clean[0] = changes
        _clean[1].clear()
    known = _clean[1]
    for at in range(0, size, step):
        block = view[max(0, at - _OVERLAP) : at + step + _OVERLAP]
        mark = xxhash.xxh3_128_intdigest(block, memo)
        if mark in known:
            continue
        if _is_suspect(bytes(block), needles, size, memo=memo):
            return True
        if len(known) >= _REMEMBERED:
            known.clear()
        known.add(mark)
    return False


_clean: list[Any] = [-1, set()]
_needles: list[Any] = [-1, []]


def _is_suspect(data: bytes, needles: list[bytes], whole: int = 0, *, memo: bool) -> bool:
    if any(needle in data for needle in needles):
        return True
    numpy = sys.modules.get("numpy") if len(data) >= _WITH_NUMPY else None
    if numpy is None and whole >= _WORTH_NUMPY:
        import numpy  # noqa: PLC0415, ICN001 - it pays from here on
    if numpy is not None and hasattr(numpy, "frombuffer"):
        places = _candidates(data, numpy, memo=memo)
        return any(_is_hit(data, at) for at in places)
    begun = any(within in data and any(map(data.__contains__, begins)) for within, begins in _BEGIN)
    return (begun and _any_shape(data)) or any(_is_named(data, at) for at in _names_in(data))


def _names_in(data: bytes) -> Iterator[int]:
    """Where a secret's name may end, or its word in it."""
    lower = data.lower()
    for word in _NAMES:
        at = lower.find(word)
        while at >= 0:
            end = at + len(word)
            end += lower[end : end + 1] == b"s"
            if lower[end : end + 1] in _BEHIND:
                yield end - 1
            at = lower.find(word, end)


def _any_shape(data: bytes) -> bool:
    return any(not _is_inside_word(data, match.start()) for match in _SHAPES.finditer(data))


_MEMO = (95, 73, 74, 64, 122, 0x94)
_NO_MEMO = (95, 73, 74, 64, 122, 67, 88, 0x94, 0x8C)


_DASH = 45
_WITH_MEMO = (95, 73, 74, 64, 122, 0x94)  # the bytes of _KINDS: in such a stream 0x94 ends each string
_WITHOUT_MEMO = (95, 73, 74, 64, 122, 67, 88, 0x94, 0x8C)


def _candidates(data: bytes, numpy: Any, *, memo: bool) -> list[int]:
    """Where to look closer; found with a few passes of vector instructions."""
    if not _tables:
        _tables.append(_make_tables(numpy))
    first, pairs = _tables[0]
    x = numpy.frombuffer(data, numpy.uint8)
    wanted = x == _DASH
    for byte in _WITH_MEMO if memo else _WITHOUT_MEMO:
        wanted |= x == byte
    wanted[:3] = False
    at = wanted.nonzero()[0]
    if not len(at):
        return []
    kind = first[x[at]]
    two = (x[at - 2].astype(numpy.uint16) << 8) | x[at - 1]
    found: list[int] = at[(pairs[two] & kind) != 0].tolist()
    return found


_tables: list[Any] = []


def _make_tables(numpy: Any) -> tuple[Any, Any]:
    """For a byte the kinds that it may stand for, and for the two bytes before it the same."""
    first = numpy.zeros(256, numpy.uint8)
    pairs = numpy.zeros(1 << 16, numpy.uint8)
    for bit, (stands, endings) in enumerate(_KINDS):
        for byte in stands:
            first[byte] |= 1 << bit
        for ending in endings:
            for one in {ending[-2:-1].lower(), ending[-2:-1].upper()}:
                for other in {ending[-1:].lower(), ending[-1:].upper()}:
                    pairs[one[0] << 8 | other[0]] |= 1 << bit
    return first, pairs


def _is_hit(data: bytes, at: int) -> bool:
    """Whether there is a shape or a secret's name around the character at `at`."""
    low = max(0, at - 16 if data[at : at + 1] != b"@" else at - 640)
    around = data[low : at + 512]
    for match in _SHAPES.finditer(around):
        if match.start() + low <= at <= match.end() + low and not _is_inside_word(data, match.start() + low):
            return True
    return _is_named(data, at - 1)


def _is_inside_word(data: bytes, start: int) -> bool:
    """Whether a letter stands before `start`: "task-", and no length of a string."""
    before = data[start - 1 : start]
    if data[start : start + 1] in (b":", b"-"):
        return False
    return before.isalnum() and data[start - 2 : start - 1] not in (b"\x8c", b"C")


def _is_named(data: bytes, inside: int) -> bool:
    """Whether the string around `inside` is a secret's name, with a secret behind it."""
    for opcode in (b"\x8c", b"C"):
        at = data.rfind(opcode, max(0, inside - _LONGEST_NAME), inside)
        while at >= 0:
            start, end = at + 2, at + 2 + data[at + 1]
            if start <= inside < end <= start + _LONGEST_NAME:
                return _is_named_value(data, data[start:end].decode("latin-1"), end)
            at = data.rfind(opcode, max(0, inside - _LONGEST_NAME), at)
    return False


def _is_named_value(data: bytes, name: str, end: int) -> bool:
    if data[end : end + 1] == b"\x94":
        end += 1
    opcode = data[end : end + 1]
    if opcode in (b"h", b"j"):  # a string met before
        return is_secret_under(name, "a1B2c3D4e5F6g7H8")
    if opcode in (b"\x8c", b"C"):
        start, length = end + 2, data[end + 1] if end + 1 < len(data) else 0
    elif opcode in (b"X", b"B"):
        start, length = end + 5, int.from_bytes(data[end + 1 : end + 5], "little")
    else:
        return False
    return is_secret_under(name, data[start : start + min(length, 8192)].decode("utf-8", "replace"))
