"""What is installed where a stack's workers run, as `stack check` last saw it, and what a notebook needs."""

from __future__ import annotations

import json
import socket
import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from kitaru_nb.errors import StackError
from kitaru_nb.model.private import make_private
from kitaru_nb.model.settings import Settings
from kitaru_nb.model.stack import Stack
from kitaru_nb.stacks.bundle import Bundle
from kitaru_nb.stacks.notebooks import write_atomically
from kitaru_nb.stacks.open import chosen_stack

__all__ = ["Environment", "compared", "differences", "keep_environment"]


@dataclass(frozen=True, slots=True)
class Environment:
    """A Python and what is installed in it.

    Attributes:
        host: Where.
        executable: The Python.
        python: Its minor version, such as ``3.12``.
        packages: Versions by the name of the distribution.
    """

    host: str
    executable: str
    python: str
    packages: Mapping[str, str]

    @classmethod
    def here(cls, names: Iterable[str]) -> Environment:
        """This process's, of the distributions called so."""
        own = f"{sys.version_info.major}.{sys.version_info.minor}"
        found = {name: _version(name) for name in names}
        there = {name: each for name, each in found.items() if each is not None}
        return cls(socket.gethostname(), sys.executable, own, there)


def compared(bundle: Bundle, there: Environment) -> list[str]:
    """What may make a difference when a bundle runs there: packages of which it has other versions.

    Raises:
        StackError: kind ``environment-differs``: it cannot run there, since the Python is another one or
            lacks something.
    """
    if bundle.python != there.python:
        raise StackError(
            f"`{bundle.notebook}` is from Python {bundle.python}, and the worker's on {there.host} is "
            f"{there.python} ({there.executable})",
            kind="environment-differs",
            hint=f"name a Python {bundle.python} of the worker's in the stack's launcher: python = …",
        )
    missing = [f"{name}=={wanted}" for name, wanted in bundle.packages.items() if name not in there.packages]
    if missing:
        raise StackError(
            f"the worker's Python on {there.host} lacks {', '.join(missing)}, "
            f"which `{bundle.notebook}` imports",
            kind="environment-differs",
            hint=f"there: {there.executable} -m pip install {' '.join(missing)}; then kitaru-nb stack check",
        )
    return [
        f"{name} is {there.packages[name]} on {there.host} and {wanted} here"
        for name, wanted in bundle.packages.items()
        if there.packages[name] != wanted
    ]


def differences(settings: Settings, bundle: Bundle) -> list[str]:
    """The same for a bundle that is about to be submitted; nothing where the stack was never checked.

    Raises:
        StackError: see `compared`.
    """
    file = _file(settings, chosen_stack(settings))
    try:
        told = json.loads(file.read_text(encoding="utf-8"))
        there = Environment(told["host"], told["executable"], told["python"], told["packages"])
    except (OSError, ValueError, LookupError):
        return []
    return compared(bundle, there)


def keep_environment(settings: Settings, stack: Stack, found: Mapping[str, Any]) -> None:
    """Keep what a worker has said of itself, for the next submission."""
    file = _file(settings, stack)
    make_private(file.parent)
    kept = {name: found[name] for name in ("host", "executable", "python", "packages")}
    write_atomically(json.dumps(kept, indent=1), file)


def _file(settings: Settings, stack: Stack) -> Path:
    return settings.home / "stacks" / f"{stack.name}.environment.json"


def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None
