"""What code names outside itself: files, folders, patterns of files, environment variables.

Libraries that open files themselves (polars, pyarrow, duckdb) do so past the hook that hears of
Python's own. So a file counts that a step's strings or values name, and where the step reaches such
a library and speaks of reading, folders and patterns with the files they stand for.
"""

# ruff: noqa: PTH109, PTH111, PTH112, PTH113, PTH116, PTH118, PTH120, PTH207 - paths are plain strings here

from __future__ import annotations

import glob
import os
import re
import sys
import weakref
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path, PurePath
from stat import S_ISDIR, S_ISREG
from types import BuiltinFunctionType, CodeType, FunctionType, ModuleType
from typing import Any

from kitaru_nb.analysis.code_names import LONGEST_PATH
from kitaru_nb.analysis.outline import Outline
from kitaru_nb.engine.listing import ALL, listing_digest, names_in
from kitaru_nb.engine.observe import Observed, is_data, now_ns, stamp_of, state_of, unheard
from kitaru_nb.engine.process import is_secret
from kitaru_nb.model.referents import referents

__all__ = [
    "MOST_FILES",
    "WILD",
    "Tree",
    "conditions_of_trees",
    "named_environment",
    "named_files",
    "named_trees",
    "paths_in",
    "reads_past_python",
    "tree_of",
]

MOST_FILES = 500
"""Files of one folder or pattern that count; the others do not, and that is said."""

_SMALL = 100  # items of a container that are looked at
_MOST_PARTS = 200  # parts of one value that are looked at
_DEEPEST = 6  # how far inside a value a path is looked for
_MOST_FOLDERS = 100
_LARGE = 256 << 20  # bytes: more in one folder or pattern is known by sizes and times
_PATHS = (str, PurePath)
_ASKS = frozenset(
    {"exists", "lexists", "isfile", "is_file", "isdir", "is_dir", "getsize", "getmtime", "stat", "access"}
)
_NO_DATA = (".py", ".ipynb", ".log", ".lock", ".pid", ".pyc", ".toml", ".cfg", ".ini", ".md", ".rst")
WILD = re.compile(r"[*?[]")
_EXPRESSION = re.compile(r"[\\^$|+(){}]")  # more than a pattern of files
_QUOTED = re.compile(r"""(['"])([^'"\n]+)\1""")
_VARIABLE = re.compile(r"\$(?:\{(\w+)\}|(\w+))")
_LONGEST_SCRIPT = 64 << 10  # characters; a longer text is data
_SCANNED = re.compile(rb"\xa5inner(?:([\xa0-\xbf])|\xd9(.)|\xda(..))", re.DOTALL)
_ATOMS = frozenset({type(None), bool, int, float, complex, bytes})
_PLAIN = frozenset({list, tuple, set, frozenset, dict})
_CLOSED = (ModuleType, FunctionType, BuiltinFunctionType, type, CodeType)
# Libraries that read files through Python, if at all.
_OPEN = frozenset(
    "IPython __main__ anthropic attr attrs builtins httpx ipykernel kitaru_nb matplotlib numpy openai "
    "pydantic pydantic_core requests rich tenacity tqdm typing_extensions".split()
)


@dataclass(frozen=True, slots=True)
class Tree:
    """The files that a folder or a pattern stands for.

    Attributes:
        root: The folder, or the one that the pattern begins with.
        pattern: Whether it is a pattern.
        folders: The digest of what each folder lists, by folder and pattern.
        files: The digest of each file.
        whole: Whether these are all of them.
        declared: Whether the step says that it depends on them, so that they count in any case.
    """

    root: str
    pattern: bool
    folders: Mapping[tuple[str, str], str] = field(default_factory=dict)
    files: Mapping[str, str] = field(default_factory=dict)
    whole: bool = True
    declared: bool = False


