"""Runs that another process does: submitted, followed, looked after and ended from the command line."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import nbformat
import pytest

from kitaru_nb.cli.run import run_notebooks
from kitaru_nb.engine.engine import Engine
from kitaru_nb.errors import StackError
from kitaru_nb.model.execution import ExecutionId, ExecutionStatus
from kitaru_nb.model.stack import Stack
from kitaru_nb.stacks.collecting import collect, owes_output
from kitaru_nb.stacks.elsewhere import run_there
from kitaru_nb.stacks.launcher import Capabilities, Handle, Launchers, RunSpec
from kitaru_nb.stacks.local import job_of
from kitaru_nb.stacks.local_launcher import LocalLauncher
from kitaru_nb.stacks.open import open_engine
from kitaru_nb.stacks.outcome import Exit
from kitaru_nb.stacks.rebuilding import rebuild_output
from kitaru_nb.stacks.reconcile import Action, reconcile
from kitaru_nb.stacks.settings import resolve
from kitaru_nb.stacks.submissions import exit_of, was_unpacked
from kitaru_nb.stacks.submitting import submit, submitted_before
from kitaru_nb.testing.launcher_suite import Bench
from tests.integration.headless import Finished, Notebook, finished, start
from tests.patience import until

GO = "import os, time\nwhile not os.path.exists('go'): time.sleep(0.05)"


@pytest.fixture
def engine() -> Iterator[Engine]:
    with closing(open_engine(resolve())) as opened:
        yield opened


def detached(notebook: Notebook) -> ExecutionId:
    """The execution of a notebook that was submitted."""
    done = notebook.kitaru("run", notebook.path.name, "--detach", "--json")
    assert done.code == 0, done.stderr
    document = json.loads(done.stdout)
    assert document["status"] == "running"
    assert done.last_line == f"kitaru: running execution={document['id']}"
    return ExecutionId(document["id"])


def test_a_detached_run_goes_on_without_its_terminal_and_is_followed_with_logs(tmp_path: Path) -> None:
    notebook = Notebook(tmp_path, ["tick('a'); print('shown by a')", GO, "tick('b')"])
    execution = detached(notebook)

    held = notebook.kitaru("run", notebook.path.name, "--json")
    following = start(["-m", "kitaru_nb", "logs", execution, "-f"], tmp_path)
    (tmp_path / "go").touch()
    said = finished(following)

    assert held.code == 1, "the queue or the worker holds it"
    assert json.loads(held.stdout)["error"]["kind"] == "execution-held"
    assert "shown by a" in said.stdout
    assert "execution completed" in said.stdout
    assert notebook.ticks() == ["a", "b"]


def test_a_worker_that_was_killed_is_replaced_by_reconcile(tmp_path: Path, engine: Engine) -> None:
    notebook = Notebook(tmp_path, ["tick('a')", f"tick('b')\n{GO}", "tick('c')"])
    execution = detached(notebook)
    until(lambda: "b" in notebook.ticks())
    os.kill(engine.journal.attempts(execution)[-1].owner.pid, signal.SIGKILL)
    until(lambda: engine.journal.execution(execution).status is ExecutionStatus.INTERRUPTED)

    done = notebook.kitaru("reconcile", "--json")
    (tmp_path / "go").touch()  # not before: the kernel of the worker that died could end its cell with it

    assert [each["action"] for each in json.loads(done.stdout)] == ["submitted"]
    until(lambda: engine.journal.execution(execution).status is ExecutionStatus.COMPLETED)
    assert notebook.ticks() == ["a", "b", "b", "c"]
    assert notebook.kitaru("reconcile", "--json").stdout.strip() == "[]"


def test_the_answer_alone_makes_a_detached_run_go_on(tmp_path: Path, engine: Engine) -> None:
    cells = ["tick('a')", "import kitaru_nb as kt\nkt.wait('Publish?', name='publish')", "tick('b')"]
    notebook = Notebook(tmp_path, cells)
    execution = detached(notebook)
    until(lambda: engine.journal.execution(execution).status is ExecutionStatus.WAITING)

    done = notebook.kitaru("approve", f"{execution}/publish")

    assert "it goes on, on the stack `local`" in done.stdout
    until(lambda: engine.journal.execution(execution).status is ExecutionStatus.COMPLETED)
    assert notebook.ticks() == ["a", "b"]


def test_a_detached_run_is_cancelled_with_its_process(tmp_path: Path, engine: Engine) -> None:
    notebook = Notebook(tmp_path, [f"tick('a')\n{GO}"])
    execution = detached(notebook)
    until(lambda: "a" in notebook.ticks())
    worker = engine.journal.attempts(execution)[-1].owner

    done = notebook.kitaru("cancel", execution)

    assert "is cancelled" in done.stdout
    until(lambda: not Path(f"/proc/{worker.pid}").exists() or _is_zombie(worker.pid))
    assert notebook.kitaru("reconcile", "--json").stdout.strip() == "[]"


class FarLauncher(LocalLauncher):
    """Workers on this machine that do not find the project: it is moved away before they begin."""

    capabilities = Capabilities()
    project = Path()

    def submit(self, spec: RunSpec) -> Handle:
        self.project.rename(self.project.with_name("moved"))
        return super().submit(spec)


def test_a_worker_that_has_no_project_runs_what_was_sent_along(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    project = tmp_path / "project"
    project.mkdir()
    monkeypatch.setattr(FarLauncher, "project", project)
    (project / "helper.py").write_text("def double(x):\n    return 2 * x\n")
    bench = Bench(project, resolve(place=Stack("far")))
    bench.launcher = FarLauncher(Stack("far"), bench.settings)
    source = "import helper\nopen('made.txt', 'w').write('made there')\nhelper.double(21)"
    notebook = bench.notebook(source)

    with closing(bench.engine):
        submitted = bench.submit(notebook)
        outcome = bench.follow(submitted)

        assert outcome.exit is Exit.COMPLETED, outcome
        execution = bench.execution(submitted.execution)
        assert was_unpacked(bench.engine, execution)
        there = bench.settings.home / "runs" / execution.id
        assert (there / "made.txt").read_text() == "made there"
        project.with_name("moved").rename(project)
        path = rebuild_output(bench.engine, job_of(str(notebook)), execution.id)

    assert path == project / "work.out.ipynb"
    shown = nbformat.read(path, as_version=4).cells
    assert shown[-1].outputs[0]["data"]["text/plain"] == "42"
    assert [cell.metadata.papermill["status"] for cell in shown] == ["completed"] * len(shown)


@pytest.mark.further
def test_the_output_of_a_run_that_nobody_followed_is_fetched_by_who_asks_first(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    project = tmp_path / "project"
    project.mkdir()
    monkeypatch.setattr(FarLauncher, "project", project)
    bench = Bench(project, resolve(place=Stack("far")))
    bench.launcher = FarLauncher(Stack("far"), bench.settings)
    notebook = bench.notebook("print('shown there')")
    output = project / "work.out.ipynb"

    with closing(bench.engine):
        execution = bench.submit(notebook).execution
        until(lambda: exit_of(bench.engine, bench.execution(execution), 1) is not None)
        assert collect(bench.engine, bench.execution(execution)) is None, "its folder is not on this machine"
        project.with_name("moved").rename(project)
        output.write_text("that of a run before")
        os.utime(output, (1, 1))
        assert owes_output(bench.engine, bench.execution(execution))

        assert collect(bench.engine, bench.execution(execution)) == output

        assert "shown there" in output.read_text()
        output.write_text("that of a later run")
        assert collect(bench.engine, bench.execution(execution)) is None
        assert output.read_text() == "that of a later run", "what is newer is never written over"
        output.unlink()

        (fetched,) = reconcile(bench.engine, Launchers(bench.settings))
        assert (fetched.action, fetched.reason) == (Action.FETCHED, f"its output is here now: {output}")
        assert "shown there" in output.read_text()
        output.unlink()
        assert list(reconcile(bench.engine, Launchers(bench.settings))) == [], (
            "who deleted it does not want it"
        )

    stack = {"KITARU_NB_STACK": "far"}
    (project / "kitaru_nb.toml").write_text('[stacks.far]\nlauncher = "local"\n')
    shown = _kitaru(project, "show", execution, env=stack)
    assert f"its output was not written here yet: kitaru-nb resume {execution}" in shown.stdout
    resumed = _kitaru(project, "resume", execution, env=stack)
    assert resumed.code == 0, resumed.stderr
    assert resumed.last_line == f"kitaru: completed execution={execution}"
    assert "shown there" in output.read_text()
    output.unlink()
    followed = _kitaru(project, "logs", execution, "-f", env=stack)
    assert f"output: {output}" in followed.stderr
    assert "shown there" in output.read_text()


def test_a_run_that_completed_after_its_follower_died_is_not_run_and_paid_again(tmp_path: Path) -> None:
    bench = Bench(tmp_path, resolve(place=Stack("near")))
    notebook = bench.notebook("tick('a')")
    job = job_of(str(notebook))

    with closing(bench.engine):
        begun = submit(bench.engine, job, bench.launcher, followed=True)
        bench.follow(begun)  # and the command dies before it has said so

        assert submitted_before(bench.engine, replace(job, new=True)) is None, "--new begins a new one"
        said: list[str] = []
        outcome = run_there(job, bench.settings, tell=said.append, warn=said.append)

        assert (outcome.execution, outcome.exit) == (begun.execution, Exit.COMPLETED)
        assert "has completed on stack near while no command waited for it" in said[0]
        assert bench.ticks() == ["a"]
        assert submitted_before(bench.engine, job) is None, "it was told now: the next one is a new one"
        detached = bench.submit(notebook)
        bench.follow(detached)
        assert submitted_before(bench.engine, job) is None, "nobody waits for the end of a detached one"


@pytest.mark.further
def test_a_grid_is_handed_to_a_queue_at_once_and_followed_by_the_same_command(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The queue is this machine, where every job begins at once."""
    monkeypatch.setattr(LocalLauncher, "capabilities", Capabilities(same_files=True, queues=True))
    monkeypatch.chdir(tmp_path)
    notebook = Notebook(tmp_path, ["alpha = 0", f"tick(f'in-{{alpha}}')\n{GO}"], tags={0: ["parameters"]})
    options: dict[str, Any] = {"grid": ["alpha=1,2"], "progress": False, "html": True}

    assert run_notebooks(["work.ipynb"], detach=True, **options) == 0
    said = capsys.readouterr()
    until(lambda: {"in-1", "in-2"} <= set(notebook.ticks()))
    assert run_notebooks(["work.ipynb"], detach=True, **options) == 0, "what runs is left alone"
    (tmp_path / "go").touch()
    until(lambda: {each.status for each in notebook.executions()} == {ExecutionStatus.COMPLETED})
    until(lambda: len(list(tmp_path.glob("work.*.out.html"))) == 2)
    capsys.readouterr()
    assert run_notebooks(["work.ipynb"], json=True, **options) == 0

    assert "2 points are with stack local" in said.out
    lines = said.err.splitlines()[-3:]
    assert [line.split()[1] for line in lines] == ["running", "running", "grid"]
    documents = json.loads(capsys.readouterr().out)
    assert [each["attempts"] for each in documents] == [1, 1]
    assert sorted(notebook.ticks()) == ["in-1", "in-2"]


