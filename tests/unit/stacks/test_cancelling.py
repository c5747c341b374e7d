"""Ending an execution for good, where no process has begun it yet."""

from __future__ import annotations

import os
from contextlib import closing

import pytest

from kitaru_nb.model.execution import ExecutionStatus, Identity, queue_owner
from kitaru_nb.stacks.cancelling import cancel
from kitaru_nb.stacks.open import open_engine
from kitaru_nb.stacks.settings import resolve


def test_what_is_in_a_queue_is_cancelled_without_a_signal_to_anybody(monkeypatch: pytest.MonkeyPatch) -> None:
    """A queue has no process, and its number 0 would mean every process of our own group."""
    signalled: list[int] = []
    monkeypatch.setattr(os, "kill", lambda pid, _signum: signalled.append(pid))
    with closing(open_engine(resolve())) as engine:
        identity = Identity(notebook="/n.ipynb", output="/o.ipynb")
        attempt, _ = engine.journal.start(identity, owner=queue_owner("cluster"))

        found = cancel(engine.journal, attempt.execution, by="ann")

    assert found.status is ExecutionStatus.CANCELLED
    assert signalled == []
