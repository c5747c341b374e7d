"""Grids, as they are typed: real workers, real kernels, killed and stopped in the middle."""

from __future__ import annotations

import json
import os
import signal
import subprocess
from collections import Counter
from contextlib import closing
from pathlib import Path

import pytest

from kitaru_nb.model.execution import Attempt, is_alive
from kitaru_nb.stacks.open import open_engine
from kitaru_nb.stacks.settings import resolve
from tests.integration.headless import Finished, Notebook, finished, start
from tests.patience import PATIENCE, until

# A cell that stays until the file `go` is there: where a point is when it is killed is no accident.
HOLD = """
import os, time
tick(f"in-{alpha}")
while not os.path.exists(FOLDER + "/go"):
    time.sleep(0.02)
"""


def notebook_of(folder: Path, *cells: str) -> Notebook:
    """A notebook whose first cell is its parameters."""
    return Notebook(folder, ["alpha = 0", *cells], tags={0: ["parameters"]})


def start_grid(notebook: Notebook, *words: str) -> subprocess.Popen[str]:
    return start(["-m", "kitaru_nb", "run", notebook.path.name, *words], notebook.folder)


def statuses(ended: Finished) -> list[str]:
    """The status words of the lines on stderr that programs read, the grid's last."""
    lines = [line for line in ended.stderr.splitlines() if line.startswith("kitaru: ")]
    return [line.split()[1] for line in lines]


def first_attempts(notebook: Notebook) -> list[Attempt]:
    """The first attempt of each execution, in the order in which they began."""
    with closing(open_engine(resolve(), read_only=True)) as engine:
        return [engine.journal.attempts(each.id)[0] for each in engine.journal.executions()[::-1]]


def test_points_run_at_the_same_time_each_with_its_output_and_one_table(tmp_path: Path) -> None:
    meet = """
import kitaru_nb as kt, time
tick(f"in-{alpha}")
while len(open(FOLDER + "/side.txt").readlines()) < 2:  # ends only where the other one runs, too
    time.sleep(0.02)
kt.log(score=alpha * 2.5, note="<script>alert(1)</script>")
"""
    notebook = notebook_of(tmp_path, "from side_journal import FOLDER", meet)

    ended = notebook.kitaru("run", "work.ipynb", "--grid", "alpha=1,2", "-j", "2", "--html")

    assert ended.code == 0, ended.stderr
    assert statuses(ended) == ["completed", "completed", "grid"]
    tag = notebook.executions()[0].tags[0]
    assert ended.last_line == f"kitaru: grid completed=2 failed=0 waiting=0 tag={tag}"
    outputs = sorted(path.name for path in tmp_path.glob("*.out.ipynb"))
    assert outputs == ["work.alpha-1.out.ipynb", "work.alpha-2.out.ipynb"]
    table = [line.split() for line in ended.stdout.splitlines()]
    # what one point has taken over of the other saved it something, or came too late to
    heads = [head for head in table[0] if head != "SAVED"]
    assert heads == ["#", "ALPHA", "STATUS", "TOOK", "SCORE", "NOTE", "OUTPUT"]
    assert [(row[1], row[2], row[-1]) for row in table[1:3]] == [
        ("1", "completed", "work.alpha-1.out.ipynb"),
        ("2", "completed", "work.alpha-2.out.ipynb"),
    ]
    page = (tmp_path / "index.html").read_text()
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in page
    assert "<script" not in page
    assert "href='./work.alpha-2.out.ipynb'" in page
    assert "<script" not in (tmp_path / "work.alpha-1.out.html").read_text()
    listed = notebook.kitaru("executions", "--tag", tag, "--json")
    assert len(json.loads(listed.stdout)) == 2


