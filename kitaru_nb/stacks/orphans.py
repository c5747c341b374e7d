"""Ties a process's life to another's: no kernel goes on computing for a worker that is gone.

This runs inside the kernel, so it imports the standard library only.
"""

from __future__ import annotations

import os
import signal
import sys

__all__ = ["end_with_parent"]

_PR_SET_PDEATHSIG = 1


def end_with_parent(parent: int, *, signum: int = signal.SIGKILL) -> bool:
    """Have this process killed the moment process `parent` dies; whether that could be arranged.

    Linux only, and only when `parent` started this process directly: behind a wrapper the
    signal would follow the wrapper. Elsewhere ipykernel's own watch on ``JPY_PARENT_PID``
    ends the kernel about a second later, so False is not an error.
    """
    if not sys.platform.startswith("linux") or os.getppid() != parent:
        return False
    import ctypes  # noqa: PLC0415 - only where it is used, since every headless kernel imports this module

    if ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signum, 0, 0, 0) != 0:
        return False
    if os.getppid() != parent:
        # the parent died between the two calls: no signal comes any more
        os._exit(1)
    return True
