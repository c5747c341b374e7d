"""Headless runs, killed in every way a run can be killed, and run again."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import nbformat
import pytest

from kitaru_nb.engine.logs import log_of
from kitaru_nb.engine.progress import PLANNED
from kitaru_nb.model.execution import ExecutionStatus, current_owner
from kitaru_nb.stacks.open import open_engine
from kitaru_nb.stacks.settings import resolve
from tests.further import further
from tests.integration.headless import Notebook, finished, start
from tests.patience import PATIENCE, until

KILLED = "import os, signal\nif once('death'): {what}"
KILLS = {
    "kernel": "os.kill(os.getpid(), signal.SIGKILL)",
    "worker": "os.kill(os.getppid(), signal.SIGKILL); __import__('time').sleep(60)",
    "both": "os.kill(os.getppid(), signal.SIGKILL), os.kill(os.getpid(), signal.SIGKILL)",
}


def six_cells(folder: Path, *, dying: str = "pass") -> Notebook:
    return Notebook(
        folder,
        [
            "tick('load')\nrows = [3, 1, 2]",
            "tick('alias')\nsame = rows\nprint('sorting', len(rows))",
            "tick('sort')\nrows.sort()\nrows",
            f"tick('train')\n{KILLED.format(what=dying)}\ntotal = sum(same)\ntotal",
            "tick('shown')\nprint(total)\n{'same': same is rows, 'rows': rows}",
            "tick('end')\nfrom IPython.display import HTML\nHTML('<b>done</b>')",
        ],
    )


@pytest.mark.further
def test_a_cell_that_has_killed_its_kernel_three_times_is_held(tmp_path: Path) -> None:
    cell = "tick('dies')\nimport os, signal\nos.kill(os.getpid(), signal.SIGKILL)"
    notebook = Notebook(tmp_path, ["tick('first')", cell])

    words = "run", notebook.path.name, "-o", notebook.output.name
    ended = [notebook.kitaru(*words) for _ in range(4)]

    assert [each.code for each in ended] == [138, 138, 138, 1]
    assert notebook.ticks() == ["first", "dies", "dies", "dies"]
    assert (
        "is held: the kernel died 3 times while it ran, unchanged (kernel died: killed by" in ended[-1].stderr
    )
    assert "Try: change the cell (one more line, `pass`, will do), or the same `run` command with --new" in (
        ended[-1].stderr
    )

    notebook.edit(1, cell + "\npass")
    changed = notebook.kitaru("resume", "latest")

    assert changed.code == 138, "it ran"
    assert notebook.ticks() == ["first", *["dies"] * 4], "and what was done before it did not"


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory: pytest.TempPathFactory) -> Notebook:
    """The six cells, run by a worker and a kernel that nobody kills."""
    folder = tmp_path_factory.mktemp("uninterrupted")
    notebook = six_cells(folder)
    assert notebook.papermill(env={"KITARU_NB_HOME": str(folder / "home")}).code == 0
    return notebook


@pytest.mark.parametrize("victim", ["kernel", "worker", "both"])
def test_a_run_killed_in_its_fourth_cell_goes_on_there(
    tmp_path: Path, uninterrupted: Notebook, victim: str
) -> None:
    expected = uninterrupted
    notebook = six_cells(tmp_path, dying=KILLS[victim])

    first = notebook.papermill()
    second = notebook.papermill()

    assert first.code == (138 if victim == "kernel" else -signal.SIGKILL)
    assert second.code == 0, second.stderr
    assert notebook.ticks() == ["load", "alias", "sort", "train", "train", "shown", "end"]
    assert notebook.shown()[:4] + notebook.shown()[5:] == expected.shown()[:4] + expected.shown()[5:]
    assert notebook.shown()[4] == expected.shown()[4]
    assert notebook.statuses() == ["completed"] * 6
    assert [execution.attempts for execution in notebook.executions()[:1]] == [2]


@pytest.mark.chaos
@pytest.mark.parametrize("point", [further("worker-started"), further("worker-restored"), "worker-saved"])
def test_a_worker_killed_between_its_own_steps_loses_and_repeats_nothing(tmp_path: Path, point: str) -> None:
    notebook = Notebook(
        tmp_path, ["tick('a')\na = 1", "tick('b')\nif once('x'): 1 / 0\nb = a", "tick('c')\nb"]
    )
    assert notebook.papermill().code == 1

    killed = notebook.papermill(env={"KITARU_NB_CRASH_AT": point})
    ended = notebook.papermill()

    assert killed.code == -signal.SIGKILL
    assert ended.code == 0, ended.stderr
    assert notebook.ticks() == ["a", "b", "b", "c"]
    assert notebook.statuses() == ["completed"] * 3
    # where every cell stands on record there is nothing to start a kernel for
    assert ("with kernel" in ended.stderr) == (point != "worker-saved")
    assert len(notebook.executions()) == 1
    nbformat.validate(notebook.result())


@pytest.mark.parametrize("leaves", [further("import sys\nsys.exit(0)"), "exit()"])
def test_a_cell_that_exits_ends_the_notebook_well(tmp_path: Path, leaves: str) -> None:
    notebook = Notebook(tmp_path, ["tick('a')", leaves, "tick('c')"])

    ended = notebook.papermill()

    assert ended.code == 0, ended.stderr
    assert notebook.ticks() == ["a"]
    assert notebook.statuses() == ["completed", "completed", "pending"]
    assert notebook.executions()[0].status is ExecutionStatus.COMPLETED


@pytest.mark.further
def test_a_notebook_from_standard_input_is_continued_too(tmp_path: Path) -> None:
    notebook = Notebook(tmp_path, ["tick('a')", "tick('b')\nif once('x'): 1 / 0"])
    shell = f"cat work.ipynb | {sys.executable} -m papermill --engine kitaru - -"

    codes = [
        subprocess.run(
            shell, shell=True, cwd=tmp_path, capture_output=True, timeout=PATIENCE, check=False
        ).returncode
        for _ in range(2)
    ]

    assert codes == [1, 0]
    assert notebook.ticks() == ["a", "b", "b"]


def test_a_dead_kernel_leaves_true_statuses_and_an_explanation(tmp_path: Path) -> None:
    notebook = six_cells(tmp_path, dying=KILLS["kernel"])

    ended = notebook.papermill()

    execution = notebook.executions()[0]
    assert ended.code == 138
    assert ended.last_line.startswith(f"kitaru: interrupted execution={execution.id} checkpoint=")
    assert notebook.statuses() == ["completed", "completed", "completed", "failed", "pending", "pending"]
    assert execution.status is ExecutionStatus.INTERRUPTED
    assert "SIGKILL" in (execution.reason or "")
    (error,) = notebook.result().cells[4].outputs
    assert error.output_type == "error"
    assert "SIGKILL" in error.evalue
    assert "Traceback" not in ended.stderr
    assert "interrupted: kernel died: killed by signal 9 (SIGKILL)" in ended.stderr
    assert f"go on with: the same command, or kitaru-nb resume {execution.id}\n" in ended.stderr


def test_no_kernel_outlives_its_worker(tmp_path: Path) -> None:
    notebook = Notebook(
        tmp_path,
        [
            "import os, signal, time\nopen('pid', 'w').write(str(os.getpid()))",
            "os.kill(os.getppid(), signal.SIGKILL)\nwhile True: pass",
        ],
    )

    notebook.papermill()

    kernel = int((tmp_path / "pid").read_text())
    until(lambda: not _runs(kernel), "the end of the kernel")


def test_a_signal_before_the_kernel_is_up_ends_the_attempt_properly(tmp_path: Path) -> None:
    runtime = tmp_path / "r"
    runtime.mkdir(mode=0o700)
    notebook = Notebook(tmp_path, ["tick('a')"])
    process = notebook.start_papermill(env={"XDG_RUNTIME_DIR": str(runtime)})
    until(lambda: list(runtime.glob("*/kernel.log")))

    process.send_signal(signal.SIGTERM)
    ended = finished(process)

    execution = notebook.executions()[0]
    assert ended.code == 143, ended.stderr
    assert ended.last_line == f"kitaru: interrupted execution={execution.id}"
    assert "Traceback" not in ended.stderr
    assert execution.reason == "stopped by SIGTERM"
    assert (notebook.ticks(), list(runtime.iterdir())) == ([], [])


@pytest.mark.parametrize(("signum", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_a_signal_to_the_worker_closes_the_journal_and_the_run_can_go_on(
    tmp_path: Path, signum: signal.Signals, code: int
) -> None:
    notebook = Notebook(
        tmp_path,
        [
            "tick('a')\na = 1",
            "import time\nprint('waiting')\ntick('b')\nif once('slow'): time.sleep(100)\nb = a + 1",
            "tick('c')\nb",
        ],
    )
    process = notebook.start_papermill()
    until(lambda: "b" in notebook.ticks())

    process.send_signal(signum)
    ended = finished(process)

    execution = notebook.executions()[0]
    assert ended.code == code, ended.stderr
    assert execution.status is ExecutionStatus.INTERRUPTED
    assert ended.last_line.startswith(f"kitaru: interrupted execution={execution.id}")
    assert notebook.statuses() == ["completed", "pending", "pending"]
    assert notebook.papermill().code == 0
    assert notebook.ticks() == ["a", "b", "b", "c"]


def test_a_cell_that_raises_fails_the_run_and_the_mended_notebook_goes_on(tmp_path: Path) -> None:
    notebook = Notebook(tmp_path, ["tick('a')\na = 1", "tick('b')\nb = a / 0", "tick('c')\nb"])

    failed = notebook.papermill()
    statuses = notebook.statuses()
    notebook.edit(1, "tick('b')\nb = a / 2")
    mended = notebook.papermill()

    assert failed.code == 1
    assert "ZeroDivisionError" in failed.stderr
    assert failed.last_line.startswith("kitaru: failed execution=")
    assert statuses == ["completed", "failed", "pending"]
    assert mended.code == 0, mended.stderr
    assert notebook.ticks() == ["a", "b", "b", "c"]
    assert len(notebook.executions()) == 1


@pytest.mark.further
def test_each_attempt_says_how_many_cells_are_to_be_on_record(tmp_path: Path) -> None:
    notebook = Notebook(tmp_path, ["a = 1", "b = 2", "c = 1 / 0", "d = 4"], tags={1: ["no-checkpoint"]})

    assert notebook.papermill().code == 1
    notebook.edit(3, "")  # an empty cell does not run
    assert notebook.papermill().code == 1

    [execution] = notebook.executions()
    with closing(open_engine(resolve(), read_only=True)) as engine:
        log = log_of(engine.journal, execution.id)
    told = [line.text for line in log.lines if line.event.kind == PLANNED]
    assert told == ["attempt planned: 4 cells", "attempt planned: 3 cells"]


def test_an_edited_cell_and_what_reads_it_run_again_and_nothing_else(tmp_path: Path) -> None:
    notebook = Notebook(
        tmp_path,
        [
            "tick('a')\na = 1",
            "tick('b')\nb = a + 1",
            "tick('c')\nc = 10",
            "tick('d')\nd = b + c",
            "tick('e')\nif once('fail'): 1 / 0\nd",
        ],
    )
    notebook.papermill()
    notebook.edit(1, "tick('b')\nb = a + 5")

    ended = notebook.papermill()

    assert ended.code == 0, ended.stderr
    assert notebook.ticks() == ["a", "b", "c", "d", "e", "b", "d", "e"]
    assert notebook.shown()[-1][1][0]["data"]["text/plain"] == "16"


@pytest.mark.further
def test_a_value_that_could_not_be_stored_is_named_and_its_cell_can_be_tagged_to_run_in_every_attempt(
    tmp_path: Path,
) -> None:
    notebook = Notebook(
        tmp_path,
        [
            "tick('a')\na = 1",
            "tick('plain')\nhandle = (i for i in [a])",
            "tick('c')\nc = 2",
            "tick('d')\nif once('x'): 1 / 0\nnext(handle)",
        ],
    )

    notebook.papermill()
    refused = notebook.papermill()
    notebook.nb.cells[2].metadata.tags = ["no-checkpoint"]
    notebook.save()
    ended = notebook.papermill()

    assert refused.code == 1
    assert "not back: `handle` (" in refused.stderr
    assert "reads `handle`, a generator that could not be stored" in refused.stderr
    assert ended.code == 0, ended.stderr
    assert notebook.ticks() == ["a", "plain", "c", "d", "plain", "d"]


def test_a_second_run_while_the_first_one_lives_is_refused_and_touches_nothing(tmp_path: Path) -> None:
    notebook = Notebook(
        tmp_path, ["tick('a')\nwhile not __import__('os').path.exists('go'): __import__('time').sleep(0.05)"]
    )
    first = notebook.start_papermill()
    # The kernel has said which number the cell has: the first run saves nothing more until the cell ends.
    until(lambda: notebook.output.exists() and '"execution_count": 2' in notebook.output.read_text())
    before = notebook.output.read_bytes()

    second = notebook.papermill()

    assert second.code == 1
    assert "is held by process" in second.stderr
    assert f"Try: kitaru-nb logs {notebook.executions()[0].id} -f" in second.stderr
    assert notebook.output.read_bytes() == before
    (tmp_path / "go").touch()
    assert finished(first).code == 0
    assert notebook.ticks() == ["a"]


def test_a_worker_whose_execution_was_taken_over_stops_with_its_own_code(tmp_path: Path) -> None:
    notebook = Notebook(tmp_path, ["tick('a')", "tick('b')\n__import__('time').sleep(100)"])
    process = notebook.start_papermill(env={"KITARU_NB_HEARTBEAT": "0.2", "KITARU_NB_LEASE": "1"})
    until(lambda: "b" in notebook.ticks())

    with closing(open_engine(resolve())) as engine:
        taken = engine.journal.resume(
            engine.journal.execution("latest").id, owner=current_owner(), take_over=True
        )
    ended = finished(process)

    assert ended.code == 76, ended.stderr
    assert ended.last_line.startswith(f"kitaru: superseded execution={taken.execution}")


def test_a_run_that_takes_too_long_fails_with_the_timeout_code(tmp_path: Path) -> None:
    notebook = Notebook(tmp_path, ["a = 1", "__import__('time').sleep(100)", "a"])

    ended = notebook.papermill("--execution-timeout", "5")

    assert ended.code == 124, ended.stderr
    assert notebook.statuses() == ["completed", "failed", "pending"]
    assert notebook.executions()[0].status is ExecutionStatus.FAILED
    assert "longer than 5 s" in notebook.result().cells[2].outputs[-1].evalue


def test_parameters_are_part_of_what_is_continued(tmp_path: Path) -> None:
    notebook = Notebook(
        tmp_path,
        ["alpha = 1", "tick(f'a{alpha}')\nx = alpha", "tick('b')\nif once('x'): 1 / 0\nx"],
        tags={0: ["parameters"]},
    )

    notebook.papermill("-p", "alpha", "5")
    ended = notebook.papermill("-p", "alpha", "5")
    other = notebook.papermill("-p", "alpha", "6")

    assert (ended.code, other.code) == (0, 0), ended.stderr + other.stderr
    assert notebook.ticks() == ["a5", "b", "b", "a6", "b"]
    injected = [cell for cell in notebook.result().cells if "injected-parameters" in cell.metadata.tags]
    assert [cell.source for cell in injected] == ["# Parameters\nalpha = 6\n"]


@pytest.mark.further
def test_a_notebook_without_cell_ids_goes_on_too(tmp_path: Path) -> None:
    notebook = Notebook(tmp_path, ["tick('a')\na = 1", "tick('b')\nif once('x'): 1 / 0\na"])
    old = json.loads(notebook.path.read_text())
    old["nbformat_minor"] = 4
    for cell in old["cells"]:
        del cell["id"]
    notebook.path.write_text(json.dumps(old))
    source = notebook.path.read_bytes()

    notebook.papermill()
    ended = notebook.papermill()

    assert ended.code == 0, ended.stderr
    assert notebook.ticks() == ["a", "b", "b"]
    assert notebook.path.read_bytes() == source


@pytest.mark.further
def test_a_notebook_that_names_no_kernel_runs_in_python3_with_a_note(tmp_path: Path) -> None:
    notebook = Notebook(tmp_path, ["tick('a')"])
    notebook.nb.metadata = {}
    notebook.save()

    ended = notebook.papermill()

    assert ended.code == 0, ended.stderr
    assert "names no kernel, `python3` is used" in ended.stderr


@pytest.mark.further
@pytest.mark.parametrize(
    ("spec", "code", "said"),
    [
        ({"argv": ["/bin/false"], "language": "python"}, 1, "exit code 1"),
        ({"argv": ["/nonexistent"], "language": "python"}, 1, "could not be started"),
        ({"argv": ["R"], "language": "R"}, 2, "runs R"),
        (None, 1, "not installed"),
    ],
)
def test_a_kernel_that_cannot_be_used_is_named(
    tmp_path: Path, spec: dict[str, object] | None, code: int, said: str
) -> None:
    notebook = Notebook(tmp_path, ["tick('a')"])
    folder = tmp_path / "jupyter" / "kernels" / "odd"
    folder.mkdir(parents=True)
    if spec is not None:
        (folder / "kernel.json").write_text(json.dumps({"display_name": "Odd", **spec}))

    ended = notebook.papermill("-k", "odd", "-l", "python", env={"JUPYTER_PATH": str(tmp_path / "jupyter")})

    assert ended.code == code, ended.stderr
    assert said in ended.stderr
    assert "Traceback" not in ended.stderr
    assert "  Try: " in ended.stderr


@pytest.mark.further
def test_a_kernel_without_kitaru_nb_is_told_how_to_get_it(tmp_path: Path) -> None:
    notebook = Notebook(tmp_path, ["tick('a')"])
    folder = tmp_path / "jupyter" / "kernels" / "bare"
    folder.mkdir(parents=True)
    hidden = tmp_path / "hidden" / "kitaru_nb"
    hidden.mkdir(parents=True)
    (hidden / "__init__.py").write_text("raise ModuleNotFoundError(\"No module named 'kitaru_nb'\")")
    argv = ["python", "-m", "ipykernel_launcher", "-f", "{connection_file}"]
    spec = {
        "argv": argv,
        "display_name": "Bare",
        "language": "python",
        "env": {"PYTHONPATH": str(hidden.parent)},
    }
    (folder / "kernel.json").write_text(json.dumps(spec))

    ended = notebook.papermill("-k", "bare", env={"JUPYTER_PATH": str(tmp_path / "jupyter")})

    assert ended.code == 1, ended.stderr
    assert "cannot load kitaru_nb" in ended.stderr
    assert "pip install kitaru-nb" in ended.stderr
    assert notebook.ticks() == []


@pytest.mark.further
def test_the_source_is_never_the_output(tmp_path: Path) -> None:
    notebook = Notebook(tmp_path, ["tick('a')"])
    source = notebook.path.read_bytes()
    notebook.output = notebook.path

    ended = notebook.papermill()

    assert ended.code == 2, ended.stderr
    assert "is the notebook itself" in ended.stderr
    assert notebook.path.read_bytes() == source


@pytest.mark.further
def test_papermill_and_a_replay_say_once_what_is_no_parameter(tmp_path: Path) -> None:
    notebook = Notebook(tmp_path, ["alpha = 1", "fit = alpha"], tags={0: ["parameters"]})
    line = (
        "warning: `alphaa` is no parameter of work.ipynb, and will be set all the same; did you mean `alpha`?"
    )

    ran = notebook.papermill("-p", "alphaa", "3", "-p", "alpha", "2")
    again = notebook.kitaru("replay", "--from", "fit", "--set", "alpha=4")

    assert (ran.code, again.code) == (0, 0), ran.stderr + again.stderr
    assert ran.stderr.splitlines().count(line) == 1, ran.stderr
    assert again.stderr.splitlines().count(line) == 1, again.stderr


def test_papermills_last_line_says_how_it_ended_also_where_a_cell_may_raise(tmp_path: Path) -> None:
    notebook = Notebook(tmp_path, ["1 / 0", "tick('a')"], tags={0: ["raises-exception"]})

    ended = notebook.papermill()

    assert ended.code == 1, ended.stderr  # papermill's own doing, with every engine
    assert ended.last_line == f"kitaru: completed execution={notebook.executions()[0].id}"


@pytest.mark.further
def test_the_papermill_engine_of_a_plain_notebook_is_left_alone(tmp_path: Path) -> None:
    notebook = Notebook(tmp_path, ["tick('a')"])

    ended = finished(start(["-m", "papermill", "work.ipynb", "work.out.ipynb"], tmp_path))

    assert ended.code == 0
    assert not Path(os.environ["KITARU_NB_HOME"]).exists()
    assert notebook.ticks() == ["a"]


def test_what_is_not_back_of_a_cell_below_an_edited_one_is_said(tmp_path: Path) -> None:
    cells = [
        "first = 1",
        "tick('write')\nopen('rows.txt', 'w').write('1')\nlines = (line for line in [])",
        "1 / 0",
    ]
    notebook = Notebook(tmp_path, cells)
    notebook.kitaru("run", "work.ipynb", "--no-progress")
    (tmp_path / "rows.txt").write_text("by hand")
    notebook.edit(0, "first = 2")
    notebook.edit(2, "print(first)")

    ended = notebook.kitaru("run", "work.ipynb", "--no-progress")

    assert (ended.code, notebook.ticks()) == (0, ["write"]), ended.stderr
    assert "`rows.txt` was changed by something else since, and was left as it is" in ended.stderr
    assert ended.stderr.count("not back: `lines` (generator: ") == 1
    assert (tmp_path / "rows.txt").read_text() == "by hand"


@pytest.mark.further
def test_an_ended_run_leaves_no_sockets_behind(tmp_path: Path) -> None:
    runtime = tmp_path / "r"
    runtime.mkdir(mode=0o700)
    notebook = Notebook(tmp_path, ["tick('a')"])

    notebook.papermill(env={"XDG_RUNTIME_DIR": str(runtime)})

    assert list(runtime.iterdir()) == []


@pytest.mark.parametrize("lines", [4000, further(20000)])
def test_a_flood_of_output_is_whole_in_the_output_notebook(tmp_path: Path, lines: int) -> None:
    notebook = Notebook(tmp_path, [f"for i in range({lines}): print(i, flush=True)"])

    ended = notebook.papermill()

    assert ended.code == 0, ended.stderr
    (output,) = notebook.result().cells[1].outputs
    assert output.text == "".join(f"{i}\n" for i in range(lines))


def _runs(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except OSError:
        return False
