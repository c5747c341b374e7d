"""What a step was seen to touch outside its namespace: files, the network, other processes.

One audit hook per process, put in place with the first recording and idle otherwise (an
audit hook cannot be taken away). It sees every `open` that goes through Python; readers
written in C that open files themselves are outside it, which is what `--depends` is for.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from stat import S_ISREG
from typing import Any

from blake3 import blake3

from kitaru_nb.analysis.modules import file_digest as source_digest

__all__ = ["ABSENT", "Observed", "file_digest", "file_holds", "is_data", "start", "stop"]

ABSENT = "absent"
"""Stands for the digest of a file that is not there."""

_TOO_LARGE = 256 << 20
_MAPPED = 1 << 20  # files above this size are mapped, not read
_NETWORK = frozenset({"socket.connect", "socket.sendto"})
_PROCESS = frozenset({"subprocess.Popen", "os.system", "os.exec", "os.posix_spawn", "os.fork"})
_DATABASE = frozenset({"sqlite3.connect"})
_HEARD = frozenset({"open"}) | _NETWORK | _PROCESS | _DATABASE


@dataclass
class Observed:
    """What one step touched.

    Attributes:
        read: Absolute paths of files opened for reading.
        written: Absolute paths of files opened for writing.
        outside: Kinds of things touched outside the machine's memory and files: any of
            ``network``, ``process``, ``database``.
        relative: A file was opened by a path relative to the working folder.
    """

    read: set[str] = field(default_factory=set)
    written: set[str] = field(default_factory=set)
    outside: set[str] = field(default_factory=set)
    relative: bool = False

    def files(self, *, below: Path, ignored: Iterable[Path] = ()) -> list[Mapping[str, Any]]:
        """The files touched: path, mode (``read``, ``written``, ``absent``), digest now, bytes.

        Files of the Python installation, of the system, of programs' caches and of `ignored`
        folders do not count. A written file outside the folder `below` is named without a
        digest, so that no time is spent on reading it.
        """
        counted = [path for path in sorted(self.read | self.written) if is_data(path, ignored)]
        return [file for path in counted if (file := self._file(path, below)) is not None]

    def _file(self, path: str, below: Path) -> Mapping[str, Any] | None:
        written = path in self.written
        if not os.path.lexists(path):
            return None if written else {"path": path, "mode": "absent", "digest": ABSENT, "bytes": 0}
        if not _is_regular(path):
            return None
        read = not written or path.startswith(str(below) + os.sep)
        return {
            "path": path,
            "mode": "written" if written else "read",
            "digest": file_digest(path) if read else None,
            "bytes": Path(path).stat().st_size,
        }


def is_data(path: str, ignored: Iterable[Path] = ()) -> bool:
    """Whether the file at the absolute `path` can be a notebook's data.

    Files of the Python installation, of the system, of programs' caches and of `ignored`
    folders cannot.
    """
    unwanted = (*_INSTALLATION, *_MACHINE, *_PROGRAMS, *ignored)
    return not any(path.startswith(f"{place}{os.sep}") for place in unwanted)


def file_digest(path: str | Path) -> str | None:
    """BLAKE3 of the file's content, or None when it cannot be read.

    A file whose size, time and inode are as they were is not read again, and one of more
    than 256 MiB is known by its size and time alone.
    """
    try:
        found = Path(path).stat()
        if found.st_size > _TOO_LARGE:
            return f"stat:{found.st_size}:{found.st_mtime_ns}"
        return _content_digest(os.fspath(path), found.st_size, found.st_mtime_ns, found.st_ino)
    except OSError:
        return None


@lru_cache(maxsize=1024)
def _content_digest(path: str, size: int, _mtime: int, _inode: int) -> str:
    if size > _MAPPED:
        return str(blake3(max_threads=blake3.AUTO).update_mmap(path).hexdigest())
    return str(blake3(Path(path).read_bytes()).hexdigest())


def file_holds(what: str, digest: str) -> bool:
    """Whether a recorded condition on a file (``file:PATH``) or module (``module:PATH``) holds."""
    kind, _, path = what.partition(":")
    if kind == "module":
        return Path(path).exists() and source_digest(Path(path)) == digest
    return (file_digest(path) or ABSENT) == digest


def start(observed: Observed) -> None:
    """Record into `observed` from now on."""
    global _installed  # noqa: PLW0603 - one hook per process, by Python's design
    if not _installed:
        sys.addaudithook(_hear)
        _installed = True
    _state.observed = observed


def stop() -> None:
    """Stop recording."""
    _state.observed = None


class _State:
    observed: Observed | None = None


_state = _State
_installed = False
_INSTALLATION = [
    Path(place).resolve()
    for place in {sys.prefix, sys.base_prefix, sys.exec_prefix, str(Path(os.__file__).parent)}
]
_MACHINE = [
    Path(place) for place in ("/proc", "/sys", "/dev", "/usr", "/etc", "/lib", "/lib64", "/bin", "/sbin")
]
# Caches and settings of the user's programs are no data of a notebook: a rebuilt font cache
# must not make a cell run again.
_PROGRAMS = [
    Path.home() / place for place in (".cache", ".config", ".local", ".ipython", ".jupyter", ".matplotlib")
]


def _hear(event: str, args: tuple[Any, ...]) -> None:
    observed = _state.observed
    if observed is None or event not in _HEARD:
        return
    if event == "open":
        _hear_open(observed, *args)
    elif event in _NETWORK:
        if not isinstance(args[1] if len(args) > 1 else None, str | bytes):  # a path is a local socket
            observed.outside.add("network")
    elif event in _PROCESS:
        observed.outside.add("process")
    else:
        observed.outside.add("database")


def _hear_open(observed: Observed, path: object, _mode: object, flags: object) -> None:
    if not isinstance(path, str | bytes | os.PathLike):
        return  # an open file descriptor
    try:
        given = os.fsdecode(path)
        name = os.path.abspath(given)
    except (ValueError, OSError):
        return
    observed.relative = observed.relative or not Path(given).is_absolute()
    access = flags if isinstance(flags, int) else 0
    if access & (os.O_WRONLY | os.O_RDWR):
        observed.written.add(name)
    else:
        observed.read.add(name)


def _is_regular(path: str) -> bool:
    try:
        return S_ISREG(Path(path).stat().st_mode)
    except OSError:
        return False
