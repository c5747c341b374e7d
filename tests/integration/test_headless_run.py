"""`kitaru-nb run` and `resume`, as they are typed."""

from __future__ import annotations

import errno
import json
import sys
from pathlib import Path

import nbformat
import papermill
import pytest
from papermill.exceptions import PapermillException
from papermill.iorw import papermill_io

from kitaru_nb.errors import StoreError
from kitaru_nb.model.execution import ExecutionStatus
from kitaru_nb.stacks.local import job_of, run
from kitaru_nb.stacks.outcome import Exit
from kitaru_nb.stacks.settings import resolve
from kitaru_nb.stacks.worker import ExecutionStopped
from tests.further import further
from tests.integration.headless import Notebook, finished, start
from tests.patience import until

DIES = "import os, signal\ntick('b')\nif once('death'): os.kill(os.getpid(), signal.SIGKILL)\nb = a + 1"

DOOM = """
import os, signal, sys
class Doom:
    def find_spec(self, name, path=None, target=None):
        if name == "kitaru_nb.stacks.kernel_side":
            os.kill(os.getpid(), signal.SIGKILL)
sys.meta_path.insert(0, Doom())
"""


def three_cells(folder: Path) -> Notebook:
    return Notebook(folder, ["tick('a')\na = 1", DIES, "tick('c')\nprint(b)"])


def test_a_run_that_died_is_planned_and_then_resumed(tmp_path: Path) -> None:
    notebook = three_cells(tmp_path)

    died = notebook.kitaru("run", "work.ipynb")
    planned = notebook.kitaru("run", "work.ipynb", "--dry-run", "--json")
    resumed = notebook.kitaru("resume")

    execution = notebook.executions()[0]
    assert died.code == 138, died.stderr
    assert f"kitaru-nb resume {execution.id}" in died.stdout
    assert died.last_line.startswith(f"kitaru: interrupted execution={execution.id} checkpoint=")
    plan = json.loads(planned.stdout)
    assert plan["execution"] == execution.id
    assert [cell["status"] for cell in plan["cells"]] == ["restored", "restored", "run", "run"]
    assert resumed.code == 0, resumed.stderr
    assert "2 restored" in resumed.stdout
    assert resumed.last_line == f"kitaru: completed execution={execution.id}"
    assert notebook.ticks() == ["a", "b", "b", "c"]
    assert notebook.kitaru("resume").code == 2


@pytest.mark.further
def test_the_status_line_is_the_last_one_also_when_a_cell_raises(tmp_path: Path) -> None:
    notebook = Notebook(tmp_path, ["1 / 0"])

    failed = notebook.kitaru("run", "work.ipynb")

    assert failed.code == 1
    assert failed.last_line.startswith("kitaru: failed execution=")
    assert "ZeroDivisionError: division by zero" in failed.stderr
    assert "----> 1 1 / 0" in failed.stderr
    assert any("papermill-error-cell" in cell.source for cell in notebook.result().cells)


@pytest.mark.further
def test_a_cell_tagged_to_raise_is_no_failure(tmp_path: Path) -> None:
    notebook = Notebook(tmp_path, ["1 / 0", "tick('a')"], tags={0: ["raises-exception"]})

    ended = notebook.kitaru("run", "work.ipynb")

    assert ended.code == 0, ended.stderr
    assert ended.last_line.startswith("kitaru: completed")
    assert notebook.statuses() == ["completed", "completed"]
    assert not any("papermill-error-cell" in cell.source for cell in notebook.result().cells)


def test_a_retry_goes_on_in_the_same_command(tmp_path: Path) -> None:
    notebook = three_cells(tmp_path)

    ended = notebook.kitaru("run", "work.ipynb", "--retries", "1")

    assert ended.code == 0, ended.stderr
    assert notebook.ticks() == ["a", "b", "b", "c"]
    assert notebook.executions()[0].attempts == 2


@pytest.mark.further
def test_json_gives_the_execution_and_nothing_else_on_stdout(tmp_path: Path) -> None:
    notebook = Notebook(tmp_path, ["print('cell')"])

    ended = notebook.kitaru("run", "work.ipynb", "--json", "--tag", "nightly")

    document = json.loads(ended.stdout)
    assert (document["status"], document["tags"]) == ("completed", ["nightly"])
    assert document["notebook"] == str(notebook.path)


