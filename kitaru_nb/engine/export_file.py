"""The file that executions are handed over in: a zip of four members, none of them compressed.

``manifest.json``
    What the file is, which members it has with their sizes and digests, and the signature of
    whoever exported it.
``records.jsonl``
    One JSON value a line: ``["run", …]`` for each execution, then ``["step", …]`` in order, then
    ``["event", …]`` in order.
``artifacts.jsonl``
    One artifact a line, sorted by digest.
``extents.bin``
    The bytes of their extents, each once, one behind the other, in the order in which the
    manifests of ``artifacts.jsonl`` first name them.

Any zip program shows what is in it. Reading it trusts nothing of it: no name in it becomes a
path, nothing is inflated, nothing is held in memory but one line or one extent, and what was
read counts only once it had the digest that the signed manifest gives.
"""

from __future__ import annotations

import contextlib
import json
import os
import struct
import zipfile
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import IO, Any, Self

from blake3 import blake3

from kitaru_nb.errors import CorruptError, StoreError, UsageError
from kitaru_nb.model.private import partial_of, sync_folder

__all__ = ["ARTIFACTS", "EXTENTS", "RECORDS", "ExportReader", "ExportWriter", "damaged_file"]

RECORDS, ARTIFACTS, EXTENTS = "records.jsonl", "artifacts.jsonl", "extents.bin"
_MANIFEST = "manifest.json"
_MEMBERS = (RECORDS, ARTIFACTS, EXTENTS)

_FORMAT = "kitaru-nb export"
_VERSION = 1
_CONTEXT = b"kitaru_nb export 1\n"
_LINE = 256 << 20  # bytes of one line: a step with what it showed, or the manifest of a large value
_DIRECTORY = 4096  # bytes of the zip's directory, and of the manifest, at most
_LAST, _END = b"PK\5\6", 22  # the last record of a zip, and its length without a comment
_LAST_LARGE, _END_LARGE = b"PK\6\6", 56 + 20  # what is before it in one of more than 4 GiB
_canonical = json.JSONEncoder(separators=(",", ":"), sort_keys=True).encode

Sign = Callable[[bytes], Mapping[str, str]]
IsValid = Callable[[Mapping[str, str], bytes], bool]


class ExportWriter:
    """Writes one file; it appears whole or not at all, readable by its owner alone.

    The same members give the same bytes.

    Args:
        path: Where; a file that is there already is replaced at the end.

    Attributes:
        key: Whose signature is on it, once it is finished.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._partial = partial_of(path)
        self._members: dict[str, dict[str, Any]] = {}
        self.key = ""

    def __enter__(self) -> Self:
        """Begin beside the place where it is to be."""
        handle = os.open(self._partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        self._file = os.fdopen(handle, "wb")
        os.fchmod(handle, 0o600)  # whatever the umask
        self._zip = zipfile.ZipFile(self._file, "w")
        return self

    def __exit__(self, *_: object) -> None:
        """Leave nothing of what was not finished."""
        with contextlib.suppress(OSError, ValueError):
            self._zip.close()
        with contextlib.suppress(OSError):
            self._file.close()
        with contextlib.suppress(OSError):
            self._partial.unlink()

    @contextlib.contextmanager
    def member(self, name: str) -> Iterator[Callable[[bytes | memoryview], None]]:
        """A function that adds bytes to a member. Members are written one after the other."""
        digest, size = blake3(), 0
        with self._zip.open(zipfile.ZipInfo(name), "w", force_zip64=True) as file:

            def write(data: bytes | memoryview) -> None:
                nonlocal size
                digest.update(data)
                size += len(data)
                file.write(data)

            yield write
        self._members[name] = {"bytes": size, "blake3": digest.hexdigest()}

    def finish(self, about: Mapping[str, Any], sign: Sign) -> int:
        """Say what it is, make it durable and put it in its place; its size."""
        told = {"format": _FORMAT, "version": _VERSION, **about, "members": self._members}
        told["signature"] = signature = dict(sign(_CONTEXT + _canonical(told).encode()))
        self.key = signature["key"]
        self._zip.writestr(zipfile.ZipInfo(_MANIFEST), json.dumps(told, indent=1))
        self._zip.close()
        self._file.flush()
        os.fsync(self._file.fileno())
        size = self._file.tell()
        self._file.close()
        self._partial.replace(self._path)
        sync_folder(self._path.parent)
        return size


class ExportReader:
    """Reads one file that anybody may have written.

    Args:
        path: Which.
        is_valid: Whether a signature is one over some bytes.

    Attributes:
        manifest: What it says of itself.
        key: Whose signature is on that.

    Raises:
        UsageError: kind ``not-an-export``: it is something else.
        StoreError: kind ``export-newer``: a later release wrote it; ``file-not-readable``.
        CorruptError: kind ``corrupt-export``: it is damaged or cut short.
    """

    def __init__(self, path: Path, *, is_valid: IsValid) -> None:
        self.path = path
        with _telling(path):
            self._file = path.open("rb")
        try:
            with _telling(path):
                self._zip = self._opened()
                self.manifest = self._read_manifest()
                self.key = self._signer(is_valid)
                self._check_members()
        except BaseException:
            self._file.close()
            raise

    def __enter__(self) -> Self:
        """As it is."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close it."""
        self._file.close()

    @contextlib.contextmanager
    def member(self, name: str) -> Iterator[Member]:
        """A member from its beginning; leaving it checks that all of it was read and is right.

        Raises:
            CorruptError: kind ``corrupt-export``.
        """
        told = self.manifest["members"][name]
        with _telling(self.path):
            file = self._zip.open(name)
        with file:
            member = Member(file, self.path)
            yield member
            with _telling(self.path):
                member.end(told["bytes"], told["blake3"])

    def _opened(self) -> zipfile.ZipFile:
        """The zip, once its directory is known to be a small one."""
        size = self._file.seek(0, os.SEEK_END)
        self._file.seek(max(0, size - _END - _END_LARGE))
        last = self._file.read(_END + _END_LARGE)
        large, end = last[:-_END], last[-_END:]
        if not end.startswith(_LAST):
            self._file.seek(0)
            if self._file.read(4) == b"PK\3\4":
                raise damaged_file(self.path, "it is cut short")
            raise self._other()
        counts = [struct.unpack("<HI", end[10:16])]
        if large.startswith(_LAST_LARGE):
            counts.append(struct.unpack("<QQ", large[32:48]))
        if any(entries != len(_MEMBERS) + 1 or length > _DIRECTORY for entries, length in counts):
            raise self._other()
        opened = zipfile.ZipFile(self._file)
        infos = opened.infolist()
        if sorted(info.filename for info in infos) != sorted((*_MEMBERS, _MANIFEST)):
            raise self._other()
        for info in infos:
            stored = info.compress_type == zipfile.ZIP_STORED and info.file_size == info.compress_size
            if not stored or info.flag_bits & 1 or info.header_offset + info.file_size > size:
                raise damaged_file(self.path, f"`{info.filename}` in it is not stored as it is")
        return opened

    def _read_manifest(self) -> dict[str, Any]:
        with self._zip.open(_MANIFEST) as file:
            text = file.read(_DIRECTORY + 1)
        told = json.loads(text)
        if not isinstance(told, dict) or told.get("format") != _FORMAT:
            raise self._other()
        if told.get("version") != _VERSION:
            raise newer_file(self.path, f"format {told.get('version')!r:.20}")
        return told

    def _signer(self, is_valid: IsValid) -> str:
        unsigned = {name: value for name, value in self.manifest.items() if name != "signature"}
        signature = self.manifest["signature"]
        if not is_valid(signature, _CONTEXT + _canonical(unsigned).encode()):
            raise damaged_file(self.path, "what it says of itself is not what its signature was made over")
        return str(signature["key"])

    def _check_members(self) -> None:
        for name in _MEMBERS:
            told = self.manifest["members"][name]
            if told["bytes"] != self._zip.getinfo(name).file_size:
                raise damaged_file(self.path, f"`{name}` in it has another size")

    def _other(self) -> UsageError:
        return UsageError(
            f"`{self.path}` is not a file that `kitaru-nb export` wrote",
            kind="not-an-export",
            hint="kitaru-nb export EXECUTION FILE writes one",
        )


