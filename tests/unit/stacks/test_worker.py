from __future__ import annotations

import nbformat
import pytest

from kitaru_nb.errors import KitaruError
from kitaru_nb.stacks.worker import ExecutionStopped, RunOptions, _presented, identity_of


def notebook(*sources: str, parameters: dict[str, object] | None = None) -> nbformat.NotebookNode:
    nb = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(source) for source in sources])
    nb.metadata["papermill"] = {"parameters": parameters or {}}
    return nb


def test_identity_is_notebook_output_and_parameters() -> None:
    nb = notebook("a", parameters={"alpha": 1, "pm": {"run_uuid": "changes"}})

    identity = identity_of(nb, "/n/a.ipynb", "s3://b/out.ipynb", stack="local")

    assert (identity.notebook, identity.output) == ("/n/a.ipynb", "s3://b/out.ipynb")
    assert identity.parameters == {"alpha": 1}
    assert not identity.interactive


def test_a_notebook_from_memory_is_known_by_its_code_without_the_parameters() -> None:
    one, other, changed = notebook("p = 1", "a"), notebook("p = 2", "a"), notebook("p = 1", "b")
    for nb in (one, other, changed):
        nb.cells[0].metadata["tags"] = ["injected-parameters"]

    names = [identity_of(nb, None, None, stack="local").notebook for nb in (one, other, changed)]

    assert names[0] == names[1] != names[2]
    assert identity_of(one, "-", None, stack="local").notebook == names[0]
    assert not identity_of(one, None, None, stack="local").interactive


def test_a_program_gets_the_error_itself() -> None:
    error = KitaruError("no")

    assert _presented(error, RunOptions()) is error


def test_an_ended_run_is_an_exception_for_programs_and_an_exit_code_for_commands() -> None:
    stopped = ExecutionStopped("kernel died", 138)

    assert isinstance(stopped, Exception)
    with pytest.raises(SystemExit) as caught:
        raise stopped
    assert caught.value.code == 138
