"""The project's own modules: which they are, what they import, and the digest of their source.

A module counts as the project's own when its file is below one of the given folders and in
no installed-packages folder. What such a module imports is read from its source, so the
answer is the same before and after the import ran.
"""

from __future__ import annotations

import ast
import hashlib
import os
import sys
import sysconfig
import threading
import types
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import cache, lru_cache
from pathlib import Path
from typing import Any, NamedTuple

from kitaru_nb.analysis.code_names import ASK_ARGUMENTS, ASK_ENVIRONMENT, LONGEST_PATH, SUBCLASSES
from kitaru_nb.analysis.normal import normal_form
from kitaru_nb.errors import UsageError
from kitaru_nb.model.artifact import Digest

__all__ = [
    "IsLocal",
    "LocalModule",
    "file_digest",
    "has_source",
    "imported_by",
    "is_local_file",
    "is_local_module",
    "local_modules",
    "module_digest",
    "module_file",
    "variables_of",
]

IsLocal = Callable[[types.ModuleType], bool]


class LocalModule(NamedTuple):
    """A module of the project.

    Attributes:
        path: Its source file.
        digest: Of the source that the module in memory was seen with, else of the file.
        asks: Those of the words in it by which code comes to names or classes of the notebook that
            nobody hands to it, or ask the process for something.
        texts: The strings in it that are short enough for a path.
        libraries: The packages that it imports.
    """

    path: Path
    digest: Digest
    asks: frozenset[str] = frozenset()
    texts: frozenset[str] = frozenset()
    libraries: frozenset[str] = frozenset()


def is_local_file(path: str | os.PathLike[str], roots: Iterable[Path]) -> bool:
    """Whether a file is below one of `roots` and no part of Python or an installed package."""
    name = os.fspath(path)
    folder = _real_folder(name if os.path.isabs(name) else os.path.join(os.getcwd(), name))  # noqa: PTH109, PTH117, PTH118
    roots = tuple(roots)
    return any(_is_in(folder, _resolved(root)) for root in roots) and _is_local_folder(folder, roots)


def is_local_module(module: types.ModuleType, roots: Sequence[Path]) -> bool:
    """Whether `module` is the project's own: see `is_local_file`. Runs none of the module's code."""
    name = _file_name(module)
    return name is not None and is_local_file(name, roots)


def module_file(module: types.ModuleType) -> Path | None:
    """The source file of a loaded module; None for built-in, frozen and namespace ones."""
    name = _file_name(module)
    return None if name is None else Path(name)


def has_source(module: types.ModuleType) -> bool:
    """Whether a loaded module has a source file, see `module_file`."""
    return _file_name(module) is not None


def _file_name(module: types.ModuleType) -> str | None:
    name = variables_of(module).get("__file__")
    return name if type(name) is str and name.endswith(".py") else None


def module_digest(module: types.ModuleType) -> Digest:
    """The digest of a loaded module's source as it was when first asked for.

    A file that is edited while its module stays loaded does not change the answer, since the
    old code is what runs; `importlib.reload` does.

    Raises:
        UsageError: the module has no source file that can be read (kind ``no-source``).
    """
    attributes = variables_of(module)
    name, spec = str(attributes.get("__name__")), attributes.get("__spec__")
    with _seen_lock:
        known = _seen.get(name)
        if known is None or known[0] is not module or known[1] is not spec:
            path = module_file(module)
            if path is None:
                raise UsageError(f"module `{name}` has no source file", kind="no-source")
            known = _seen[name] = module, spec, file_digest(path)
        return known[2]


def file_digest(path: Path) -> Digest:
    """BLAKE2b of a source file's normal form, or of its bytes when it is not valid Python.

    Raises:
        UsageError: it cannot be read (kind ``no-source``).
    """
    try:
        return _source_of(path).digest
    except OSError as error:
        raise UsageError(
            f"the module file `{path}` cannot be read: {error.strerror}", kind="no-source"
        ) from error


def imported_by(source: str | bytes) -> list[str]:
    """The dotted names that a cell or a module imports by statements; none where it is not Python.

    A name that is taken from a module stands there as well, since it may be a module itself.
    """
    try:
        tree = ast.parse(source)
    except (SyntaxError, ValueError, RecursionError):
        return []
    return [name for level, name in _imports(tree) if level == 0]


def local_modules(names: Iterable[str], is_local: IsLocal) -> dict[str, LocalModule]:
    """The project's modules among `names`, and all they import in turn, by dotted name.

    Nothing is imported. Names that are no module of the project are passed over.

    Args:
        names: Dotted names; a package stands for its ``__init__``, and one is added for every
            package above a module, since importing it runs them too.
        is_local: Whether a module is the project's own. For one that is not loaded it gets a bare
            module that holds nothing but ``__file__``.

    Raises:
        UsageError: a module's file cannot be read (kind ``no-source``).
    """
    found: dict[str, LocalModule] = {}
    passed: set[str] = set()
    waiting = list(names)
    while waiting:
        name = waiting.pop()
        if not name or name in passed:
            continue
        passed.add(name)
        path = _located(name, is_local)
        if path is None:
            continue
        module = sys.modules.get(name)
        loaded = type(module) is types.ModuleType and module_file(module) is not None
        digest = module_digest(module) if loaded and module is not None else file_digest(path)
        source = _source_of(path)
        libraries = frozenset(target.partition(".")[0] for level, target in source.imports if level == 0)
        found[name] = LocalModule(path, digest, source.asks, source.texts, libraries)
        waiting.append(name.rpartition(".")[0])
        waiting.extend(_imports_of(source, path, name))
    return found


