"""What a step was seen to touch outside its namespace: files, the network, other processes.

One audit hook per process, put in place with the first recording and idle otherwise (an
audit hook cannot be taken away). It sees every file that is opened, renamed or removed
through Python, and every folder that is listed; readers and writers in C that open files
themselves are outside it (see `engine.files` for writers, and `--depends` for readers).
"""

# ruff: noqa: PTH116, PTH118, PTH119, PTH120 - paths are plain strings here

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from stat import S_ISDIR, S_ISREG
from threading import get_ident
from types import CodeType, FrameType
from typing import Any
from urllib.parse import unquote, urlsplit

from blake3 import blake3

from kitaru_nb.analysis.modules import file_digest as source_digest
from kitaru_nb.engine.listing import listed_by, names_in

__all__ = [
    "ABSENT",
    "FOLDER",
    "Observed",
    "file_digest",
    "file_holds",
    "has_written",
    "hear_calls",
    "is_data",
    "note_left",
    "now_ns",
    "own_doing",
    "reading",
    "stamp_of",
    "start",
    "state_of",
    "stop",
]

ABSENT = "absent"
"""Stands for the digest of a file that is not there."""

FOLDER = "folder"
"""Stands for the digest of a path that is a folder."""

_STAMP = "stat:"
_TOO_LARGE = 256 << 20
_MAPPED = 1 << 20  # files above this size are mapped, not read
_FRESH_NS = 50_000_000  # a file this young may change again with the same time stamp
_COARSE_NS = 2_000_000_000  # the same for a file system that counts in seconds
_SMALL = 4 << 20  # a file up to this size is read before it is changed
_READ = 100  # files that one recorded call opens for reading which are looked at
_MANY = 1000  # listed folders, or files of a moved folder, that are looked at