def test_a_point_that_fails_stops_no_other_and_alone_runs_again(tmp_path: Path) -> None:
    notebook = notebook_of(tmp_path, "tick(f'a{alpha}')", "1 / (alpha - 1)", "tick(f'c{alpha}')")
    words = ("run", "work.ipynb", "--grid", "alpha=1,2", "-j", "2")

    failed = notebook.kitaru(*words)
    notebook.edit(2, "2")
    mended = notebook.kitaru(*words, "--json")
    anew = notebook.kitaru(*words, "--dry-run")

    assert failed.code == 1
    assert statuses(failed) == ["failed", "completed", "grid"]
    assert "ZeroDivisionError" in failed.stderr
    assert mended.code == 0, mended.stderr
    documents = json.loads(mended.stdout)
    assert [each["point"] for each in documents] == [{"alpha": 1}, {"alpha": 2}]
    assert [each["attempts"] for each in documents] == [2, 1]
    assert len(notebook.executions()) == 2
    assert sorted(notebook.ticks()[:4]) == ["a1", "a2", "c1", "c2"]
    # the grid has completed, so that the same command begins another one
    assert anew.stdout.count("begins a new execution") == 2


@pytest.mark.further
def test_what_is_resumed_has_its_parameters_in_the_order_in_which_they_were_given(tmp_path: Path) -> None:
    """Else the cell that sets them is another one, and what reads them runs, and is paid, again."""
    notebook = notebook_of(tmp_path, "tick('-'.join(beta))", "if once(str(alpha)): raise ValueError")
    notebook.edit(0, "beta = alpha = 0")
    (tmp_path / "grid.json").write_text('[{"beta": {"y": 1, "x": 2}, "alpha": 1}]')
    failed = notebook.kitaru("run", "work.ipynb", "-f", "grid.json")

    planned = notebook.kitaru("resume", "--all", "--dry-run", "--json")
    ended = notebook.kitaru("resume", "--all", "--no-progress")

    assert failed.code == 1, failed.stderr
    (found,) = json.loads(planned.stdout)
    assert [cell["status"] for cell in found["cells"]] == [*["restored"] * 4, "run"]
    assert ended.code == 0, ended.stderr
    assert notebook.ticks() == ["y-x"]


@pytest.mark.chaos
def test_after_a_kill_nothing_runs_and_the_same_command_goes_on(tmp_path: Path) -> None:
    notebook = notebook_of(tmp_path, "from side_journal import FOLDER", "tick(f'a{alpha}')", HOLD, "alpha")
    words = ("--grid", "alpha=1,2,3", "-j", "2")
    running = start_grid(notebook, *words)
    until(lambda: {"in-1", "in-2"} <= set(notebook.ticks()))

    os.kill(running.pid, signal.SIGKILL)
    following = start_grid(notebook, *words)  # at once, while the workers still end what they ran
    running.communicate()
    until(lambda: all(attempt.ended_at for attempt in first_attempts(notebook)))
    (tmp_path / "go").touch()
    ended = finished(following)

    killed = first_attempts(notebook)[:2]
    assert [each.reason for each in killed] == ["stopped by SIGTERM"] * 2
    until(lambda: not any(is_alive(each.owner) for each in killed), "their end")
    assert ended.code == 0, ended.stderr
    assert statuses(ended) == ["completed"] * 3 + ["grid"]
    counts = Counter(notebook.ticks())
    assert counts == {"a1": 1, "a2": 1, "a3": 1, "in-1": 2, "in-2": 2, "in-3": 1}
    assert [each.attempts for each in notebook.executions()[::-1]] == [2, 2, 1]


