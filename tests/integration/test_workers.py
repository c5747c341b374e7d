"""Workers that are spawned, in real processes, of parents that are really killed."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import pytest

from tests.further import further
from tests.integration.kernel import Kernel
from tests.integration.test_flows import KILLED, Script
from tests.patience import PATIENCE, until

SPAWNED = ["pool spawn", "pool forkserver", "executor spawn", "executor forkserver", "loky"]


class Workers(Script):
    """A script whose workers may outlive it: they are ended with it, and hold none of its pipes."""

    def __init__(self, folder: Path, source: str) -> None:
        super().__init__(folder, _WAYS + source)

    def run(self, *, kill_at: str = "", expect: int = 0, **variables: str) -> str:
        """Run it; what it printed."""
        process = self.start(kill_at=kill_at, **variables)
        try:
            code = process.wait(PATIENCE)
        finally:
            end(process)
        assert code == expect, self.errors
        return (self.folder / "printed").read_text(encoding="utf-8")

    def start(self, *, kill_at: str = "", **variables: str) -> subprocess.Popen[bytes]:
        """Begin to."""
        environ = {**self.environ, "KILL_AT": kill_at, **variables}
        with (self.folder / "printed").open("wb") as out, (self.folder / "errors").open("wb") as err:
            return subprocess.Popen(
                [sys.executable, str(self.path)],
                env=environ,
                cwd=self.folder,
                stdout=out,
                stderr=err,
                start_new_session=True,
            )

    @property
    def errors(self) -> str:
        """What it last said of what went wrong."""
        return (self.folder / "errors").read_text(encoding="utf-8")


def end(process: subprocess.Popen[bytes]) -> None:
    """End a script with all its workers."""
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait(PATIENCE)


_WAYS = """
import multiprocessing
from concurrent.futures import ProcessPoolExecutor

def in_workers(way, function, items):
    kind, _, method = way.partition(" ")
    if kind == "pool":
        with multiprocessing.get_context(method).Pool(3) as pool:
            return pool.map(function, items, chunksize=1)
    if kind == "executor":
        with ProcessPoolExecutor(3, mp_context=multiprocessing.get_context(method)) as pool:
            return list(pool.map(function, items))
    from joblib import Parallel, delayed
    return Parallel(3)(delayed(function)(item) for item in items)
"""

FAN_OUT = """
class Order:
    def __init__(self, number):
        self.number = number

def answer(request):
    import httpx
    note("asked")
    return httpx.Response(200, json={"model": "gpt-4o", "choices": [], "usage": {"prompt_tokens": 5}})

def ask(number):
    import httpx
    asked = {"model": "gpt-4o", "messages": [{"role": "user", "content": str(number)}]}
    with httpx.Client(transport=httpx.MockTransport(answer)) as client:
        return client.post("https://api.openai.com/v1/chat/completions", json=asked).json()["model"]

@kt.checkpoint
def work(order):
    note(f"work{order.number}")
    return order.number, os.urandom(4).hex(), kt.once("charge", note, "charge")

def both(order):
    return work(order), ask(order.number)

@kt.flow
def job(way):
    found = in_workers(way, both, [Order(number) for number in (0, 0, 1, 2, 2, 3)])
    note("end")
    return found

if __name__ == "__main__":
    os.environ["PARENT"] = str(os.getpid())
    print(sorted(job(os.environ["WAY"])))
"""


@pytest.mark.parametrize("way", ["pool spawn", *map(further, SPAWNED[1:])])
def test_workers_that_were_spawned_lose_and_double_nothing(tmp_path: Path, way: str) -> None:
    script = Workers(
        tmp_path, FAN_OUT.replace('note("end")', 'print(sorted(found), flush=True); note("end")')
    )
    first = script.run(kill_at="end", expect=KILLED, WAY=way)
    made = sorted(script.notes())

    second = script.run(WAY=way)

    assert made == sorted(["charge", *["asked"] * 6, *(f"work{n}" for n in (0, 0, 1, 2, 2, 3)), "end"])
    assert sorted(script.notes()) == sorted([*made, "end"])
    assert len(set(eval(first))) == 6  # equal calls have a result each
    assert second.splitlines() == [first.strip()] * 2
    (execution,) = script.executions()
    assert (execution["status"], execution["attempts"]) == ("completed", 2)


def test_what_workers_had_recorded_when_their_parent_was_killed_counts(tmp_path: Path) -> None:
    source = """
