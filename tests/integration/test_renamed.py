"""A notebook that is renamed or moved keeps what is on record of it; a copy begins its own."""

from __future__ import annotations

import json
import os
import shutil
import signal
from pathlib import Path

import nbformat
import pytest

from tests.further import further
from tests.integration.headless import Notebook
from tests.integration.kernel import Kernel

RAN = "with open('ran', 'a') as file: print({}, file=file)"


def a_notebook(path: Path) -> Path:
    path.parent.mkdir(exist_ok=True)
    nbformat.write(nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell("")]), path)
    return path


def step(name: str) -> str:
    return f"%%checkpoint {name}\n{RAN.format(repr(name))}\n{name} = [{name!r}]"


def ran(folder: Path) -> list[str]:
    file = folder / "ran"
    return file.read_text().split() if file.exists() else []


@pytest.mark.parametrize("to", [further("analysis.ipynb"), "../elsewhere/draft.ipynb"])
def test_a_renamed_or_moved_notebook_goes_on_and_pays_nothing_again(tmp_path: Path, to: str) -> None:
    home, notebook = tmp_path / "home", a_notebook(tmp_path / "w" / "draft.ipynb")
    renamed = (notebook.parent / to).resolve()
    renamed.parent.mkdir(exist_ok=True)
    with Kernel(home, notebook=notebook, cwd=notebook.parent) as kernel:
        assert kernel.run(step("a"), cell="1").ok
        execution = json.loads(kernel.run("%kitaru executions --json").stdout)[0]["id"]
        os.kill(kernel.pid, signal.SIGKILL)
    notebook.rename(renamed)

    with Kernel(home, notebook=renamed, cwd=notebook.parent) as kernel:
        again, more = kernel.run(step("a"), cell="1"), kernel.run(step("b"), cell="2")
        known = json.loads(kernel.run("%kitaru executions --json").stdout)

    assert "up to `a` can be restored" in kernel.loaded.said
    assert "restored" in again.said
    assert (more.status, ran(notebook.parent)) == ("ok", ["a", "b"])
    assert [(each["id"], each["notebook"], each["attempts"]) for each in known] == [
        (execution, str(renamed), 2)
    ]


def test_a_copy_begins_its_own(tmp_path: Path) -> None:
    home, notebook = tmp_path / "home", a_notebook(tmp_path / "w" / "draft.ipynb")
    copy = notebook.with_name("copy.ipynb")
    with Kernel(home, notebook=notebook, cwd=notebook.parent) as kernel:
        assert kernel.run(step("a"), cell="1").ok
    shutil.copy2(notebook, copy)

    with Kernel(home, notebook=copy, cwd=notebook.parent) as kernel:
        assert kernel.run(step("a"), cell="1").ok
        known = json.loads(kernel.run("%kitaru executions --json").stdout)

    assert ran(notebook.parent) == ["a", "a"]
    assert [Path(each["notebook"]).name for each in known] == ["copy.ipynb", "draft.ipynb"]


@pytest.mark.further
def test_a_new_notebook_under_the_old_name_is_another_one_while_the_renamed_one_runs(tmp_path: Path) -> None:
    home, first = tmp_path / "home", a_notebook(tmp_path / "w" / "Untitled.ipynb")
    renamed = first.with_name("analysis.ipynb")
    with Kernel(home, notebook=first, cwd=first.parent) as kernel:
        assert kernel.run(step("a"), cell="1").ok
        first.rename(renamed)
        a_notebook(first)
        with Kernel(home, notebook=first, cwd=first.parent) as beside:
            other = beside.run(step("b"), cell="9")
        on = kernel.run(step("c"), cell="2")
        again = kernel.run(step("a"), cell="1")

    with Kernel(home, notebook=renamed, cwd=first.parent) as kernel:
        back = [kernel.run(step("a"), cell="1"), kernel.run(step("c"), cell="2")]
        known = json.loads(kernel.run("%kitaru executions --json").stdout)

    assert (other.status, on.status, again.status) == ("ok", "ok", "ok"), (other, on, again)
    assert "restored" in again.said
    assert ["restored" in each.said for each in back] == [True, True]
    assert ran(first.parent) == ["a", "b", "c"]
    assert {Path(each["notebook"]).name for each in known} == {"analysis.ipynb", "Untitled.ipynb"}