def variables_of(module: types.ModuleType) -> dict[str, Any]:
    """A module's variables, past any `__getattr__` or lazy-loading subclass."""
    found = _variables_of(module)
    return found if type(found) is dict else {}


_INSTALLED = frozenset({"site-packages", "dist-packages"})
_OWN_PACKAGE = Path(__file__).resolve().parents[1]

_variables_of: Callable[[types.ModuleType], object] = types.ModuleType.__dict__["__dict__"].__get__  # type: ignore[index] # a descriptor

_seen: dict[str, tuple[types.ModuleType, object, Digest]] = {}
_seen_lock = threading.Lock()


class _Source(NamedTuple):
    digest: Digest
    imports: tuple[tuple[int, str], ...]  # level and dotted name
    asks: frozenset[str]
    texts: frozenset[str]


# Of what makes a notebook's own function dynamic, only what is hardly ever used for anything else.
_LEADING = frozenset({SUBCLASSES, "f_globals", "f_locals", "user_ns", "user_global_ns", "__main__"})
_ASKS = _LEADING | ASK_ENVIRONMENT | ASK_ARGUMENTS


def _source_of(path: Path) -> _Source:
    stat = path.stat()
    return _source(str(path), stat.st_mtime_ns, stat.st_size, stat.st_ino)


# Asked of thousands of modules at a time: with a Path for each it would take ten times as long. Not
# bounded: what goes through more files than a bound, again and again, would find none of them.
@cache
def _real_folder(name: str) -> str:
    if os.path.islink(name):  # noqa: PTH114
        name = os.path.realpath(name)
    return _resolved(os.path.dirname(name))  # noqa: PTH120


@cache
def _is_local_folder(folder: str, roots: tuple[Path, ...]) -> bool:
    place = Path(folder)
    nearest = Path(max((root for root in map(_resolved, roots) if _is_in(folder, root)), key=len))
    if _INSTALLED.intersection(place.relative_to(nearest).parts) or place.is_relative_to(_OWN_PACKAGE):
        return False
    return not any(place.is_relative_to(home) and home.is_relative_to(nearest) for home in _library_homes())


def _is_in(folder: str, root: str) -> bool:
    return folder == root or folder.startswith(root.rstrip(os.sep) + os.sep)


@cache
def _resolved(path: str | Path) -> str:
    return os.path.realpath(path)


@lru_cache(maxsize=1)
def _library_homes() -> tuple[Path, ...]:
    keys = ("stdlib", "platstdlib", "purelib", "platlib")
    return tuple({Path(path).resolve() for path in map(sysconfig.get_path, keys) if path})


@lru_cache(maxsize=1024)
def _source(path: str, _mtime: int, _size: int, _inode: int) -> _Source:
    data = Path(path).read_bytes()
    try:
        tree = ast.parse(data)
        form = normal_form(tree)
    except (SyntaxError, ValueError, RecursionError):
        tree, form = ast.Module([], []), data
    digest = hashlib.blake2b(form, digest_size=32, person=b"kitaru module 1").hexdigest()
    imports = tuple(_imports(tree))
    words = {node.attr for node in ast.walk(tree) if isinstance(node, ast.Attribute)}
    words |= {node.id for node in ast.walk(tree) if isinstance(node, ast.Name) and node.id in ASK_ENVIRONMENT}
    texts = (
        node.value for node in ast.walk(tree) if isinstance(node, ast.Constant) and type(node.value) is str
    )
    short = frozenset(text for text in texts if len(text) <= LONGEST_PATH)
    return _Source(Digest(digest), imports, _ASKS & (words | {name for _, name in imports}), short)


def _imports(tree: ast.Module) -> Iterator[tuple[int, str]]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((0, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            module = node.module or ""
            yield node.level, module
            for alias in node.names:
                yield node.level, f"{module}.{alias.name}" if module else alias.name


def _imports_of(source: _Source, path: Path, name: str) -> Iterator[str]:
    package = name if path.name == "__init__.py" else name.rpartition(".")[0]
    for level, target in source.imports:
        if level == 0:
            yield target
            continue
        base = ".".join(package.split(".")[: len(package.split(".")) - level + 1])
        yield f"{base}.{target}" if base and target else base or target


def _located(name: str, is_local: IsLocal) -> Path | None:
    """The local source file of module `name`: of the loaded one, else where Python would find it."""
    module = sys.modules.get(name)
    if type(module) is types.ModuleType:
        return module_file(module) if is_local(module) else None
    *packages, last = name.split(".")
    for start in sys.path:
        folder = Path(start or ".").joinpath(*packages)
        for path in (folder / last / "__init__.py", folder / f"{last}.py"):
            if path.is_file():
                bare = types.ModuleType(name)
                bare.__file__ = str(path)
                return path if is_local(bare) else None
    return None
