"""Earlier executions of a notebook by hand are known, however many headless runs of it came later."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from kitaru_nb.analysis.directive import CHECKPOINT, NO_CHECKPOINT
from kitaru_nb.engine.engine import Engine
from kitaru_nb.engine.namespace import Namespace
from kitaru_nb.engine.plan import Fate
from kitaru_nb.engine.session import Session
from kitaru_nb.errors import DivergenceError
from kitaru_nb.model.checkpoint import Draft
from kitaru_nb.model.execution import ExecutionId, ExecutionStatus, Identity, current_owner
from kitaru_nb.model.settings import RerunLimit, Settings
from kitaru_nb.stacks.cell_states import TypedCell, cell_states
from kitaru_nb.stacks.local import job_of
from kitaru_nb.stacks.open import open_engine
from kitaru_nb.stacks.planning import interactive_cells, plan, plan_interactive
from kitaru_nb.testing import a_draft
from tests.unit.engine.kernel import Kernel, cell_of

MANY = 25
TRAIN = "%%checkpoint train\nscore = 1 + 1"


@pytest.fixture
def notebook(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "n.ipynb"
    cell = {"cell_type": "code", "id": "a", "source": TRAIN, "metadata": {}, "outputs": []}
    kernel = {"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}}
    whole = {"cells": [{**cell, "execution_count": None}], "metadata": kernel}
    path.write_text(json.dumps({**whole, "nbformat": 4, "nbformat_minor": 5}))
    return path


def begin(engine: Engine, identity: Identity, *drafts: Draft) -> None:
    """An execution that has these steps and came to its end."""
    attempt, _ = engine.journal.start(identity, owner=current_owner(), new=True)
    for draft in drafts:
        engine.journal.commit(attempt, engine.trust.signed(draft, attempt.execution))
    engine.journal.finish(attempt, ExecutionStatus.COMPLETED)


def ran_headless(engine: Engine, notebook: Path) -> None:
    for number in range(MANY):
        begin(engine, Identity(notebook=str(notebook), output=f"/out{number}.ipynb"))


def by_hand(notebook: Path) -> tuple[Kernel, ExecutionId]:
    """The notebook's cell has run by hand, and afterwards the notebook ran headless many times."""
    kernel = Kernel(notebook.parent / "home", notebook=notebook)
    kernel.cell(TRAIN, step="a")
    execution = kernel.last.execution
    kernel.stop()
    ran_headless(kernel.engine, notebook)
    return kernel, execution


def test_the_states_of_cells_are_those_of_the_kernel_that_ran_them(notebook: Path) -> None:
    kernel, execution = by_hand(notebook)

    found = cell_states(kernel.engine, str(notebook), [TypedCell("a", TRAIN)])

    assert found["execution"] == execution
    assert found["cells"]["a"]["status"] == "fresh"


def test_a_cell_that_has_run_for_a_while_is_running_until_it_is_recorded(notebook: Path) -> None:
    kernel = Kernel(notebook.parent / "home", notebook=notebook)
    kernel.cell(TRAIN, step="a")
    journal = kernel.engine.journal
    attempt = journal.attempts(kernel.last.execution)[-1]
    both = [TypedCell("a", TRAIN), TypedCell("b", "%%checkpoint\nprint(score)")]

    def statuses() -> list[str | None]:
        cells = cell_states(kernel.engine, str(notebook), both)["cells"]
        return [cells[cell]["status"] for cell in "ab"]

    journal.note_shown(attempt, {"checkpoint": "made-up", "step": "cell:b", "outputs": []})
    unnamed = statuses()
    journal.note_shown(attempt, {"checkpoint": "train", "outputs": []})
    named = statuses()
    kernel.cell(TRAIN, step="a")
    ended = statuses()
    journal.note_shown(attempt, {"checkpoint": "train", "outputs": []})
    kernel.stop()

    assert unnamed == ["fresh", "running"]
    assert named == ["running", None]
    assert ended == ["restored", None]
    assert statuses() == ["restored", None], "nothing runs without a kernel"


