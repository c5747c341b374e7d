"""How damage is noticed: a checksum for each row, and a file that says how far the journal goes.

SQLite does not checksum its pages, and it takes a damaged frame of its write-ahead log for
the end of the log. So each row carries a checksum of its content, and `HeadFile` remembers
beside the database which event was the last one, so that a log cut short is noticed too.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from blake3 import blake3

from kitaru_nb.errors import CorruptError

__all__ = ["HeadFile", "checksum", "damaged", "recovery_hint"]

_real = struct.Struct("<d").pack


def checksum(table: str, columns: Iterable[Any]) -> bytes:
    """The checksum of a row: 32 bytes over its table's name and every column with its type."""
    parts = [table.encode()]
    for value in columns:
        kind = type(value)
        if kind is int:
            parts.append(b"i%d;" % value)
        elif value is None:
            parts.append(b"n")
        elif kind is bytes or isinstance(value, bytes):
            parts += (b"b%d:" % len(value), value)
        elif kind is str or isinstance(value, str):
            content = value.encode("utf-8", "surrogateescape")
            parts += (b"s%d:" % len(content), content)
        elif isinstance(value, float):
            parts += (b"f", _real(value))
        else:
            parts.append(b"i%d;" % value)
    return blake3(b"".join(parts)).digest()


def recovery_hint(path: Path | str) -> str:
    """What to type when the journal at `path`, or with that URL, is damaged."""
    if isinstance(path, str):
        return "`kitaru-nb store verify` checks every record; put a backup of the database back"
    return (
        f"`kitaru-nb doctor` checks every record; put a backup of `{path}` back, "
        "or begin anew in another folder with KITARU_NB_HOME=/other/folder"
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