def named_files(
    code: Outline, values: Iterable[object], *, ignored: Sequence[Path], texts: Iterable[Collection[str]] = ()
) -> dict[str, str]:
    """Files that a cell names in its strings, or in the strings and paths it reads, with their digests.

    So a file counts that is read by code which does not open it through Python. Where the code
    asks whether files are there, those that are not count as well, and folders.

    Args:
        code: The cell.
        values: What it reads.
        ignored: Files, and folders whose files, are no data.
        texts: Further texts: `paths_in` what it reads, and those in other code that it reaches.
    """
    values = list(values)
    asks = _asks(code.words, values)
    found = {}
    for text in _candidates(code, values):
        # Nearly every text is none: it is made a whole path only where that tells more.
        if asks or ".." in text or os.path.isfile(text):  # Path.is_file raises on too long a name
            path = os.path.abspath(text)
            there = asks or os.path.isfile(path)
            if there and is_data(path, ignored):
                found[path] = state_of(path)
    for text in (text for each in texts for text in _there(each)):
        path = os.path.abspath(os.path.expanduser(text))
        if (
            path not in found
            and not path.endswith(_NO_DATA)
            and os.path.isfile(path)
            and is_data(path, ignored)
        ):
            found[path] = state_of(path)
    return found


def named_trees(
    code: Outline, values: Iterable[object], *, ignored: Sequence[Path], texts: Iterable[Collection[str]] = ()
) -> tuple[str, ...]:
    """Folders that are there, and patterns of files, that a cell names as `named_files` finds files."""
    found = dict.fromkeys(
        os.path.abspath(os.path.expanduser(text))
        for each in ([*_candidates(code, list(values))], *texts)
        for text in _there(each)
        if _is_pattern(text) or os.path.isdir(os.path.expanduser(text))
    )
    here = os.getcwd() + os.sep
    return tuple(
        path
        for path in found
        if is_data(path + os.sep, ignored) and not here.startswith(path.rstrip(os.sep) + os.sep)
    )


def paths_in(values: Iterable[object]) -> frozenset[str]:
    """The texts that could be paths within `values`, as far as they are not large or deep."""
    found: set[str] = set()
    for value in values:
        _add_paths_within(value, found)
    return frozenset(found)


def tree_of(path: str, *, ignored: Sequence[Path]) -> Tree:
    """The files that a folder or pattern stands for now."""
    with unheard():
        return _of_pattern(path, ignored) if WILD.search(path) else _of_folder(path, ignored)


def conditions_of_trees(trees: Iterable[Tree], observed: Observed) -> Iterator[tuple[str, str]]:
    """The conditions on folders and patterns that a step named, and that it was not heard to read or write.

    What it reads through Python, or writes, is known file by file. Declared ones count all the same.
    """
    touched = observed.read | observed.written | observed.removed
    for tree in trees:
        below = tree.root + os.sep
        heard = not touched.isdisjoint(tree.files) or not tree.folders.keys().isdisjoint(observed.listed)
        written = not tree.pattern and any(
            path.startswith(below) for path in observed.written | observed.made
        )
        if not tree.declared and (heard or written):
            continue
        for (folder, pattern), before in tree.folders.items():
            left = listing_digest(names_in(folder, pattern))
            yield f"folder:{folder}|{pattern}", before if left == before else f"{before}|{left}"
        for path, digest in tree.files.items():
            if digest in (state_of(path), stamp_of(path)):
                yield f"file:{path}", digest


def reads_past_python(libraries: Iterable[str], project: Collection[str] = ()) -> bool:
    """Whether a library is among them that may open files itself; `project` are the project's own."""
    return any(
        name not in _OPEN
        and name not in sys.stdlib_module_names
        and name not in project
        and name.lstrip("_") not in sys.stdlib_module_names
        for name in libraries
    )


def named_environment(
    code: Outline, values: Iterable[object], *, variables: Iterable[str] = ()
) -> dict[str, str | None]:
    """The environment variables that a cell names, with their values now.

    Named in its strings, in strings it reads, or in strings of the notebook's functions it
    reaches. A name in capitals counts before it is set, too. `variables` are strings in other code
    that it reaches, and that asks for some.
    """
    words = {value for value in (*code.constants, *values) if isinstance(value, str)}
    for value in values:
        if isinstance(value, FunctionType):
            words.update(_strings(value.__code__))
    words.update(variables)
    words |= _expanded(words)  # of `!echo $NAME`, too
    return {
        word: os.environ.get(word)
        for word in words
        if word.isidentifier() and (word in os.environ or word.isupper()) and not is_secret(word)
    }


def _expanded(texts: Iterable[str]) -> set[str]:
    """The variables in ``$HOME/${DATA}``."""
    short = (text for text in texts if len(text) <= _LONGEST_SCRIPT and "$" in text)
    return {one or other for text in short for one, other in _VARIABLE.findall(text)}


def _strings(code: CodeType) -> Iterator[str]:
    for constant in code.co_consts:
        if isinstance(constant, str):
            yield constant
        elif isinstance(constant, CodeType):
            yield from _strings(constant)


