"""Importing and loading: CPU and modules, and what the first checkpoint of a kernel costs."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

from benchmarks.contestants import entered
from benchmarks.measure import environment, installed, spread
from benchmarks.workload import Absent, Options, Round, Turn, Workload

__all__ = ["START"]

_IMPORTS = ("kitaru_nb", "cloudpickle", "dill", "joblib")
_IN_A_KERNEL = ("%load_ext kitaru_nb", "first checkpoint")
_TIMED = """
import json, sys, time
modules, cpu = len(sys.modules), time.process_time()
import {name}
print(json.dumps([time.process_time() - cpu, len(sys.modules) - modules]))
"""


def _turn(contestant: str, options: Options, folder: Path) -> Turn:  # noqa: ARG001 - no size to choose
    if contestant in _IN_A_KERNEL:
        return _in_a_kernel(contestant, folder)
    name = contestant.removeprefix("import ")
    if not installed(name):
        raise Absent("not installed: `make bench` does")
    command = [sys.executable, "-c", _TIMED.format(name=name)]
    for _ in range(2):  # the first one may have to compile the modules
        ended = subprocess.run(
            command, capture_output=True, text=True, check=True, cwd=folder, env=environment()
        )
    cpu, modules = json.loads(ended.stdout)
    return {"cpu": cpu, "modules": modules}


def _in_a_kernel(contestant: str, folder: Path) -> Turn:
    with entered("plain", folder) as kernel:
        empty = spread([kernel.run("pass") for _ in range(10)])[0]
        if contestant == "first checkpoint":
            kernel.run("%load_ext kitaru_nb")
        before = kernel.ask("len(__import__('sys').modules)")
        code = "%%checkpoint\npass" if contestant == "first checkpoint" else contestant
        cpu = kernel.run(code) - empty
        return {"cpu": cpu, "modules": kernel.ask("len(__import__('sys').modules)") - before}


def _judge(found: Round) -> Round:
    return {
        contestant: {"CPU ms": turn["cpu"] * 1e3, "modules": turn["modules"]}
        for contestant, turn in found.items()
    }


START = Workload(
    name="start",
    title="CPU and modules of an import, of loading the extension, of a kernel's first checkpoint",
    aim="import at most 30 ms and 100 modules; %load_ext at most 200 ms",
    contestants=(*(f"import {name}" for name in _IMPORTS), *_IN_A_KERNEL),
    turn=_turn,
    judge=_judge,
)