@kt.checkpoint
def work(number):
    note(f"work{number}")
    return number

def then(number):
    found = work(number)
    if number == 5 and "DIE" in os.environ:
        os.kill(os.getppid(), signal.SIGKILL)
    return found

@kt.flow
def job():
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        return pool.map(then, range(9), chunksize=1)

if __name__ == "__main__":
    print(job())
"""
    script = Workers(tmp_path, source)
    script.run(expect=KILLED, DIE="1")
    assert "work5" in script.notes()

    assert script.run() == f"{list(range(9))}\n"
    counts = [script.notes().count(f"work{number}") for number in range(6)]
    assert counts == [1] * 6


def test_a_worker_that_outlives_its_attempt_records_nothing(tmp_path: Path) -> None:
    source = """
import pathlib, time

@kt.checkpoint
def work(number):
    return number

def outlives():
    work(1)
    note("begun")
    while not pathlib.Path("go").exists():
        time.sleep(0.02)
    try:
        work(2)
    except kt.errors.ConflictError as error:
        note(error.kind)
    else:
        note("recorded")

@kt.flow
def job():
    if "go on" in os.environ["WAY"]:
        pathlib.Path("go").touch()
        while len(pathlib.Path(os.environ["RAN"]).read_text().split()) < 2:
            time.sleep(0.02)
        return work(1)
    process = multiprocessing.get_context("spawn").Process(target=outlives)
    process.start()
    process.join()

if __name__ == "__main__":
    print(job())
"""
    script = Workers(tmp_path, source)
    first = script.start(WAY="")
    try:
        until(lambda: script.notes() == ["begun"], "the worker")
        os.kill(first.pid, signal.SIGKILL)
        first.wait(PATIENCE)
        second = script.start(WAY="go on")
        try:
            assert second.wait(PATIENCE) == 0, script.errors
        finally:
            end(second)
    finally:
        end(first)

    assert script.notes() == ["begun", "superseded"]
    assert len(script.executions()) == 1


@pytest.mark.further
def test_a_pool_that_was_there_before_works_for_whoever_hands_it_a_job(tmp_path: Path) -> None:
    source = """
@kt.checkpoint
def work(number):
    note(f"work{number}")
    return number

@kt.flow
def job(name):
    found = POOL.map(work, [1, 2], chunksize=1)
    if name == "fails" and not os.path.exists("failed"):
        open("failed", "w").close()
        raise OSError("once")
    return found

if __name__ == "__main__":
    with multiprocessing.get_context("spawn").Pool(1) as POOL:
        print(POOL.map(work, [1, 2]))  # nobody's: just run
        try:
            job("fails")
        except OSError:
            pass
        print(job("fails"), POOL.map(work, [1]), job("other"))
"""
    script = Workers(tmp_path, source)

    assert script.run() == "[1, 2]\n[1, 2] [1] [1, 2]\n"
    assert script.notes() == ["work1", "work2", "work1", "work2", "work1", "work1", "work2"]
    assert sorted(each["attempts"] for each in script.executions()) == [1, 2]


@pytest.mark.further
def test_only_workers_belong_to_an_execution(tmp_path: Path) -> None:
    source = """
import subprocess

@kt.checkpoint
def work(number):
    note(f"work{number}")
    return number

@kt.flow
def own():
    return work(1)

@kt.flow
def inner():
    return work(1)

@kt.flow
def job():
    subprocess.run([sys.executable, __file__, "own"], check=True)
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        return pool.apply(work, (1,)), pool.apply(inner)

if __name__ == "__main__":
    print(own() if sys.argv[1:] else job(), flush=True)
"""
    script = Workers(tmp_path, source)

    assert script.run() == "1\n(1, 1)\n"
    assert script.notes() == ["work1"] * 3
    executions = script.executions()
    (job,) = [each["id"] for each in executions if each["flow"] == "my_agent:job"]
    assert {each["flow"]: each["parent"] for each in executions} == {
        "my_agent:job": None,
        "my_agent:own": None,
        "my_agent:inner": job,
    }


@pytest.mark.further
def test_functions_of_a_notebook_are_recorded_in_the_workers_of_joblib(tmp_path: Path) -> None:
    notebook = tmp_path / "n.ipynb"
    define = f"""RATE = 2
