"""A disk that fails at one call or from one call on: nothing acknowledged is lost, errors are clear."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Sequence
from itertools import product
from pathlib import Path

from tests.chaos import power, scenario
from tests.chaos.disk import Call, python

__all__ = ["MODES", "points", "violations"]

_FAILING = "pwrite64,pwritev,pwritev2,fsync,fdatasync,ftruncate,mkdir,unlink,rename"
_KINDS = frozenset({"write", "cut", "mkdir", "rename", "unlink", "sync"})

MODES = (
    "error=EIO:when={}",
    "error=ENOSPC:when={}",
    "error=EIO:when={}+",
    "error=ENOSPC:when={}+",
    "signal=KILL:when={}",
)
"""What strace does to the n-th call; with a plus to all that follow, too."""


def points(calls: Sequence[Call]) -> list[tuple[str, int]]:
    """Every mode at every call that can fail."""
    count = sum(call.kind in _KINDS for call in calls)
    return list(product(MODES, range(1, count + 1)))


def violations(
    chosen: Sequence[tuple[str, int]], right: Sequence[dict[str, str]], folder: Path, bug: str | None = None
) -> list[str]:
    """What goes wrong in runs with a fault each."""
    wrong = []
    for mode, number in chosen:
        how = mode.format(number)
        wrong += [f"{how}: {text}" for text in _one(how, right, folder, bug)]
    return wrong


def _one(how: str, right: Sequence[dict[str, str]], folder: Path, bug: str | None) -> list[str]:
    place = folder / "faulty"
    shutil.rmtree(place, ignore_errors=True)
    place.mkdir()
    program = python(
        "tests.chaos.scenario", str(place / "home"), str(place / "acks"), *([bug] if bug else [])
    )
    inject = ["strace", "-f", "-o", "/dev/null", "-e", f"trace={_FAILING}", "-e", f"inject={_FAILING}:{how}"]
    done = subprocess.run([*inject, *program], capture_output=True, text=True, check=False)
    if done.returncode == scenario.GONE_WRONG or "Traceback" in done.stderr:
        return [f"an unclear end: {done.stderr[-300:]}"]
    acks = place / "acks"
    acknowledged = acks.stat().st_size if acks.exists() else 0
    if not (place / "home").exists():
        return ["acknowledged steps are gone"] if acknowledged else []
    return list(power.check(place / "home", acknowledged, right))
