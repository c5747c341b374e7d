"""papermill's record of a run in the output notebook, with true statuses and few saves."""

from __future__ import annotations

import logging
import time
from datetime import UTC, datetime, timedelta
from typing import Any

from nbformat import NotebookNode
from papermill.engines import NotebookExecutionManager

from kitaru_nb.model.checkpoint import Checkpoint
from kitaru_nb.stacks.masking import masked_notebook

__all__ = ["NotebookManager"]

_SAVE_EVERY = 1.0  # seconds
_SAVE_SHARE = 20  # a save that takes t is followed by at least this many t without one


class NotebookManager(NotebookExecutionManager):  # type: ignore[misc] # papermill has no types
    """Keeps cell statuses, times and the progress bar, and saves the output notebook.

    papermill saves at each cell's start and end, which costs more than small cells do, and
    marks every cell completed at the end. Here saves are put together (about one a second,
    fewer when one is slow, and one at each end of the run), and a status says what happened.
    """

    pbar: Any  # tqdm's bar, or None
    nb: NotebookNode

    def __init__(self, nb: NotebookNode, **options: Any) -> None:
        super().__init__(nb, **options)
        self._unsaved = False
        self._next_save = 0.0
        self._save_failed = False

    def save(self, **_kwargs: Any) -> None:
        """Note that something changed; it is saved now or soon."""
        self._unsaved = True
        self.save_if_due()

    def autosave_cell(self) -> None:
        """Note that a running cell showed something; it is saved now or soon."""
        if self.autosave_cell_every != 0:
            self.save()

    def save_if_due(self) -> None:
        """Save when something changed and the last save is long enough ago.

        A save that fails here is warned about once and tried again: what the cells computed
        is on record elsewhere, and `save_now` at the end tells for good.
        """
        if not self._unsaved or time.monotonic() < self._next_save:
            return
        try:
            self.save_now()
        except OSError as error:
            if not self._save_failed:
                logging.getLogger("kitaru_nb").warning(
                    "the output notebook could not be saved yet: %s", error
                )
            self._save_failed = True

    def save_now(self) -> None:
        """Save.

        Raises:
            OSError: it could not be saved; what was saved before still stands.
        """
        began = time.monotonic()
        nb = self.nb
        try:
            self.nb = masked_notebook(nb)
            super().save()
            self._unsaved = False
        finally:
            self.nb = nb
            ended = time.monotonic()
            self._next_save = ended + max(_SAVE_EVERY, _SAVE_SHARE * (ended - began))

    def hold_saves(self) -> None:
        """Save nothing until the next second, so that what is about to be filled in is saved at once."""
        self._next_save = time.monotonic() + _SAVE_EVERY

    def cell_restored(self, cell: NotebookNode, checkpoint: Checkpoint) -> None:
        """Show a cell that was not run again: completed, with the times of the run on record."""
        draft = checkpoint.draft
        cell.metadata.papermill.update(
            exception=False,
            start_time=draft.started_at.isoformat(),
            end_time=(draft.started_at + timedelta(seconds=draft.duration)).isoformat(),
            duration=draft.duration,
            status=self.COMPLETED,
        )
        self._advance()

    def cell_passed(self, cell: NotebookNode) -> None:
        """Show a cell in which there is nothing to run (text, or tagged to be skipped) as done."""
        now = datetime.now(UTC).isoformat()
        cell.metadata.papermill.update(
            exception=False, start_time=now, end_time=now, duration=0.0, status=self.COMPLETED
        )
        self._unsaved = True
        self._advance()

    def cell_cut_short(self, cell: NotebookNode) -> None:
        """Show a cell whose run was stopped from outside: it is still to be run."""
        cell.metadata.papermill.update(status=self.PENDING, end_time=None, duration=None)
        self._unsaved = True

    def notebook_complete(self, **_kwargs: Any) -> None:
        """Note the end of the run. Statuses stay as they are: a cell that never ran is pending."""
        self.end_time = self.now()
        record = self.nb.metadata.papermill
        record["end_time"] = self.end_time.isoformat()
        if self.start_time is not None:
            record["duration"] = (self.end_time - self.start_time).total_seconds()
        if all(cell.metadata.papermill["status"] == self.COMPLETED for cell in self.nb.cells):
            self.complete_pbar()
        self.cleanup_pbar()
        self._unsaved = True

    def cleanup_pbar(self) -> None:
        """End the progress bar's line, also where there was no cell to count: what follows needs its own."""
        if self.pbar is not None:  # a bar without cells is false
            self.pbar.close()
            self.pbar = None

    def _advance(self) -> None:
        if self.pbar is not None:
            self.pbar.update(1)
