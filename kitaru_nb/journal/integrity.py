"""How damage is noticed: a checksum for each row, and a file that says how far the journal goes.

SQLite does not checksum its pages, and it takes a damaged frame of its write-ahead log for
the end of the log. So each row carries a checksum of its content, and `HeadFile` remembers
beside the database which event was the last one, so that a log cut short is noticed too.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Callable, Iterable
from itertools import compress
from pathlib import Path
from typing import Any

from blake3 import blake3

from kitaru_nb.errors import CorruptError

__all__ = ["HeadFile", "checksum", "damaged", "recovery_hint"]

_pack_real = struct.Struct("<d").pack


def checksum(table: str, columns: Iterable[Any]) -> bytes:
    """The checksum of a row: 32 bytes over its table's name and every column with its type."""
    row = [*columns]
    kinds = tuple(map(type, row))
    template, encoders, held = _FORMS.get(kinds) or _form_of(kinds)
    for place, encode in encoders:
        row[place] = encode(row[place])
    return blake3(table.encode() + template % tuple(compress(row, held))).digest()


def _sized(value: bytes) -> bytes:
    return b"%d:%b" % (len(value), value)


def _sized_text(value: str) -> bytes:
    content = value.encode("utf-8", "surrogateescape")
    return b"%d:%b" % (len(content), content)


_Form = tuple[bytes, tuple[tuple[int, Callable[[Any], bytes]], ...], tuple[bool, ...]]
_FORMS: dict[tuple[type, ...], _Form] = {}
_MOST_FORMS = 1024  # a row is of one of a few dozen; what is damaged may be of any


def _form_of(kinds: tuple[type, ...]) -> _Form:
    """How rows with columns of these types are written: a template, encoders of columns, which are in it."""
    marks: list[bytes] = []
    encoders: list[tuple[int, Callable[[Any], bytes]]] = []
    for place, kind in enumerate(kinds):
        if kind is type(None):
            marks.append(b"n")
        elif issubclass(kind, str):
            marks.append(b"s%b")
            encoders.append((place, _sized_text))
        elif issubclass(kind, bytes):
            marks.append(b"b%b")
            encoders.append((place, _sized))
        elif issubclass(kind, float):
            marks.append(b"f%b")
            encoders.append((place, _pack_real))
        else:
            marks.append(b"i%d;")
    form = b"".join(marks), tuple(encoders), tuple(kind is not type(None) for kind in kinds)
    if len(_FORMS) < _MOST_FORMS:
        _FORMS[kinds] = form
    return form


def recovery_hint(path: Path | str) -> str:
    """What to type when the journal at `path`, or with that URL, is damaged."""
    if isinstance(path, str):
        return "`kitaru-nb store verify` checks every record; put a backup of the database back"
    return (
        f"`kitaru-nb doctor` checks every record; put a backup of `{path}` back, "
        "or begin anew in another folder: export KITARU_NB_HOME=/other/folder"
    )


def damaged(what: str, path: Path | str, *, why: str = "it does not match its checksum") -> CorruptError:
    """The error for a row that is not as it was written. `what` names it in the user's words."""
    return CorruptError(
        f"{what} is damaged in the journal `{path}`: {why}", kind="corrupt-record", hint=recovery_hint(path)
    )


class HeadFile:
    """The number and checksum of the newest event, kept in a small file beside the database.

    It is written after each commit and not forced to disk: it survives the death of any
    process, and after a power cut it may be behind, never ahead. A damaged or missing one
    is as if it had never been there.
    """

    def __init__(self, database: Path) -> None:
        self.path = database.with_name(database.name + "-head")
        self._file: int | None = None

    def read(self) -> tuple[int, bytes] | None:
        """The newest event's number and checksum, or None when the file cannot tell."""
        try:
            text = self.path.read_bytes()
        except OSError:
            return None
        try:
            number, link, seal = text.split()
        except ValueError:
            return None
        return (int(number), bytes.fromhex(link.decode())) if seal == _seal(number, link) else None

    def write(self, events: int, chain: bytes) -> None:
        """Remember that event number `events` with checksum `chain` is durable."""
        if self._file is None:
            self._file = os.open(self.path, os.O_RDWR | os.O_CREAT, 0o600)
        number, link = b"%020d" % events, chain.hex().encode()
        # One short write at the start: a reader sees the old line or the new one.
        _write_at_start(self._file, b"%s %s %s\n" % (number, link, _seal(number, link)))

    def close(self) -> None:
        """Give the file back; `write` opens it again."""
        if self._file is not None:
            os.close(self._file)
            self._file = None


def _write_at_start(file: int, line: bytes) -> None:
    if hasattr(os, "pwrite"):
        os.pwrite(file, line, 0)
    else:  # Windows
        os.lseek(file, 0, os.SEEK_SET)
        os.write(file, line)


def _seal(number: bytes, link: bytes) -> bytes:
    return blake3(number + b" " + link).hexdigest()[:32].encode()
