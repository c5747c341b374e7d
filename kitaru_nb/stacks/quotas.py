"""How much room there is for this user: what the volume has, or what a quota leaves of it.

On Linux the kernel is asked for the quota of the user and of the group of new files. A quota of a
project, a dataset or a share shows in what the volume itself says. Of a network file system, whose
quotas the kernel does not know, the program `quota` is asked, where there is one.
"""

from __future__ import annotations

import ctypes
import os
import shutil
import stat
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from kitaru_nb.journal.mounts import file_system, is_network

__all__ = ["Space", "space_of"]

_GETQUOTA = 0x800007
_USER, _GROUP = 0, 1
_QUOTACTL_FD = 443
_DQBLK = struct.Struct("@8QI4x")  # hard, soft, used, and what is about numbers of files
_KIB = 1024
_TOOL_SECONDS = 5.0
_KEPT_SECONDS = 60.0


@dataclass(frozen=True, slots=True)
class Space:
    """Room in bytes, in all and left.

    Attributes:
        total: What the volume has, or the quota.
        free: What is left of it for this user.
        quota: Whether a quota says so.
    """

    total: int
    free: int
    quota: bool = False


@dataclass(frozen=True, slots=True)
class _Limits:
    """A quota: the limits in bytes, 0 for none, and what is used."""

    soft: int
    hard: int
    used: int


def space_of(folder: Path | str) -> Space:
    """The room in a folder that exists. Costs a few microseconds.

    Raises:
        OSError: the folder cannot be looked at.
    """
    usage = shutil.disk_usage(folder)
    total, free, quota = usage.total, usage.free, False
    for limits in _limits(folder):
        most = min(limit for limit in (limits.soft, limits.hard) if limit)
        left = max(0, (limits.hard or limits.soft) - limits.used)
        quota = quota or most < total or left < free
        total, free = min(total, most), min(free, left)
    return Space(total, free, quota)


def _limits(folder: Path | str) -> Iterator[_Limits]:
    if sys.platform != "linux":
        return
    volume = os.stat(folder).st_dev  # noqa: PTH116 - asked before each step
    if volume not in _none:
        found = _of_kernel(folder)
        if found is None:
            _none.add(volume)  # asked once: most have none, and a step must not wait for it
        else:
            yield from found
            return
    told = _of_tool(folder, volume)
    if told is not None:
        yield told


_none: set[int] = set()
_told: dict[int, tuple[float, _Limits | None]] = {}
_asking = threading.Lock()
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_asking._at_fork_reinit)  # type: ignore[attr-defined] # noqa: SLF001


def _of_kernel(folder: Path | str) -> list[_Limits] | None:
    """The quotas that a new file in `folder` counts for; None where the kernel knows none of the volume."""
    try:
        file = os.open(folder, os.O_RDONLY)
    except OSError:
        return None
    try:
        there = os.fstat(file)
        group = there.st_gid if there.st_mode & stat.S_ISGID else os.getegid()
        asked = [_quotactl(file, _USER, os.geteuid()), _quotactl(file, _GROUP, group)]
    finally:
        os.close(file)
    known = [limits for limits in asked if limits is not None]
    return [limits for limits in known if limits.soft or limits.hard] if known else None


def _quotactl(file: int, kind: int, who: int) -> _Limits | None:
    block = ctypes.create_string_buffer(_DQBLK.size)
    command = (_GETQUOTA << 8) | kind
    if _libc().syscall(_QUOTACTL_FD, ctypes.c_uint(file), ctypes.c_uint(command), ctypes.c_int(who), block):
        return None  # no quotas, none of this kind, or a kernel that does not know the call
    hard, soft, used, *_ = _DQBLK.unpack(block.raw)
    return _Limits(soft * _KIB, hard * _KIB, used)


def _libc() -> ctypes.CDLL:
    return ctypes.CDLL(None)


def _of_tool(folder: Path | str, volume: int) -> _Limits | None:
    with _asking:  # who comes while it is asked waits for what it says
        now = time.monotonic()
        at, limits = _told.get(volume, (-_KEPT_SECONDS, None))
        if now - at >= _KEPT_SECONDS:
            limits = _ask_tool(folder) if is_network(file_system(Path(folder))) else None
            _told[volume] = now, limits
        return limits


def _ask_tool(folder: Path | str) -> _Limits | None:
    """What `quota` says of the file system that a folder is on: a line of KiB used, soft and hard limit."""
    tool = shutil.which("quota")
    if tool is None:
        return None
    top = Path(folder).resolve()
    while not os.path.ismount(top):
        top = top.parent
    try:
        said = subprocess.run(  # noqa: S603 - a program of the system's, with a path
            [tool, "-w", "-p", "-f", str(top)],
            capture_output=True,
            text=True,
            timeout=_TOOL_SECONDS,
            check=False,  # it fails when a quota is exceeded
            env={**os.environ, "LC_ALL": "C"},
        ).stdout
    except (OSError, subprocess.SubprocessError):
        return None
    for line in said.splitlines():
        numbers = [word.rstrip("*") for word in line.split()[1:4]]
        if len(numbers) == 3 and all(number.isdecimal() for number in numbers):
            used, soft, hard = (int(number) * _KIB for number in numbers)
            return _Limits(soft, hard, used) if soft or hard else None
    return None