@pytest.mark.further
def test_cells_run_in_the_folder_of_the_notebook(tmp_path: Path) -> None:
    folder = tmp_path / "sub"
    folder.mkdir()
    notebook = Notebook(folder, ["import os\nprint(os.getcwd())"])

    ended = finished(start(["-m", "kitaru_nb", "run", "sub/work.ipynb", "-o", "here.ipynb"], tmp_path))

    assert ended.code == 0, ended.stderr
    notebook.output = tmp_path / "here.ipynb"
    assert notebook.result().cells[1].outputs[0].text.strip() == str(folder)


@pytest.mark.further
def test_a_whole_run_may_be_given_a_time(tmp_path: Path) -> None:
    notebook = Notebook(tmp_path, ["tick('a')", "__import__('time').sleep(100)"])

    ended = notebook.kitaru("run", "work.ipynb", "--timeout", "4s")

    assert ended.code == 124, ended.stderr
    assert "longer than 4 s" in ended.stderr
    assert notebook.executions()[0].status is ExecutionStatus.FAILED


def test_of_several_notebooks_a_failed_one_does_not_stop_the_others(tmp_path: Path) -> None:
    folders = [tmp_path / name for name in ("one", "two")]
    for folder in folders:
        folder.mkdir()
    one, two = Notebook(folders[0], ["1 / 0"]), Notebook(folders[1], ["tick('a')"])

    ended = finished(start(["-m", "kitaru_nb", "run", str(one.path), str(two.path)], tmp_path))

    assert ended.code == 1
    assert two.ticks() == ["a"]
    assert [line.split()[1] for line in ended.stderr.splitlines() if line.startswith("kitaru: ")] == [
        "failed",
        "completed",
    ]


@pytest.mark.further
def test_an_error_that_is_no_cells_leaves_the_status_line_last_too(tmp_path: Path) -> None:
    notebook = Notebook(tmp_path, ["tick('a')"])
    notebook.nb.metadata.kernelspec.name = "odd"
    notebook.save()
    folder = tmp_path / "jupyter" / "kernels" / "odd"
    folder.mkdir(parents=True)
    (folder / "kernel.json").write_text(
        '{"argv": ["/bin/false"], "display_name": "Odd", "language": "python"}'
    )
    env = {"JUPYTER_PATH": str(tmp_path / "jupyter")}

    plain = notebook.kitaru("run", "work.ipynb", "--no-progress", env=env)
    document = notebook.kitaru("run", "work.ipynb", "--json", env=env)

    assert (plain.code, document.code) == (1, 1)
    assert plain.last_line.startswith("kitaru: failed execution=")
    assert "error: the kernel `odd` could not be started" in plain.stderr
    assert "Executing" not in plain.stderr
    assert json.loads(document.stdout)["error"]["kind"] == "kernel-start"
    assert document.last_line == plain.last_line


@pytest.mark.parametrize("when", ["starts", "is made ready"])
def test_a_kernel_that_is_killed_before_its_first_cell_is_a_dead_kernel(tmp_path: Path, when: str) -> None:
    notebook = Notebook(tmp_path, ["tick('a')"])
    killing = "import os, signal; os.kill(os.getpid(), signal.SIGKILL)"
    env = {}
    if when == "starts":
        notebook.nb.metadata.kernelspec.name = "doomed"
        notebook.save()
        folder = tmp_path / "jupyter" / "kernels" / "doomed"
        folder.mkdir(parents=True)
        spec = {"argv": [sys.executable, "-c", killing], "display_name": "Doomed", "language": "python"}
        (folder / "kernel.json").write_text(json.dumps(spec))
        env["JUPYTER_PATH"] = str(tmp_path / "jupyter")
    else:
        startup = tmp_path / "ipython" / "profile_default" / "startup"
        startup.mkdir(parents=True)
        (startup / "doom.py").write_text(DOOM)
        env["IPYTHONDIR"] = str(tmp_path / "ipython")

    ended = notebook.kitaru("run", "work.ipynb", "--no-progress", env=env)

    execution = notebook.executions()[0]
    assert ended.code == 138, ended.stderr
    assert ended.last_line == f"kitaru: interrupted execution={execution.id}"
    assert "interrupted: kernel died: killed by signal 9 (SIGKILL)" in ended.stderr
    assert execution.status is ExecutionStatus.INTERRUPTED
    assert notebook.statuses() == ["pending"]


