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

from kitaru_nb.artifacts.secret_places import AHEAD, places_in, plain_places_in
from kitaru_nb.artifacts.secret_rules import (
    LEAST,
    SECRET_WORDS,
    is_secret_list,
    is_secret_name,
    is_secret_under,
    may_have_shape,
)
from kitaru_nb.artifacts.vault import VAULT

__all__ = ["hints_at_secret", "is_secret_text", "may_hold_secret"]

_BLOCK = 32 << 10
_SMALL_BLOCK = 8 << 10
_AT_ONCE = 8  # blocks that are looked through in one go: a call of numpy costs as much as 2 KiB
_OVERLAP = 640
_MARGIN = bytes(AHEAD)
_LONGEST_NAME = 102
_WITH_NUMPY = 4 << 10
_WORTH_NUMPY = 8 << 20  # bytes that were looked through without it before numpy is loaded
_LONG = 2048
_REMEMBERED = 1 << 16

_SHAPES = re.compile(
    rb"sk-[A-Za-z0-9_-]{16}|[sr]k_(?:live|test)_[A-Za-z0-9]{16}|gh[pousr]_[A-Za-z0-9]{20}|github_pat_[A-Za-z0-9_]{20}"
    rb"|gl(?:pat|dt|rt|ptt|oas)-[A-Za-z0-9_-]{16}|A[KS]IA[A-Z0-9]{16}|xox[abeoprs]-[A-Za-z0-9-]{10}|xapp-[A-Za-z0-9-]{16}"
    rb"|AIza[A-Za-z0-9_-]{30}|GOCSPX-[A-Za-z0-9_-]{20}|hf_[A-Za-z0-9]{20}|npm_[A-Za-z0-9]{30}|pypi-[A-Za-z0-9_-]{40}"
    rb"|gsk_[A-Za-z0-9]{20}|xai-[A-Za-z0-9]{20}|pplx-[A-Za-z0-9]{20}|nvapi-[A-Za-z0-9_-]{20}"
    rb"|lsv2_[a-z]{2}_\w{20}"
    rb"|r8_[A-Za-z0-9]{30}|do[opr]_v1_[a-f0-9]{40}|ya29\.[A-Za-z0-9_-]{20}"
    rb"|SG\.[A-Za-z0-9_-]{16,80}\.[A-Za-z0-9_-]{16}"
    rb"|eyJ[A-Za-z0-9_-]{8,400}\.eyJ|-----BEGIN (?:[A-Z]+ )*PRIVATE KEY"
)
_BEGINS_LIST = (b"]", b"\x8f", b"\x94", b"(")  # of a list, a set, what is noted, items
_AZURE = re.compile(rb"(?:AccountKey=|SharedAccessKey=|[?&]sig=)[A-Za-z0-9+/%]{40}")
_URL = re.compile(rb"://[^\s:/@\x00-\x1f\x80-\x9f]{0,200}:[^\s/\x00-\x1f\x80-\x9f]{12,400}@")


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
    numpy = _numpy_for(size)
    step = _SMALL_BLOCK if numpy is None else _BLOCK
    if size <= step:
        return _is_suspect(bytes(view), needles, numpy, memo=memo)
    if changes != _clean[0]:
        _clean[0] = changes
        _clean[1].clear()
    known = _clean[1]
    for start, end, marks in _unknown(view, step, known, memo=memo):
        block = view[max(0, start - _OVERLAP) : end + _OVERLAP]
        if _is_suspect(bytes(block), needles, numpy, memo=memo):
            return True
        if len(known) >= _REMEMBERED:
            known.clear()
        known.update(marks)
    return False


def _unknown(
    view: memoryview, step: int, known: set[int], *, memo: bool
) -> Iterator[tuple[int, int, list[int]]]:
    """Stretches of blocks that were not looked through before, each with what to remember them by."""
    wide = step * _AT_ONCE
    for low in range(0, len(view), wide):
        high = min(low + wide, len(view))
        whole = xxhash.xxh3_128_intdigest(view[max(0, low - _OVERLAP) : high + _OVERLAP], memo)
        if whole in known:
            continue
        start, marks = low, list[int]()
        for at in range(low, high, step):
            mark = xxhash.xxh3_128_intdigest(view[max(0, at - _OVERLAP) : at + step + _OVERLAP], memo)
            if mark not in known:
                marks.append(mark)
                continue
            if marks:
                yield start, at, marks
                marks = []
            start = at + step
        if marks:
            yield start, high, marks
        known.add(whole)  # nothing in it was suspected, or nobody would ask for more


_clean: list[Any] = [-1, set()]
_looked_at = [0]
_needles: list[Any] = [-1, []]


def _numpy_for(size: int) -> Any:
    """Gives numpy where it is loaded, or pays from here on for what is looked through; else None."""
    numpy = sys.modules.get("numpy")
    if numpy is None:
        if _looked_at[0] + size < _WORTH_NUMPY:
            return None
        import numpy  # noqa: PLC0415, ICN001 - it pays from here on
    return numpy if hasattr(numpy, "frombuffer") else None  # it may be half-way through its import


def _is_suspect(data: bytes, needles: list[bytes], numpy: Any, *, memo: bool) -> bool:
    if any(needle in data for needle in needles):
        return True
    if numpy is not None and len(data) >= _WITH_NUMPY:
        data = _MARGIN + data
        places = places_in(data, numpy, memo=memo)
    else:
        _looked_at[0] += len(data)
        places = plain_places_in(data)
    return (
        any(_is_shape(data, at) for at in places.begins)
        or any(_is_named(data, at) for at in places.names)
        or _holds_url(data)
        or _holds_azure(data)
    )


def _is_shape(data: bytes, start: int) -> bool:
    return _SHAPES.match(data, start) is not None and not _is_inside_word(data, start)


def _holds_url(data: bytes) -> bool:
    """Whether there is an address with a password in it."""
    at = data.find(b"://") if b"@" in data else -1  # one byte is found ten times as fast as three
    while at >= 0:
        if _URL.match(data, at) is not None:
            return True
        at = data.find(b"://", at + 3)
    return False


def _holds_azure(data: bytes) -> bool:
    """Whether there is a key of Azure's in a connection string, or a signature in an address."""
    likely = (b";" in data and b"Key=" in data) or (b"&" in data and b"sig=" in data)
    return likely and _AZURE.search(data) is not None


def _is_inside_word(data: bytes, start: int) -> bool:
    """Whether a letter stands before `start`: "task-", and no length of a string."""
    before = data[start - 1 : start]
    if data[start : start + 1] == b"-":
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
    if data[end : end + 1] in _BEGINS_LIST and is_secret_list(name):
        while data[end : end + 1] in _BEGINS_LIST:
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
