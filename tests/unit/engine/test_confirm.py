"""A long step that is a miss only by chance is not run unasked."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from kitaru_nb.engine.why import explain_step
from kitaru_nb.errors import DivergenceError
from kitaru_nb.model.settings import RerunLimit
from tests.unit.notebook.shell import Shell

DRAW = "import uuid\nrun_id = uuid.uuid4().hex"
TRAIN = "%%checkpoint train\nscore = sum(range(200_000)), run_id"


class Notebook:
    """A notebook whose kernel can be restarted."""

    def __init__(self) -> None:
        self.kernel = Shell()

    def run(self, **cells: str) -> BaseException | None:
        """Run cells, each by its id; the error of the last."""
        for name, source in cells.items():
            result = self.kernel.run(source, name)
        return result.error_before_exec or result.error_in_exec

    def again(self, **cells: str) -> BaseException | None:
        """The same in a new kernel."""
        self.kernel.stop()
        self.kernel = Shell()
        return self.run(**cells)


@pytest.fixture
def notebook(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Notebook]:
    monkeypatch.setenv("KITARU_NB_NOTEBOOK", str(tmp_path / "nb.ipynb"))
    monkeypatch.setenv("KITARU_NB_CONFIRM_RERUN", "1ms")
    monkeypatch.chdir(tmp_path)
    notebook = Notebook()
    yield notebook
    notebook.kernel.stop()


def stopped(error: BaseException | None) -> bool:
    return isinstance(error, DivergenceError) and error.kind == "confirm-rerun"


def test_a_long_step_is_stopped_when_an_unchanged_plain_cell_drew_another_value(notebook: Notebook) -> None:
    notebook.run(a=DRAW, b=TRAIN)

    error = notebook.again(a=DRAW, b=TRAIN)

    assert stopped(error)
    assert "`run_id`" in str(error)
    assert "plain cell `run_id = uuid.uuid4().hex`" in str(error)
    assert "--fresh" in str(error)
    assert "score" not in notebook.kernel
    session = notebook.kernel.hooks.session
    assert explain_step(session, "train") == explain_step(session, None) == str(error)


def test_it_stops_in_the_same_kernel_too(notebook: Notebook) -> None:
    notebook.run(a=DRAW, b=TRAIN)

    assert stopped(notebook.run(a=DRAW, b=TRAIN))


def test_it_runs_with_fresh(notebook: Notebook) -> None:
    notebook.run(a=DRAW, b=TRAIN)

    error = notebook.again(a=DRAW, b=TRAIN.replace("train", "train --fresh"))

    assert error is None


def test_resume_is_a_way_on(notebook: Notebook) -> None:
    notebook.run(a=DRAW, b=TRAIN)

    assert notebook.again(a=DRAW, r="%resume", b=TRAIN) is None


@pytest.mark.parametrize("limit", ["off", "1h", "$5"])
def test_what_is_below_the_limit_runs(
    notebook: Notebook, limit: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KITARU_NB_CONFIRM_RERUN", limit)
    notebook.again(a=DRAW, b=TRAIN)

    assert notebook.again(a=DRAW, b=TRAIN) is None


def test_an_edit_anywhere_on_the_way_explains_the_run(notebook: Notebook) -> None:
    notebook.run(a=DRAW, b=TRAIN)

    assert notebook.again(a=DRAW + "[:8]", b=TRAIN) is None
    assert notebook.again(a=DRAW + "[:8]", b=TRAIN.replace("200_000", "200_001")) is None


def test_a_value_that_follows_from_chance_is_traced_to_it(notebook: Notebook) -> None:
    path = "base = 'out/'\npath = base + run_id"
    train = TRAIN.replace("run_id", "path")
    notebook.run(a=DRAW, p=path, b=train)

    error = notebook.again(a=DRAW, p=path, b=train)

    assert stopped(error)
    assert "run_id" in str(error)


def test_an_edit_that_gives_the_same_value_explains_nothing(notebook: Notebook) -> None:
    path = "path = base + run_id"
    train = TRAIN.replace("run_id", "path")
    notebook.run(a=DRAW, o="base = 'out/'", p=path, b=train)

    assert stopped(notebook.again(a=DRAW, o="base = 'out' + '/'", p=path, b=train))


def test_a_short_step_between_is_followed(notebook: Notebook, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KITARU_NB_CONFIRM_RERUN", "1s")
    between = "%%checkpoint between\nconfig = {'id': run_id}"
    train = "%%checkpoint train\nimport time\ntime.sleep(1.1)\nscore = str(config)"
    notebook.again(a=DRAW, c=between, b=train)

    assert stopped(notebook.again(a=DRAW, c=between, b=train))


def test_a_step_between_that_was_run_on_purpose_explains_the_run(notebook: Notebook) -> None:
    between = "%%checkpoint between\nimport uuid\nrun_id = uuid.uuid4().hex"
    notebook.run(c=between, b=TRAIN)

    assert notebook.again(c=between.replace("between", "between --fresh"), b=TRAIN) is None


def test_a_cell_that_was_run_once_more_explains_the_run(notebook: Notebook) -> None:
    train = TRAIN.replace("run_id", "rows")
    notebook.run(a="rows = []", p="rows.append(1)", b=train)

    assert notebook.run(p="rows.append(1)", b=train) is None


def test_a_function_that_changes_a_name_counts_as_its_maker(notebook: Notebook) -> None:
    define = "import time\nrows = []\ndef add():\n    rows.append(time.time_ns())"
    train = TRAIN.replace("run_id", "rows")
    notebook.run(a=define, p="add()", b=train)

    assert stopped(notebook.again(a=define, p="add()", b=train))
    assert notebook.again(a=define, p="add()", q="add()", b=train) is None


def test_looking_at_a_value_is_no_edit(notebook: Notebook) -> None:
    files = "import os\nnames = [os.urandom(4)]"
    train = TRAIN.replace("run_id", "names")
    notebook.run(a=files, b=train)

    assert stopped(notebook.again(a=files, p="print(len(names), names[0], names)", b=train))


def test_a_changed_file_explains_the_run(notebook: Notebook, tmp_path: Path) -> None:
    (tmp_path / "rows.csv").write_text("1")
    load = "with open('rows.csv') as file:\n    rows = file.read()"
    train = TRAIN.replace("run_id", "rows")
    notebook.run(a=load, b=train)
    (tmp_path / "rows.csv").write_text("2")

    assert notebook.again(a=load, b=train) is None


def test_an_answer_that_was_typed_explains_the_run(
    notebook: Notebook, monkeypatch: pytest.MonkeyPatch
) -> None:
    answers = iter(["one", "two"])
    monkeypatch.setattr("builtins.input", lambda _prompt="": next(answers))
    train = TRAIN.replace("run_id", "name")
    notebook.run(a="name = input()", b=train)

    assert notebook.again(a="name = input()", b=train) is None


def test_the_limit_is_one_of_time_or_cost() -> None:
    limit = RerunLimit(60.0, 0.1)

    assert limit.exceeded(61, None)
    assert limit.exceeded(1, 0.2)
    assert not limit.exceeded(59, 0.05)
    assert not RerunLimit(None, None).exceeded(1e9, 1e9)
    assert [str(limit), str(RerunLimit(None, None))] == ["60s,$0.1", "off"]
