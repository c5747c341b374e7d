"""Kernels that were started ahead, against cold ones; and that none of them outlives its worker."""

from __future__ import annotations

import ast
import json
import os
import signal
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import nbformat
import pytest

from kitaru_nb.stacks import warm
from kitaru_nb.stacks.batch import Ended, Pool
from kitaru_nb.stacks.kernels import HeadlessKernel
from kitaru_nb.stacks.local import job_of, run
from kitaru_nb.stacks.outcome import Exit, Outcome
from kitaru_nb.stacks.settings import resolve
from kitaru_nb.stacks.warm import Warm, made_here
from tests.integration.headless import finished, start
from tests.patience import until

# What a notebook can see of how its kernel was started, but for what no two kernels have in common.
_LOOK = """
import json, os, random, sys, threading
from kitaru_nb.engine.process import began_ns
apart = ("JPY_", "KERNEL_", "XPC_")
seen = {
    "cwd": os.getcwd(),
    "path": sys.path,
    "environ": {k: v for k, v in os.environ.items() if not k.startswith(apart)},
    "argv": [os.path.basename(each) for each in sys.argv],
    "orig_argv": [os.path.basename(each) for each in sys.orig_argv],
    "modules": sorted(sys.modules),
    "names": sorted(name for name in globals() if name != "seen"),
    "threads": sorted(each.name.rstrip("0123456789") for each in threading.enumerate()),
    "signals": [str(__import__("signal").getsignal(n)).split(" at ")[0] for n in (2, 15)],
    "count": get_ipython().execution_count,
    "history": [list(map(str, In)), list(map(str, Out))],
    "hooks": len(get_ipython().input_transformers_cleanup),
}
alone = [random.random(), os.getpid(), began_ns()]
with open("seen.json", "w") as file:
    json.dump([seen, alone], file)
"""


@pytest.fixture
def started_kernels(monkeypatch: pytest.MonkeyPatch) -> list[int | None]:
    """The processes of all kernels that were started, in order."""
    pids: list[int | None] = []
    begin = HeadlessKernel.__init__

    def noted(self: HeadlessKernel, *arguments: Any, **options: Any) -> None:
        begin(self, *arguments, **options)
        pids.append(self.pid)

    monkeypatch.setattr(HeadlessKernel, "__init__", noted)
    return pids