@kt.checkpoint
def work(number):
    with open({str(tmp_path / "ran.txt")!r}, "a") as file:
        file.write(f"work{{number}}\\n")
    return number * RATE
"""
    cells = ["import kitaru_nb as kt\nfrom joblib import Parallel, delayed", define]
    fan_out = "Parallel(2)(delayed(work)(number) for number in {})"

    def ran() -> list[str]:
        return sorted((tmp_path / "ran.txt").read_text().split())

    with Kernel(tmp_path / "home", notebook=notebook) as kernel:
        for number, cell in enumerate(cells):
            assert kernel.run(cell, cell=f"c{number}").ok
        assert kernel.run(fan_out.format("[1, 2, 3]"), cell="c2").result == "[2, 4, 6]"
        assert kernel.run(fan_out.format("[1, 2]"), cell="c3").result == "[2, 4]"
        assert ran() == ["work1", "work1", "work2", "work2", "work3"]
        kernel.kill()
    with Kernel(tmp_path / "home", notebook=notebook) as kernel:
        for number, cell in enumerate(cells):
            assert kernel.run(cell, cell=f"c{number}").ok
        assert kernel.run(fan_out.format("[1, 2, 3, 4]"), cell="c2").result == "[2, 4, 6, 8]"
        assert kernel.run(fan_out.format("[1, 2]"), cell="c3").result == "[2, 4]"

    assert ran() == ["work1", "work1", "work2", "work2", "work3", "work4"]


@pytest.mark.further
def test_a_worker_that_is_there_still_is_given_what_another_recorded_in_the_run_before(
    tmp_path: Path,
) -> None:
    ran, failed = tmp_path / "ran.txt", tmp_path / "failed"
    (tmp_path / "jobs.py").write_text(
        f"import kitaru_nb as kt\n\n@kt.checkpoint\ndef work(number):\n"
        f"    with open({str(ran)!r}, 'a') as file:\n        file.write('work\\n')\n    return number\n"
    )
    pools = f"""
import multiprocessing, os, sys
from concurrent.futures import ProcessPoolExecutor
sys.path.insert(0, {str(tmp_path)!r})
import jobs
one, other = (ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) for _ in range(2))
"""
    twice = f"""
again = os.path.exists({str(failed)!r})
found = [pool.submit(jobs.work, 1).result() for pool in (one, one if again else other)]
if not again:
    open({str(failed)!r}, "w").close()
    raise OSError("once")
found
"""
    with Kernel(tmp_path / "home", notebook=tmp_path / "n.ipynb") as kernel:
        assert kernel.run(pools, cell="c1").ok
        assert not kernel.run(twice, cell="c2").ok
        assert ran.read_text().split() == ["work", "work"]
        assert kernel.run(twice, cell="c2").result == "[1, 1]"

    assert ran.read_text().split() == ["work", "work"]


def test_a_command_goes_on_with_a_script_that_spawns_its_workers(tmp_path: Path) -> None:
    ran, died = tmp_path / "ran.txt", tmp_path / "died"
    (tmp_path / "agent.py").write_text(f"""
import multiprocessing, os
from concurrent.futures import ProcessPoolExecutor
import kitaru_nb as kt

class Point:
    def __init__(self, x): self.x = x

@kt.checkpoint
def work(number):
    with open({str(ran)!r}, "a") as file:
        file.write(f"{{number}} ")
    return Point(number)

@kt.flow
def agent():
    with ProcessPoolExecutor(2, mp_context=multiprocessing.get_context("spawn")) as pool:
        made = list(pool.map(work, range(3)))
    if not os.path.exists({str(died)!r}):
        open({str(died)!r}, "w").close()
        os._exit(9)
    print([type(each) is Point for each in made], [each.x for each in made])

if __name__ == "__main__":
    agent()
""")
    env = {**os.environ, "KITARU_NB_HOME": str(tmp_path / "home")}
    killed = subprocess.run([sys.executable, "agent.py"], cwd=tmp_path, env=env, check=False)

    resumed = subprocess.run(
        [sys.executable, "-m", "kitaru_nb", "resume"], env=env, capture_output=True, text=True, check=False
    )

    assert killed.returncode == 9
    assert resumed.stdout == "[True, True, True] [0, 1, 2]\n", resumed.stderr
    assert sorted(ran.read_text().split()) == ["0", "1", "2"]