@dataclass
class Observed:
    """What one step touched. Paths are absolute.

    Attributes:
        read: Files opened for reading.
        written: Files opened for writing, or put in place by a rename.
        outside: Kinds of things touched outside the machine's memory and files: any of
            ``network``, ``process``, ``database``.
        relative: A file was opened by a path relative to the working folder.
        created: Those of `written` that were not there before the step.
        whole: Those of `written` that it wrote from their beginning, whatever was there.
        added: Those of `written` that it only added to, at their end: how many bytes were there before.
        removed: Files that were there before the step and that it removed or moved away.
        before: Files that it read and then changed: the digest of what it read.
        unheard: Those of `before` that something changed which Python was not heard to open: they may
            be gone as well, and are put back.
        prior: Small files that it changed: the digest before that.
        made: Folders it made.
        cleared: Folders it removed with all that was in them.
        gone: Folders that were there before the step and that it removed or moved away.
        databases: SQLite files it connected to: the digest before that.
        listed: Folders it listed: (folder, pattern) to the names there before the step.
        unsure: Those of `written` that a call which ran at the same time may have written.
        imported: Modules that its code had loaded, each with whether the cell itself did, and
            not a function that it called.
        look: Gives the files that are there now, where such are looked for; None if they are too many.
        looked_up: What unpickling looked up by name: module, and name in it.
        before_processes: Those that were there when it first started a process, and those that it had
            opened for reading before that.
        codes: Code of cached functions: the files that are read while one of them runs are told apart.
        cached: These files, by that code.
        since: When it began, in nanoseconds of the clock that files are stamped with.
    """

    read: set[str] = field(default_factory=set)
    written: set[str] = field(default_factory=set)
    outside: set[str] = field(default_factory=set)
    relative: bool = False
    created: set[str] = field(default_factory=set)
    removed: set[str] = field(default_factory=set)
    before: dict[str, str] = field(default_factory=dict)
    unheard: set[str] = field(default_factory=set)
    prior: dict[str, str] = field(default_factory=dict)
    made: set[str] = field(default_factory=set)
    whole: set[str] = field(default_factory=set)
    added: dict[str, int] = field(default_factory=dict)
    cleared: set[str] = field(default_factory=set)
    gone: set[str] = field(default_factory=set)
    databases: dict[str, str] = field(default_factory=dict)
    unsure: set[str] = field(default_factory=set)
    listed: dict[tuple[str, str], frozenset[str]] = field(default_factory=dict)
    imported: dict[str, bool] = field(default_factory=dict)
    looked_up: set[tuple[str, str]] = field(default_factory=set)
    look: Callable[[], frozenset[str] | None] | None = field(default=None, compare=False)
    before_processes: tuple[frozenset[str], frozenset[str]] | None = None
    codes: frozenset[CodeType] = field(default=frozenset(), compare=False)
    cached: dict[CodeType, set[str]] = field(default_factory=dict, compare=False)
    since: int = field(default_factory=lambda: now_ns(), compare=False)  # noqa: PLW0108 - defined below

    def files(self, *, ignored: Iterable[Path] = ()) -> list[Mapping[str, Any]]:
        """The files touched: path, mode (``read``, ``written``, ``absent``), digest now, bytes.

        Files of the Python installation, of the system, of programs' caches and what is in `ignored` do not
        count. A written file has no digest here: whoever stores it reads it,
        and one outside the folder `below` is named only.
        """
        counted = [path for path in sorted(self.read | self.written) if is_data(path, ignored)]
        return [file for path in counted if (file := self._file(path)) is not None]

    def _file(self, path: str) -> Mapping[str, Any] | None:
        written = path in self.written
        if not os.path.lexists(path):
            gone = written or path in self.removed or path in self.cleared
            return None if gone else {"path": path, "mode": "absent", "digest": ABSENT, "bytes": 0}
        found = _stat(path)
        if found is None or not S_ISREG(found.st_mode):
            return None
        return {
            "path": path,
            "mode": "written" if written else "read",
            "digest": None if written else file_digest(path),
            "bytes": found.st_size,
            "mtime": found.st_mtime_ns,
        }

    def takes(self, file: Mapping[str, Any]) -> None:
        """What is on record of a file counts as done by this step, too."""
        path = file["path"]
        match file["mode"]:
            case "read" | "absent":
                self.read.add(path)
            case "written":
                self.written.add(path)
                if file.get("created"):
                    self.created.add(path)
                if file.get("unsure"):
                    self.unsure.add(path)
                if file.get("whole"):
                    self.whole.add(path)
                if file.get("before"):
                    self.prior.setdefault(path, file["before"])
            case "deleted":
                self.removed.add(path)
            case _:
                self.made.add(path)

    def follows(self, failed: Observed) -> None:
        """The step is tried again: what was there before it was there before the try that `failed`."""
        self.created |= failed.created
        self.before |= failed.before
        self.prior |= failed.prior

    # Told by the audit hook, before the thing happens

    def reads(self, path: str) -> None:
        """A file is opened for reading."""
        if path not in self.created:
            self.read.add(path)
            if path in self.written and path not in self.whole and path in self.prior:
                self.before.setdefault(path, self.prior[path])  # what was there before is part of it

    def writes(self, path: str, *, reads: bool = False, adds: bool = False) -> None:
        """A file is opened for writing; if `reads`, its content counts as well; if `adds`, it only grows."""
        if not adds:
            self.added.pop(path, None)
        if path not in self.written:
            there, found = os.path.lexists(path), _stat(path)
            if adds:
                self.added[path] = 0 if found is None else found.st_size
            if not there:
                self.created.add(path)
            elif found is not None and found.st_size <= _SMALL:
                self.prior.setdefault(path, state_of(path))
            if (path in self.read or (reads and there)) and path not in self.before:
                self.before[path] = state_of(path)
            self.written.add(path)

    def changes_unheard(self, path: str, left: str) -> None:
        """A file that held what has the digest `left` is another one now; the step may have read it."""
        if path not in self.before and path not in self.whole:
            self.before[path] = left
            self.unheard.add(path)

    def starts_process(self) -> None:
        """Another program is started: what it makes and the step then reads is no input of the step."""
        self.outside.add("process")
        look, self.look = self.look, None
        if look is not None and (there := look()) is not None:
            self.before_processes = there, frozenset(self.read)

    def made_by_processes(self) -> set[str]:
        """Files that it read and that were not there before it started a process."""
        if self.before_processes is None:
            return set()
        there, read = self.before_processes
        return self.read - there - read

    def removes(self, path: str) -> None:
        """A file is removed."""
        if path in self.created:
            self.created.discard(path)
        elif os.path.lexists(path):
            if path in self.read and path not in self.before:
                self.before[path] = state_of(path)
            if (found := _stat(path)) is not None and found.st_size <= _SMALL:
                self.prior.setdefault(path, state_of(path))
            self.removed.add(path)
        self.written.discard(path)

    def removes_folder(self, path: str) -> None:
        """A folder is removed, with the folders below it."""
        for folder in (path, *_folders_below(path)):
            if folder in self.made:
                self.made.discard(folder)
            else:
                self.gone.add(folder)

    def moves(self, source: str, target: str) -> None:
        """A file or folder is renamed."""
        if Path(source).is_dir() and not Path(source).is_symlink():
            if not os.path.lexists(target):
                self.made.add(target)
            self.removes_folder(source)
            for path in _files_below(source):
                self.moves(path, target + path[len(source) :])
            return
        found = _stat(source)
        if source not in self.written and found is not None and found.st_mtime_ns <= self.since:
            self.reads(source)  # it is not the step's own, and what stands there comes to stand in `target`
        self.writes(target)
        self.whole.add(target)
        self.removes(source)

    def lists(self, folder: str, pattern: str) -> None:
        """A folder is listed; what the step did there before does not count."""
        if (folder, pattern) in self.listed or len(self.listed) >= _MANY:
            return
        seen = names_in(folder, pattern)
        own = {os.path.basename(path) for path in self.created | self.made if os.path.dirname(path) == folder}
        gone = {os.path.basename(path) for path in self.removed if os.path.dirname(path) == folder}
        self.listed[folder, pattern] = frozenset(seen - own | gone)


