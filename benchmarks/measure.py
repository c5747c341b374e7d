"""What is measured of a process and of a folder, and how several runs become one figure."""

from __future__ import annotations

import importlib.util
import os
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import psutil  # type: ignore[import-untyped] # published without types

__all__ = [
    "Spread",
    "children_cpu",
    "cpu_of",
    "disk_of",
    "environment",
    "installed",
    "peak_memory_of",
    "spread",
    "timed",
]

Spread = tuple[float, float, float]
"""The median of several runs, the lowest and the highest."""


def cpu_of(pid: int) -> float:
    """CPU seconds, user and system, that a running process has used in all its threads.

    Threads that have ended count, child processes do not. Exact to the nanosecond on Linux,
    to the clock tick elsewhere.
    """
    if sys.platform == "linux":
        # the kernel's own numbering of a process's CPU clock, as clock_getcpuclockid(3) gives it
        return time.clock_gettime((~pid << 3) | 2)
    used = psutil.Process(pid).cpu_times()
    return used.user + used.system


def children_cpu() -> float:
    """CPU seconds of all child processes that have ended, and of theirs."""
    used = os.times()
    return used.children_user + used.children_system


def environment() -> dict[str, str]:
    """The environment of a process that is measured: without settings of ours, and with compiled modules.

    Where Python is told not to keep these, each process would compile anew whatever it imports.
    """
    left_out = ("KITARU_NB_", "PYTHONDONTWRITEBYTECODE")
    return {name: value for name, value in os.environ.items() if not name.startswith(left_out)}


def installed(name: str) -> bool:
    """Whether a module of that name can be imported here."""
    return importlib.util.find_spec(name) is not None


def disk_of(folder: Path) -> int:
    """Bytes that the files below `folder` hold."""
    return sum(Path(place, name).stat().st_size for place, _, names in os.walk(folder) for name in names)


def peak_memory_of(pid: int) -> int:
    """The most memory the process has had, in bytes; 0 where the system does not tell."""
    try:
        status = Path(f"/proc/{pid}/status").read_text(encoding="ascii")
    except OSError:
        return 0
    return next(int(line.split()[1]) * 1024 for line in status.splitlines() if line.startswith("VmHWM:"))


def timed(work: Callable[[], object]) -> tuple[float, float]:
    """Wall and CPU seconds of one call in this process."""
    cpu, wall = time.process_time(), time.perf_counter()
    work()
    return time.perf_counter() - wall, time.process_time() - cpu


def spread(values: Sequence[float]) -> Spread:
    """The median, the lowest and the highest of `values`."""
    return statistics.median(values), min(values), max(values)
