"""The output notebook of a run elsewhere, made here from the record: what each cell showed, how it ended."""

from __future__ import annotations

from pathlib import Path

import nbformat
from nbformat import from_dict

from kitaru_nb.artifacts.vault import VAULT
from kitaru_nb.engine.capture import notebook_outputs
from kitaru_nb.engine.engine import Engine
from kitaru_nb.engine.prefix import is_same_source
from kitaru_nb.model.checkpoint import CheckpointStatus
from kitaru_nb.model.execution import ExecutionId
from kitaru_nb.stacks.local import Job, parameterized
from kitaru_nb.stacks.manager import NotebookManager
from kitaru_nb.stacks.masking import masked_notebook
from kitaru_nb.stacks.notebooks import give_stable_ids, is_remote, recorded_ids, steps_of, write_atomically

__all__ = ["rebuild_output"]


def rebuild_output(engine: Engine, job: Job, execution: ExecutionId) -> Path | None:
    """Write the output notebook of a run as its worker would have; None where it is no file here.

    Cells of which nothing is on record are still to be run, and stand so.

    Raises:
        OSError: it could not be written; what was there before stands.
    """
    nb, output = parameterized(job)
    if is_remote(output):
        return None
    give_stable_ids(nb, recorded_ids(job.notebook))
    steps_done = engine.journal.checkpoints(execution)
    newest = max((step.epoch for step in steps_done), default=0)
    # what only an earlier attempt has on record, this one had still to run when it ended
    recorded = {step.draft.step: step for step in steps_done if step.epoch == newest}
    manager = NotebookManager(nb, output_path=None, progress_bar=False)
    manager.notebook_start()
    steps, count = {step.index: step for step in steps_of(nb)}, 0
    for index, cell in enumerate(nb.cells):
        found = recorded.get(steps[index].step) if index in steps else None
        if index not in steps:
            manager.cell_passed(cell)
        elif found is not None:
            count += 1
            if not is_same_source(found.draft, VAULT.mask_source(cell.source)):
                cell.source = found.draft.source  # edited here meanwhile: it shows what ran
            cell.execution_count = count
            cell.outputs = [from_dict(each) for each in notebook_outputs(found.draft.outputs, count)]
            origin = found.draft.origin
            manager.cell_restored(cell, found if origin is None else engine.journal.checkpoint(origin))
            if found.draft.status is CheckpointStatus.FAILED:
                manager.cell_exception(cell, cell_index=index)
                manager.cell_complete(cell, cell_index=index)
    manager.notebook_complete()
    path = Path(output)
    write_atomically(nbformat.writes(masked_notebook(nb)), path)
    return path