def is_data(path: str, ignored: Iterable[Path] = ()) -> bool:
    """Whether the file at the absolute `path` can be a notebook's data.

    Files of the Python installation, of the system, of programs' caches, those in `ignored` and
    those below a folder in it cannot.
    """
    unwanted = (*_INSTALLATION, *_MACHINE, *_PROGRAMS, *ignored)
    if f"{os.sep}__pycache__{os.sep}" in path:
        return False
    return not any(path.startswith(f"{place}{os.sep}") or path == str(place) for place in unwanted)


def file_digest(path: str | Path) -> str | None:
    """BLAKE3 of the file's content, or None when it cannot be read.

    A file whose size, time and inode are as they were is not read again, and one of more
    than 256 MiB is known by its size and time alone.
    """
    found = _stat(path)
    if found is None or not S_ISREG(found.st_mode):  # to read a pipe would wait for ever
        return None
    if found.st_size > _TOO_LARGE:
        return _stamp(found)
    # A file that was changed just now may be changed again within one tick of its clock.
    tick = _FRESH_NS if found.st_mtime_ns % 1_000_000_000 else _COARSE_NS
    kept = now_ns() - max(found.st_mtime_ns, found.st_ctime_ns) > tick
    read = _content_digest if kept else _content_digest.__wrapped__
    try:
        return read(os.fspath(path), found.st_size, found.st_mtime_ns, found.st_ctime_ns, found.st_ino)
    except OSError:
        return None


def stamp_of(path: str) -> str:
    """The size and time of the file at `path`, in place of a digest; `ABSENT` where there is none."""
    found = _stat(path)
    return ABSENT if found is None else _stamp(found)


def _stamp(found: os.stat_result) -> str:
    return f"{_STAMP}{found.st_size}:{found.st_mtime_ns}"


@lru_cache(maxsize=1024)
def _content_digest(path: str, size: int, _mtime: int, _ctime: int, _inode: int) -> str:
    if size > _MAPPED:
        return str(blake3(max_threads=blake3.AUTO).update_mmap(path).hexdigest())
    return str(blake3(Path(path).read_bytes()).hexdigest())


def state_of(path: str) -> str:
    """The digest of the file at `path`, `FOLDER` for a folder, `ABSENT`, or a word for what else it is."""
    found = _stat(path)
    if found is None:
        return ABSENT
    if S_ISREG(found.st_mode):
        return file_digest(path) or "unreadable"
    return FOLDER if S_ISDIR(found.st_mode) else "special"


def file_holds(what: str, digest: str) -> bool:
    """Whether a recorded condition on a file (``file:PATH``) or module (``module:PATH``) holds.

    ``one|other`` as a digest stands for either: a file that a step read and then changed
    may be as it was before the step, or as the step left it.
    """
    kind, _, path = what.partition(":")
    if kind == "module":
        return Path(path).exists() and source_digest(Path(path)) == digest
    return (stamp_of if digest.startswith(_STAMP) else state_of)(path) in digest.split("|")


def now_ns() -> int:
    """The time on the clock that files are stamped with, in nanoseconds since 1970."""
    if _COARSE_CLOCK is None:
        return time.time_ns()
    return time.clock_gettime_ns(_COARSE_CLOCK)