def _candidates(code: Outline, values: Sequence[object]) -> Iterator[str]:
    """The texts of a cell, and those it reads, that could be a path."""
    texts = [text for text in code.constants if isinstance(text, str)]
    words = [word for text in texts for word in text.split()[:_SMALL]]  # of `!cat a.txt`
    quoted = [part for text in texts for part in _in_quotes(text)]
    named = [part for value in values for part in _parts(value)]
    paths = [os.fspath(each) for each in named if type(each) not in _PLAIN and isinstance(each, _PATHS)]
    for text in dict.fromkeys((*texts, *words, *quoted, *paths)):
        if text and _may_be_path(text):
            yield text


def _may_be_path(text: str) -> bool:
    return 0 < len(text) <= LONGEST_PATH and "\n" not in text and "\0" not in text


def _in_quotes(text: str) -> Iterable[str]:
    """``a.csv`` of ``select * from 'a.csv'``."""
    return (part for _, part in _QUOTED.findall(text)) if "'" in text or '"' in text else ()


def _asks(used: AbstractSet[str], values: Iterable[object]) -> bool:
    """Whether code asks if files are there, which no audit event tells."""
    codes = (value.__code__.co_names for value in values if isinstance(value, FunctionType))
    return not _ASKS.isdisjoint(used) or not all(map(_ASKS.isdisjoint, codes))


def _parts(value: object) -> Iterable[object]:
    if isinstance(value, list | tuple | set | frozenset) and len(value) <= _SMALL:
        return value
    if type(value) is dict and len(value) <= _SMALL:
        return value.values()
    return (value,)


def _add_paths_within(value: object, found: set[str]) -> None:
    """Add the paths that objects hold, and those that a lazy frame or data set reads from."""
    level: list[Any] = [value]
    left = _MOST_PARTS
    for _ in range(_DEEPEST + 1):
        inner: list[Any] = []
        for part in level[:left]:
            kind = type(part)
            if kind is str:
                if len(part) <= LONGEST_PATH:
                    found.add(part)
            elif kind in _PLAIN:
                if len(part) <= _SMALL:
                    inner.append(part)
            elif kind not in _ATOMS and kind not in _CLOSED:
                paths = _paths_of(part)
                if paths is None:
                    inner.append(part)
                else:
                    found.update(paths)
        left -= len(level)
        if not inner or left <= 0:
            return
        level = referents(*inner)


def _paths_of(value: object) -> Iterable[str] | None:
    """The paths that a value is, or is read from; None for one that holds others."""
    kind = type(value)
    if issubclass(kind, PurePath):
        return (str(value),)
    if _home(kind) in _LAZY:
        return _sources(value)
    return () if issubclass(kind, _CLOSED) else None


def _home(kind: type) -> object:
    return type.__dict__["__module__"].__get__(kind)  # past a metaclass of anybody's


_LAZY = frozenset({"polars.lazyframe.frame", "pyarrow._dataset"})


_plans: dict[int, tuple[weakref.ref[Any], tuple[str, ...]]] = {}  # by the id of what never changes


def _sources(value: Any) -> Sequence[str]:
    """The files, or patterns of files, that a value is to be read from."""
    known = _plans.get(id(value))
    if known is None or known[0]() is not value:
        try:
            found = tuple(_scanned(value))
        except Exception:  # noqa: BLE001 - another version of the library; it is looked at, no more
            found = ()
        known = _plans[id(value)] = weakref.ref(value), found
        for key in [key for key, (ref, _) in _plans.items() if ref() is None]:
            del _plans[key]
    return known[1]


def _scanned(value: Any) -> Iterator[str]:
    if _home(type(value)) == "pyarrow._dataset":
        yield from getattr(value, "files", ())
    elif " SCAN [" in value.explain(optimized=False):
        plan = value.serialize()
        for found in _SCANNED.finditer(plan):
            fixed, byte, two = found.groups()
            length = fixed[0] & 0x1F if fixed else int.from_bytes(byte or two, "big")
            yield plan[found.end() : found.end() + length].decode("utf-8", "replace")


def _there(texts: Collection[str]) -> Iterator[str]:
    """Those of `texts` that could be a path to something that is there, told by where they begin."""
    if not texts:
        return
    begin, other = _by_head(frozenset(texts))
    here = _names_here()
    for head in begin if here is None else begin.keys() & here:
        yield from begin[head]
    yield from other