@pytest.mark.further
@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["run", "none.ipynb"], "there is no notebook"),
        (["run", "work.ipynb", "-o", "work.ipynb"], "is the notebook itself"),
        (["run", "work.ipynb", "-o", "no/where.ipynb"], "there is no folder"),
        (["run", "side_journal.py"], "not JSON"),
    ],
)
def test_what_cannot_be_run_is_a_usage_error(tmp_path: Path, words: list[str], said: str) -> None:
    notebook = Notebook(tmp_path, ["tick('a')"])

    ended = notebook.kitaru(*words)

    assert ended.code == 2
    assert said in ended.stderr
    assert "  Try: " in ended.stderr


@pytest.mark.further
def test_a_program_that_calls_papermill_meets_an_exception(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    notebook = three_cells(tmp_path)

    with pytest.raises(PapermillException) as caught:
        papermill.execute_notebook(
            notebook.path, notebook.output, engine_name="kitaru", progress_bar=False, cwd=tmp_path
        )
    nb = papermill.execute_notebook(
        notebook.path, notebook.output, engine_name="kitaru", progress_bar=False, cwd=tmp_path
    )

    assert isinstance(caught.value, ExecutionStopped)
    assert caught.value.code == 138
    assert "kitaru: completed" in capfd.readouterr().err
    assert nb.cells[-1].outputs[0].text == "2\n"


@pytest.mark.further
def test_an_output_in_a_remote_store_is_written_through_papermills_handlers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    notebook = Notebook(tmp_path, ["tick('a')\na = 1", "tick('b')\nif once('x'): 1 / 0\na"])
    monkeypatch.setattr(papermill_io, "_handlers", list(papermill_io._handlers))
    store = Memory()
    papermill_io.register("mem://", store)

    with pytest.raises(papermill.PapermillExecutionError):
        papermill.execute_notebook(
            notebook.path, "mem://out.ipynb", engine_name="kitaru", progress_bar=False, cwd=tmp_path
        )
    papermill.execute_notebook(
        notebook.path, "mem://out.ipynb", engine_name="kitaru", progress_bar=False, cwd=tmp_path
    )

    assert notebook.ticks() == ["a", "b", "b"]
    assert '"text/plain": [\n       "1"' in store.written["mem://out.ipynb"]
    assert not list(tmp_path.glob("mem*"))


class Memory:
    """A remote store that papermill can write to."""

    def __init__(self, *, refuses: str | None = None) -> None:
        self.written: dict[str, str] = {}
        self.refuses = refuses

    def write(self, text: str, path: str) -> None:
        if self.refuses is not None and self.refuses in text:
            raise OSError(errno.ENOSPC, "No space left on device")
        self.written[path] = text

    def pretty_path(self, path: str) -> str:
        return path


@pytest.mark.further
def test_who_called_papermill_is_told_that_the_output_could_not_be_saved(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    notebook = Notebook(tmp_path, ["tick('a')", "print('sho' + 'wn')"])
    monkeypatch.setattr(papermill_io, "_handlers", list(papermill_io._handlers))
    store = Memory(refuses="shown")
    papermill_io.register("mem://", store)

    def execute() -> None:
        papermill.execute_notebook(
            notebook.path, "mem://out.ipynb", engine_name="kitaru", progress_bar=False, cwd=tmp_path
        )

    with pytest.raises(StoreError) as lost:
        execute()
    failed = notebook.executions()[0].status
    store.refuses = None
    execute()

    assert lost.value.kind == "output-not-saved"
    assert failed is ExecutionStatus.FAILED
    assert "shown" in store.written["mem://out.ipynb"]
    assert notebook.ticks() == ["a"], "every cell was on record"


@pytest.mark.further
def test_a_disk_that_is_full_at_papermills_own_last_save_changes_no_outcome(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """What the engine has saved stands, and so does what it said: no traceback, no other status."""
    notebook = Notebook(tmp_path, ["print('shown')"])

    def refused(nb: object, path: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("papermill.execute.write_ipynb", refused)
    outcome = run(job_of(str(notebook.path), progress=False))

    assert outcome.exit is Exit.COMPLETED
    assert "what was saved before stands: [Errno 28]" in caplog.text
    assert "shown" in notebook.output.read_text()


@pytest.mark.parametrize("full", [False, further(True)])
def test_the_page_of_an_output_is_told_and_the_status_line_stays_the_last(
    tmp_path: Path, *, full: bool
) -> None:
    pytest.importorskip("nbconvert")
    notebook = Notebook(tmp_path, ["print('shown')"])
    page = tmp_path / "work.out.html"
    if full:
        page.mkdir()  # as little to be written over as on a full disk

    done = notebook.kitaru("run", "work.ipynb", "--html")

    assert done.code == 0
    assert done.last_line.startswith("kitaru: completed execution=")
    assert (f"page: {page}" in done.stdout) is not full
    assert ("warning: " in done.stderr) is full


@pytest.mark.further
def test_settings_in_the_notebooks_metadata_hold_where_it_runs(tmp_path: Path) -> None:
    asked = "from kitaru_nb.notebook.extension import hooks\nprint(hooks().session.engine.settings.budget)"
    notebook = Notebook(tmp_path, [asked])
    notebook.nb.metadata["kitaru_nb"] = {"budget": 2.5}
    notebook.save()

    ended = notebook.kitaru("run", "work.ipynb", "--no-progress")
    told = notebook.kitaru("doctor", "work.ipynb", "--json")

    (_, (output,)) = notebook.shown()[-1]
    settings = {each["name"]: each for each in json.loads(told.stdout)["settings"]}
    assert ended.code == 0, ended.stderr
    assert output["text"] == "2.5\n"
    assert (settings["budget"]["value"], settings["budget"]["source"]) == (2.5, "notebook metadata")


def test_a_notebook_that_chooses_where_things_are_kept_is_refused(tmp_path: Path) -> None:
    notebook = Notebook(tmp_path, ["tick('a')"])
    notebook.nb.metadata["kitaru_nb"] = {"home": "/tmp/elsewhere"}
    notebook.save()

    ended = notebook.kitaru("run", "work.ipynb", "--no-progress")

    assert ended.code == 2
    assert "a notebook cannot choose `home`" in ended.stderr
    assert notebook.ticks() == []


@pytest.mark.further
def test_a_damaged_value_ends_a_run_with_its_own_error_and_the_way_on(tmp_path: Path) -> None:
    notebook = Notebook(tmp_path, ["a = bytes(range(256)) * 4000", "tick('b')\nif once('b'): 1 / 0\nlen(a)"])
    notebook.kitaru("run", "work.ipynb", "--no-progress")
    (pack,) = resolve().home.rglob("*.pack")
    data = bytearray(pack.read_bytes())
    data[100_000] ^= 1
    pack.write_bytes(data)

    refused = notebook.kitaru("run", "work.ipynb", "--no-progress")
    anew = notebook.kitaru("run", "work.ipynb", "--no-progress", "--new")

    first, *others, _ = refused.stderr.splitlines()
    assert refused.code == 1
    assert first.startswith("error: `a` could not be restored as of checkpoint `a`")
    assert others == ["  Try: kitaru-nb run NOTEBOOK --new, which runs every cell again"]
    assert "go on with" not in refused.stdout
    assert (anew.code, notebook.ticks()) == (0, ["b", "b"]), anew.stderr


def test_a_run_is_refused_while_another_one_writes_the_same_output(tmp_path: Path) -> None:
    waits = "while not __import__('os').path.exists('go'): __import__('time').sleep(0.05)"
    notebook = Notebook(tmp_path, ["x = 1", f"tick('b')\n{waits}"], tags={0: ["parameters"]})
    words = ["run", "work.ipynb", "--no-progress"]
    first = start(["-m", "kitaru_nb", *words], tmp_path)
    until(lambda: notebook.ticks() == ["b"], "the first run")

    anew = notebook.kitaru(*words, "--new")
    varied = notebook.kitaru(*words, "-p", "x", "2")
    same = notebook.kitaru(*words)
    ticks = notebook.ticks()
    (tmp_path / "go").touch()
    beside = notebook.kitaru(*words, "--new", "-o", "other.ipynb")
    ended = finished(first)
    after = notebook.kitaru(*words, "--new")

    running = notebook.executions()[-1].id
    for refused in (anew, varied):
        assert refused.code == 1
        assert f"is written by `{running}`, which is running" in refused.stderr
        assert "-o OTHER.ipynb" in refused.stderr
    assert f"`{running}` is held by" in same.stderr
    assert ticks == ["b"]
    assert [beside.code, ended.code, after.code] == [0, 0, 0]


@pytest.mark.further
def test_a_run_that_was_cancelled_offers_no_way_to_go_on(tmp_path: Path) -> None:
    notebook = Notebook(tmp_path, ["tick('a')\n__import__('time').sleep(100)"])
    process = start(["-m", "kitaru_nb", "run", "work.ipynb", "--no-progress"], tmp_path)
    until(lambda: notebook.ticks() == ["a"])

    cancelled = notebook.kitaru("cancel", "latest")
    ended = finished(process)

    assert (cancelled.code, ended.code) == (0, 143), cancelled.stderr + ended.stderr
    assert "go on with" not in ended.stdout


@pytest.mark.further
def test_a_run_whose_notebook_is_gone_says_how_to_bring_it_back_or_end_it(tmp_path: Path) -> None:
    notebook = Notebook(tmp_path, ["tick('a')", "if once('b'): 1 / 0"])
    notebook.kitaru("run", "work.ipynb", "--no-progress")
    notebook.path.rename(tmp_path / "renamed.ipynb")
    execution = notebook.executions()[0].id

    gone = notebook.kitaru("resume", "--all")
    (tmp_path / "renamed.ipynb").rename(notebook.path)
    resumed = notebook.kitaru("resume", "--all", "--no-progress")

    assert gone.code == 2
    assert f"error: the notebook of `{execution}`, `{notebook.path}`, is no longer there" in gone.stderr
    assert f"Try: mv NEWNAME {notebook.path}" in gone.stderr
    assert f"kitaru-nb cancel {execution}" in gone.stderr
    assert (resumed.code, notebook.ticks()) == (0, ["a"]), resumed.stderr


@pytest.mark.further
def test_a_result_that_cannot_be_shown_is_named(tmp_path: Path) -> None:
    unshown = "class Odd:\n    def _repr_html_(self):\n        raise ValueError('no page')\n\nOdd()"
    notebook = Notebook(tmp_path, [unshown, "tick('b')"], tags={0: ["no-checkpoint"]})
    notebook.nb.cells[1:1] = [nbformat.v4.new_code_cell("tick('a')\n" + unshown, id="c9")]
    notebook.save()

    first = notebook.kitaru("run", "work.ipynb", "--no-progress")
    second = notebook.kitaru("run", "work.ipynb", "--no-progress")

    # up to ipykernel 7.1 the kernel says nothing of it, and both cells have completed
    if first.code:
        assert "failed: ValueError: no page" in first.stderr
        assert "failed: ValueError: no page" in second.stderr
    assert notebook.ticks()[0] == "a"


def test_a_cell_tagged_as_a_checkpoint_counts_in_later_executions_and_plan_and_why_say_which_do(
    tmp_path: Path,
) -> None:
    cells = [
        "tick('tagged')\na = 1",
        "%%checkpoint marked\ntick('marked')\nb = 2",
        "tick('plain')\nc = 3",
        "%%checkpoint outside\ntick('outside')\nimport subprocess\nsubprocess.run(['true'])",
    ]
    work = Notebook(tmp_path, cells, tags={0: ["checkpoint"]})
    first = work.kitaru("run", "work.ipynb", "--no-progress")
    ran = len(work.ticks())

    planned = json.loads(work.kitaru("plan", "work.ipynb", "--json").stdout)["cells"][1:]
    second = work.kitaru("run", "work.ipynb", "--no-progress")
    why = [
        json.loads(work.kitaru("why", "latest", name, "--json").stdout)["reasons"][0]["text"]
        for name in ("c", "outside")
    ]

    assert (first.code, second.code) == (0, 0), second.stderr
    assert work.ticks()[ran:] == ["plain", "outside"]
    assert [cell["status"] for cell in planned] == ["maybe", "maybe", "run", "run"]
    assert "touched process when it ran: restored only with --reuse" in planned[3]["reason"]
    assert "only marked cells are restored from another execution" in why[0]
    assert "restored from there only with --reuse" in why[1]
