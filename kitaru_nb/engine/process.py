"""Process state outside the namespace: random generators, working folder, import path, environment.

Everything is held relative to how the process was found, so that a resume on another
machine sets what the notebook set and nothing else. A commit stores only the parts that
differ from the commit before. Values of variables that look secret are never stored.
"""

from __future__ import annotations

import importlib
import os
import random
import re
import sys
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

__all__ = ["Process", "ProcessState", "drawn"]

ProcessState = dict[str, Any]
"""Part (``random``, ``numpy``, ``torch``, ``cwd``, ``path``, ``env``) to a comparable value."""

_GENERATORS = ("random", "numpy", "torch")
_SECRET = re.compile(r"(?:^|_)(?:KEY|TOKEN|SECRET|PASSWORD|PASSWD|CREDENTIAL)S?(?:_|$)", re.IGNORECASE)


class Process:
    """This process's state, told relative to how it was when the object was made."""

    def __init__(self) -> None:
        self._environ = _environment()
        self._path = list(sys.path)

    def snapshot(self) -> ProcessState:
        """The state now. Looks only into libraries that are loaded."""
        now = _environment()
        state: ProcessState = {
            "random": random.getstate(),
            "path": [entry for entry in sys.path if entry not in self._path],
            "env": {
                name: now.get(name)
                for name in now.keys() | self._environ
                if now.get(name) != self._environ.get(name)
            },
        }
        with suppress(OSError):  # the folder can have been removed under us
            state["cwd"] = str(Path.cwd())
        if "numpy.random" in sys.modules:
            kind, keys, *rest = sys.modules["numpy.random"].get_state()
            state["numpy"] = (kind, keys.tobytes(), *rest)
        if "torch" in sys.modules and hasattr(sys.modules["torch"], "get_rng_state"):
            state["torch"] = sys.modules["torch"].get_rng_state().numpy().tobytes()
        return state

    def apply(self, state: Mapping[str, Any]) -> list[str]:
        """Put stored parts back; gives a sentence for each one that could not be."""
        failed = []
        for part, value in state.items():
            try:
                _PUT[part](value)
            except (OSError, ValueError, TypeError, ImportError, RuntimeError) as error:
                failed.append(f"{part} was not put back: {error}")
        return failed


def drawn(before: ProcessState, after: ProcessState) -> tuple[str, ...]:
    """The random generators that a step drew from or set."""
    return tuple(part for part in _GENERATORS if part in before and before[part] != after.get(part))


def _environment() -> dict[str, str]:
    return {
        name: value
        for name, value in os.environ.items()
        if not name.startswith("KITARU_NB_") and not _SECRET.search(name)
    }


def _put_numpy(value: Any) -> None:
    import numpy as np  # noqa: PLC0415 - only where a step used it

    kind, keys, *rest = value
    np.random.set_state((kind, np.frombuffer(keys, dtype=np.uint32), *rest))  # noqa: NPY002 - the global one is what cells seed


def _put_torch(value: bytes) -> None:
    torch: Any = importlib.import_module("torch")

    torch.set_rng_state(torch.frombuffer(bytearray(value), dtype=torch.uint8))


def _put_path(value: list[str]) -> None:
    sys.path.extend(entry for entry in value if entry not in sys.path)


def _put_environment(value: Mapping[str, str | None]) -> None:
    for name, text in value.items():
        if text is None:
            os.environ.pop(name, None)
        else:
            os.environ[name] = text


_PUT: dict[str, Callable[[Any], object]] = {
    "random": random.setstate,
    "numpy": _put_numpy,
    "torch": _put_torch,
    "cwd": os.chdir,
    "path": _put_path,
    "env": _put_environment,
}
