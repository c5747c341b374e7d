"""What travels with a run to a machine that does not have the project: its notebook and its modules.

A bundle is kept in the journal, with the run, and signed: a worker runs what is in it. A worker that
finds the same notebook and modules at their own paths runs it there, with all that lies beside it. Else
it unpacks the bundle, and only what is in it is there: data has to be reachable from both sides. No
secret is in it: a file that has one written out is left behind, and named where it is missed.
"""

from __future__ import annotations

import base64
import json
import os
import sys
import zlib
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from hashlib import blake2b
from importlib.metadata import PackageNotFoundError, distribution, packages_distributions, version
from pathlib import Path
from typing import Any

from kitaru_nb.analysis.modules import imported_by, is_local_module, local_modules
from kitaru_nb.artifacts.vault import VAULT
from kitaru_nb.engine.engine import Engine
from kitaru_nb.engine.vouching import signed_record, signer_of
from kitaru_nb.errors import StackError, UntrustedError, UsageError
from kitaru_nb.model.event import Event
from kitaru_nb.model.execution import Execution
from kitaru_nb.model.private import make_private
from kitaru_nb.stacks.notebooks import is_remote, read_notebook

__all__ = ["Bundle", "bundle_of", "keep", "kept"]

KEPT = "bundle.kept"
LARGEST = 4 << 20
"""Bytes that a bundle may take in the journal."""

_MARKERS = ("pyproject.toml", "setup.py", ".git", "kitaru_nb.toml")


@dataclass(frozen=True, slots=True)
class Bundle:
    """A notebook without its outputs, the project's modules that it imports, and what they need.

    Attributes:
        notebook: Its path in the bundle.
        files: Content by path.
        paths: Folders of the bundle from which modules are imported.
        left: Files that are not in it since a secret is written out in them.
        python: The minor version, such as ``3.12``.
        packages: The installed distributions that are imported, with their versions.
    """

    notebook: str
    files: Mapping[str, bytes]
    paths: tuple[str, ...] = ()
    left: tuple[str, ...] = ()
    python: str = ""
    packages: Mapping[str, str] = field(default_factory=dict)

    @property
    def digest(self) -> str:
        """Of all that is in it."""
        hashed = blake2b(digest_size=16, person=b"kitaru bundle 1")
        for name in sorted(self.files):
            hashed.update(f"{name}\0{len(self.files[name])}\0".encode() + self.files[name])
        hashed.update(json.dumps([self.notebook, self.paths, self.python, self.packages]).encode())
        return hashed.hexdigest()

    def to_json(self) -> dict[str, Any]:
        """Its fields as JSON values, files compressed."""
        files = {name: base64.b85encode(zlib.compress(data)).decode() for name, data in self.files.items()}
        return {
            "digest": self.digest,
            "notebook": self.notebook,
            "files": files,
            "paths": list(self.paths),
            "left": list(self.left),
            "python": self.python,
            "packages": dict(self.packages),
        }

    @classmethod
    def of_json(cls, told: Mapping[str, Any]) -> Bundle:
        """What `to_json` gave."""
        files = {name: zlib.decompress(base64.b85decode(text)) for name, text in told["files"].items()}
        return cls(
            str(told["notebook"]),
            files,
            tuple(told["paths"]),
            tuple(told["left"]),
            str(told["python"]),
            dict(told["packages"]),
        )

    def is_at(self, notebook: str) -> bool:
        """Whether the same notebook, but for what it shows, and modules lie at their own paths here."""
        path = Path(notebook)
        if not path.is_file() or _plain_notebook(notebook) != self.files.get(self.notebook):
            return False
        above = len(Path(self.notebook).parts) - 1
        top = path.parents[above] if above < len(path.parents) else path.parent
        modules = ((_below(top, name), data) for name, data in self.files.items() if name != self.notebook)
        return all(module.is_file() and module.read_bytes() == data for module, data in modules)

    def unpack(self, folder: Path) -> Path:
        """Write it to `folder`; the notebook's path there. What is there already is left as it is.

        Raises:
            StackError: kind ``bundle-incomplete``: its notebook was left behind.
        """
        if self.notebook not in self.files:
            raise StackError(
                f"the notebook `{self.notebook}` has a secret written out, so it was not sent along, and "
                "it is not on this machine",
                kind="bundle-incomplete",
                hint="read the secret from an environment variable: os.environ['NAME']",
            )
        make_private(folder)
        for name, data in self.files.items():
            path = _below(folder, name)
            if not path.is_file() or path.read_bytes() != data:
                make_private(path.parent)
                spare = path.with_name(f".{path.name}.{os.getpid()}")
                spare.write_bytes(data)
                spare.replace(path)
        return _below(folder, self.notebook)