def test_files_of_a_kernel_on_another_machine_are_not_looked_for_here(
    notebook: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    read = "%%checkpoint read\nimport pathlib\nlength = len(pathlib.Path('data.txt').read_text())"
    (notebook.parent / "data.txt").write_text("123")
    kernel = Kernel(notebook.parent / "home", notebook=notebook)
    kernel.cell(read, step="a")
    kernel.stop()
    (notebook.parent / "data.txt").unlink()

    def status() -> str:
        found = cell_states(kernel.engine, str(notebook), [TypedCell("a", read)])
        return str(found["cells"]["a"]["status"])

    here = status()
    elsewhere = replace(current_owner(), host="another")
    monkeypatch.setattr("kitaru_nb.stacks.cell_states.current_owner", lambda: elsewhere)

    assert (here, status()) == ("stale", "fresh")


def test_a_plan_of_run_all_puts_back_what_ran_by_hand(notebook: Path) -> None:
    kernel, execution = by_hand(notebook)

    found, rows = plan_interactive(str(notebook), settings=kernel.engine.settings)

    assert found is not None
    assert found.id == execution
    assert [row.fate for row in rows] == [Fate.RESTORED]


def test_a_plan_of_a_run_knows_how_long_cells_took_in_an_earlier_one(notebook: Path) -> None:
    engine = open_engine(Settings(home=notebook.parent / "home"))
    begin(engine, Identity(notebook=str(notebook), output="/out.ipynb"), a_draft("train", step="cell:a"))
    for _ in range(MANY):
        begin(engine, Identity(notebook=str(notebook)))

    (row,) = plan(job_of(str(notebook)), settings=engine.settings).rows

    assert row.duration == a_draft().duration


def test_a_foresight_knows_how_long_a_cell_took_by_hand(notebook: Path) -> None:
    before, _ = by_hand(notebook)
    kernel = Kernel(before.home, notebook=notebook)

    _, found = kernel.session.foresee(cell_of(f"{TRAIN} + 1", step="a"))

    assert [step.draft.name for step in found] == ["train"]


def test_a_foresight_for_a_nameless_notebook_knows_nothing_of_others(notebook: Path) -> None:
    before = Kernel(notebook.parent / "home", notebook=notebook)
    before.cell(TRAIN, step="a")
    session = Session(before.engine, identity=Identity(), namespace=Namespace({}))

    _, found = session.foresee(cell_of(f"{TRAIN} + 1"))

    assert found == []


def test_a_long_step_that_ran_by_hand_is_not_paid_again_unasked(notebook: Path) -> None:
    settings = {"confirm_rerun": RerunLimit(0.0, None)}
    kernel = Kernel(notebook.parent / "home", notebook=notebook, settings=settings)
    kernel.plain("import uuid\nrun = uuid.uuid4().hex")
    kernel.cell("%%checkpoint train\nscore = run * 2", step="a")
    kernel.stop()
    ran_headless(kernel.engine, notebook)
    kernel = Kernel(kernel.home, notebook=notebook, settings=settings)
    kernel.plain("import uuid\nrun = uuid.uuid4().hex")

    with pytest.raises(DivergenceError) as refused:
        kernel.cell("%%checkpoint train\nscore = run * 2", step="a")

    assert refused.value.kind == "confirm-rerun"


@pytest.mark.parametrize(
    ("source", "tags", "marked"),
    [
        (TRAIN, [], True),
        ("x = 1", [CHECKPOINT], True),
        ("x = 1", [], False),
        ("%%checkpoint --no-such-option", [], False),
        (TRAIN, [NO_CHECKPOINT], False),
        ("x = 1", [CHECKPOINT, NO_CHECKPOINT], False),
    ],
)
def test_plan_and_editor_agree_on_which_cells_are_steps(
    notebook: Path, source: str, tags: list[str], marked: bool
) -> None:
    kernel, _ = by_hand(notebook)
    document = json.loads(notebook.read_text())
    document["cells"][0] |= {"source": source, "metadata": {"tags": tags}, "id": "b"}
    notebook.write_text(json.dumps(document))

    (planned,) = interactive_cells(str(notebook))
    states = cell_states(kernel.engine, str(notebook), [TypedCell("b", source, tuple(tags))])

    assert planned.is_step is marked
    assert list(states["cells"]) == ["b"] * marked
