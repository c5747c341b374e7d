"""`%kitaru plan`: what each checkpoint would do if its cell were run now."""

from __future__ import annotations

from pathlib import Path

import nbformat
import pytest

from kitaru_nb.cli.main import main
from kitaru_nb.notebook.foresight import live_plan
from tests.unit.notebook.shell import Shell

CELLS = [
    "%load_ext kitaru_nb",
    "k = 1",
    "%%checkpoint rows\nrows = [k, 2]",
    "%%checkpoint total\ntotal = sum(rows)",
    "%%checkpoint new\nz = 1",
]


@pytest.fixture
def shell(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Shell:
    path = tmp_path / "nb.ipynb"
    nb = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(source) for source in CELLS])
    for place, cell in enumerate(nb.cells):
        cell["id"] = f"c{place}"
    nbformat.write(nb, path)
    monkeypatch.setenv("KITARU_NB_NOTEBOOK", str(path))
    monkeypatch.chdir(tmp_path)
    return Shell()


def test_the_live_values_decide_and_nothing_is_run(shell: Shell, capsys: pytest.CaptureFixture[str]) -> None:
    for place in (1, 2, 3):
        shell.run(CELLS[place], f"c{place}")
    before = live_plan(shell.hooks)
    shell.run("k = 5", "c1")
    after = live_plan(shell.hooks)
    recorded = len(shell.hooks.session.engine.journal.checkpoints(shell.hooks.session.open().execution))
    shell.stop()

    assert "1 of 3 checkpoints would run" in before
    assert "[5] `new` would run: nothing is on record for it" in before
    assert "[3] `rows` would run: `k` holds another value" in after
    assert "[4] `total` would be restored" in after
    assert recorded == 2
    assert capsys.readouterr().err == ""


def test_of_a_changed_file_only_what_it_was_is_told(shell: Shell, tmp_path: Path) -> None:
    (tmp_path / "in.txt").write_text("abc")
    read = "%%checkpoint rows\nimport pathlib\nrows = pathlib.Path('in.txt').read_text()"
    notebook = tmp_path / "nb.ipynb"
    nb = nbformat.read(notebook, as_version=4)
    nb.cells[2].source = read
    nbformat.write(nb, notebook)
    shell.run(read, "c2")
    (tmp_path / "in.txt").write_text("abcd")

    planned = live_plan(shell.hooks)
    shell.stop()

    assert f"file `{tmp_path / 'in.txt'}` has changed since (3 bytes" in planned
    assert " now)" not in planned


def test_the_command_plans_a_notebook_that_is_run_by_hand(
    shell: Shell, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for place in (1, 2, 3):
        shell.run(CELLS[place], f"c{place}")
    shell.stop()
    capsys.readouterr()

    code = main(["plan", str(tmp_path / "nb.ipynb")])

    shown = capsys.readouterr().out
    assert code == 0
    assert "as long as plain cell 2 gives `k` the value it had" in shown
    assert "2 restored" in shown
    assert "1 to run (1 never timed)" in shown
