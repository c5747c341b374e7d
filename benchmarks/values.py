"""Values of many kinds made durable and brought back in a new kernel, a workload for each kind.

For kitaru_nb the whole of a checkpoint is timed, with the look at the namespace; `kitaru's store`
is its part that writes, by itself. The others are timed for writing, and get an fsync.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from functools import partial
from pathlib import Path

import psutil  # type: ignore[import-untyped] # published without types

from benchmarks.contestants import entered
from benchmarks.kernel import Kernel
from benchmarks.kinds import KINDS
from benchmarks.measure import disk_of, installed
from benchmarks.ways import COMMON
from benchmarks.workload import Absent, Options, Round, Turn, Workload

__all__ = ["VALUES"]

_OURS = ("kitaru", "kitaru's store")
_INSIDE = "__import__('benchmarks.inside', fromlist=['_'])"
_TAKE = f"x = {_INSIDE}.take()"


def _turn(contestant: str, options: Options, folder: Path, *, kind: str) -> Turn:
    way = {**COMMON, **KINDS[kind].ways}.get(contestant)
    if way is not None and way.needs and not installed(way.needs):
        raise Absent("not installed: `make bench` does")
    keeper = "kishu" if contestant == "kishu" else "plain"
    env = {"PYTHONPATH": str(Path(__file__).parents[1])}
    size = max(1, KINDS[kind].size * options.percent // 100)
    ready, save, load = _cells(contestant, kind)
    with entered(keeper, folder, env=env) as kernel:
        for code in ready:
            kernel.run(code)
        # a small one first pays what a library loads only then
        _held(kernel, kind, max(1, size // 1000), contestant)
        kernel.run(save)
        before = disk_of(folder)
        expected = _held(kernel, kind, size, contestant)
        kernel.run(f"{_INSIDE}.forget_peak()")
        start = psutil.Process(kernel.pid).memory_info().rss
        wall, cpu = _timed(kernel, save)
        found = {"save": wall, "save cpu": cpu, "more": max(0, kernel.peak_memory - start)}
        written = disk_of(folder)
        found["disk"] = written - before if contestant in (*_OURS, "kishu") else written
    if not load:
        return found
    with entered("plain", folder, env=env) as kernel:
        for code in ready:
            kernel.run(code)
        kernel.run(f"{_INSIDE}.hold({kind!r}, 1)")  # imports what such a value needs
        found["back"], found["back cpu"] = _timed(kernel, load)
        found["use"], _ = _timed(kernel, f"{_INSIDE}.use({kind!r}, x, {expected!r})")
    return found


def _cells(contestant: str, kind: str) -> tuple[Sequence[str], str, str]:
    """What makes a kernel ready, what makes the value durable, and what brings it back."""
    if contestant == "kitaru":
        return ("%load_ext kitaru_nb",), f"%%checkpoint --all\n{_TAKE}", "%resume"
    if contestant == "kitaru's store":
        return (f"{_INSIDE}.open_store()",), f"{_INSIDE}.put()", f"x = {_INSIDE}.get()"
    if contestant == "kishu":
        return (), _TAKE, ""
    asked = f"{kind!r}, {contestant!r}"
    return (), f"{_INSIDE}.save({asked})", f"x = {_INSIDE}.load({asked})"


def _held(kernel: Kernel, kind: str, size: int, contestant: str) -> float:
    try:
        return float(kernel.ask(f"{_INSIDE}.hold({kind!r}, {size})"))
    except RuntimeError as error:
        if contestant == "kishu" and "ModuleNotFoundError" in str(error):
            raise Absent("its Python has no package for such values") from error
        raise


def _timed(kernel: Kernel, code: str) -> tuple[float, float]:
    begin = time.perf_counter()
    cpu = kernel.run(code)
    return time.perf_counter() - begin, cpu


def _judge(found: Round) -> Round:
    raw = next(iter(found.values()))
    back = {name: turn["back"] + turn["use"] for name, turn in found.items() if "back" in turn}
    best = min((seconds for name, seconds in back.items() if name not in _OURS), default=0.0)
    judged = {}
    for contestant, turn in found.items():
        judged[contestant] = {
            "save ms": turn["save"] * 1e3,
            "x pickle5": turn["save"] / raw["save"],
            "CPU ms": turn["save cpu"] * 1e3,
            "x pickle5's CPU": turn["save cpu"] / raw["save cpu"],
            "memory over start MiB": turn["more"] / 2**20,
            "disk MiB": turn["disk"] / 2**20,
        }
        if contestant in back:
            judged[contestant] |= {
                "back ms": turn["back"] * 1e3,
                "back CPU ms": turn["back cpu"] * 1e3,
                "first use ms": turn["use"] * 1e3,
                "both x best peer": back[contestant] / (best or back[contestant]),
            }
    return judged


VALUES = tuple(
    Workload(
        name=f"value-{name}",
        title=f"{kind.title}: made durable (write + fsync), and back in a new kernel",
        aim="save at most 1.1x pickle5; back and used as soon as with the best peer; memory 0.25x of it",
        contestants=(*COMMON, *kind.ways, "kishu", *_OURS),
        turn=partial(_turn, kind=name),
        judge=_judge,
        family="values",
    )
    for name, kind in KINDS.items()
)
