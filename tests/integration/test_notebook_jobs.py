"""jupyter-scheduler's own scheduler starts executions of ours."""

from __future__ import annotations

import getpass
import importlib
import json
import os
import shlex
import shutil
import signal
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import nbformat
import pytest

from kitaru_nb.cli.main import main
from kitaru_nb.model.execution import ExecutionStatus
from tests import ssh_server
from tests.further import further
from tests.integration.headless import Notebook
from tests.patience import PATIENCE

pytestmark = pytest.mark.filterwarnings("ignore")  # its dependencies warn of what they will change


@pytest.fixture
def scheduler(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """The scheduler that the form talks to, with its own database."""
    environments = pytest.importorskip("jupyter_scheduler.environments")
    jobs = importlib.import_module("kitaru_nb.server.notebook_jobs")
    monkeypatch.chdir(tmp_path)
    database = f"sqlite:///{tmp_path}/scheduler.sqlite"
    importlib.import_module("jupyter_scheduler.orm").create_tables(database)
    made = importlib.import_module("jupyter_scheduler.scheduler").Scheduler(
        root_dir=str(tmp_path),
        environments_manager=environments.StaticEnvironmentManager(),
        db_url=database,
        staging_path=str(tmp_path / "staging"),
        execution_manager_class=jobs.KitaruExecutionManager,
        task_runner_class=None,
    )
    yield made
    for job in made.list_jobs(_models().ListJobsQuery()).jobs:
        made.delete_job(job.job_id)  # ends what a test that failed left running


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Where the notebook is."""
    (tmp_path / "nb").mkdir()
    return tmp_path / "nb"


def _apart(folder: Path, *cells: str) -> Notebook:
    """A notebook whose cells leave traces elsewhere than in the folder that a job has a copy of."""
    aside = folder.parent / "aside"
    aside.mkdir()
    notebook = Notebook(aside, cells)
    for file in (notebook.path, aside / "side_journal.py"):
        shutil.copy(file, folder)
    return notebook


def _models() -> Any:
    return importlib.import_module("jupyter_scheduler.models")


def submit(scheduler: Any, **more: Any) -> str:
    told = {"input_uri": "nb/work.ipynb", "runtime_environment_name": "x", "name": "nightly"}
    formats = ["ipynb", "html"]
    model = _models().CreateJob(**told, output_formats=formats, package_input_folder=True, **more)
    return str(scheduler.create_job(model))


def until(scheduler: Any, job: str, fits: Callable[[Any], bool]) -> Any:
    """The job, once it is as it has to be."""
    deadline = time.monotonic() + PATIENCE
    while True:
        found = scheduler.get_job(job, False)
        if fits(found) or time.monotonic() > deadline:
            return found
        time.sleep(0.2)


def test_a_job_of_the_form_waits_in_progress_and_then_has_its_outputs(folder: Path, scheduler: Any) -> None:
    asks = "import kitaru_nb as kt\ntick('asked')\nif kt.wait('Publish?', name='publish'): print(year + 1)"
    notebook = Notebook(folder, ["year = 1", "tick('a')", asks], tags={0: ["parameters"]})

    job = submit(scheduler, parameters={"year": "2026"}, tags=["night"])
    waits = until(scheduler, job, lambda job: "Publish?" in (job.status_message or "") or _is_over(job))
    main(["approve", "publish"])
    done = until(scheduler, job, _is_over)

    assert waits.status == "IN_PROGRESS", waits.status_message
    assert done.status == "COMPLETED", done.status_message
    (execution,) = notebook.executions()
    assert (execution.status, execution.tags) == (ExecutionStatus.COMPLETED, ("night",))
    assert notebook.ticks() == ["a", "asked", "asked"]
    paths = scheduler.get_staging_paths(done)
    assert nbformat.read(paths["ipynb"], as_version=4).cells[-1].outputs[0]["text"] == "2027\n"
    assert "2027" in Path(paths["html"]).read_text(encoding="utf-8")


@pytest.mark.further
def test_a_job_that_is_stopped_can_be_gone_on_with(folder: Path, scheduler: Any) -> None:
    slow = "import time\ntick('b')\nif once('slow'): time.sleep(600)"
    notebook = Notebook(folder, ["tick('a')", slow])

    job = submit(scheduler)
    until(scheduler, job, lambda job: "b" in notebook.ticks() or _is_over(job))
    scheduler.stop_job(job)
    stopped = until(scheduler, job, lambda job: job.status == "STOPPED")
    until(scheduler, job, lambda _: notebook.executions()[0].status is ExecutionStatus.INTERRUPTED)
    resumed = main(["resume", "--no-progress"])

    assert (stopped.status, resumed) == ("STOPPED", 0)
    assert notebook.ticks() == ["a", "b", "b"]


@pytest.mark.parametrize(
    "before", [pytest.param([], id="first cell"), further(["tick('a')"], id="second cell")]
)
def test_a_job_whose_process_is_killed_says_so_and_goes_on_in_the_same_job_again(
    folder: Path, scheduler: Any, before: list[str]
) -> None:
    """jupyter-scheduler itself waits for no process, and gives each job a copy of the notebook."""
    slow = (
        "import time, pathlib\ntick('b')\npathlib.Path('made.txt').touch()\nif once('slow'): time.sleep(600)"
    )
    notebook = _apart(folder, *before, slow)

    job = submit(scheduler)
    until(scheduler, job, lambda job: "b" in notebook.ticks() or _is_over(job))
    os.kill(_pid(scheduler, job), signal.SIGKILL)
    killed = until(scheduler, job, _is_over)
    (left,) = notebook.executions()
    again = submit(scheduler)
    done = until(scheduler, again, _is_over)

    assert (killed.status, left.status) == ("FAILED", ExecutionStatus.INTERRUPTED)
    assert f"kitaru-nb resume {left.id}" in killed.status_message
    assert done.status == "COMPLETED", done.status_message
    (execution,) = notebook.executions()
    assert (execution.id, execution.attempts) == (left.id, 2)
    assert notebook.ticks() == [*("a" for _ in before), "b", "b"]
    assert Path(scheduler.get_staging_paths(done)["html"]).exists()
    assert "made.txt" in done.packaged_files


@pytest.mark.further
def test_on_a_stack_the_run_outlives_its_job_and_the_same_job_again_follows_it(
    folder: Path, scheduler: Any, tmp_path: Path
) -> None:
    """There the process that is killed is only the follower; the next one comes before its end, or after."""
    hangs = "import os, time\ntick('b')\nwhile not os.path.exists({go!r}): time.sleep(0.05)\nprint('the end')"
    with ssh_server.started() as ssh:
        needed = ("KITARU_NB_CONFIG", "IPYTHONDIR", "JUPYTER_CONFIG_DIR", "JUPYTER_PLATFORM_DIRS")
        options = {
            "host": f"{getpass.getuser()}@127.0.0.1:{ssh.port}",
            "identity_file": str(ssh.identity),
            "known_hosts": str(ssh.known_hosts),
            "folder": str(tmp_path / "remote"),
            "python": sys.executable,
            "setup": [f"export {name}={shlex.quote(os.environ[name])}" for name in needed],
        }
        told = "".join(f"{name} = {json.dumps(value)}\n" for name, value in options.items())
        (tmp_path / "kitaru_nb.toml").write_text(f'use = "box"\n[stacks.box.launcher]\ntype = "ssh"\n{told}')
        notebook = _apart(folder, hangs.format(go=str(tmp_path / "go")))

        job = submit(scheduler)
        until(scheduler, job, lambda job: "b" in notebook.ticks() or _is_over(job))
        os.kill(_pid(scheduler, job), signal.SIGKILL)
        killed = until(scheduler, job, _is_over)
        again = submit(scheduler)
        until(scheduler, again, lambda job: job.status != "CREATED")
        (tmp_path / "go").touch()
        done = until(scheduler, again, _is_over)

    (execution,) = notebook.executions()
    assert killed.status == "FAILED"
    assert f"goes on without it: kitaru-nb logs {execution.id} -f" in killed.status_message
    assert done.status == "COMPLETED", done.status_message
    assert (execution.status, execution.attempts) == (ExecutionStatus.COMPLETED, 1)
    assert notebook.ticks() == ["b"]
    shown = nbformat.read(scheduler.get_staging_paths(done)["ipynb"], as_version=4)
    assert shown.cells[-1].outputs[0]["text"] == "the end\n"


@pytest.mark.further
def test_a_job_with_another_notebook_begins_a_run_of_its_own(folder: Path, scheduler: Any) -> None:
    notebook = _apart(folder, "tick('a')", "if once('fails'): raise ValueError('no')")
    failed = until(scheduler, submit(scheduler), _is_over)
    notebook.edit(0, "tick('a'); edited = True")
    shutil.copy(notebook.path, folder)

    done = until(scheduler, submit(scheduler), _is_over)

    assert (failed.status, done.status) == ("FAILED", "COMPLETED")
    assert notebook.ticks() == ["a", "a"]
    assert len(notebook.executions()) == 2


def test_a_job_that_cannot_begin_fails_with_the_reason(folder: Path, scheduler: Any) -> None:
    notebook = Notebook(folder, ["tick('a')"])
    notebook.nb.metadata["kernelspec"]["name"] = "nowhere"
    notebook.save()

    job = submit(scheduler)
    failed = until(scheduler, job, _is_over)

    assert failed.status == "FAILED"
    assert "`nowhere`, which is not installed here" in failed.status_message


def _pid(scheduler: Any, job: str) -> int:
    record = importlib.import_module("jupyter_scheduler.orm").Job
    with scheduler.db_session() as session:
        return int(session.query(record.pid).filter(record.job_id == job).scalar())


def _is_over(job: Any) -> bool:
    return job.status in ("COMPLETED", "FAILED")
