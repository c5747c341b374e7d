"""What a kernel's process used while it lived, which nobody can ask once it is dead.

Memory is looked at while cells run, at most once a second; that is one line of a file the system
makes up on the spot. Whether the system has killed something for want of memory is counted by the
control group that the process is in: the count before is compared with the count after.
"""

from __future__ import annotations

import os
import sys
import time
from dataclasses import dataclass
from pathlib import Path

__all__ = ["Memory", "Vitals"]

_EVERY = 1.0  # seconds between two looks
_GROUPS = Path("/sys/fs/cgroup")
_PROCESSES = Path("/proc")
_NO_LIMIT = 1 << 60  # what the older kind of control groups says is above it where there is none


@dataclass(frozen=True, slots=True)
class Memory:
    """What is known of a dead process's memory.

    Attributes:
        used: Bytes in memory when it was last looked at; None where it never could be.
        ago: How many seconds before the question that was.
        killed: Whether its control group counted a kill for want of memory since it began; None
            where nobody counts.
        limit: What that group may use, in bytes; None for no limit.
    """

    used: int | None = None
    ago: float = 0.0
    killed: bool | None = None
    limit: int | None = None


class Vitals:
    """Looks at a process now and then.

    Args:
        pid: The process; None where it is not one of this machine's.
        groups: Where control groups are.
        processes: Where processes are.
    """

    def __init__(self, pid: int | None, *, groups: Path = _GROUPS, processes: Path = _PROCESSES) -> None:
        self._pid = pid
        self._file = None if pid is None else processes / str(pid) / "statm"
        self._counter, self._limit = _group_of(pid, groups, processes)
        self._before = _kills(self._counter)
        self._used: int | None = None
        self._at = 0.0
        self._next = 0.0

    def look(self) -> None:
        """Note what it uses now. Cheap, also where it is called ten times a second; never raises."""
        now = time.monotonic()
        if now < self._next:
            return
        self._next = now + _EVERY
        used = _resident(self._pid, self._file)
        if used:  # nothing is left of a process that has just died
            self._used, self._at = used, now

    def memory(self) -> Memory:
        """What is known of it now."""
        kills = _kills(self._counter)
        killed = None if kills is None or self._before is None else kills > self._before
        return Memory(self._used, time.monotonic() - self._at, killed, _number(self._limit))


def _resident(pid: int | None, file: Path | None) -> int | None:
    if pid is None or file is None:
        return None
    if sys.platform == "linux":
        try:
            return int(file.read_bytes().split()[1]) * os.sysconf("SC_PAGE_SIZE")
        except (OSError, ValueError, IndexError):
            return None
    import psutil  # type: ignore[import-untyped] # noqa: PLC0415 - no types; where there is no such file

    try:
        return int(psutil.Process(pid).memory_info().rss)
    except psutil.Error:
        return None


def _group_of(pid: int | None, groups: Path, processes: Path) -> tuple[Path | None, Path | None]:
    """The files with the count of kills and with the limit, of either kind of control groups.

    Inside a container the path that the process is told may not be there: then its group is the top.
    """
    if pid is None:
        return None, None
    try:
        lines = (processes / str(pid) / "cgroup").read_text().splitlines()
    except OSError:
        return None, None
    for line in lines:
        _, kinds, path = [*line.split(":", 2), "", ""][:3]
        if kinds == "":
            base, counter, limit = groups, "memory.events", "memory.max"
        elif kinds == "memory":
            base, counter, limit = groups / "memory", "memory.oom_control", "memory.limit_in_bytes"
        else:
            continue
        for folder in (base / path.lstrip("/"), base):
            if (folder / counter).is_file():
                return folder / counter, folder / limit
    return None, None


def _kills(counter: Path | None) -> int | None:
    if counter is None:
        return None
    try:
        lines = counter.read_text().splitlines()
        return next((int(line.split()[1]) for line in lines if line.startswith("oom_kill ")), None)
    except (OSError, ValueError):
        return None


def _number(file: Path | None) -> int | None:
    """The limit in a file; None for none."""
    try:
        number = int(file.read_text()) if file is not None else _NO_LIMIT
    except (OSError, ValueError):  # `max`
        return None
    return number if number < _NO_LIMIT else None
