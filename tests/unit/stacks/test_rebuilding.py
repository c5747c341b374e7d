"""The output notebook of a run elsewhere shows what ran, and nothing of what ran before that."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import closing
from pathlib import Path
from typing import Any

import nbformat

from kitaru_nb.model.execution import ExecutionStatus, Identity, current_owner
from kitaru_nb.stacks.local import job_of
from kitaru_nb.stacks.notebooks import read_notebook, steps_of
from kitaru_nb.stacks.open import open_engine
from kitaru_nb.stacks.rebuilding import rebuild_output
from kitaru_nb.stacks.settings import resolve
from kitaru_nb.testing.examples import a_draft


def shown(text: str) -> Mapping[str, Any]:
    return {"output_type": "stream", "name": "stdout", "text": text}


def written(path: Path, *sources: str) -> None:
    kernel = {"name": "python3", "display_name": "Python 3", "language": "python"}
    cells = [nbformat.v4.new_code_cell(text, id=f"c{i}") for i, text in enumerate(sources)]
    nbformat.write(nbformat.v4.new_notebook(cells=cells, metadata={"kernelspec": kernel}), path)


def test_a_cell_that_was_edited_meanwhile_shows_what_ran_and_one_of_an_earlier_attempt_nothing(
    tmp_path: Path,
) -> None:
    path = tmp_path / "work.ipynb"
    written(path, "a = 1", "b = 2")
    first, second = steps_of(read_notebook(str(path)))
    with closing(open_engine(resolve())) as engine:
        identity = Identity(notebook=str(path), output=str(tmp_path / "work.out.ipynb"))
        attempt, _ = engine.journal.start(identity, owner=current_owner())
        for step in (first, second):
            engine.journal.commit(
                attempt, a_draft(step=step.step, source=step.source, outputs=(shown("stale"),))
            )
        engine.journal.finish(attempt, ExecutionStatus.INTERRUPTED)
        attempt = engine.journal.resume(attempt.execution, owner=current_owner())
        engine.journal.commit(
            attempt, a_draft(step=first.step, source="a = 1", outputs=(shown("as it ran"),))
        )
        written(path, "a = 'edited while it ran'", "b = 2")

        output = rebuild_output(engine, job_of(str(path)), attempt.execution)

    assert output is not None
    cells = nbformat.read(output, as_version=4).cells
    assert [(cell.source, [each.text for each in cell.outputs]) for cell in cells] == [
        ("a = 1", ["as it ran"]),
        ("b = 2", []),
    ]
