"""Which notebook this kernel serves, as far as the front end tells."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from kitaru_nb.model.execution import Identity

__all__ = ["identity_of", "notebook_path"]


def notebook_path(user_ns: Mapping[str, Any], *, setting: str | None) -> Path | None:
    """The notebook's absolute path: the setting, else what VS Code or the Jupyter server says."""
    told = setting or user_ns.get("__vsc_ipynb_file__") or os.environ.get("JPY_SESSION_NAME")
    return Path(str(told)).absolute() if told else None


def identity_of(path: Path | None, *, stack: str = "local") -> Identity:
    """The identity of an interactive run on a stack.

    A session whose front end names no notebook (a console, a plain nbclient run) is known
    by its folder.
    """
    return Identity(notebook=str(path) if path is not None else str(Path.cwd()) + os.sep, stack=stack)