def bundle_of(notebook: str) -> Bundle | None:
    """The bundle of a notebook here; None of one that is read from a URL, which a worker reads itself.

    Raises:
        UsageError: kind ``bundle-too-large``.
    """
    if is_remote(notebook):
        return None
    path = Path(notebook)
    sources = [cell.source for cell in read_notebook(notebook).cells if cell.cell_type == "code"]
    names = [name for source in sources for name in imported_by(_python(source))]
    root = _project_of(path.parent)
    with _importing_from(path.parent):
        found = local_modules(names, lambda module: is_local_module(module, [root]))
    files = {path: _plain_notebook(notebook)}
    for module in found.values():
        files[module.path.resolve()] = module.path.read_bytes()
    top = Path(os.path.commonpath([root, *(each.parent for each in files)]))
    inside = {each.relative_to(top).as_posix(): data for each, data in files.items()}
    left = tuple(sorted(name for name, data in inside.items() if _tells_secret(data)))
    starts = {path.parent, *(_start_of(name, module.path.resolve()) for name, module in found.items())}
    whole = Bundle(
        path.relative_to(top).as_posix(),
        {name: data for name, data in inside.items() if name not in left},
        tuple(sorted(start.relative_to(top).as_posix() for start in starts)),
        left,
        f"{sys.version_info.major}.{sys.version_info.minor}",
        _distributions(names, {name: module.path for name, module in found.items()}),
    )
    size = len(json.dumps(whole.to_json()))
    if size > LARGEST:
        raise UsageError(
            f"`{notebook}` and the modules it imports are {size:,} bytes, too much to be sent to a worker",
            kind="bundle-too-large",
            hint="install the modules as a package where the worker runs",
        )
    return whole


def keep(engine: Engine, execution: Execution, bundle: Bundle) -> None:
    """Put a bundle on record with a run, unless it is the one that is there already."""
    newest = _newest(engine, execution)
    if newest is not None and newest.data.get("digest") == bundle.digest:
        return
    record = signed_record(KEPT, bundle.to_json(), execution, engine.trust.keys)
    engine.journal.record_event(execution.id, KEPT, record)


def kept(engine: Engine, execution: Execution) -> Bundle | None:
    """The bundle of a run; None where it has none.

    Raises:
        UntrustedError: kind ``untrusted-bundle``: nobody who is trusted here has signed it.
    """
    event = _newest(engine, execution)
    if event is None:
        return None
    key = signer_of(KEPT, event, execution, engine.trust.keys)
    if key is None or not engine.trust.keys.trusts(key):
        raise UntrustedError(
            f"the notebook that `{execution.id}` brings along is signed by nobody who is trusted here",
            kind="untrusted-bundle",
            hint='signing_key = "secret:env:TEAM_SIGNING_KEY" in the stack, the same key on both machines',
        )
    return Bundle.of_json(event.data)


def _newest(engine: Engine, execution: Execution) -> Event | None:
    return next((e for e in reversed(engine.journal.events(execution.id)) if e.kind == KEPT), None)


def _plain_notebook(path: str) -> bytes:
    """The notebook without what it shows, which is no part of what is run."""
    nb = read_notebook(path)
    cells = [
        {
            "cell_type": cell.cell_type,
            "source": cell.source,
            "metadata": {"tags": list(cell.metadata.get("tags", []))},
            **({"id": cell["id"]} if "id" in cell else {}),
            **({"outputs": [], "execution_count": None} if cell.cell_type == "code" else {}),
        }
        for cell in nb.cells
    ]
    metadata = {name: nb.metadata[name] for name in ("kernelspec", "language_info") if name in nb.metadata}
    whole = {
        "cells": cells,
        "metadata": metadata,
        "nbformat": nb.nbformat,
        "nbformat_minor": nb.nbformat_minor,
    }
    return json.dumps(whole, ensure_ascii=False, sort_keys=True).encode()


def _python(source: str) -> str:
    """A cell's source without its magics, as far as its imports go."""
    return "\n".join(line for line in source.splitlines() if not line.lstrip().startswith(("%", "!")))


def _tells_secret(data: bytes) -> bool:
    text = data.decode("utf-8", "replace")
    return VAULT.mask(text) != text or VAULT.mask_source(text) != text


def _project_of(folder: Path) -> Path:
    """The nearest folder at or above `folder` that looks like a project's; else `folder`."""
    for each in (folder, *folder.parents):
        if any((each / marker).exists() for marker in _MARKERS):
            return each
    return folder


def _start_of(name: str, path: Path) -> Path:
    """The folder from which a module is imported."""
    above = len(name.split(".")) - (0 if path.name == "__init__.py" else 1)
    return path.parents[above]


@contextmanager
def _importing_from(folder: Path) -> Iterator[None]:
    """While it is entered, modules are looked for as the notebook's kernel does."""
    before = list(sys.path)
    sys.path.insert(0, str(folder))
    try:
        yield
    finally:
        sys.path[:] = before


def _distributions(names: Iterable[str], modules: Mapping[str, Path]) -> dict[str, str]:
    tops = {name.partition(".")[0] for name in names}
    for path in modules.values():
        tops |= {name.partition(".")[0] for name in imported_by(path.read_bytes())}
    tops -= sys.stdlib_module_names | {name.partition(".")[0] for name in modules}
    found = {top: name for top in tops if (name := _called_so(top)) is not None}
    # looking through all that is installed takes longer than all the rest of a submission
    known = packages_distributions() if tops - found.keys() else {}
    others = {each for top in tops - found.keys() for each in known.get(top, ())}
    return {name: version(name) for name in sorted(others.union(found.values()))}


def _called_so(module: str) -> str | None:
    """The distribution that is called like a module and brings it; most are."""
    try:
        found = distribution(module)
    except PackageNotFoundError:
        return None
    files = f"\n{found.read_text('RECORD') or ''}"
    brings = any(f"\n{path}," in files for path in (f"{module}/__init__.py", f"{module}.py"))
    return found.metadata["Name"] if brings else None


def _below(folder: Path, name: str) -> Path:
    """A path of the bundle below `folder`, and nowhere else."""
    path = Path(os.path.normpath(folder / name))
    if not path.is_relative_to(folder):
        raise StackError(f"the bundle holds `{name}`, which leads out of it", kind="bundle-damaged", hint="")
    return path