@lru_cache(maxsize=64)
def _by_head(texts: frozenset[str]) -> tuple[Mapping[str, Sequence[str]], Sequence[str]]:
    """What could be paths, by the name that they begin with; and those that do not begin with one."""
    found: dict[str, list[str]] = {}
    other: list[str] = []
    for text in sorted(filter(_may_be_path, texts)):
        head = text.partition(os.sep)[0]
        own = head[:1] in _ELSEWHERE or WILD.search(head)
        (other if own else found.setdefault(head, [])).append(text)
    return found, other


_ELSEWHERE = ("", ".", "~")  # what a path begins with that does not begin with a name in the folder
_listed: tuple[str, int, frozenset[str]] | None = None
_MANY_NAMES = 5000
_SETTLED_NS = 100_000_000  # a folder that was changed less long ago may change within one tick of its clock


def _names_here() -> frozenset[str] | None:
    """The names in the working folder; None where there are too many."""
    global _listed  # noqa: PLW0603 - one working folder per process
    try:
        here, stamp = os.getcwd(), os.stat(".").st_mtime_ns
        if _listed is not None and _listed[:2] == (here, stamp):
            return _listed[2]
        with unheard(), os.scandir(".") as entries:
            names = frozenset(entry.name for entry, _ in zip(entries, range(_MANY_NAMES + 1), strict=False))
    except OSError:
        return None
    if len(names) > _MANY_NAMES:
        return None
    if now_ns() - stamp > _SETTLED_NS:
        _listed = here, stamp, names
    return names


def _is_pattern(text: str) -> bool:
    """Whether a text is a pattern that some file matches: ``data/*.csv``, and no ``*`` or ``[a-z]+``."""
    plain = WILD.split(text)
    if (
        len(plain) == 1
        or _EXPRESSION.search(text)
        or not re.search(r"\w", text)
        or not ("." in text or os.sep in text)
    ):
        return False
    base = os.path.dirname(plain[0])
    if not os.path.isdir(os.path.expanduser(base) or "."):
        return False
    if "**" in text:  # all that is below would be gone through where nothing matches
        return True
    with unheard():
        return next(glob.iglob(os.path.expanduser(text), recursive=True), None) is not None


def _of_pattern(pattern: str, ignored: Sequence[Path]) -> Tree:
    base = os.path.dirname(WILD.split(pattern)[0])
    folder, last = os.path.split(pattern)
    matching = sorted(path for path in glob.iglob(pattern, recursive=True) if os.path.isfile(path))
    files = [path for path in matching if is_data(path, ignored)]
    if folder == base:
        folders = {(folder, last): listing_digest(names_in(folder, last))}
    else:
        listed = [one for one, _, _ in _walk(base)]
        folders = {(one, ALL): listing_digest(names_in(one)) for one in listed[:_MOST_FOLDERS]}
    return Tree(base, True, folders, _digests(files[:MOST_FILES]), len(files) <= MOST_FILES)


def _of_folder(folder: str, ignored: Sequence[Path]) -> Tree:
    folders: dict[tuple[str, str], str] = {}
    files: list[str] = []
    for one, _, names in _walk(folder):
        if len(folders) == _MOST_FOLDERS or len(files) > MOST_FILES:
            return Tree(folder, False, folders, _digests(files[:MOST_FILES]), whole=False)
        folders[one, ALL] = listing_digest(names_in(one))
        kept = names_in(one).intersection(names)
        files += [path for name in sorted(kept) if is_data(path := os.path.join(one, name), ignored)]
    return Tree(folder, False, folders, _digests(files[:MOST_FILES]), len(files) <= MOST_FILES)


def _walk(folder: str) -> Iterator[tuple[str, list[str], list[str]]]:
    for one, inner, names in os.walk(folder):
        inner[:] = sorted(names_in(one).intersection(inner))
        yield one, inner, names


def _digests(files: Sequence[str]) -> dict[str, str]:
    """The digest of each file: of its content, or where they are large together, of its size and time."""
    sizes = 0
    for path in files:
        try:
            found = os.stat(path)
        except OSError:
            continue
        sizes += found.st_size if S_ISREG(found.st_mode) and not S_ISDIR(found.st_mode) else 0
    of = stamp_of if sizes > _LARGE else state_of
    return {path: digest for path in files if (digest := of(path))}
