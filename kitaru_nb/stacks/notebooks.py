"""Notebook files: reading them with clear errors, stable cell ids, atomic saves.

papermill's and nbformat's untyped values are met here and in `worker`.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import stat
import warnings
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from hashlib import blake2b
from pathlib import Path
from shlex import quote
from typing import Any

import nbformat
from nbformat import NotebookNode
from papermill.iorw import papermill_io

from kitaru_nb.analysis.directive import NO_CHECKPOINT
from kitaru_nb.errors import NotFoundError, UsageError
from kitaru_nb.model.execution import OUTPUT_ENDING, default_output
from kitaru_nb.model.private import sync_folder
from kitaru_nb.stacks.remote import is_remote

__all__ = [
    "PARAMETERS",
    "Step",
    "check_output",
    "give_stable_ids",
    "is_remote",
    "json_parameters",
    "local_path",
    "parse_notebook",
    "read_notebook",
    "recorded_ids",
    "save_atomically_at",
    "steps_of",
    "write_atomically",
]

PARAMETERS = "cell:injected-parameters"
"""The step of the cell in which papermill sets parameters."""

_SKIP = "skip-execution"
_INJECTED = "injected-parameters"
_CELL_ID = re.compile(r"[a-zA-Z0-9_-]{1,64}\Z")


@dataclass(frozen=True, slots=True)
class Step:
    """A code cell that runs: its place in the notebook, its identity and its source."""

    index: int
    step: str
    source: str
    tags: tuple[str, ...]

    @property
    def plain(self) -> bool:
        """Whether the cell asks not to be a checkpoint."""
        return NO_CHECKPOINT in self.tags


def read_notebook(path: str) -> NotebookNode:
    """The notebook at `path`, a file or a URL that papermill reads.

    Raises:
        UsageError: kind ``no-notebook`` (no such file), ``not-a-notebook`` (not JSON, or
            JSON of something else).
    """
    try:
        if not is_remote(path) and os.path.isdir(path):  # noqa: PTH112 - papermill would warn about its extension first
            raise IsADirectoryError
        with warnings.catch_warnings():
            # papermill's, of a name with another ending: what is wrong with it is said below
            warnings.simplefilter("ignore", UserWarning)
            text = papermill_io.read(path)
    except FileNotFoundError:
        raise UsageError(
            f"there is no notebook `{path}`", kind="no-notebook", hint=_nearby(Path(path))
        ) from None
    except IsADirectoryError:
        raise UsageError(
            f"`{path}` is a folder", kind="no-notebook", hint=f"{quote(str(path))}/NAME.ipynb"
        ) from None
    except UnicodeDecodeError:
        raise UsageError(
            f"`{path}` is not a notebook: it is not text", kind="not-a-notebook", hint="a .ipynb file"
        ) from None
    except ValueError:  # a NUL, or half a character
        raise UsageError(
            f"no notebook can be called {path!r}", kind="no-notebook", hint="a .ipynb file"
        ) from None
    except OSError as error:
        raise NotFoundError(
            f"notebook `{path}` could not be read: {error.strerror or error}",
            kind="unreadable-notebook",
            hint=f"ls -l {quote(str(path))}",
        ) from error
    return parse_notebook(text, path)


def parse_notebook(text: str, path: str) -> NotebookNode:
    """The notebook that `text` is; `path` names it in errors.

    Raises:
        UsageError: kind ``not-a-notebook``.
    """
    try:
        document = json.loads(text)
    except ValueError as error:
        raise UsageError(
            f"`{path}` is not a notebook: it is not JSON ({error})",
            kind="not-a-notebook",
            hint="open it in Jupyter and save it again, or take it from version control",
        ) from None
    if not isinstance(document, dict) or not ("cells" in document or "worksheets" in document):
        raise UsageError(
            f"`{path}` is not a notebook: it is JSON without cells",
            kind="not-a-notebook",
            hint="a .ipynb file",
        )
    try:
        nb: NotebookNode = nbformat.reads(text, as_version=4)
    except Exception as error:  # nbformat raises whatever its converters meet in a malformed document
        why = next(iter(str(error).splitlines()), type(error).__name__)
        raise UsageError(
            f"`{path}` is not a notebook nbformat can read: {why}",
            kind="not-a-notebook",
            hint="open it in Jupyter and save it again",
        ) from error
    _check_shape(nb, path)
    return nb


def check_output(notebook: str | None, output: str) -> None:
    """Refuse an output that cannot be written, before anything is run.

    Raises:
        UsageError: kind ``output-is-source``, ``no-output-folder`` or ``output-not-writable``.
    """
    if is_remote(output):
        return
    path = Path(output)
    if notebook is not None and not is_remote(notebook) and _same_file(Path(notebook), path):
        raise UsageError(
            f"the output `{output}` is the notebook itself, which a run never overwrites",
            kind="output-is-source",
            hint=f"-o {quote(str(default_output(output)))}",
        )
    if not path.parent.is_dir():
        raise UsageError(
            f"the output `{output}` cannot be written: there is no folder `{path.parent}`",
            kind="no-output-folder",
            hint=f"mkdir -p {quote(str(path.parent))}",
        )
    if path.is_dir():
        raise UsageError(
            f"the output `{output}` is a folder",
            kind="output-not-writable",
            hint=f"-o {quote(str(output))}/out.ipynb",
        )
    if not os.access(path if _is_special(path) else path.parent, os.W_OK):
        raise UsageError(
            f"the output `{output}` cannot be written: `{path.parent}` is read-only for this user",
            kind="output-not-writable",
            hint="-o with a folder you may write to",
        )


def local_path(path: str) -> str:
    """`path` made absolute as papermill does it, against the folder its run began in; a URL as it is."""
    if is_remote(path):
        return path
    handler = papermill_io.get_handler("local")
    base = handler.cwd(None)  # the one public way to read it is to set it
    handler.cwd(base)
    return os.path.abspath(os.path.join(base or os.getcwd(), path))  # noqa: PTH118, PTH109 - a path as text, links kept


def json_parameters(parameters: Mapping[str, Any]) -> dict[str, Any]:
    """`parameters` as JSON values, without papermill's own (a fresh uuid and clock for every run)."""
    kept = {name: value for name, value in parameters.items() if name != "pm"}
    # `str` as papermill writes such a value into the notebook, so that going on writes the same cell
    values: dict[str, Any] = json.loads(json.dumps(kept, default=str))
    return values