def start(observed: Observed) -> None:
    """Record into `observed` from now on."""
    _install()
    _state.observed = observed


def _install() -> None:
    global _installed  # noqa: PLW0603 - one hook per process, by Python's design
    if not _installed:
        sys.addaudithook(_hear)
        _installed = True


def stop() -> None:
    """Stop recording."""
    _state.observed = None


@contextmanager
def unheard() -> Iterator[None]:
    """What is done within is our own doing, and none of the step's."""
    observed, _state.observed = _state.observed, None
    try:
        yield
    finally:
        _state.observed = observed


@contextmanager
def keeping(refuse: Callable[[str], None]) -> Iterator[None]:
    """Meanwhile `refuse` is asked before a file that is there is emptied or removed; it may raise."""
    _install()
    outer, _state.refuse = _state.refuse, refuse
    try:
        yield
    finally:
        _state.refuse = outer


@contextmanager
def reading() -> Iterator[set[str]]:
    """The files that this thread opens for reading meanwhile, whoever's doing that is."""
    _install()
    outer, own = _state.reading, Observed()
    _state.reading = get_ident(), own
    read: set[str] = set()
    try:
        yield read
    finally:
        _state.reading = outer
        read |= own.read - own.written
        if outer is not None and outer[0] == get_ident():
            outer[1].read |= read


def hear_calls(around: Callable[[], Iterable[Observed]]) -> None:
    """From now on tell `around` of what is changed in files.

    It gives what is recorded for the recorded calls that the running code is in, by thread and task.
    """
    _install()
    _state.around = around


class own_doing:  # noqa: N801 - used like a function, and with every record: a class is the cheapest
    """What this thread does inside the block is kitaru_nb's doing, and none of a step's or call's."""

    __slots__ = ("_outermost",)

    def __enter__(self) -> None:
        """Hear no more of this thread."""
        self._outermost = get_ident() not in _state.own
        _state.own.add(get_ident())

    def __exit__(self, *_: object) -> None:
        """Hear of it again."""
        if self._outermost:
            _state.own.discard(get_ident())


def note_left(files: Iterable[Mapping[str, Any]]) -> None:
    """What is observed now has these files from a call that was served, as if it had written them."""
    for observed in _listening():
        for file in files:
            observed.takes(file)


def has_written(path: str) -> bool:
    """Whether what is observed now, such as the cell around a call that is served, has changed a file."""
    return any(path in observed.written for observed in _listening())


def _listening() -> list[Observed]:
    found = [] if _state.observed is None else [_state.observed]
    return found if _state.around is None else [*found, *_state.around()]


class _State:
    observed: Observed | None = None
    around: Callable[[], Iterable[Observed]] | None = None
    refuse: Callable[[str], None] | None = None
    reading: tuple[int, Observed] | None = None  # the thread whose reading is asked for
    busy: int = 0  # the thread whose event is being heard: what the hook itself does is no event
    own: set[int] = set()  # threads that do kitaru_nb's own work  # noqa: RUF012 - one for the process


_state = _State
_installed = False
_COARSE_CLOCK = getattr(time, "CLOCK_REALTIME_COARSE", None)  # Linux stamps files with it
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


def _hear(event: str, args: tuple[Any, ...], state: type[_State] = _State) -> None:
    # The module's own names may be gone when the interpreter ends and closes what is still open.
    if state.refuse is not None:
        lost = _would_lose(event, args)
        if lost is not None:
            state.refuse(lost)
    if state.reading is not None and event == "open" and state.reading[0] == get_ident() != state.busy:
        with suppress(OSError, ValueError, TypeError):
            state.busy = get_ident()
            _hear_open(state.reading[1], args)
        state.busy = 0
    if state.observed is None and state.around is None:
        return
    hear = _HEARD.get(event)
    if hear is None or state.busy == get_ident() or get_ident() in state.own:
        return
    state.busy = get_ident()
    try:
        if state.observed is not None:
            hear(state.observed, args)
        if state.around is not None and event in _CHANGING:
            of_call = hear if event != "open" or _is_writing(args) else _hear_read_of_call
            for observed in state.around():
                of_call(observed, args)
    except (OSError, ValueError, TypeError, AttributeError, IndexError):
        return  # an error here would be the user's: the call that is heard of would fail
    finally:
        state.busy = 0


