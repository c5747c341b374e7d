"""What a command prints to be typed next works as it is typed, also where the run is on another stack."""

from __future__ import annotations

import json
import os
import signal
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest

from kitaru_nb.cli.main import main
from kitaru_nb.errors import StackError
from kitaru_nb.model.execution import ExecutionId, ExecutionStatus
from kitaru_nb.stacks.open import open_engine
from kitaru_nb.stacks.settings import resolve
from kitaru_nb.stacks.whereabouts import begun_on
from tests.integration.headless import Notebook
from tests.integration.test_elsewhere import GO
from tests.patience import until

STACKS = """
[stacks.side]
journal = "sqlite:///side/journal.db"
store = "side/store"

[stacks.twin]
launcher = "slurm"
"""


def on_side(notebook: Notebook, *options: str) -> ExecutionId:
    """The execution of a notebook that was submitted to the stack `side`, which is not the current one."""
    (notebook.folder / "kitaru_nb.toml").write_text(STACKS)
    done = notebook.kitaru("run", notebook.path.name, "--stack", "side", "--detach", "--json", *options)
    assert done.code == 0, done.stderr
    return ExecutionId(json.loads(done.stdout)["id"])


@pytest.mark.further
def test_every_verb_finds_a_run_on_another_stack_by_its_id(tmp_path: Path) -> None:
    notebook = Notebook(tmp_path, ["total = 42; print('shown')", GO])
    execution = on_side(notebook)
    (tmp_path / "go").touch()

    followed = notebook.kitaru("logs", execution, "-f")

    assert followed.code == 0, followed.stderr
    assert "shown" in followed.stdout
    assert "execution completed" in followed.stdout
    assert f"{execution}  completed" in notebook.kitaru("show", execution).stdout
    assert f"{execution}/total/total" in notebook.kitaru("artifacts", execution).stdout
    assert "\n42" in notebook.kitaru("artifact", f"{execution}/total/total").stdout
    assert "ran" in notebook.kitaru("why", execution, "total").stdout
    assert notebook.kitaru("waits", execution).code == 0
    assert notebook.kitaru("pin", execution[:20]).code == 0, "the start of an id will do"
    assert execution not in notebook.kitaru("executions").stdout, "the current stack is another one"


@pytest.mark.further
def test_resume_goes_on_where_a_run_was_begun(tmp_path: Path) -> None:
    notebook = Notebook(tmp_path, ["tick('a')", "assert once('b') is False"])
    (tmp_path / "kitaru_nb.toml").write_text(STACKS)
    failed = notebook.kitaru("run", notebook.path.name, "--stack", "side", "--json")
    assert failed.code == 1
    execution = json.loads(notebook.kitaru("executions", "--json", env={"KITARU_NB_STACK": "side"}).stdout)[
        0
    ]["id"]

    done = notebook.kitaru("resume", execution)

    assert done.code == 0, done.stderr
    assert notebook.ticks() == ["a"]
    assert notebook.kitaru("executions", "--json").stdout.strip() == "[]", "nothing is recorded elsewhere"


@pytest.mark.further
def test_reconcile_looks_at_every_stack_of_the_project(tmp_path: Path) -> None:
    notebook = Notebook(tmp_path, ["tick('a')", f"tick('b')\n{GO}", "tick('c')"])
    execution = on_side(notebook)
    side = resolve(stack="side", cwd=tmp_path)
    with closing(open_engine(side)) as engine:
        until(lambda: "b" in notebook.ticks())  # what `a` did is on record when `b` begins
        os.kill(engine.journal.attempts(execution)[-1].owner.pid, signal.SIGKILL)
        until(lambda: engine.journal.execution(execution).status is ExecutionStatus.INTERRUPTED)

        elsewhere = notebook.kitaru("reconcile", env={"KITARU_NB_STACK": "local"})
        done = notebook.kitaru("reconcile")
        (tmp_path / "go").touch()  # not before: the kernel of the worker that died could end its cell with it

        assert "looked at: local\n" in elsewhere.stdout, "named for this command, it is the only one"
        assert f"{execution}  submitted" in done.stdout
        until(lambda: engine.journal.execution(execution).status is ExecutionStatus.COMPLETED)
    assert notebook.ticks() == ["a", "b", "b", "c"]
    assert "looked at: local, side" in notebook.kitaru("reconcile").stdout


@pytest.mark.further
def test_a_stack_that_cannot_be_asked_is_named(tmp_path: Path) -> None:
    notebook = Notebook(tmp_path, ["tick('a')"])
    (tmp_path / "kitaru_nb.toml").write_text(
        STACKS.replace('store = "side/store"', 'store = "side/store"\nsigning_key = "secret:env:NO_SUCH_KEY"')
    )
    notebook.kitaru("run", notebook.path.name)

    shown = notebook.kitaru("show", "ex_01m8hdqq4wveyttsg692cj2trq")
    reconciled = notebook.kitaru("reconcile")

    assert (
        "there is no execution `ex_01m8hdqq4wveyttsg692cj2trq` on stack `local`; stack `side`" in shown.stderr
    )
    assert "NO_SUCH_KEY" in shown.stderr
    assert reconciled.code == 1
    assert "stack `side` could not be looked at" in reconciled.stderr


def test_a_stack_whose_file_says_no_possible_place_is_named_and_keeps_nothing_from_the_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "kitaru_nb.toml").write_text('[stacks.lost]\njournal = "sqlite:///tmp/work/j.db"\n' + STACKS)
    for name in ("local", "side"):
        open_engine(resolve(stack=name)).close()

    shown = main(["show", "ex_01m8hdqq4wveyttsg692cj2trq"])
    said = capsys.readouterr()
    reconciled = main(["reconcile"])
    passed = capsys.readouterr()

    assert (shown, reconciled) == (1, 1)
    assert "stack `lost` could not be asked: the journal `sqlite:///tmp/work/j.db` has three" in said.err
    assert (
        "stack `lost` could not be looked at: the journal `sqlite:///tmp/work/j.db` has three" in passed.err
    )
    assert "looked at: local, side" in passed.out
    assert not (tmp_path / "tmp").exists()


def test_a_run_goes_on_on_the_stack_that_it_was_begun_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "kitaru_nb.toml").write_text(STACKS)
    notebook = Notebook(tmp_path, ["1"])
    notebook.kitaru("run", notebook.path.name)
    with closing(open_engine(resolve())) as engine:
        found = engine.journal.executions()[0]
    local = resolve()

    def of(stack: str) -> str:
        return begun_on(local, replace(found, identity=replace(found.identity, stack=stack))).stack

    assert of("local") == "local"
    assert of("twin") == "twin", "its journal is the same, so that the run is on record there"
    assert of("side") == "local", "another journal: the run has nothing to do with it"
    with pytest.raises(StackError, match="not known here") as caught:
        of("gone")
    assert "KITARU_NB_STACK=local kitaru-nb resume" in (caught.value.hint or "")
    monkeypatch.setenv("KITARU_NB_STACK", "local")
    local = resolve()
    assert of("twin") == "local", "who names a stack gets that one"