def recorded_ids(source: str | NotebookNode) -> frozenset[str]:
    """The cell ids that stand in the notebook itself, before anything that reads it makes some up.

    `source` is a path, a URL or a notebook in memory. What cannot be read again (standard
    input) has none.
    """
    try:
        document = source if isinstance(source, NotebookNode) else json.loads(papermill_io.read(source))
        return frozenset(cell["id"] for cell in document["cells"] if isinstance(cell.get("id"), str))
    except (OSError, ValueError, LookupError, AttributeError, TypeError):
        return frozenset()


def give_stable_ids(nb: NotebookNode, own: Collection[str]) -> None:
    """Give each cell of `nb` an id that is the same in every run.

    A cell keeps the id its file has (those are `own`; others papermill made up at random).
    Any other cell gets one made from its source and how many cells with that source stand
    before it, so that inserting a cell does not make other cells into other steps.
    papermill's injected parameters always have the same one.
    """
    taken: set[str] = set()
    seen: dict[str, int] = {}
    for cell in nb.cells:
        identity = cell.get("id")
        if identity not in own or identity in taken or not _CELL_ID.match(identity):
            identity = _made_id(cell, seen)
            while identity in taken or identity in own:
                identity = _made_id(cell, seen)
        cell["id"] = identity
        taken.add(identity)


def steps_of(nb: NotebookNode) -> list[Step]:
    """The code cells that run, in order: not empty and not tagged ``skip-execution``."""
    steps = []
    for index, cell in enumerate(nb.cells):
        tags = tuple(cell.metadata.get("tags", ()))
        if cell.cell_type == "code" and cell.source.strip() and _SKIP not in tags:
            steps.append(Step(index, f"cell:{cell['id']}", cell.source, tags))
    return steps


