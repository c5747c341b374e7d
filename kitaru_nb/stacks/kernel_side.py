"""What a headless kernel is told before it takes part in an attempt.

This runs inside the kernel and is loaded first, so it imports the standard library only.
"""

from __future__ import annotations

import importlib
import os
import sys

from kitaru_nb.stacks.loading import nothing_collected
from kitaru_nb.stacks.orphans import end_with_parent

__all__ = ["FOLDER", "enter", "prepare"]

FOLDER = ""
"""The entry of ``sys.path`` that stands for the folder a kernel is in."""

_LOADED = ("kitaru_nb.notebook.headless", "kitaru_nb.notebook.late")


def prepare(parent: int) -> None:
    """Tie this kernel to its worker and load what every headless run needs.

    None of it is looked for in the kernel's folder: a `queue.py` beside a notebook is the
    notebook's own, and a kernel that is made ready in one folder may come to serve another.
    """
    end_with_parent(parent)
    place = sys.path.index(FOLDER) if FOLDER in sys.path else None
    if place is not None:
        del sys.path[place]
    try:
        with nothing_collected():
            for name in _LOADED:
                importlib.import_module(name)
    finally:
        if place is not None:
            sys.path.insert(place, FOLDER)


def enter(folder: str) -> None:
    """From now on the kernel is as one that was started this moment in `folder`.

    Where it cannot go there it ends: nobody waits for this to be done, and cells that ran in the
    wrong folder would read the wrong files.
    """
    try:
        os.chdir(folder)
    except OSError as error:
        # to the kernel's log, which tells why it died; `sys.stderr` goes to the notebook
        print(f"the folder {folder!r} cannot be entered: {error.strerror}", file=sys.__stderr__, flush=True)
        os._exit(1)
    from kitaru_nb.engine import process  # noqa: PLC0415 - `prepare` has loaded it, apart from any folder

    process.begin_anew()