def _would_lose(event: str, args: tuple[Any, ...]) -> str | None:
    """The file with content that a call is about to empty or to remove."""
    emptied = event == "open" and isinstance(args[2], int) and args[2] & os.O_TRUNC
    if not (emptied or event in ("os.remove", "os.truncate")) or not isinstance(
        args[0], str | bytes | os.PathLike
    ):
        return None
    path = _absolute(args[0])
    found = _stat(path)
    return path if found is not None and S_ISREG(found.st_mode) and found.st_size else None


def _is_writing(args: tuple[Any, ...]) -> bool:
    return isinstance(args[2], int) and bool(args[2] & (os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC))


def _hear_open(observed: Observed, args: tuple[Any, ...]) -> None:
    path, _, flags = args
    if not isinstance(path, str | bytes | os.PathLike):
        return  # an open file descriptor
    given = os.fsdecode(path)
    name = os.path.abspath(given)
    if name.endswith(".py") and _is_import(_caller()):
        return  # a module's source is a condition of its own
    observed.relative = observed.relative or not Path(given).is_absolute()
    access = flags if isinstance(flags, int) else 0
    if access & (os.O_WRONLY | os.O_RDWR) or (access & os.O_CREAT and not os.path.lexists(name)):
        updates = bool(access & os.O_RDWR) and not access & (os.O_TRUNC | os.O_EXCL)
        observed.writes(name, reads=updates, adds=bool(access & os.O_APPEND) and not access & os.O_TRUNC)
        if access & (os.O_TRUNC | os.O_EXCL):
            observed.whole.add(name)
    else:
        observed.reads(name)
        if observed.codes:
            for code in observed.codes.intersection(_codes_that_run()):
                observed.cached.setdefault(code, set()).add(name)


def _hear_read_of_call(observed: Observed, args: tuple[Any, ...]) -> None:
    if isinstance(args[0], str | bytes | os.PathLike) and len(observed.read) < _READ:
        name = os.path.abspath(os.fsdecode(args[0]))
        if not name.endswith((".py", ".pyc", ".so")) and name not in observed.written:
            observed.reads(name)


def _codes_that_run() -> Iterator[CodeType]:
    frame: FrameType | None = sys._getframe()  # noqa: SLF001 - the only way to the frames without their text
    while frame is not None:
        yield frame.f_code
        frame = frame.f_back


def _hear_connect(observed: Observed, args: tuple[Any, ...]) -> None:
    if not isinstance(args[1] if len(args) > 1 else None, str | bytes):  # a path is a local socket
        observed.outside.add("network")


def _hear_process(observed: Observed, _args: tuple[Any, ...]) -> None:
    observed.starts_process()


def _hear_database(observed: Observed, args: tuple[Any, ...]) -> None:
    observed.outside.add("database")
    name = os.fsdecode(args[0])
    if name.startswith("file:"):
        name = unquote(urlsplit(name).path)
    if not name or name == ":memory:":
        return
    observed.relative = observed.relative or not Path(name).is_absolute()
    for path in (os.path.abspath(name), os.path.abspath(name) + "-wal"):
        if path not in observed.written and path not in observed.databases:
            observed.databases[path] = state_of(path)


def _hear_removal(observed: Observed, args: tuple[Any, ...]) -> None:
    if args[1] == -1:  # else it is relative to an open folder; see `_hear_removal_of_tree`
        observed.removes(_absolute(args[0]))


def _hear_removal_of_tree(observed: Observed, args: tuple[Any, ...]) -> None:
    root = _absolute(args[0])
    for path in _files_below(root):
        observed.removes(path)
    observed.cleared.add(root)
    observed.removes_folder(root)


def _hear_rename(observed: Observed, args: tuple[Any, ...]) -> None:
    if args[2] == args[3] == -1:
        observed.moves(_absolute(args[0]), _absolute(args[1]))


def _hear_truncate(observed: Observed, args: tuple[Any, ...]) -> None:
    if not isinstance(args[0], int):
        observed.writes(_absolute(args[0]), reads=True)


def _hear_link(observed: Observed, args: tuple[Any, ...]) -> None:
    observed.reads(_absolute(args[0]))
    observed.writes(_absolute(args[1]))


def _hear_symlink(observed: Observed, args: tuple[Any, ...]) -> None:
    observed.writes(_absolute(args[1]))


def _hear_folder(observed: Observed, args: tuple[Any, ...]) -> None:
    path = _absolute(args[0])
    if not os.path.lexists(path):
        observed.made.add(path)


def _hear_folder_removed(observed: Observed, args: tuple[Any, ...]) -> None:
    if args[1] == -1:
        observed.removes_folder(_absolute(args[0]))


