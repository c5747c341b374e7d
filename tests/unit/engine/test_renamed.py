"""What counts as a notebook that was renamed; `tests/integration/test_renamed.py` runs them in kernels."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from kitaru_nb.engine.renamed import file_of, follow
from kitaru_nb.journal.sqlite_journal import SqliteJournal
from kitaru_nb.model.execution import ExecutionId, ExecutionStatus, Identity, current_owner

Run = Callable[[Path], ExecutionId]


@pytest.fixture
def journal(tmp_path: Path) -> Iterator[SqliteJournal]:
    journal = SqliteJournal(tmp_path / "home" / "journal.db")
    yield journal
    journal.close()


@pytest.fixture
def run(journal: SqliteJournal) -> Run:
    """Runs a notebook, which fails; the execution that it is, or goes on with."""

    def ran(path: Path) -> ExecutionId:
        identity = follow(journal, Identity(notebook=str(path)))
        attempt, _ = journal.start(identity, owner=current_owner(), file=file_of(identity))
        journal.finish(attempt, ExecutionStatus.FAILED)
        return attempt.execution

    return ran


def written(path: Path) -> Path:
    path.parent.mkdir(exist_ok=True)
    path.write_text("{}")
    return path


@pytest.mark.parametrize("backup", ["draft.ipynb~", "draft.ipynb.bak"])
def test_a_backup_that_an_editor_makes_by_renaming_is_not_the_notebook(
    tmp_path: Path, run: Run, backup: str
) -> None:
    notebook = written(tmp_path / "draft.ipynb")
    first = run(notebook)

    notebook.rename(tmp_path / backup)
    written(notebook)

    assert run(notebook) == first


def test_a_notebook_that_was_put_away_does_not_take_the_record_of_the_one_that_went_on(
    tmp_path: Path, run: Run
) -> None:
    notebook = written(tmp_path / "draft.ipynb")
    first = run(notebook)
    away = tmp_path / "away"
    away.mkdir()
    notebook.rename(away / "draft.ipynb")
    went_on = run(written(notebook))

    own = run(away / "draft.ipynb")

    assert went_on == first != own
    assert [run(notebook), run(away / "draft.ipynb")] == [first, own]


def test_a_new_notebook_under_the_old_name_is_not_the_renamed_one_that_is_there(
    tmp_path: Path, run: Run
) -> None:
    notebook, renamed = written(tmp_path / "draft.ipynb"), tmp_path / "final.ipynb"
    first = run(notebook)
    notebook.rename(renamed)
    run(renamed)

    assert run(written(notebook)) != first
    assert run(renamed) == first


@pytest.mark.parametrize("opened_first", [0, 1])
def test_two_notebooks_that_swap_names_keep_their_own_records(
    tmp_path: Path, run: Run, opened_first: int
) -> None:
    one, two = written(tmp_path / "one.ipynb"), written(tmp_path / "two.ipynb")
    of_one, of_two = run(one), run(two)

    aside = one.rename(tmp_path / "aside.ipynb")
    two.rename(one)
    aside.rename(two)
    expected = [(one, of_two), (two, of_one)]

    for path, execution in (expected[opened_first], *expected):
        assert run(path) == execution
