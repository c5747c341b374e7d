"""Flows and recorded calls in real processes that are really killed."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from tests.further import further
from tests.integration.kernel import Kernel
from tests.patience import PATIENCE, until

KILLED = -signal.SIGKILL


class Script:
    """A script of a user's, run as often as it takes in one folder with one home."""

    def __init__(self, folder: Path, source: str) -> None:
        self.folder = folder
        self.path = folder / "my_agent.py"
        self.ran = folder / "ran.txt"
        self.write(source)

    def write(self, source: str) -> None:
        self.path.write_text(_HEAD + source, encoding="utf-8")

    @property
    def environ(self) -> dict[str, str]:
        return {**os.environ, "KITARU_NB_HOME": str(self.folder / "home"), "RAN": str(self.ran)}

    def run(self, *arguments: str, kill_at: str = "", expect: int = 0, **variables: str) -> str:
        """Run it; what it printed."""
        done = subprocess.run(
            [sys.executable, str(self.path), *arguments],
            env={**self.environ, "KILL_AT": kill_at, **variables},
            cwd=self.folder,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == expect, done.stderr
        return done.stdout

    def cli(self, *words: str, expect: int = 0) -> str:
        """One command about it."""
        command = [sys.executable, "-m", "kitaru_nb", *words]
        done = subprocess.run(command, env=self.environ, cwd="/", capture_output=True, text=True, check=False)
        assert done.returncode == expect, done.stderr
        return done.stdout

    def executions(self) -> list[Mapping[str, Any]]:
        found: list[Mapping[str, Any]] = json.loads(self.cli("executions", "--json"))
        return found

    def notes(self) -> list[str]:
        """What ran, in the order in which it ran, over all attempts."""
        return self.ran.read_text(encoding="utf-8").split() if self.ran.exists() else []


_HEAD = """
import os, signal, sys
import kitaru_nb as kt

def note(what):
    with open(os.environ["RAN"], "a") as file:
        file.write(f"{what}\\n")
    if os.environ.get("KILL_AT") == str(what):
        os.kill(os.getpid(), signal.SIGKILL)
"""

LOOP = """
@kt.checkpoint
def step(i, history):
    history.append(i * 10)
    note(f"step{i}")
    return sum(history)

@kt.flow
def agent(count):
    history = []
    totals = []
    for i in range(count):
        totals.append(step(i, history))
        note(f"after{i}")
    return {"totals": totals, "history": history}

if __name__ == "__main__":
    print(agent(5))
"""


def test_a_script_that_was_killed_goes_on_where_it_was(tmp_path: Path) -> None:
    script = Script(tmp_path, LOOP)

    script.run(kill_at="after2", expect=KILLED)
    script.run(kill_at="step3", expect=KILLED)
    printed = script.run()

    assert printed == "{'totals': [0, 10, 30, 60, 100], 'history': [0, 10, 20, 30, 40]}\n"
    steps = [note for note in script.notes() if note.startswith("step")]
    assert steps == ["step0", "step1", "step2", "step3", "step3", "step4"]
    (execution,) = script.executions()
    assert (execution["status"], execution["attempts"]) == ("completed", 3)
    assert execution["flow"] == "my_agent:agent"


@pytest.mark.further
def test_a_script_is_the_same_however_the_way_to_it_is_spelled(tmp_path: Path) -> None:
    script = Script(tmp_path, LOOP)
    (tmp_path / "other").mkdir()
    straight, script.path = script.path, tmp_path / "other" / ".." / "my_agent.py"

    script.run(kill_at="after2", expect=KILLED)
    script.path = straight
    script.run(kill_at="after3", expect=KILLED)
    script.path = tmp_path / "other" / ".." / "my_agent.py"
    script.run()

    assert [note for note in script.notes() if note.startswith("step")] == [f"step{i}" for i in range(5)]
    (execution,) = script.executions()
    assert (execution["status"], execution["attempts"]) == ("completed", 3)


def test_after_one_that_completed_a_new_execution_begins(tmp_path: Path) -> None:
    script = Script(tmp_path, LOOP)

    script.run()
    script.run()

    assert [e["status"] for e in script.executions()] == ["completed", "completed"]
    assert script.notes().count("step0") == 2


@pytest.mark.further
def test_a_command_goes_on_with_a_script_from_anywhere(tmp_path: Path) -> None:
    script = Script(tmp_path, LOOP)
    script.run(kill_at="after2", expect=KILLED)

    said = script.cli("resume")
    shown = json.loads(script.cli("show", "latest", "--json"))
    listed = json.loads(script.cli("artifacts", "--json"))

    assert shown["status"] == "completed"
    assert "{'totals': [0, 10, 30, 60, 100]" in said
    assert shown["result"] == listed[-1]["ref"] == f"{shown['id']}/agent/result"
    assert [c["status"] for c in shown["checkpoints"]] == ["restored"] * 3 + ["completed"] * 2
    assert script.notes().count("step2") == 1
    assert "{'totals': [0, 10, 30, 60, 100]" in script.cli("artifact", "latest/agent/result")
    assert "0" in script.cli("artifact", "latest/step#1/result")


def test_a_killed_run_is_seen_as_interrupted_at_once(tmp_path: Path) -> None:
    script = Script(tmp_path, LOOP)

    script.run(kill_at="step1", expect=KILLED)

    (execution,) = script.executions()
    assert execution["status"] == "interrupted"


def test_a_run_that_failed_is_tried_again_for_real(tmp_path: Path) -> None:
    source = """
@kt.checkpoint
def fetch():
    note("fetch")
    if os.environ.get("BROKEN"):
        raise OSError("no route")
    return 7

@kt.flow
def job():
    return fetch() + 1

print(job())
"""
    script = Script(tmp_path, source)
    script.run(expect=1, BROKEN="1")
    assert [e["status"] for e in script.executions()] == ["failed"]

    script.cli("resume")

    assert script.notes() == ["fetch", "fetch"]
    assert [(e["status"], e["attempts"]) for e in script.executions()] == [("completed", 2)]


@pytest.mark.further
def test_a_global_that_was_edited_makes_another_call(tmp_path: Path) -> None:
    source = """
K = 3

def helper(x):
    return x * K

@kt.checkpoint
def triple(x):
    note("triple")
    return helper(x)

@kt.flow
def job(x):
    result = triple(x)
    note("end")
    return result

print(job(2))
"""
    script = Script(tmp_path, source)
    script.run(kill_at="end", expect=KILLED)

    script.write(source.replace("K = 3", "K = 5"))

    assert script.run() == "10\n"
    assert script.notes().count("triple") == 2


@pytest.mark.further
def test_a_helper_that_was_edited_makes_another_call(tmp_path: Path) -> None:
    helper = tmp_path / "helpers.py"
    helper.write_text("def rate(x):\n    return x + 1\n\n\ndef other():\n    return 1\n", encoding="utf-8")
    source = """
import helpers

@kt.checkpoint
def rated(x):
    note("rated")
    return helpers.rate(x)

@kt.flow
def job(x):
    result = rated(x)
    note("end")
    return result

print(job(2))
"""
    script = Script(tmp_path, source)
    script.run(kill_at="end", expect=KILLED)
    helper.write_text("def rate(x):\n    return x + 1\n\n\ndef other():\n    return 2\n", encoding="utf-8")
    script.run(kill_at="end", expect=KILLED)
    assert script.notes().count("rated") == 1
    helper.write_text("def rate(x):\n    return x + 100\n\n\ndef other():\n    return 2\n", encoding="utf-8")

    assert script.run() == "102\n"
    assert script.notes().count("rated") == 2


def test_a_flow_in_a_flow_is_an_execution_of_its_own_and_is_not_run_twice(tmp_path: Path) -> None:
    source = """
@kt.checkpoint
def work(x):
    note(f"work{x}")
    return x

@kt.flow
def child(x):
    return work(x) * 2

@kt.flow
def parent():
    found = []
    for x in range(3):
        found.append(child(x))
        note(f"got{x}")
    return found

print(parent())
"""
    script = Script(tmp_path, source)
    script.run(kill_at="got1", expect=KILLED)

    assert script.run() == "[0, 2, 4]\n"
    assert [note for note in script.notes() if note.startswith("work")] == ["work0", "work1", "work2"]
    by_flow: dict[str, list[Any]] = {}
    for execution in script.executions():
        by_flow.setdefault(execution["flow"], []).append(execution)
    (parent,) = by_flow["my_agent:parent"]
    assert len(by_flow["my_agent:child"]) == 3
    assert {child["parent"] for child in by_flow["my_agent:child"]} == {parent["id"]}


CHILD = """
SEEN = []
RATE = 2

@kt.checkpoint
def work(x):
    note(f"work{x}")
    return x

@kt.flow
def child(x):
    found = work(x) * RATE
    SEEN.append(found)
    return SEEN if SEEN_IS_GIVEN else found

@kt.flow
def parent():
    found = [CALLED for x in range(2)]
    note("end")
    SEEN.append("parent")
    return found, SEEN, found[0] is SEEN

if __name__ == "__main__":
    print(parent())
"""
BEGUN = "child.run(x).result()"


def child_of(called: str, *, given: bool) -> str:
    return CHILD.replace("CALLED", called).replace("SEEN_IS_GIVEN", str(given))


@pytest.mark.parametrize("given", [False, further(True)])
@pytest.mark.parametrize("called", [BEGUN, further("child(x)")])
def test_what_a_flow_in_a_flow_has_changed_is_changed_in_the_next_attempt(
    tmp_path: Path, called: str, given: bool
) -> None:
    script = Script(tmp_path, child_of(called, given=given))
    right = {False: "([0, 2], [0, 2, 'parent'], False)\n"}
    right[True] = "([[0, 2, 'parent'], [0, 2, 'parent']], [0, 2, 'parent'], True)\n"

    script.run(kill_at="end", expect=KILLED)

    assert script.run() == right[given]
    assert script.notes() == ["work0", "work1", "end", "end"]
    assert len(script.executions()) == 3


@pytest.mark.parametrize("called", ["child(x)", further(BEGUN)])
def test_an_edit_of_a_flow_in_a_flow_makes_no_call_in_it_again(tmp_path: Path, called: str) -> None:
    source = child_of(called, given=False)
    script = Script(tmp_path, source)
    script.run(kill_at="end", expect=KILLED)

    script.write(source.replace("    SEEN.append(found)", "    assert True\n    SEEN.append(-found)"))

    assert script.run() == "([0, 2], [0, -2, 'parent'], False)\n"
    assert script.notes() == ["work0", "work1", "end", "end"]
    assert len(script.executions()) == 3


@pytest.mark.parametrize("called", [BEGUN, further("child(x)")])
def test_a_flow_in_a_flow_that_reads_another_value_is_run_again(tmp_path: Path, called: str) -> None:
    source = child_of(called, given=False).replace("    SEEN.append(found)\n", "")
    script = Script(tmp_path, source)
    script.run(kill_at="end", expect=KILLED)

    script.write(source.replace("RATE = 2", "RATE = 5"))

    assert script.run() == "([0, 5], ['parent'], False)\n"
    assert script.notes() == ["work0", "work1", "end", "end"]


def test_processes_that_were_forked_lose_and_double_nothing(tmp_path: Path) -> None:
    source = """
import multiprocessing

@kt.checkpoint
def square(x):
    note(f"square{x}")
    return x * x

@kt.flow
def job(count):
    with multiprocessing.get_context("fork").Pool(4) as pool:
        found = pool.map(square, range(count), chunksize=1)
    note("end")
    return found

print(job(12))
"""
    script = Script(tmp_path, source)
    script.run(kill_at="end", expect=KILLED)

    printed = script.run()

    assert printed == f"{[x * x for x in range(12)]}\n"
    squares = [note for note in script.notes() if note.startswith("square")]
    assert sorted(squares) == sorted(f"square{x}" for x in range(12))


def test_two_hundred_calls_in_threads_are_all_there(tmp_path: Path) -> None:
    source = """
from concurrent.futures import ThreadPoolExecutor

@kt.checkpoint
def square(x):
    note(f"square{x}")
    return x * x

@kt.flow
def job(count):
    with ThreadPoolExecutor(16) as pool:
        found = list(pool.map(square, range(count)))
    note("end")
    return sum(found)

print(job(200))
"""
    script = Script(tmp_path, source)
    script.run(kill_at="square120", expect=KILLED)
    script.run(kill_at="end", expect=KILLED)

    assert script.run() == f"{sum(x * x for x in range(200))}\n"
    squares = [note for note in script.notes() if note.startswith("square")]
    assert set(squares) == {f"square{x}" for x in range(200)}
    assert len(squares) <= 200 + 16  # those in flight at the kill ran twice


def test_once_is_once_in_the_whole_execution(tmp_path: Path) -> None:
    source = """
def charge(amount):
    note(f"charge{amount}")
    return {"paid": amount}

@kt.checkpoint
def inner():
    return kt.once("charge 1", charge, 5)

@kt.flow
def shop():
    first = kt.once("charge 1", charge, 5)
    second = inner()
    key = kt.idempotency_key("charge 1")
    note("end")
    return first == second, key

print(shop())
"""
    script = Script(tmp_path, source)
    script.run(kill_at="end", expect=KILLED)
    printed = script.run()

    assert printed.startswith("(True, 'charge 1-")
    assert script.notes().count("charge5") == 1


# In a notebook


def test_a_cell_that_dies_in_its_57th_call_runs_43_when_it_runs_again(tmp_path: Path) -> None:
    home, notebook, ran = tmp_path / "home", tmp_path / "a.ipynb", tmp_path / "ran.txt"
    define = f"""
import kitaru_nb as kt, os
@kt.checkpoint
def fetch(i):
    with open({str(ran)!r}, "a") as file:
        print(i, file=file)
    if i == 57 and not os.path.exists({str(tmp_path / "died")!r}):
        open({str(tmp_path / "died")!r}, "w").close()
        os.kill(os.getpid(), 9)
    return i * 2
"""
    loop = "%%checkpoint fetched\nfound = [fetch(i) for i in range(100)]\nprint(len(found), sum(found))"

    with Kernel(home, notebook=notebook) as kernel:
        assert kernel.run(define, cell="a").ok
        kernel.run(loop, cell="b")
    before = len(ran.read_text().split())
    with Kernel(home, notebook=notebook) as kernel:
        assert kernel.run(define, cell="a").ok
        again = kernel.run(loop, cell="b")

    assert again.ok
    assert again.stdout == "100 9900\n"
    assert before == 58
    assert len(ran.read_text().split()) == 58 + 43


@pytest.mark.further
def test_an_edit_of_the_cell_makes_no_call_in_it_again(tmp_path: Path) -> None:
    home, notebook, ran = tmp_path / "home", tmp_path / "a.ipynb", tmp_path / "ran.txt"
    define = f"""
import kitaru_nb as kt
@kt.checkpoint
def fetch(i):
    with open({str(ran)!r}, "a") as file:
        print(i, file=file)
    return i
"""
    with Kernel(home, notebook=notebook) as kernel:
        kernel.run(define, cell="a")
        kernel.run("%%checkpoint sums\nfound = [fetch(i) for i in range(4)]\nraise ValueError", cell="b")
        edited = kernel.run("%%checkpoint sums\nfound = [fetch(i) for i in range(5)]\nsum(found)", cell="b")

    assert edited.result == "10"
    assert ran.read_text().split() == ["0", "1", "2", "3", "4"]


@pytest.mark.further
def test_fresh_calls_anew(tmp_path: Path) -> None:
    home, notebook, ran = tmp_path / "home", tmp_path / "a.ipynb", tmp_path / "ran.txt"
    define = f"""
import kitaru_nb as kt
@kt.checkpoint
def fetch(i):
    with open({str(ran)!r}, "a") as file:
        print(i, file=file)
    return i
"""
    with Kernel(home, notebook=notebook) as kernel:
        kernel.run(define, cell="a")
        kernel.run("%%checkpoint one\nx = fetch(1)", cell="b")
        kernel.run("%%checkpoint one --fresh\nx = fetch(1)", cell="b")

    assert ran.read_text().split() == ["1", "1"]


def test_a_notebooks_flow_is_gone_on_with_from_the_command_line(tmp_path: Path) -> None:
    home, notebook, ran = tmp_path / "home", tmp_path / "a.ipynb", tmp_path / "ran.txt"
    define = f"""
import attrs, kitaru_nb as kt, math, os
FACTOR = 3
@attrs.frozen
class Product:
    x: int
    def value(self): return math.floor(self.x * FACTOR)
def helper(x):
    return Product(x).value()
@kt.checkpoint
def work(x):
    with open({str(ran)!r}, "a") as file:
        print(x, file=file)
    if x == 2 and os.environ.get("DIE"):
        os.kill(os.getpid(), 9)
    return helper(x)
@kt.flow
def job(count):
    return [work(x) for x in range(count)]
"""
    with Kernel(home, notebook=notebook) as kernel:
        kernel.run(define, cell="a")
        kernel.run("os.environ['DIE'] = '1'\njob(4)", cell="b")
    environ = {**os.environ, "KITARU_NB_HOME": str(home)}
    command = [sys.executable, "-m", "kitaru_nb"]
    found = subprocess.run(
        [*command, "executions", "--json"], env=environ, capture_output=True, text=True, check=True
    )
    flow = next(e for e in json.loads(found.stdout) if e["flow"])
    done = subprocess.run(
        [*command, "resume", flow["id"]], env=environ, capture_output=True, text=True, check=False
    )
    shown = subprocess.run(
        [*command, "artifact", f"{flow['id']}/job/result"],
        env=environ,
        capture_output=True,
        text=True,
        check=True,
    )

    assert done.returncode == 0, done.stderr
    assert done.stderr.endswith(f"kitaru: completed execution={flow['id']}\n")
    assert "[0, 3, 6, 9]" in shown.stdout
    assert ran.read_text().split() == ["0", "1", "2", "2", "3"]


def test_a_long_loop_enters_where_it_was(tmp_path: Path) -> None:
    home, notebook = tmp_path / "home", tmp_path / "a.ipynb"
    die = tmp_path / "die"
    cell = f"""%%checkpoint train
import numpy as np, os, random
random.seed(3)
weights, losses = np.zeros(5), []
alias = losses
for epoch in kt.steps(range(6), every=0):
    weights += epoch
    losses.append(random.random())
    if epoch == 3 and os.path.exists({str(tmp_path)!r} + '/die'):
        os.unlink({str(tmp_path)!r} + '/die')
        os.kill(os.getpid(), 9)
print(weights.tolist(), len(losses), alias is losses, sum(losses))"""
    with Kernel(tmp_path / "other", notebook=notebook) as kernel:
        kernel.run("import kitaru_nb as kt", cell="a")
        undisturbed = kernel.run(cell, cell="b").stdout
    die.touch()
    with Kernel(home, notebook=notebook) as kernel:
        kernel.run("import kitaru_nb as kt", cell="a")
        kernel.run(cell, cell="b")
    with Kernel(home, notebook=notebook) as kernel:
        kernel.run("import kitaru_nb as kt", cell="a")
        counted = cell.replace("    weights += epoch", "    print('epoch', epoch)\n    weights += epoch")
        again = kernel.run(cell, cell="b")
        edited = kernel.run(counted, cell="b")

    assert again.stdout == undisturbed
    assert edited.stdout.startswith("epoch 0\n")  # another cell begins with its first item


@pytest.mark.further
def test_a_loop_that_came_to_its_end_is_not_entered_again(tmp_path: Path) -> None:
    notebook, ran, die = tmp_path / "a.ipynb", tmp_path / "ran", tmp_path / "die"
    cell = f"""%%checkpoint train
import os
def note(what):
    with open({str(tmp_path)!r} + '/ran', 'a') as file:
        file.write(what + ' ')
done = []
for epoch in kt.steps(range(3), every=0, name="train"):
    note(f'train{{epoch}}')
    done.append(epoch)
note('between')
for part in kt.steps("ab", every=0, name="judge"):
    note(part)
    done.append(part)
    if part == 'b' and os.path.exists({str(tmp_path)!r} + '/die'):
        os.unlink({str(tmp_path)!r} + '/die')
        os.kill(os.getpid(), 9)
print(done, epoch)"""
    die.touch()
    for _ in range(2):
        with Kernel(tmp_path / "home", notebook=notebook) as kernel:
            kernel.run("import kitaru_nb as kt", cell="a")
            again = kernel.run(cell, cell="b")

    assert again.stdout == "[0, 1, 2, 'a', 'b'] 2\n"
    assert ran.read_text().split() == ["train0", "train1", "train2", "between", "a", "b", "between", "b"]


@pytest.mark.parametrize(
    "loop",
    [
        "done = [note(x) for x in kt.steps('abc', every=0)]",
        "done = []\nfor i, x in enumerate(kt.steps('abc', every=0)):\n    done.append((i, note(x)))",
        """def fit():
    losses = []
    for x in kt.steps('abc', every=0):
        losses.append(note(x))
    return losses
done = fit()""",
    ],
)
def test_what_a_loop_gathers_under_no_name_is_whole_after_a_crash(tmp_path: Path, loop: str) -> None:
    first = f"""import kitaru_nb as kt, os
def note(x):
    if x == 'c':
        os.system('rm {tmp_path}/die 2>/dev/null && kill -9 ' + str(os.getpid()))
    return x"""
    cell = f"%%checkpoint train\n{loop}\nprint(done)"
    with Kernel(tmp_path / "other", notebook=tmp_path / "a.ipynb") as kernel:
        kernel.run(first, cell="a")
        undisturbed = kernel.run(cell, cell="b")
    (tmp_path / "die").touch()
    for _ in range(2):
        with Kernel(tmp_path / "home", notebook=tmp_path / "a.ipynb") as kernel:
            kernel.run(first, cell="a")
            again = kernel.run(cell, cell="b")

    assert not (tmp_path / "die").exists()
    assert again.stdout == undisturbed.stdout != ""
    assert "commits nothing before its end" in str(again.outputs)


LOOP_FIRST = """import kitaru_nb as kt, uuid, os
FOLDER = {folder!r}
os.chdir(FOLDER)
{mark}
def roll():
    return uuid.uuid4().hex"""
TRAIN = """%%checkpoint train
import os
print('top')
rolled, read = [], open('seen').read()
for epoch in kt.steps(range(6), every=0):
    print('epoch', epoch)
    rolled.append(roll())
    open('left.txt', 'a').write(str(epoch))
    if epoch == 3 and os.path.exists(FOLDER + '/die'):  # no string of it is the file's name
        os.unlink(FOLDER + '/die')
        os.kill(os.getpid(), 9)
print(len(set(rolled)), open('left.txt').read(), read)"""


@pytest.mark.further
def test_equal_calls_of_a_long_loop_are_not_given_to_a_later_item(tmp_path: Path) -> None:
    notebook, die, seen = tmp_path / "a.ipynb", tmp_path / "die", tmp_path / "seen"
    first = LOOP_FIRST.format(folder=str(tmp_path), mark="@kt.checkpoint")
    shown = "top\nepoch 0\nepoch 1\nepoch 2\nepoch 3\nepoch 4\nepoch 5\n"
    seen.write_text("one")
    die.touch()
    with Kernel(tmp_path / "home", notebook=notebook) as kernel:
        kernel.run(first, cell="a")
        kernel.run(TRAIN, cell="b")
    (tmp_path / "left.txt").write_text("012")  # what item 3 had added is undone by hand: it runs again
    with Kernel(tmp_path / "home", notebook=notebook) as kernel:
        kernel.run(first, cell="a")
        again = kernel.run(TRAIN, cell="b")

    assert again.stdout == shown + "6 012345 one\n"

    (tmp_path / "left.txt").unlink()
    with Kernel(tmp_path / "home", notebook=notebook) as kernel:
        kernel.run(first, cell="a")
        restored = kernel.run(TRAIN, cell="b")

    assert restored.stdout == again.stdout
    assert (tmp_path / "left.txt").read_text() == "012345"


@pytest.mark.further
def test_a_position_counts_only_where_the_files_that_were_read_are_unchanged(tmp_path: Path) -> None:
    notebook, die, seen = tmp_path / "a.ipynb", tmp_path / "die", tmp_path / "seen"
    first = LOOP_FIRST.format(folder=str(tmp_path), mark="")
    seen.write_text("one")
    die.touch()
    with Kernel(tmp_path / "home", notebook=notebook) as kernel:
        kernel.run(first, cell="a")
        kernel.run(TRAIN, cell="b")
    seen.write_text("two")
    (tmp_path / "left.txt").unlink()
    with Kernel(tmp_path / "home", notebook=notebook) as kernel:
        kernel.run(first, cell="a")
        again = kernel.run(TRAIN, cell="b")

    assert again.stdout.startswith("top\nepoch 0\nepoch 1\n")
    assert again.stdout.endswith("epoch 5\n6 012345 two\n")


MANY = """
import time
from pathlib import Path

HERE = Path(__file__).parent

@kt.checkpoint
def part(i):
    note(f"part{i}")
    return i

@kt.checkpoint
def whole(i):
    note(f"begun{i}")
    first = part(2 * i)
    while not (HERE / "go").exists():
        time.sleep(0.01)  # polls; the test writes it
    if (HERE / "on").exists():
        return first + part(2 * i + 1)
    note(f"ended{i}")
    return i

@kt.flow
def agent(count):
    return sum(whole.map(range(count), max_workers=4))

if __name__ == "__main__":
    print(agent(12))
"""


@pytest.mark.parametrize("goes_on", [further(False, id="ends"), pytest.param(True, id="would-begin-more")])
def test_a_map_that_is_interrupted_begins_nothing_more_and_keeps_what_ends(
    tmp_path: Path, goes_on: bool
) -> None:
    script = Script(tmp_path, MANY)
    if goes_on:
        (tmp_path / "on").touch()
    said = tmp_path / "said.txt"
    command = [sys.executable, str(script.path)]
    with (
        said.open("wb") as stderr,
        subprocess.Popen(command, env=script.environ, cwd=tmp_path, stderr=stderr) as running,
    ):
        try:
            until(lambda: sum(note.startswith("part") for note in script.notes()) >= 4)

            running.send_signal(signal.SIGINT)
            until(lambda: "KeyboardInterrupt" in said.read_text(encoding="utf-8"))
            (tmp_path / "go").touch()
            running.wait(timeout=PATIENCE)
        finally:
            running.kill()
    first = script.notes()
    (tmp_path / "on").unlink(missing_ok=True)
    done = script.run(expect=0)

    begun = {note for note in first if note.startswith("begun")}
    ended = {note for note in first if note.startswith("ended")}
    assert 4 <= len(begun) <= 5
    assert len([note for note in first if note.startswith("part")]) == len(begun)
    assert script.executions()[0]["attempts"] == 2
    assert done.strip() == str(sum(range(12)))
    again = script.notes()[len(first) :]
    assert len([note for note in again if note.startswith("ended")]) == 12 - len(ended)
    assert bool(ended) is not goes_on


# Of each kind of class one, where a script defines it.
KINDS = """
import attrs, dataclasses, enum, typing

@dataclasses.dataclass(frozen=True)
class Point:
    x: int
    made: typing.ClassVar[int] = 0

class Color(enum.Enum):
    RED = 1

class Flag(enum.IntFlag):
    A = 1
    B = 2

@attrs.frozen
class Frozen:
    x: int

class Pair(typing.NamedTuple):
    a: int

class Outer:
    class Inner(list):
        @property
        def first(self): return self[0]

class Broken(ValueError):
    pass

Box = typing.TypeVar("Box")
class Holder(typing.Generic[Box]):
    def __init__(self, value): self.value = value

def key(point, by=len): return point.x

@kt.checkpoint
def make(n):
    note("make")
    return (Point(n), Color.RED, Pair(n), Outer.Inner([n]), Broken("why"), Holder[int](n), Point,
            Flag.A | Flag.B, Frozen(n), key)

KNOWN = {Point: "point", Color: "color"}

@kt.flow
def agent():
    Point.made = 7
    point, color, pair, inner, broken, holder, cls, flag, frozen, function = make(1)
    kt.save("point", point)
    same = [type(point) is Point, color is Color.RED, type(pair) is Pair, type(inner) is Outer.Inner,
            type(broken) is Broken, type(holder) is Holder, cls is Point, flag is Flag.A | Flag.B,
            frozen == Frozen(1), function is key]
    print(same.count(True), point == Point(1), pair == Pair(1), inner.first, KNOWN[type(point)], Point.made)
    again = kt.load("point")
    print(again == point, type(again) is Point, Point.made)
    note("end")

if __name__ == "__main__":
    agent()
"""


def test_what_is_served_belongs_to_the_classes_of_the_script_and_leaves_them_as_they_are(
    tmp_path: Path,
) -> None:
    script = Script(tmp_path, KINDS)
    script.run(kill_at="end", expect=KILLED)

    printed = script.run()

    assert printed == "10 True True 1 point 7\nTrue True 7\n"
    assert script.notes() == ["make", "end", "end"]


@pytest.mark.further
def test_a_command_goes_on_with_a_script_s_flow_and_is_served_what_the_script_would_be(
    tmp_path: Path,
) -> None:
    script = Script(tmp_path, KINDS)
    script.run(kill_at="end", expect=KILLED)

    printed = script.cli("resume")

    assert printed.startswith("10 True True 1 point 7\nTrue True 7\n"), printed
    assert script.notes() == ["make", "end", "end"]


@pytest.mark.further
def test_a_command_goes_on_with_a_module_that_was_run_by_its_name(tmp_path: Path) -> None:
    """The flow has the name of the command's own entry point, which is no reason to take that for it."""
    package = tmp_path / "pkg"
    package.mkdir()
    (package / "__init__.py").touch()
    (package / "helper.py").write_text("def helped(point): return point.x")
    script = Script(
        package,
        KINDS.replace("agent()", "main()").replace(
            "import attrs", "from .helper import helped\nimport attrs"
        ),
    )
    run = [sys.executable, "-m", "pkg.my_agent"]
    environ = {**script.environ, "KILL_AT": "end"}
    killed = subprocess.run(run, env=environ, cwd=tmp_path, capture_output=True, text=True, check=False)

    printed = script.cli("resume")

    assert killed.returncode == KILLED, killed.stderr
    assert printed.startswith("10 True True 1 point 7\nTrue True 7\n"), printed
    assert script.notes() == ["make", "end", "end"]
    (execution,) = script.executions()
    assert (execution["flow"], execution["status"]) == ("pkg.my_agent:main", "completed")
    with Kernel(script.folder / "home", notebook=tmp_path / "n.ipynb") as kernel:
        kernel.run(f"import os; os.environ['RAN'] = {str(script.ran)!r}", cell="a")
        replayed = kernel.run(
            f"import kitaru_nb as kt; kt.replay({execution['id']!r}, from_='make').result()", cell="b"
        )
    assert replayed.ok, replayed
    labels = [each["flow"] for each in script.executions() if each["flow"]]
    assert labels == ["pkg.my_agent:main"] * 2


@pytest.mark.further
def test_what_a_flow_was_begun_with_belongs_to_the_classes_of_its_script(tmp_path: Path) -> None:
    script = Script(
        tmp_path,
        """
class Order:
    seen = set()  # can change by itself: nothing says that it holds the same
    def __init__(self, x): self.x = x

@kt.flow
def agent(order):
    note("begun")
    print(type(order) is Order, order.x)

if __name__ == "__main__":
    agent(Order(3))
""",
    )
    script.run(kill_at="begun", expect=KILLED)

    assert script.cli("resume").startswith("True 3\n")


@pytest.mark.further
def test_a_command_goes_on_with_the_flows_of_two_scripts_one_after_the_other(tmp_path: Path) -> None:
    scripts = [Script(tmp_path, KINDS)]
    other = Script(tmp_path, KINDS.replace("class Broken(ValueError)", "class Broken(KeyError)"))
    other.path = tmp_path / "other_agent.py"
    other.write(KINDS.replace("class Broken(ValueError)", "class Broken(KeyError)"))
    scripts[0].write(KINDS)
    for script in (*scripts, other):
        script.run(kill_at="end", expect=KILLED)

    printed = other.cli("resume", "--all")

    assert printed.count("10 True True 1 point 7\nTrue True 7\n") == 2, printed
    assert other.notes() == ["make", "end", "make", "end", "end", "end"]


@pytest.mark.further
def test_a_command_goes_on_with_two_flows_of_one_script_as_if_each_were_alone(tmp_path: Path) -> None:
    script = Script(
        tmp_path,
        """
COUNT = 0

@kt.checkpoint
def work(name):
    global COUNT
    COUNT += 1
    note(f"{name}{COUNT}")
    return COUNT

@kt.flow
def agent(name):
    before = COUNT
    first = work(name)
    note(f"after{name}")
    print(name, before, first, work(name))

if __name__ == "__main__":
    agent(os.environ["NAME"])
""",
    )
    for name in ("a", "b"):
        script.run(kill_at=f"after{name}", expect=KILLED, NAME=name)

    printed = script.cli("resume", "--all", "--no-progress")

    assert "a 0 1 2\n" in printed, printed
    assert "b 0 1 2\n" in printed, printed
    assert sorted(script.notes()) == sorted(["a1", "a2", "b1", "b2", *["aftera", "afterb"] * 2])


@pytest.mark.further
def test_a_notebook_that_goes_on_with_a_script_s_flow_stays_the_main_module(tmp_path: Path) -> None:
    script = Script(tmp_path, KINDS)
    script.run(kill_at="end", expect=KILLED)
    with Kernel(script.folder / "home", notebook=tmp_path / "n.ipynb") as kernel:
        kernel.run(f"import os, sys; os.environ['RAN'] = {str(script.ran)!r}", cell="a")

        resumed = kernel.run("%kitaru resume", cell="b")
        (execution,) = script.executions()
        replayed = kernel.run(
            f"import kitaru_nb as kt; kt.replay({execution['id']!r}, from_='make').result()", cell="c"
        )
        main = kernel.run(
            "[vars(sys.modules[name]) is globals() for name in ('__main__', '__mp_main__')]", cell="d"
        )

    assert resumed.ok, resumed
    assert replayed.ok, replayed
    for said in (resumed.stdout, replayed.stdout):
        assert "10 True True 1 point 7" in said
    assert script.notes() == ["make", "end", "end", "make", "end"]
    assert main.result == "[True, True]"


@pytest.mark.further
def test_what_is_served_keeps_the_class_it_had_where_the_script_has_another_one_now(tmp_path: Path) -> None:
    script = Script(tmp_path, _ONCE.format(body="x: int"))
    script.run(kill_at="end", expect=KILLED)
    script.write(_ONCE.format(body="y: int"))

    assert script.run() == "Point(x=1) False\n"


_ONCE = """
import dataclasses

@dataclasses.dataclass
class Point:
    {body}

@kt.flow
def agent():
    point = kt.once("point", lambda: Point(1))
    print(point, type(point) is Point)
    note("end")

if __name__ == "__main__":
    agent()
"""


@pytest.mark.further
def test_a_call_that_is_served_in_a_new_kernel_belongs_to_the_class_that_a_cell_defined_there(
    tmp_path: Path,
) -> None:
    defined = """
import dataclasses, os
import kitaru_nb as kt
@dataclasses.dataclass
class Point:
    x: int
@kt.checkpoint
def make(n):
    print("made")
    return Point(n), Point
"""
    used = f"""%%checkpoint
point, cls = make(1)
if not os.path.exists({str(tmp_path / "died")!r}):
    open({str(tmp_path / "died")!r}, "w").close()
    os._exit(9)
type(point) is Point, point == Point(1), cls is Point
"""
    for status in ("dead", "ok"):
        with Kernel(tmp_path / "home", notebook=tmp_path / "n.ipynb") as kernel:
            assert kernel.run(defined, cell="a").ok
            ran = kernel.run(used, cell="b")
            assert ran.status == status, ran

    assert ran.result == "(True, True, True)"
    assert "made" not in ran.stdout


@pytest.mark.further
def test_a_value_that_is_loaded_leaves_its_class_as_it_is(tmp_path: Path) -> None:
    with Kernel(tmp_path / "home", notebook=tmp_path / "n.ipynb") as kernel:
        kernel.run("import kitaru_nb as kt\nclass Point: count = 0", cell="a")
        kernel.run("%%checkpoint go\np = Point()\nkt.save('saved', p)", cell="b")
        kernel.run("Point.count = 7", cell="c")
        ran = kernel.run(
            "[type(kt.load(ref)) is Point for ref in ('saved', 'latest/go/p')], Point.count", cell="d"
        )

    assert ran.result == "([True, True], 7)"


@pytest.mark.further
def test_a_result_that_was_there_before_its_call_is_read_by_command_and_by_load(tmp_path: Path) -> None:
    source = """
import dataclasses, enum
import kitaru_nb as kt

class Verdict(enum.Enum):
    YES = 1
    NO = 2

@dataclasses.dataclass
class Note:
    text: str

@kt.checkpoint
def judge(x): return [Verdict(x), Note("n" * x)]

@kt.checkpoint
def wrap(history): return {"history": history, "n": len(history)}

@kt.flow
def main(x):
    judge(x)
    wrap(["a"] * x)
    loaded = kt.load(f"{kt.current_execution().id}/judge/result")
    print(loaded == [Verdict(x), Note("n" * x)], kt.load(f"{kt.current_execution().id}/wrap/result"))

main(int(os.environ["X"]))
"""
    script = Script(tmp_path, source)
    out = tmp_path / "wrap.json"

    said = [script.run(X="1"), script.run(X="2")]
    one, other = (each["id"] for each in script.executions())

    assert said == ["True {'history': ['a'], 'n': 1}\n", "True {'history': ['a', 'a'], 'n': 2}\n"]
    assert "[<Verdict.NO: 2>, Note(text='nn')]" in script.cli("artifact", "latest/judge/result")
    script.cli("artifact", "latest/wrap/result", "--out", str(out))
    assert json.loads(out.read_text()) == {"history": ["a", "a"], "n": 2}
    differs = script.cli("diff", one, other)
    assert "<Verdict.YES: 1>" in differs
    assert "cannot be shown" not in differs
    assert "everything is as it was stored" in script.cli("store", "verify")


_WITH_ARGUMENTS = """
import argparse
parser = argparse.ArgumentParser()
parser.add_argument("tone")
parser.add_argument("--api-key", default="")
given = parser.parse_args()

@kt.checkpoint
def draft(topic):
    note(f"draft:{given.tone}")
    return f"{given.tone} {topic}"

@kt.flow
def agent(topic):
    text = draft(topic)
    kt.wait("Publish?", name="go")
    assert sys.argv[0].endswith("my_agent.py")
    note(sys.argv[1])
    return text

print(agent("otters"))
"""


@pytest.mark.further
def test_a_command_goes_on_with_a_script_with_the_arguments_that_it_was_begun_with(tmp_path: Path) -> None:
    script = Script(tmp_path, _WITH_ARGUMENTS)
    script.run("formal", expect=75)
    script.cli("approve", "latest/go")

    gone_on = script.cli("resume", "latest")
    replayed = script.cli("replay", "latest", "--from", "draft")
    again = script.cli("replay", "latest", "--from", "draft", "--set", "topic=beavers")

    assert gone_on == replayed == "'formal otters'\n"
    assert again == "'formal beavers'\n"
    assert script.notes() == ["draft:formal", "formal"] * 3


@pytest.mark.further
def test_an_argument_that_is_a_secret_is_not_on_record_and_a_command_says_so(tmp_path: Path) -> None:
    script = Script(tmp_path, _WITH_ARGUMENTS)
    script.run("formal", "--api-key", "otters-and-7", expect=75)
    script.cli("approve", "latest/go")

    refused = json.loads(script.cli("resume", "latest", "--json", expect=2))
    script.run("formal", "--api-key", "otters-and-7")

    assert refused["error"]["kind"] == "secret-argument"
    assert f"run `{script.path}` itself again" in refused["error"]["hint"]
    assert script.notes() == ["draft:formal", "formal"]
    stored = [path for path in (tmp_path / "home").rglob("*") if path.is_file()]
    assert [path for path in stored if b"otters-and-7" in path.read_bytes()] == []


@pytest.mark.further
def test_a_module_that_was_run_by_its_name_is_gone_on_with_with_its_arguments(tmp_path: Path) -> None:
    script = Script(tmp_path, _WITH_ARGUMENTS)
    begun = [sys.executable, "-m", "my_agent", "formal"]
    assert subprocess.run(begun, env=script.environ, cwd=tmp_path, check=False).returncode == 75
    script.cli("approve", "latest/go")

    assert script.cli("resume", "latest") == "'formal otters'\n"


@pytest.mark.further
def test_a_script_on_record_without_its_arguments_is_run_with_none(tmp_path: Path) -> None:
    script = Script(tmp_path, _WITH_ARGUMENTS.replace('"tone"', '"tone", nargs="?", default="plain"'))
    script.write(script.path.read_text().replace("import kitaru_nb as kt", _FORGETS))
    script.run(expect=75)
    script.cli("approve", "latest/go")
    script.write(script.path.read_text().replace("note(sys.argv[1])", "note(len(sys.argv))"))

    script.cli("resume", "latest")

    assert script.notes()[-1] == "1"


_FORGETS = """import kitaru_nb as kt
import kitaru_nb.engine.flow
kitaru_nb.engine.flow.script_arguments = lambda: None  # as in an earlier release
"""


@pytest.mark.further
def test_a_notebook_that_goes_on_with_a_script_s_flow_has_its_own_arguments_again(tmp_path: Path) -> None:
    script = Script(tmp_path, _WITH_ARGUMENTS)
    script.run("formal", expect=75)
    script.cli("approve", "latest/go")
    execution = script.executions()[0]["id"]

    with Kernel(tmp_path / "home", notebook=tmp_path / "n.ipynb") as kernel:
        kernel.run(
            f"import os, sys; os.environ['RAN'] = {str(script.ran)!r}; before = list(sys.argv)", cell="a"
        )
        ran = kernel.run(f"%kitaru resume {execution}", cell="b")
        after = kernel.run("before == sys.argv", cell="c")

    assert "'formal otters'" in ran.stdout, ran
    assert after.result == "True"
    assert script.notes() == ["draft:formal", "formal"]


_IN_A_CLASS = """
class Agent:
    factor = 2

    @kt.checkpoint
    def work(self, n):
        note(f"work:{n}")
        return n * self.factor

    @staticmethod
    @kt.flow
    def plain(n):
        return Agent().work(n), kt.wait("Go?", name="go")

    @classmethod
    @kt.flow
    def of_class(cls, n):
        assert cls is Agent
        return cls().work(n), kt.wait("Go?", name="go")

    class Inner:
        @classmethod
        @kt.flow
        def of_class(cls, n):
            return Agent().work(n), kt.wait("Go?", name="go")

def begin(n):
    @kt.flow
    def within(n):
        return n, kt.wait("Go?", name="go")
    return within(n)

if __name__ == "__main__":
    flows = [Agent.plain, Agent.of_class, Agent.Inner.of_class, begin]
    print(flows[int(sys.argv[1])](4))
"""


@pytest.mark.further
@pytest.mark.parametrize("number", ["0", "1", "2"])
def test_a_command_goes_on_with_a_flow_of_a_class(tmp_path: Path, number: str) -> None:
    script = Script(tmp_path, _IN_A_CLASS)
    script.run(number, expect=75)
    script.cli("approve", "latest/go")

    gone_on = script.cli("resume", "latest")
    replayed = script.cli("replay", "latest", "--from", "work")

    assert gone_on == replayed == "(8, True)\n"
    assert script.notes() == ["work:4", "work:4"]


@pytest.mark.further
def test_a_flow_that_a_function_defines_is_said_to_be_there(tmp_path: Path) -> None:
    script = Script(tmp_path, _IN_A_CLASS)
    script.run("3", expect=75)
    script.cli("approve", "latest/go")

    refused = json.loads(script.cli("resume", "latest", "--json", expect=1))

    assert "defines the flow `within` inside `begin`" in refused["error"]["message"]