@pytest.mark.further
@pytest.mark.parametrize(
    ("kind", "handed"),
    [
        ("stack-unreachable", ["in-1"]),
        ("environment-differs", ["in-1", "in-3"]),
    ],
)
def test_where_a_stack_takes_one_point_and_refuses_another_each_is_told(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    kind: str,
    handed: list[str],
) -> None:
    """A Python that does not fit one notebook may fit the next; a stack that is away is away for all."""
    monkeypatch.setattr(LocalLauncher, "capabilities", Capabilities(same_files=True, queues=True))
    monkeypatch.chdir(tmp_path)
    notebook = Notebook(tmp_path, ["alpha = 0", "tick(f'in-{alpha}')"], tags={0: ["parameters"]})
    submitted, asked = LocalLauncher.submit, []

    def refused(launcher: LocalLauncher, spec: RunSpec) -> Handle:
        asked.append(spec.execution)
        if len(asked) == 2:
            raise StackError("no point of that kind", kind=kind, hint="mend it")
        return submitted(launcher, spec)

    monkeypatch.setattr(LocalLauncher, "submit", refused)
    options: dict[str, Any] = {"grid": ["alpha=1,2,3"], "detach": True, "progress": False}
    code = run_notebooks(["work.ipynb"], **options)
    said = capsys.readouterr()
    until(lambda: sorted(notebook.ticks()) == handed)
    again = run_notebooks(["work.ipynb"], grid=["alpha=1,2,3"], progress=False)

    assert code == 1
    assert f"{3 - len(handed)} {'was' if len(handed) == 2 else 'were'} not handed over" in said.out
    missing = [number for number in (1, 2, 3) if f"in-{number}" not in handed]
    told = [line for line in said.err.splitlines() if "not submitted" in line]
    assert told == [f"[{n}/3] alpha={n}: not submitted: no point of that kind" for n in missing]
    assert said.err.count("  Try: mend it") == 1
    assert again == 0
    assert sorted(notebook.ticks()) == ["in-1", "in-2", "in-3"]


@pytest.mark.further
def test_a_detached_run_makes_its_page_by_itself(tmp_path: Path, engine: Engine) -> None:
    notebook = Notebook(tmp_path, ["print('shown by a')"])
    done = notebook.kitaru("run", notebook.path.name, "--detach", "--html", "--json")

    assert done.code == 0, done.stderr
    page = tmp_path / "work.out.html"
    until(lambda: page.exists() and "shown by a" in page.read_text(), "the page")


def _kitaru(folder: Path, *words: str, env: dict[str, str]) -> Finished:
    return finished(start(["-m", "kitaru_nb", *words], folder, env))


def _is_zombie(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except OSError:
        return True