def test_a_flow_that_completed_in_a_cell_that_did_not_is_not_run_again(tmp_path: Path) -> None:
    home, notebook = tmp_path / "home", a_notebook(tmp_path / "w" / "draft.ipynb")
    renamed = notebook.with_name("analysis.ipynb")
    cells = [
        "import os, kitaru_nb as kt",
        f"@kt.flow\ndef inner(n):\n    {RAN.format('n')}\n    return n + 1",
        "%%checkpoint outer\nx = inner(1)\nif os.path.exists('x'): os.remove('x'); os.kill(os.getpid(), 9)",
    ]
    notebook.with_name("x").touch()
    with Kernel(home, notebook=notebook, cwd=notebook.parent) as kernel:
        ended = [kernel.run(source, cell=str(place)) for place, source in enumerate(cells)][-1]
    notebook.rename(renamed)

    with Kernel(home, notebook=renamed, cwd=notebook.parent) as kernel:
        again = [kernel.run(source, cell=str(place)) for place, source in enumerate(cells)][-1]
        value = kernel.run("x").result

    assert (ended.status, again.status, value) == ("dead", "ok", "2"), again
    assert ran(notebook.parent) == ["1"]


@pytest.mark.further
def test_a_headless_run_goes_on_under_the_new_name(tmp_path: Path) -> None:
    notebook = Notebook(tmp_path, ["tick('a'); x = 1", "if once('b'): 1 / 0", "tick(f'c{x}')"])
    failed = notebook.kitaru("run", "work.ipynb", "--no-progress")
    execution = notebook.executions()[0]
    notebook.path.rename(tmp_path / "nightly.ipynb")

    planned = json.loads(notebook.kitaru("plan", "nightly.ipynb", "--json").stdout)
    resumed = notebook.kitaru("run", "nightly.ipynb", "--no-progress")
    known = notebook.executions()

    assert (failed.code, resumed.code) == (1, 0), resumed.stderr
    assert planned["execution"] == execution.id
    assert notebook.ticks() == ["a", "c1"]
    assert [(each.id, each.attempts) for each in known] == [(execution.id, 2)]
    assert known[0].identity.notebook == str(tmp_path / "nightly.ipynb")
    assert known[0].identity.output == str(tmp_path / "nightly.out.ipynb")
    assert (tmp_path / "nightly.out.ipynb").exists()


def test_a_headless_run_goes_on_where_the_notebook_was_opened_by_hand_first(tmp_path: Path) -> None:
    notebook = Notebook(tmp_path, ["tick('a')", "if once('b'): 1 / 0"])
    notebook.kitaru("run", "work.ipynb", "--no-progress")
    renamed = notebook.path.rename(tmp_path / "nightly.ipynb")
    home = Path(os.environ["KITARU_NB_HOME"])

    with Kernel(home, notebook=renamed, cwd=tmp_path) as kernel:
        assert kernel.run(step("x"), cell="9").ok
    resumed = notebook.kitaru("run", "nightly.ipynb", "--no-progress")

    assert (resumed.code, notebook.ticks()) == (0, ["a"]), resumed.stderr


@pytest.mark.further
def test_an_output_that_was_named_stays_where_it_is(tmp_path: Path) -> None:
    notebook = Notebook(tmp_path, ["tick('a')", "if once('b'): 1 / 0"])
    notebook.kitaru("run", "work.ipynb", "-o", "night.ipynb", "--no-progress")
    notebook.path.rename(tmp_path / "nightly.ipynb")

    resumed = notebook.kitaru("run", "nightly.ipynb", "-o", "night.ipynb", "--no-progress")

    assert (resumed.code, notebook.ticks()) == (0, ["a"]), resumed.stderr
    assert notebook.executions()[0].attempts == 2


@pytest.mark.further
def test_a_run_in_a_folder_that_was_moved_goes_on_with_the_files_in_it(tmp_path: Path) -> None:
    folder, moved, side = tmp_path / "first", tmp_path / "second", tmp_path / "side"
    folder.mkdir()
    (folder / "rows.csv").write_text("1,2")
    once = f"import os\nif not os.path.exists({str(side)!r}):\n    open({str(side)!r}, 'w')\n    1 / 0"
    ran_in = f"with open({str(tmp_path / 'ran')!r}, 'a') as file: print('a', file=file)"
    cells = [f"{ran_in}\nrows = open('rows.csv').read()", once, "assert rows == '1,2'"]
    notebook = Notebook(folder, cells)
    failed = notebook.kitaru("run", "work.ipynb", "--no-progress")
    folder.rename(moved)
    notebook.folder = moved

    planned = json.loads(notebook.kitaru("plan", "work.ipynb", "--json").stdout)
    resumed = notebook.kitaru("run", "work.ipynb", "--no-progress")

    assert (failed.code, resumed.code, ran(tmp_path)) == (1, 0, ["a"]), resumed.stderr
    assert len(planned["restored"]) == 2