class Member:
    """One member being read, from its beginning to its end."""

    def __init__(self, file: IO[bytes], path: Path) -> None:
        self._file = file
        self._path = path
        self._digest = blake3()
        self._size = 0

    def lines(self) -> Iterator[Any]:
        """The JSON value of each line.

        Raises:
            CorruptError: kind ``corrupt-export``.
        """
        while True:
            with _telling(self._path):
                line = self._file.readline(_LINE + 1)
                if not line:
                    return
                if len(line) > _LINE or not line.endswith(b"\n"):
                    raise damaged_file(self._path, "a line in it does not end")
                self._take(line)
                value = json.loads(line)
            yield value

    def read(self, length: int) -> bytes:
        """The next `length` bytes.

        Raises:
            CorruptError: kind ``corrupt-export``: there are not so many.
        """
        with _telling(self._path):
            data = self._file.read(length)
        if len(data) < length:
            raise damaged_file(self._path, "values in it are cut short")
        self._take(data)
        return data

    def end(self, size: int, digest: str) -> None:
        """Raise unless that was all of it, and what it was said to be.

        Raises:
            CorruptError: kind ``corrupt-export``.
        """
        if self._file.read(1) or self._size != size or self._digest.hexdigest() != digest:
            raise damaged_file(self._path, "its content does not have the digest that it was written under")

    def _take(self, data: bytes) -> None:
        self._digest.update(data)
        self._size += len(data)


def damaged_file(path: Path, why: str) -> CorruptError:
    """The error for a file that is not as it was exported."""
    return CorruptError(
        f"`{path}` is damaged: {why}; nothing of it was imported",
        kind="corrupt-export",
        hint="copy it again, or have it exported again",
    )


def newer_file(path: Path, what: str) -> StoreError:
    """The error for a file of a later release."""
    return StoreError(
        f"`{path}` was written by a later version of kitaru_nb: it has {what}",
        kind="export-newer",
        hint="pip install -U kitaru-nb",
    )


@contextlib.contextmanager
def _telling(path: Path) -> Iterator[None]:
    """Whatever goes wrong in reading the file is told as an error about it."""
    try:
        yield
    except StoreError:
        raise
    except UsageError:
        raise
    except OSError as error:
        if error.errno is None:  # zipfile's own: an impossible offset
            raise damaged_file(path, str(error)) from error
        raise StoreError(
            f"`{path}` cannot be read: {error.strerror or error}",
            kind="file-not-readable",
            hint="kitaru-nb import FILE",
        ) from error
    except _MALFORMED as error:
        raise damaged_file(path, f"{type(error).__name__}: {error}") from error


_MALFORMED = (
    zipfile.BadZipFile,
    struct.error,
    EOFError,
    NotImplementedError,
    RuntimeError,  # what zipfile says of an encrypted member; RecursionError
    ValueError,
    TypeError,
    LookupError,
    AttributeError,
    ArithmeticError,
)