def save_atomically_at(output: str) -> None:
    """Have papermill write to the local file `output` atomically from now on, in this process.

    papermill's own final save and its error banner go this way too, so that a kill at any
    instant leaves a whole notebook.
    """
    if not is_remote(output) and not isinstance(papermill_io.get_handler(output), _AtomicFile):
        papermill_io.register(output, _AtomicFile(local_path(output)))


def write_atomically(text: str, path: Path) -> None:
    """Write `text` to `path`: after a crash it holds the old or the new content, whole.

    When this returns it is the new one, also after a power cut: what is on record as completed has its
    output.

    A link is followed; a device or a pipe is simply written to. An existing file keeps its
    permissions.

    Raises:
        OSError: it could not be written; the old content stands.
    """
    target = Path(os.path.realpath(path))
    if _is_special(target):
        target.write_text(text, encoding="utf-8")
        return
    # a fixed name: what a kill leaves behind is written over by the next save, never piled up
    spare = target.with_name(f".{target.name}.kitaru-nb")
    try:
        flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | getattr(os, "O_NOFOLLOW", 0)
        with os.fdopen(os.open(spare, flags, 0o666), "w", encoding="utf-8") as file:
            if target.exists():
                os.chmod(spare, stat.S_IMODE(target.stat().st_mode))  # noqa: PTH101 - on the file just opened
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        spare.replace(target)
        sync_folder(target.parent)
    except OSError:
        with contextlib.suppress(OSError):
            spare.unlink()
        raise


class _AtomicFile:
    """A papermill I/O handler for one local file."""

    def __init__(self, path: str) -> None:
        self._path = Path(path)

    def read(self, _path: str) -> str:
        return self._path.read_text(encoding="utf-8")

    def listdir(self, path: str) -> list[str]:
        return [str(entry) for entry in Path(path).iterdir()]

    def write(self, text: str, _path: str) -> None:
        write_atomically(text, self._path)

    def pretty_path(self, path: str) -> str:
        return path


def _check_shape(nb: NotebookNode, path: str) -> None:
    """Refuse metadata that nobody could have meant, before it is met half-way through a run."""
    kernelspec = nb.metadata.get("kernelspec", {})
    wrong = None
    if not isinstance(kernelspec, dict) or not isinstance(kernelspec.get("name", ""), str):
        wrong = "its `kernelspec` names no kernel"
    elif not isinstance(nb.metadata.get("language_info", {}), dict):
        wrong = "its `language_info` is no table"
    for number, cell in enumerate(nb.cells, 1):
        tags = cell.metadata.get("tags", [])
        if not isinstance(tags, list) or not all(isinstance(tag, str) for tag in tags):
            wrong = f"the tags of cell {number} are not a list of words"
    if wrong is not None:
        raise UsageError(
            f"`{path}` is not a notebook nbformat can read: {wrong}",
            kind="not-a-notebook",
            hint="open it in Jupyter and save it again",
        )


def _made_id(cell: NotebookNode, seen: dict[str, int]) -> str:
    basis = _INJECTED if _INJECTED in cell.metadata.get("tags", ()) else f"{cell.cell_type}\0{cell.source}"
    nth = seen[basis] = seen.get(basis, 0) + 1
    if basis == _INJECTED and nth == 1:
        return _INJECTED
    return blake2b(f"{basis}\0{nth}".encode(), digest_size=8).hexdigest()


def _same_file(one: Path, other: Path) -> bool:
    try:
        return one.samefile(other)
    except OSError:
        return os.path.realpath(one) == os.path.realpath(other)


def _is_special(path: Path) -> bool:
    try:
        return not stat.S_ISREG(path.stat().st_mode)
    except OSError:
        return False


def _nearby(path: Path) -> str:
    folder = path.parent
    known = [p.name for p in folder.glob("*.ipynb")] if folder.is_dir() else []
    sources = sorted(name for name in known if not name.endswith(OUTPUT_ENDING)) or known
    stems = {Path(name).stem: name for name in sources}
    found = get_close_matches(path.stem, stems, 1)
    return quote(str(folder / stems[found[0]])) if found else "a path to a .ipynb file"
