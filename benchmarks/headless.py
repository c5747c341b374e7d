"""100 trivial cells headless: papermill with our engine, papermill by itself, nbclient, a bare client.

The first cell and the last look at the clock, and at the CPU of the kernel and of the command
that started it, so that starting a kernel is left out and saving the notebook is not.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path

import nbformat

from benchmarks.measure import children_cpu, environment
from benchmarks.workload import Options, Round, Turn, Workload

__all__ = ["HEADLESS"]

_BARE = """import nbformat
from jupyter_client.manager import start_new_kernel
manager, client = start_new_kernel()
for cell in nbformat.read("in.ipynb", as_version=4).cells:
    client.execute_interactive(cell.source)
client.stop_channels()
manager.shutdown_kernel()"""

_COMMANDS = {
    "papermill": ("-m", "papermill", "in.ipynb", "out.ipynb"),
    "papermill --engine kitaru": ("-m", "papermill", "--engine", "kitaru", "in.ipynb", "out.ipynb"),
    "nbclient": ("-c", "from nbclient.cli import main; main()", "in.ipynb", "--output", "out.ipynb"),
    "bare client": ("-c", _BARE),
}


_CLOCKS = """import json, os, time
def clocks():
    try:
        parent = time.clock_gettime((~os.getppid() << 3) | 2)
    except OSError:
        parent = 0.0
    return [time.perf_counter(), time.process_time() + parent]
began = clocks()"""
_ENDED = "with open('clocks.json', 'w') as file: json.dump([began, clocks()], file)"


def _turn(contestant: str, options: Options, folder: Path) -> Turn:
    cells = options.headless_cells
    codes = [_CLOCKS, "x0 = 0", *(f"x{n} = x{n - 1} + {n}" for n in range(1, cells)), _ENDED]
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(code) for code in codes])
    notebook.metadata["kernelspec"] = {"name": "python3", "language": "python", "display_name": "Python 3"}
    nbformat.write(notebook, folder / "in.ipynb")
    env = environment() | {"KITARU_NB_HOME": str(folder / "home"), "IPYTHONDIR": str(folder / "ipython")}
    command = [sys.executable, *_COMMANDS[contestant]]
    begin, used = time.perf_counter(), children_cpu()
    ended = subprocess.run(command, cwd=folder, env=env, capture_output=True, text=True, check=False)
    whole, cpu = time.perf_counter() - begin, children_cpu() - used
    if ended.returncode:
        raise RuntimeError(f"exit code {ended.returncode}: {ended.stderr[-2000:]}")
    first, last = json.loads((folder / "clocks.json").read_text(encoding="utf-8"))
    wall = last[0] - first[0]
    return {
        "wall": wall / cells,
        "cpu": (last[1] - first[1]) / cells,
        "around": whole - wall,
        "whole": whole,
        "whole cpu": cpu,
    }


def _judge(found: Round) -> Round:
    bare = found.get("bare client", {}).get("wall")
    return {
        contestant: {
            "wall ms per cell": turn["wall"] * 1e3,
            **({} if bare is None else {"… over a bare client": (turn["wall"] - bare) * 1e3}),
            "CPU ms per cell": turn["cpu"] * 1e3,
            "start and end, s": turn["around"],
            "whole run, s": turn["whole"],
            "whole run CPU s": turn["whole cpu"],
        }
        for contestant, turn in found.items()
    }


HEADLESS = Workload(
    name="headless",
    title="trivial cells run headless; per cell by the clocks of the first and the last",
    aim="at most 30 ms per cell over a bare client, checkpoints included",
    contestants=tuple(_COMMANDS),
    turn=_turn,
    judge=_judge,
)
