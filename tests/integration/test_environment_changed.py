"""A headless run that goes on where environment variables have changed: real notebooks, real kernels."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from kitaru_nb.cli.main import main
from tests.further import further
from tests.integration.headless import Notebook

_ENDS = "tick('c')\nassert os.path.exists('mended')"


def stopped(folder: Path, *cells: str) -> Notebook:
    """A run that failed in its last cell, which is mended by now."""
    notebook = Notebook(folder, [*cells, _ENDS])
    assert main(["run", "work.ipynb", "--no-progress"]) == 1
    (folder / "mended").touch()
    return notebook


def goes_on(notebook: Notebook, *options: str) -> list[str]:
    """What runs when the same command goes on, to its end."""
    before = len(notebook.ticks())
    assert main(["run", "work.ipynb", "--no-progress", *options]) == 0
    return notebook.ticks()[before:]


def printed(notebook: Notebook) -> str:
    return "".join(output.get("text", "") for cell in notebook.result().cells for output in cell.outputs)


@pytest.fixture(autouse=True)
def _in_the_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def test_a_cell_that_saw_another_value_runs_again_with_what_depends_on_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("REGION", "north")
    notebook = stopped(
        tmp_path,
        "import os",
        "tick('before')\nbase = 1",
        "tick('a')\nregion = os.environ['REGION']",
        "tick('beside')\nother = base + 1",
        "tick('b')\nprint(region)",
    )
    monkeypatch.setenv("REGION", "south")

    assert goes_on(notebook) == ["a", "b", "c"]
    assert printed(notebook) == "south\n"
    assert "the environment variable `REGION` is not what it was" in caplog.text


@pytest.mark.parametrize("how", [further("papermill"), "resume"])
def test_every_command_that_goes_on_looks_at_it(tmp_path: Path, how: str) -> None:
    notebook = Notebook(tmp_path, ["import os", "tick('a')\nprint(os.getenv('REGION'))", _ENDS])
    assert notebook.papermill(env={"REGION": "north"}).code == 1
    (tmp_path / "mended").touch()

    south = {"REGION": "south"}
    if how == "papermill":
        ended = notebook.papermill(env=south)
    else:
        ended = notebook.kitaru("resume", "--no-progress", env=south)

    assert ended.code == 0, ended.stderr
    assert notebook.ticks() == ["a", "c", "a", "c"]
    assert printed(notebook) == "south\n"


@pytest.mark.further
def test_where_it_is_not_set_what_is_done_stays_done(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A server or a scheduler that goes on has not what the shell had that began the run."""
    monkeypatch.setenv("REGION", "north")
    notebook = stopped(tmp_path, "import os", "tick('a')\nprint(os.environ['REGION'])")
    monkeypatch.delenv("REGION")

    assert goes_on(notebook) == ["c"]
    assert printed(notebook) == "north\n"


@pytest.mark.further
def test_nothing_runs_again_where_they_are_as_they_were(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("REGION", "north")
    notebook = stopped(tmp_path, "import os", "tick('a')\nregion = os.environ['REGION']")
    monkeypatch.setenv("OTHER", "new")

    assert goes_on(notebook) == ["c"]


def test_what_a_cell_has_set_comes_back_with_it(tmp_path: Path) -> None:
    notebook = stopped(
        tmp_path,
        "import os",
        "tick('named')\nos.environ['REGION'] = 'north'",
        "tick('hidden')\nos.environ.update({'COUN' + 'TRY': 'home'})",
        "tick('a')\nlock = iter([os.environ['REGION'], os.environ['COUNTRY']])",
        "tick('b')\nprint(next(lock))",
    )

    assert goes_on(notebook) == ["c"]


@pytest.mark.further
def test_what_a_kernel_sets_at_its_start_is_as_it_was(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    start = tmp_path / "ipython" / "profile_default" / "startup"
    start.mkdir(parents=True)
    (start / "first.py").write_text("import os\nos.environ['REGION'] = 'north'\n")
    monkeypatch.setenv("IPYTHONDIR", str(tmp_path / "ipython"))
    notebook = stopped(tmp_path, "import os", "tick('a')\nlines = iter([os.environ['REGION']])")

    assert goes_on(notebook) == ["c"]


@pytest.mark.further
def test_another_job_is_no_other_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SLURM_JOB_ID", "17")
    notebook = stopped(tmp_path, "import os", "tick('a')\njob = os.environ.get('SLURM_JOB_ID')")
    monkeypatch.setenv("SLURM_JOB_ID", "18")

    assert goes_on(notebook) == ["c"]


def test_the_plan_says_beforehand_which_variable_it_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("REGION", "north")
    stopped(tmp_path, "import os", "tick('a')\nregion = os.environ['REGION']", "tick('b')\nb = region")
    monkeypatch.setenv("REGION", "south")
    capsys.readouterr()

    assert main(["run", "work.ipynb", "--dry-run", "--json"]) == 0

    cells = {cell["name"]: cell for cell in json.loads(capsys.readouterr().out)["cells"]}
    assert (cells["region"]["status"], cells["b"]["status"]) == ("maybe", "maybe")
    assert "`REGION`" in cells["region"]["reason"]


@pytest.mark.further
def test_an_edit_is_kept_only_where_nothing_before_it_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("REGION", "north")
    notebook = stopped(
        tmp_path, "import os", "tick('a')\nregion = os.environ['REGION']", "tick('b')\nprint('old', region)"
    )
    notebook.edit(2, "tick('b')\nprint('new', region)")
    monkeypatch.setenv("REGION", "south")

    goes_on(notebook, "--on-change", "keep")

    assert printed(notebook) == "new south\n"


@pytest.mark.further
def test_a_rotated_key_runs_nothing_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SERVICE_API_KEY", "k3y-0f-l4st-m0nth-77")
    notebook = stopped(tmp_path, "import os", "tick('a')\nkey = os.environ['SERVICE_API_KEY']")
    monkeypatch.setenv("SERVICE_API_KEY", "k3y-0f-th1s-m0nth-12")

    assert goes_on(notebook) == ["c"]
