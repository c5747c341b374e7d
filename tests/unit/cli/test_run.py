from __future__ import annotations

from pathlib import Path

import nbformat
import pytest

from kitaru_nb.cli.run import resume_executions, run_notebooks
from kitaru_nb.errors import KitaruError, UsageError


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
    [("- 1", "bad-parameter-file"), ("a: [", "bad-parameter-file"), ("'1 x': 2", "bad-parameter")],
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


def test_resuming_one_and_all_at_once_is_refused() -> None:
    with pytest.raises(UsageError):
        resume_executions("ex_1", all=True)
