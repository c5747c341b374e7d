from __future__ import annotations

import json
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import nbformat
import pytest

from kitaru_nb.cli.resume import resume_executions
from kitaru_nb.cli.run import run_notebooks
from kitaru_nb.errors import KitaruError, UsageError
from kitaru_nb.model.checkpoint import CheckpointStatus
from kitaru_nb.model.execution import ExecutionStatus, Identity, current_owner
from kitaru_nb.stacks.begun import note_begun
from kitaru_nb.stacks.open import open_engine
from kitaru_nb.stacks.settings import resolve
from kitaru_nb.testing import a_draft


def written(folder: Path, name: str = "a.ipynb", *sources: str) -> str:
    nb = nbformat.v4.new_notebook(
        cells=[nbformat.v4.new_code_cell(s, id=f"c{i}") for i, s in enumerate(sources)]
    )
    nb.metadata = {"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}}
    nbformat.write(nb, folder / name)
    return str(folder / name)


def refused(**options: object) -> KitaruError:
    with pytest.raises(KitaruError) as caught:
        run_notebooks(**options)  # type: ignore[arg-type]
    return caught.value


def test_one_output_for_two_notebooks_is_refused(tmp_path: Path) -> None:
    both = [written(tmp_path, "a.ipynb"), written(tmp_path, "b.ipynb")]

    assert refused(notebooks=both, output="out.ipynb").kind == "one-output"


def test_a_notebook_named_twice_is_refused(tmp_path: Path) -> None:
    path = written(tmp_path)

    assert refused(notebooks=[path, path]).kind == "duplicate-notebook"


@pytest.mark.parametrize(
    ("content", "kind"),
    [
        ("- 1", "bad-parameter-file"),
        ("a: [", "bad-parameter-file"),
        ("'1 x': 2", "bad-parameter"),
        ("class: 2", "bad-parameter"),
    ],
)
def test_a_parameter_file_that_holds_no_parameters_is_refused(
    tmp_path: Path, content: str, kind: str
) -> None:
    file = tmp_path / "p.yaml"
    file.write_text(content)

    assert refused(notebooks=[written(tmp_path)], parameter_files=[str(file)]).kind == kind


def test_an_output_name_with_an_unknown_parameter_is_refused(tmp_path: Path) -> None:
    error = refused(notebooks=[written(tmp_path)], output=str(tmp_path / "o_{alpha}.ipynb"), dry_run=True)

    assert isinstance(error, UsageError)
    assert error.kind == "bad-output-name"


def test_a_dry_run_says_what_would_run_and_writes_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = written(tmp_path, "a.ipynb", "a = 1", "", "b = a")
    before = sorted(tmp_path.iterdir())

    code = run_notebooks([path], dry_run=True)

    said = capsys.readouterr().out
    assert code == 0
    assert "begins a new execution" in said
    assert "a = 1" in said
    assert "b = a" in said
    assert sorted(tmp_path.iterdir()) == before


def test_resuming_where_nothing_is_recorded_says_so() -> None:
    with pytest.raises(KitaruError) as caught:
        resume_executions()

    assert caught.value.kind == "nothing-recorded"


def test_resuming_all_where_nothing_is_recorded_is_no_failure(capsys: pytest.CaptureFixture[str]) -> None:
    code = resume_executions(all=True, json=True)

    assert code == 0
    assert capsys.readouterr().out == "[]\n"


@pytest.mark.parametrize("options", [{"executions": ["ex_1"], "all": True}, {"tag": "a"}, {"since": "2h"}])
def test_contradicting_choices_of_executions_are_refused(options: dict[str, Any]) -> None:
    with pytest.raises(UsageError) as caught:
        resume_executions(**options)

    assert caught.value.kind == "bad-option"


def test_without_a_choice_the_newest_that_can_go_on_is_resumed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = written(tmp_path, "a.ipynb", "a = 1")
    failed = recorded(ExecutionStatus.FAILED, path, str(tmp_path / "a.out.ipynb"))
    recorded(ExecutionStatus.FAILED, "memory:1", "-")
    recorded(ExecutionStatus.COMPLETED, path, str(tmp_path / "b.out.ipynb"))

    code = resume_executions(dry_run=True, json=True)

    assert code == 0
    assert json.loads(capsys.readouterr().out)["execution"] == failed


def test_of_all_those_that_cannot_go_on_keep_no_other_from_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = written(tmp_path, "a.ipynb", "a = 1")
    failed = recorded(ExecutionStatus.FAILED, path, str(tmp_path / "a.out.ipynb"))
    recorded(ExecutionStatus.INTERRUPTED, "memory:1", "-")
    recorded(ExecutionStatus.INTERRUPTED, str(tmp_path / "gone.ipynb"), str(tmp_path / "g.out.ipynb"))

    code = resume_executions(all=True, dry_run=True, json=True)

    first, gone = json.loads(capsys.readouterr().out)
    assert code == 2
    assert first["execution"] == failed
    assert gone["error"]["kind"] == "no-notebook"


def test_what_somebody_else_has_begun_is_named_and_left_alone(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A run that died in its first cell has no step that tells whose it is: its beginning does."""
    path = written(tmp_path, "a.ipynb", "a = 1")
    own = recorded(ExecutionStatus.INTERRUPTED, path, str(tmp_path / "a.out.ipynb"))
    theirs = recorded(ExecutionStatus.INTERRUPTED, path, str(tmp_path / "b.out.ipynb"), signed=False)

    assert resume_executions(all=True, dry_run=True, json=True) == 0

    said = capsys.readouterr()
    assert [each["execution"] for each in json.loads(said.out)] == [own]
    assert f"`{theirs}` was begun by somebody whose key is not trusted here" in said.err
    assert f"kitaru-nb resume {theirs}" in said.err
    assert resume_executions(dry_run=True, json=True) == 0, "the newest of one's own"
    assert json.loads(capsys.readouterr().out)["execution"] == own
    assert resume_executions([theirs], dry_run=True, json=True) == 0, "whoever names it has it run"


def test_where_all_is_somebody_elses_that_is_said(tmp_path: Path) -> None:
    path = written(tmp_path, "a.ipynb", "a = 1")
    recorded(ExecutionStatus.FAILED, path, str(tmp_path / "a.out.ipynb"), signed=False)

    with pytest.raises(KitaruError) as caught:
        resume_executions(dry_run=True)

    assert caught.value.kind == "untrusted-beginning"


def test_a_signed_step_vouches_for_a_run_as_its_beginning_does(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = written(tmp_path, "a.ipynb", "a = 1")
    with closing(open_engine(resolve())) as engine:
        identity = Identity(notebook=path, output=str(tmp_path / "a.out.ipynb"))
        attempt, _ = engine.journal.start(identity, owner=current_owner())
        failed = replace(a_draft(name="a"), status=CheckpointStatus.FAILED)
        engine.journal.commit(attempt, engine.trust.signed(failed, attempt.execution))
        engine.journal.finish(attempt, ExecutionStatus.FAILED)

    assert resume_executions(all=True, dry_run=True, json=True) == 0

    assert len(json.loads(capsys.readouterr().out)) == 1


def recorded(status: ExecutionStatus, notebook: str, output: str, *, signed: bool = True) -> str:
    """The id of an execution on record with this `status`, begun by who works here if `signed`."""
    with closing(open_engine(resolve())) as engine:
        identity = Identity(notebook=notebook, output=output)
        attempt, _ = engine.journal.start(identity, owner=current_owner())
        if signed:
            note_begun(engine, attempt.execution)
        engine.journal.finish(attempt, status)
        return attempt.execution