@pytest.mark.further
@pytest.mark.chaos
@pytest.mark.parametrize(("signum", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_ends_every_point_as_interrupted(tmp_path: Path, signum: int, code: int) -> None:
    notebook = notebook_of(tmp_path, "from side_journal import FOLDER", HOLD)
    running = start_grid(notebook, "--grid", "alpha=1,2,3", "-j", "2")
    until(lambda: {"in-1", "in-2"} <= set(notebook.ticks()))

    os.kill(running.pid, signum)
    ended = finished(running)

    assert ended.code == code, ended.stderr
    assert statuses(ended) == ["interrupted", "interrupted", "pending", "grid"]
    assert ended.last_line.startswith("kitaru: grid completed=0 failed=0 waiting=0 interrupted=2 pending=1")
    assert {each.reason for each in notebook.executions()} == {f"stopped by {signal.Signals(signum).name}"}
    assert "in-3" not in notebook.ticks()


@pytest.mark.further
@pytest.mark.chaos
def test_a_worker_that_is_killed_ends_its_own_point_alone_and_a_retry_goes_on(tmp_path: Path) -> None:
    # it waits to be killed with its worker: what it would do until then is on no clock
    kill = """
import os, time
tick(f"b{alpha}")
if alpha == 1 and once("kill"):
    os.kill(os.getppid(), 9)
    time.sleep(1000)
"""
    notebook = notebook_of(tmp_path, "tick(f'a{alpha}')", kill)

    ended = notebook.kitaru("run", "work.ipynb", "--grid", "alpha=1,2", "--retries", "1", "--json")

    assert ended.code == 0, ended.stderr
    assert [each["attempts"] for each in json.loads(ended.stdout)] == [2, 1]
    assert Counter(notebook.ticks()) == {"a1": 1, "a2": 1, "b1": 2, "b2": 1}


@pytest.mark.further
def test_several_notebooks_run_at_the_same_time_into_one_folder(tmp_path: Path) -> None:
    meet = """
import time
tick(NAME)
while len(open(FOLDER + "/side.txt").readlines()) < 2:
    time.sleep(0.02)
"""
    one = notebook_of(tmp_path, "from side_journal import FOLDER", meet.replace("NAME", "'one'"))
    one.path.rename(tmp_path / "one.ipynb")
    two = notebook_of(tmp_path, "from side_journal import FOLDER", meet.replace("NAME", "'two'"))
    two.path.rename(tmp_path / "two.ipynb")

    ended = one.kitaru("run", "one.ipynb", "two.ipynb", "-j", "2", "-o", "done/", "--no-progress")

    assert ended.code == 0, ended.stderr
    names = sorted(path.name for path in (tmp_path / "done").iterdir())
    assert names == ["index.html", "one.out.ipynb", "two.out.ipynb"]


@pytest.mark.further
def test_a_replay_is_made_for_each_point(tmp_path: Path) -> None:
    notebook = notebook_of(tmp_path, "tick('load')\nrows = 10", "tick('fit')\nfit = rows * alpha\nprint(fit)")
    ran = notebook.kitaru("run", "work.ipynb", "-p", "alpha", "3")
    assert ran.code == 0, ran.stderr
    original = notebook.executions()[0]

    ended = notebook.kitaru(
        "replay", original.id, "--from", "fit", "--grid", "alpha=4,5", "-j", "2", "--json"
    )

    assert ended.code == 0, ended.stderr
    assert notebook.ticks() == ["load", "fit", "fit", "fit"]
    shown = {}
    for path in tmp_path.glob("*.replay-*.out.ipynb"):
        notebook.output = path
        shown[path.name.split(".")[2]] = notebook.result().cells[-1].outputs[0].text.strip()
    assert shown == {"alpha-4": "40", "alpha-5": "50"}
    documents = json.loads(ended.stdout)
    assert [each["parent"] for each in documents] == [original.id] * 2
    assert [each["point"] for each in documents] == [{"alpha": 4}, {"alpha": 5}]


@pytest.mark.further
def test_a_run_that_was_begun_by_itself_goes_on_as_a_point(tmp_path: Path) -> None:
    stop = "tick(f'b{alpha}')\nif once(str(alpha)) and alpha == 1: raise ValueError"
    notebook = notebook_of(tmp_path, "tick(f'a{alpha}')", stop)
    alone = notebook.kitaru("run", "work.ipynb", "-p", "alpha", "1", "-o", "work.alpha-1.out.ipynb")
    assert alone.code == 1

    ended = notebook.kitaru("run", "work.ipynb", "--grid", "alpha=1,2", "--json")

    assert ended.code == 0, ended.stderr
    assert [each["attempts"] for each in json.loads(ended.stdout)] == [2, 1]
    assert notebook.ticks() == ["a1", "b1", "b1", "a2", "b2"]


@pytest.mark.further
def test_what_a_shared_cell_noted_stands_at_every_point(tmp_path: Path) -> None:
    """The cell does the same in both, so one of them runs it: its loss is that of both."""
    cells = ["import kitaru_nb as kt", "kt.log(loss=0.5, seen=1)\nkt.log(loss=0.25)", "kt.log(seen=alpha)"]
    notebook = notebook_of(tmp_path, *cells)

    ended = finished(start_grid(notebook, "--grid", "alpha=1,2", "--json"))

    assert ended.code == 0, ended.stderr
    points = json.loads(ended.stdout)
    assert [point["metrics"] for point in points] == [{"loss": 0.25, "seen": 1}, {"loss": 0.25, "seen": 2}]


def process_of(detached: Finished) -> int:
    """The process that runs a grid that was left to itself."""
    return int(detached.stdout.partition("(process ")[2].partition(")")[0])


def gone(process: int) -> bool:
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except OSError:
        return True


@pytest.mark.further
def test_a_detached_grid_goes_on_by_itself_and_the_same_command_tells_it_once(tmp_path: Path) -> None:
    notebook = notebook_of(tmp_path, "from side_journal import FOLDER", HOLD)
    words = ("run", "work.ipynb", "--grid", "alpha=1,2,3", "-j", "2", "--html")

    left = notebook.kitaru(*words, "--detach")
    until(lambda: {"in-1", "in-2"} <= set(notebook.ticks()))
    (tmp_path / "go").touch()
    until(lambda: gone(process_of(left)))
    told = notebook.kitaru(*words)
    anew = notebook.kitaru(*words, "--dry-run")

    assert left.code == 0, left.stderr
    assert "3 points go on in the background, 2 at a time" in left.stdout
    assert left.last_line.startswith("kitaru: grid completed=0 failed=0 waiting=0 pending=3 tag=grid:")
    assert sorted(notebook.ticks()) == ["in-1", "in-2", "in-3"], "nobody pays for it again"
    assert told.code == 0, told.stderr
    assert "3 points had completed before and did not run again" in told.stdout
    assert sorted(path.name for path in tmp_path.glob("*.html")) == [
        "index.html",
        *(f"work.alpha-{number}.out.html" for number in (1, 2, 3)),
    ]
    log = Path(
        os.environ["KITARU_NB_HOME"], "logs", f"{told.last_line.rpartition('tag=')[2].replace(':', '-')}.log"
    )
    assert "kitaru: grid completed=3" in log.read_text()
    # it was told now, so that the same command begins another one
    assert anew.stdout.count("begins a new execution") == 3


# The command, with as much patience for another process as the test has.
PATIENT = f"""
import runpy
from kitaru_nb.stacks.grid_run import settled
settled.__kwdefaults__["patience"] = {PATIENCE}
runpy.run_module("kitaru_nb", run_name="__main__", alter_sys=True)
"""


@pytest.mark.further
def test_the_same_command_beside_one_that_runs_begins_no_point_and_tells_how_it_ended(tmp_path: Path) -> None:
    """The first begins its points one after the other; between two of them none of them runs."""
    notebook = notebook_of(tmp_path, "from side_journal import FOLDER", HOLD)
    words = ("run", "work.ipynb", "--grid", "alpha=1,2,3", "--no-progress")
    first = start(["-m", "kitaru_nb", *words], notebook.folder)
    until(lambda: "in-1" in notebook.ticks())
    second = start(["-c", PATIENT, *words], notebook.folder)
    assert second.stderr is not None
    said = second.stderr.readline()

    (tmp_path / "go").touch()
    ended, told = finished(first), finished(second)

    assert said == "kitaru: another process is at 1 of the points; waiting for it to end\n"
    assert (ended.code, told.code) == (0, 0), told.stderr
    assert notebook.ticks() == ["in-1", "in-2", "in-3"]
    assert len(notebook.executions()) == 3
    assert "3 points had completed before and did not run again" in told.stdout


@pytest.mark.further
@pytest.mark.chaos
def test_a_detached_grid_that_is_ended_goes_on_with_the_same_command(tmp_path: Path) -> None:
    notebook = notebook_of(tmp_path, "from side_journal import FOLDER", HOLD)
    words = ("run", "work.ipynb", "--grid", "alpha=1,2")
    process = process_of(notebook.kitaru(*words, "--detach"))
    until(lambda: "in-1" in notebook.ticks())

    os.kill(process, signal.SIGTERM)
    until(lambda: gone(process))
    (tmp_path / "go").touch()
    ended = notebook.kitaru(*words)

    assert ended.code == 0, ended.stderr
    assert notebook.ticks() == ["in-1", "in-1", "in-2"]
    assert [each.attempts for each in notebook.executions()[::-1]] == [2, 1]


@pytest.mark.further
def test_a_grid_whose_command_died_at_its_end_is_told_and_not_run_again(tmp_path: Path) -> None:
    """Each point was finished by a command that tells nothing of the grid."""
    notebook = notebook_of(tmp_path, "tick(f'a{alpha}')", "if once(str(alpha)): raise ValueError")
    words = ("run", "work.ipynb", "--grid", "alpha=1,2")
    failed = notebook.kitaru(*words)
    tag = failed.last_line.rpartition("tag=")[2]
    assert notebook.kitaru("resume", "--all", "--tag", tag, "--no-progress").code == 0

    told = notebook.kitaru(*words, "--json")

    assert [each["attempts"] for each in json.loads(told.stdout)] == [2, 2]
    assert notebook.ticks() == ["a1", "a2"]


@pytest.mark.further
def test_a_replay_is_planned_and_varied_by_files(tmp_path: Path) -> None:
    notebook = notebook_of(
        tmp_path, "tick('load')\nrows = 10", "tick('fit')\nfit = [rows * alpha, step]\nprint(fit)"
    )
    notebook.edit(0, "alpha = 0\nstep = 0")
    assert notebook.kitaru("run", "work.ipynb", "-p", "alpha", "3").code == 0
    original = notebook.executions()[0]
    (tmp_path / "grid.csv").write_text("alpha\n4\n5\n")
    (tmp_path / "all.yaml").write_text("step: [1, 2]\n")
    words = ("replay", original.id, "--from", "fit", "-f", "grid.csv", "-f", "all.yaml")

    planned = notebook.kitaru(*words, "--dry-run", "--json")
    before = notebook.ticks()
    ended = notebook.kitaru(*words, "-j", "2", "--json")

    assert planned.code == 0, planned.stderr
    plans = json.loads(planned.stdout)
    assert [sorted(each["changes"]) for each in plans] == [
        ["alpha=4", "step=[1, 2]"],
        ["alpha=5", "step=[1, 2]"],
    ]
    assert [[cell["status"] for cell in each["cells"]] for each in plans] == [[*["restored"] * 4, "run"]] * 2
    assert before == ["load", "fit"]
    assert ended.code == 0, ended.stderr
    assert notebook.ticks() == ["load", "fit", "fit", "fit"]
    shown = []
    for path in sorted(tmp_path.glob("*.replay-*.out.ipynb")):
        notebook.output = path
        shown.append(notebook.result().cells[-1].outputs[0].text.strip())
    assert shown == ["[40, [1, 2]]", "[50, [1, 2]]"]


@pytest.mark.further
def test_a_single_replay_is_planned_and_refused_where_it_could_not_begin(tmp_path: Path) -> None:
    notebook = notebook_of(tmp_path, "rows = 10", "fit = rows * alpha")
    assert notebook.kitaru("run", "work.ipynb").code == 0
    count = len(notebook.executions())

    planned = notebook.kitaru("replay", "--from", "fit", "--set", "rows=3", "--dry-run")
    wrong = notebook.kitaru("replay", "--from", "fit", "--set", "rwos=3", "--dry-run")

    assert planned.code == 0, planned.stderr
    assert "would replay" in planned.stdout
    assert "rows=3" in planned.stdout
    assert "the replay begins here" in planned.stdout
    assert (wrong.code, "rows" in wrong.stderr) == (2, True)
    assert len(notebook.executions()) == count