def _hear_listing(observed: Observed, args: tuple[Any, ...]) -> None:
    if isinstance(args[0], int):
        return
    frame = _caller()
    if _is_import(frame):
        return
    given = "." if args[0] is None else os.fsdecode(args[0])
    observed.relative = observed.relative or not Path(given).is_absolute()
    observed.lists(os.path.abspath(given), listed_by(frame))


def _hear_import(observed: Observed, args: tuple[Any, ...]) -> None:
    frame = _caller()
    while frame is not None and "importlib" in frame.f_code.co_filename:
        frame = frame.f_back
    if frame is not None and frame.f_globals.get("__name__") == "__main__":
        observed.imported[args[0]] = frame.f_code.co_name == "<module>"


def _hear_exec(observed: Observed, _args: tuple[Any, ...]) -> None:
    """A module is run; `importlib.import_module` is heard of here only."""
    frame, name = _caller(), ""
    if frame is None or not frame.f_code.co_filename.startswith("<frozen importlib"):
        return
    while frame is not None and (
        "importlib" in frame.f_code.co_filename or frame.f_globals.get("__name__") == _TELLS_IMPORTS
    ):
        if frame.f_code.co_name == "exec_module":
            name = frame.f_locals["module"].__name__
        frame = frame.f_back
    if name and frame is not None and frame.f_globals.get("__name__") == "__main__":
        observed.imported.setdefault(name, frame.f_code.co_name == "<module>")


def _hear_class(observed: Observed, args: tuple[Any, ...]) -> None:
    """A pickle that is loaded names a class or function."""
    observed.looked_up.add((str(args[0]), str(args[1]).partition(".")[0]))


_TELLS_IMPORTS = "kitaru_nb.engine.variables"  # whose loader stands between those of Python

_HEARD: dict[str, Callable[[Observed, tuple[Any, ...]], None]] = {
    "open": _hear_open,
    "socket.connect": _hear_connect,
    "socket.sendto": _hear_connect,
    "subprocess.Popen": _hear_process,
    "os.system": _hear_process,
    "os.exec": _hear_process,
    "os.posix_spawn": _hear_process,
    "os.fork": _hear_process,
    "os.forkpty": _hear_process,  # of `!ls`
    "sqlite3.connect": _hear_database,
    "os.remove": _hear_removal,
    "shutil.rmtree": _hear_removal_of_tree,
    "os.rename": _hear_rename,
    "os.truncate": _hear_truncate,
    "os.link": _hear_link,
    "os.symlink": _hear_symlink,
    "os.mkdir": _hear_folder,
    "os.rmdir": _hear_folder_removed,
    "os.listdir": _hear_listing,
    "os.scandir": _hear_listing,
    "import": _hear_import,
    "exec": _hear_exec,
    "pickle.find_class": _hear_class,
}

# Of recorded calls only what they change is looked at, and which files they open for reading.
_CHANGING = frozenset(
    [
        *("open", "os.remove", "shutil.rmtree", "os.rename", "os.truncate", "os.link", "os.symlink"),
        *("os.mkdir", "os.rmdir", "sqlite3.connect"),
        *("subprocess.Popen", "os.system", "os.exec", "os.posix_spawn", "os.fork", "os.forkpty"),
    ]
)


def _caller() -> FrameType | None:
    """The frame that made the call which is heard of."""
    frame: FrameType | None = sys._getframe(1)  # noqa: SLF001 - the only way
    while frame is not None and frame.f_code.co_filename == __file__:
        frame = frame.f_back
    return frame


def _is_import(frame: FrameType | None) -> bool:
    name = frame.f_code.co_filename if frame is not None else ""
    return name.startswith("<frozen importlib") or "importlib" in name or name.endswith("pkgutil.py")


def _absolute(path: Any) -> str:
    return os.path.abspath(os.fsdecode(path))


def _files_below(root: str) -> list[str]:
    found: list[str] = []
    for folder, _, names in os.walk(root):
        found += [os.path.join(folder, name) for name in names]
        if len(found) > _MANY * 10:
            break
    return found


def _folders_below(root: str) -> list[str]:
    found: list[str] = []
    for folder, names, _ in os.walk(root):
        found += [os.path.join(folder, name) for name in names]
        if len(found) > _MANY:
            break
    return found


def _stat(path: str | Path) -> os.stat_result | None:
    try:
        return os.stat(path)
    except (OSError, ValueError):
        return None
