"""Where the store holds as much as it may, what nobody watches waits for room; nothing has failed."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from kitaru_nb.model.execution import ExecutionStatus
from kitaru_nb.stacks.settings import resolve
from tests.integration.headless import Notebook, finished, start
from tests.integration.kernel import Kernel

LITTLE = {"KITARU_NB_MAX_BYTES": "4MB"}
NONE = {"KITARU_NB_MAX_BYTES": "1MB"}
ROOM = {"KITARU_NB_MAX_BYTES": "50MB"}

CELL = "import random\ntick('{0}')\nx{0} = random.Random({0}).randbytes(1_000_000)"
FLOW = """
import random
import kitaru_nb as kt
from side_journal import tick

@kt.checkpoint
def make(number):
    tick(str(number))
    return random.Random(number).randbytes(1_000_000)

@kt.flow
def job():
    return [len(make(number)) for number in range(6)]

if __name__ == "__main__":
    print(sum(job()))
"""


TASKS = """
import asyncio
import random
import kitaru_nb as kt

@kt.checkpoint
async def make(number):
    return random.Random(number).randbytes(1_000_000)

@kt.flow
async def job():
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(make(number)) for number in range(2)]
    return [len(task.result()) for task in tasks]

if __name__ == "__main__":
    print(sum(asyncio.run(job())))
"""


@pytest.fixture
def notebook(tmp_path: Path) -> Notebook:
    cells = [*map(CELL.format, range(6)), "print(sum(map(len, [x0, x1, x2, x3, x4, x5])))"]
    return Notebook(tmp_path, cells)


def waiting(notebook: Notebook) -> tuple[str, str]:
    """Execution and address of the only wait."""
    (wait,) = json.loads(notebook.kitaru("waits", "--json").stdout)
    assert (wait["kind"], wait["status"]) == ("room", "pending")
    return wait["execution"], wait["address"]


def test_a_run_waits_for_room_and_goes_on_when_there_is_more(notebook: Notebook) -> None:
    stopped = notebook.papermill(env=LITTLE)
    before = notebook.ticks()
    statuses = notebook.statuses()
    shown = notebook.shown()[len(before)][1]
    execution, address = waiting(notebook)
    told = notebook.kitaru("show", execution)
    answered = notebook.kitaru("answer", address, "--value", "true")
    in_vain = notebook.kitaru("resume", env=NONE)
    every = notebook.kitaru("resume", "--all", env=LITTLE)
    still = notebook.ticks()
    done = notebook.kitaru("resume", "--all", env=ROOM)

    assert stopped.code == 75, stopped.stderr
    assert stopped.last_line.startswith(f"kitaru: waiting execution={execution}")
    assert "KITARU_NB_MAX_BYTES=" in stopped.stderr
    assert statuses[: len(before)] == [*["completed"] * (len(before) - 1), "pending"]
    assert [output["output_type"] for output in shown] == ["display_data"]
    assert "does not fit" in shown[0]["data"]["text/plain"]  # type: ignore[index]
    assert "waiting for room:" in told.stdout
    assert "waits for room, not for an answer" in answered.stderr
    assert (in_vain.code, still) == (75, before), "no cell runs whose result could not be kept"
    assert f"{execution} waits for room: kitaru-nb gc" in every.stderr
    assert done.code == 0, done.stderr
    assert notebook.ticks() == [*before, *map(str, range(int(before[-1]), 6))]
    assert notebook.shown()[-1][1][0]["text"] == "6000000\n"


def test_a_flow_waits_for_room_and_goes_on_when_there_is_more(tmp_path: Path) -> None:
    notebook = Notebook(tmp_path, [])
    (tmp_path / "job.py").write_text(FLOW)

    stopped = finished(start(["job.py"], tmp_path, LITTLE))
    before = notebook.ticks()
    execution, _ = waiting(notebook)
    in_vain = notebook.kitaru("resume", execution, env=NONE)
    still = notebook.ticks()
    done = finished(start(["job.py"], tmp_path, ROOM))

    assert stopped.code == 75, stopped.stderr
    assert f"kitaru: waiting execution={execution}" in stopped.stderr
    assert (in_vain.code, still) == (75, before), in_vain.stderr
    assert done.stdout == "6000000\n", done.stderr
    assert notebook.ticks() == [*before, *map(str, range(int(before[-1]), 6))]
    assert [each.status for each in notebook.executions()] == [ExecutionStatus.COMPLETED]


def test_calls_in_tasks_wait_for_room_too(tmp_path: Path) -> None:
    notebook = Notebook(tmp_path, [])
    (tmp_path / "job.py").write_text(TASKS)

    stopped = finished(start(["job.py"], tmp_path, NONE))
    waiting(notebook)
    done = finished(start(["job.py"], tmp_path, ROOM))

    assert stopped.code == 75, stopped.stderr
    assert done.stdout == "2000000\n", done.stderr


def test_a_flow_in_a_notebook_waits_for_room_and_says_what_to_type(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KITARU_NB_MAX_BYTES", LITTLE["KITARU_NB_MAX_BYTES"])
    notebook = Notebook(tmp_path, [])
    (tmp_path / "job.py").write_text(FLOW)
    with Kernel(resolve().home, notebook=notebook.path, cwd=tmp_path) as kernel:
        kernel.run("from job import job", cell="a")
        stopped = kernel.run("sum(job())", cell="b")
        before = notebook.ticks()
        kernel.run("%env KITARU_NB_MAX_BYTES=50MB", cell="c")
        done = kernel.run("sum(job())", cell="b")

    assert stopped.ename == "Suspended"
    assert "waits for room: " in stopped.said
    assert "%env KITARU_NB_MAX_BYTES=" in stopped.said
    assert done.result == "6000000"
    assert notebook.ticks() == [*before, *map(str, range(int(before[-1]), 6))]
