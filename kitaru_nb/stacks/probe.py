"""Tries a stack from where its workers run: ``python -m kitaru_nb.stacks probe``.

It opens the journal and the store as a worker does, runs one cell in a kernel, and prints what it found
as one line of JSON, the last of its log. It records nothing.
"""

from __future__ import annotations

import json
import os
import socket
import sys
import time
from contextlib import closing
from importlib.metadata import distributions
from typing import Any

from kitaru_nb.artifacts.vault import VAULT
from kitaru_nb.errors import KitaruError
from kitaru_nb.model.settings import Settings
from kitaru_nb.stacks.checking import SUBMITTER, check_places
from kitaru_nb.stacks.kernels import HeadlessKernel
from kitaru_nb.stacks.open import chosen_stack, keys_of
from kitaru_nb.stacks.submitted import settings_told

__all__ = ["main"]

_KERNEL = "python3"
_PATIENCE = 60.0
_CELL = "import kitaru_nb.notebook.headless"


def main() -> int:
    """Print what was found; 0 where a notebook could run here."""
    found: dict[str, Any] = {
        "python": f"{sys.version_info.major}.{sys.version_info.minor}",
        "executable": sys.executable,
        "host": socket.gethostname(),
        "packages": {str(each.name): each.version for each in distributions()},
    }
    try:
        settings = settings_told()
        checked = check_places(settings)
        problem = next((part.problem for part in checked if part.problem is not None), None)
        found["trusts"] = problem is None and _trusts(settings, os.environ.get(SUBMITTER, ""))
        if problem is None:
            found["kernel"] = _run_a_cell()
    except KitaruError as error:
        problem = {"kind": error.kind, "message": error.message, "hint": error.hint}
    found["problem"] = problem
    print(VAULT.mask(json.dumps(found)), flush=True)  # noqa: T201 - whoever checks the stack reads it in the log
    return 0 if problem is None else 1


def _trusts(settings: Settings, key: str) -> bool:
    """Whether what was signed with the key of who submits would be run here. Makes no key."""
    return keys_of(chosen_stack(settings)).trusts(key)


def _run_a_cell() -> float:
    """Seconds from starting a kernel to the end of its first cell.

    Raises:
        KitaruError: there is no such kernel, it does not start, or it lacks kitaru_nb.
    """
    began = time.perf_counter()
    kernel = HeadlessKernel(_KERNEL)
    with closing(_Stopping(kernel)):
        client = kernel.client
        client.wait_for_ready(timeout=_PATIENCE)
        answer = client.execute_interactive(_CELL, timeout=_PATIENCE, output_hook=lambda _message: None)
    content = answer["content"]
    if content["status"] != "ok":
        raise KitaruError(
            f"the kernel `{_KERNEL}` there cannot load kitaru_nb: {content.get('evalue', '')}",
            kind="kernel-without-kitaru",
            hint=f"{sys.executable} -m pip install kitaru-nb",
        )
    return time.perf_counter() - began


class _Stopping:
    def __init__(self, kernel: HeadlessKernel) -> None:
        self._kernel = kernel

    def close(self) -> None:
        self._kernel.stop(patience=1.0)
