"""50 notebooks of five trivial cells on two workers, against two papermill processes at a time.

A worker runs one notebook after the other, each in a kernel of its own; `kitaru, warm` has the next
kernel ready while one runs. Starting the workers is part of it. Papermill is a process per notebook,
as its command is.
"""

from __future__ import annotations

import queue
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import nbformat

from benchmarks.measure import children_cpu, environment
from benchmarks.workload import Options, Round, Turn, Workload

__all__ = ["BATCH"]

_AT_ONCE = 2
_CELLS = 5
_WORKER = """import sys
from contextlib import nullcontext
from kitaru_nb.stacks.local import job_of, run
from kitaru_nb.stacks.warm import Warm
with Warm() if sys.argv[1] == "kitaru, warm" else nullcontext():
    for line in sys.stdin:
        print(int(run(job_of(line.strip(), progress=False)).exit), flush=True)"""

_Share = Callable[["queue.SimpleQueue[Path]", Path, Mapping[str, str]], None]


def _turn(contestant: str, options: Options, folder: Path) -> Turn:
    notebooks: queue.SimpleQueue[Path] = queue.SimpleQueue()
    for number in range(options.notebooks):
        notebooks.put(_written(folder / f"n{number}.ipynb"))
    env = environment() | {"KITARU_NB_HOME": str(folder / "home"), "IPYTHONDIR": str(folder / "ipython")}
    share: _Share = _papermill if contestant == "papermill" else _worker(contestant)
    begin, used = time.perf_counter(), children_cpu()
    with ThreadPoolExecutor(_AT_ONCE) as pool:
        for done in [pool.submit(share, notebooks, folder, env) for _ in range(_AT_ONCE)]:
            done.result()
    return {
        "wall": time.perf_counter() - begin,
        "cpu": children_cpu() - used,
        "notebooks": options.notebooks,
    }


def _written(path: Path) -> Path:
    cells = [nbformat.v4.new_code_cell(f"x{n} = {n}") for n in range(_CELLS)]
    notebook = nbformat.v4.new_notebook(cells=cells)
    notebook.metadata["kernelspec"] = {"name": "python3", "language": "python", "display_name": "Python 3"}
    nbformat.write(notebook, path)
    return path


def _next(notebooks: queue.SimpleQueue[Path]) -> Path | None:
    try:
        return notebooks.get_nowait()
    except queue.Empty:
        return None


def _papermill(notebooks: queue.SimpleQueue[Path], folder: Path, env: Mapping[str, str]) -> None:
    while (path := _next(notebooks)) is not None:
        command = [sys.executable, "-m", "papermill", path.name, f"{path.stem}.out.ipynb"]
        ended = subprocess.run(command, cwd=folder, env=env, capture_output=True, text=True, check=False)
        if ended.returncode:
            raise RuntimeError(f"exit code {ended.returncode}: {ended.stderr[-2000:]}")


def _worker(contestant: str) -> _Share:
    def share(notebooks: queue.SimpleQueue[Path], folder: Path, env: Mapping[str, str]) -> None:
        with (
            (folder / "worker.log").open("a") as log,
            subprocess.Popen(
                [sys.executable, "-c", _WORKER, contestant],
                cwd=folder,
                env=env,
                text=True,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
            ) as worker,
        ):
            assert worker.stdin is not None
            assert worker.stdout is not None
            while (path := _next(notebooks)) is not None:
                worker.stdin.write(f"{path.name}\n")
                worker.stdin.flush()
                if worker.stdout.readline().strip() != "0":
                    raise RuntimeError((folder / "worker.log").read_text()[-2000:])
            worker.stdin.close()

    return share


def _judge(found: Round) -> Round:
    papermill = found.get("papermill")
    return {
        contestant: {
            "wall s": turn["wall"],
            "CPU s per notebook": turn["cpu"] / turn["notebooks"],
            **({} if papermill is None else {"times faster": papermill["wall"] / turn["wall"]}),
        }
        for contestant, turn in found.items()
    }


BATCH = Workload(
    name="batch",
    title="50 notebooks of five trivial cells on two workers",
    aim="at least twice as fast as two papermill processes at a time",
    contestants=("papermill", "kitaru, cold", "kitaru, warm"),
    turn=_turn,
    judge=_judge,
)