def _notebook(folder: Path, *cells: str) -> Path:
    folder.mkdir(exist_ok=True)
    nb = nbformat.v4.new_notebook(
        cells=[nbformat.v4.new_code_cell(cell, id=f"c{n}") for n, cell in enumerate(cells)],
        metadata={"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}},
    )
    path = folder / "work.ipynb"
    nbformat.write(nb, path)
    return path


def _ran(notebook: Path) -> None:
    assert run(job_of(str(notebook), progress=False)).exit is Exit.COMPLETED


def _seen(notebook: Path) -> tuple[dict[str, Any], list[Any]]:
    seen, alone = json.loads((notebook.parent / "seen.json").read_text())
    return seen, alone


def test_a_warm_kernel_cannot_be_told_from_a_cold_one(
    tmp_path: Path, started_kernels: list[int | None]
) -> None:
    here, there = _notebook(tmp_path / "here", _LOOK), _notebook(tmp_path / "there", _LOOK)
    _ran(there)
    cold, cold_alone = _seen(there)
    with Warm():
        _ran(here)
        begun = time.time_ns()
        _ran(there)
        seen, warm_alone = _seen(there)

    assert seen == cold
    assert seen["cwd"] == str(there.parent)
    pids = [_pid(alone) for alone in (cold_alone, _seen(here)[1], warm_alone)]
    assert pids == started_kernels[:3]  # the third was started while the second notebook ran
    assert len({alone[0] for alone in (cold_alone, _seen(here)[1], warm_alone)}) == 3
    assert warm_alone[2] >= begun  # what was changed before is none of its doing


def _pid(alone: list[Any]) -> int:
    return int(alone[1])


def test_what_lies_beside_a_notebook_is_not_taken_for_a_part_of_ours(tmp_path: Path) -> None:
    mine, other = tmp_path / "mine", tmp_path / "other"
    notebooks = [
        _notebook(folder, "import own\nassert own.__file__.startswith(__import__('os').getcwd())")
        for folder in (mine, other)
    ]
    for folder in (mine, other):
        (folder / "own.py").touch()
    (mine / "blake3.py").write_text("raise RuntimeError('of another project')")

    with Warm():
        for notebook in notebooks:
            _ran(notebook)


def test_a_warm_kernel_that_cannot_enter_the_folder_runs_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    gone = tmp_path / "gone"
    with Warm() as keeper:
        keeper.prepare("python3")
        made = made_here("python3")
        monkeypatch.setattr(warm, "made_here", lambda _name: replace(made, folder=str(gone)))

        kernel = keeper.take("python3")
        assert kernel is not None
        until(lambda: not kernel.is_alive())
        said = kernel.log_tail()
        kernel.stop()

    assert f"the folder '{gone}' cannot be entered" in said


def test_a_kernel_serves_one_notebook_and_none_is_left(
    tmp_path: Path, started_kernels: list[int | None]
) -> None:
    notebook = _notebook(
        tmp_path / "here", "import os\nprint(os.getpid())\nassert 'left' not in dir()", "left = 1"
    )
    pids = []
    with Warm():
        for _ in range(3):
            _ran(notebook)
            output = nbformat.read(notebook.with_name("work.out.ipynb"), as_version=4)
            pids.append(int(output.cells[0].outputs[0].text))

    assert pids == started_kernels[:3]
    assert len(set(started_kernels)) == 4  # the last one was for a notebook that never came
    assert [pid for pid in started_kernels if pid is not None and _lives(pid)] == []


def test_the_spare_kernel_ends_with_a_worker_that_is_killed(tmp_path: Path) -> None:
    notebook = _notebook(
        tmp_path / "here", "import os, time\nprint(os.getpid(), flush=True)\ntime.sleep(120)"
    )
    worker = start(["-c", _WORKER, str(notebook)], tmp_path)
    assert worker.stdout is not None
    kernels = ast.literal_eval(worker.stdout.readline())
    assert [_lives(pid) for pid in kernels] == [True, True]

    os.kill(worker.pid, signal.SIGKILL)
    finished(worker)

    until(lambda: not any(map(_lives, kernels)))


_COUNT = (
    "import os, psutil\n"
    "beside = [each.pid for each in psutil.Process(os.getppid()).children() if each.pid != os.getpid()]\n"
    "with open('counted.txt', 'a') as file: file.write(f'{len(beside)} ')"
)


def test_a_worker_of_a_batch_keeps_a_kernel_ready_only_while_more_is_to_come(tmp_path: Path) -> None:
    """Each notebook counts the kernels that stand beside its own; the last one's would be for nobody."""
    notebooks = [_notebook(tmp_path / name, _COUNT) for name in "abc"]

    with Pool(resolve(), size=1) as pool:
        for key, notebook in enumerate(notebooks):
            pool.add(key, job_of(str(notebook), progress=False))
        ended = [event.answer for event in iter(pool.next, None) if isinstance(event, Ended)]

    assert [each.exit for each in ended if isinstance(each, Outcome)] == [Exit.COMPLETED] * 3
    assert [(each.parent / "counted.txt").read_text() for each in notebooks] == ["1 ", "1 ", "0 "]


_WORKER = """
import sys, threading, time
from kitaru_nb.stacks import kernels, warm
from kitaru_nb.stacks.local import job_of, run

pids = []
begin = kernels.HeadlessKernel.__init__
def noted(self, *arguments, **options):
    begin(self, *arguments, **options)
    pids.append(self.pid)
    if len(pids) == 2:
        print(pids, flush=True)
kernels.HeadlessKernel.__init__ = noted
with warm.Warm():
    run(job_of(sys.argv[1], progress=False))
"""


def _lives(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False
    return state not in "ZX"
