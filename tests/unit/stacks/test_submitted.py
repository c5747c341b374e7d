"""The worker that a launcher starts, and that a scheduler may start again."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import nbformat
import pytest

from kitaru_nb.engine.engine import Engine
from kitaru_nb.model.execution import (
    Attempt,
    ExecutionStatus,
    Identity,
    Owner,
    current_owner,
    queue_owner,
)
from kitaru_nb.model.settings import Settings
from kitaru_nb.stacks import submitted
from kitaru_nb.stacks.launcher import Handle
from kitaru_nb.stacks.local import Job
from kitaru_nb.stacks.open import open_engine
from kitaru_nb.stacks.outcome import Outcome
from kitaru_nb.stacks.settings import resolve
from kitaru_nb.stacks.submissions import note_queued, note_submitted, submission_of
from kitaru_nb.stacks.submitted import _begin
from kitaru_nb.stacks.watch import Signals

ELSEWHERE = Owner("another-host.example", "its-boot", 4711, 1)


@pytest.fixture
def settings() -> Settings:
    return replace(resolve(), lease=0.6, heartbeat=0.2)


@pytest.fixture
def engine(settings: Settings) -> Iterator[Engine]:
    with closing(open_engine(settings)) as engine:
        yield engine


@pytest.fixture
def queued(engine: Engine, tmp_path: Path) -> Attempt:
    identity = Identity(notebook=str(tmp_path / "n.ipynb"), output=str(tmp_path / "o.ipynb"))
    attempt, _ = engine.journal.start(identity, owner=queue_owner("ours"))
    note_queued(engine, attempt, "ours", {})
    return attempt


def test_the_attempt_in_the_queue_is_begun(engine: Engine, settings: Settings, queued: Attempt) -> None:
    begun = _begin(settings, queued.execution, queued.epoch, Signals())

    assert begun is not None
    assert (begun[0].epoch, begun[0].owner) == (queued.epoch, current_owner())


def test_a_job_that_is_started_again_outwaits_a_worker_whose_machine_died(
    engine: Engine, settings: Settings, queued: Attempt
) -> None:
    """Nobody but its lease tells that it is dead, so the next one begins when that has run out."""
    engine.journal.adopt(queued, owner=ELSEWHERE)

    begun = _begin(settings, queued.execution, queued.epoch, Signals())

    assert begun is not None
    assert begun[0].epoch == queued.epoch + 1
    assert engine.journal.attempts(queued.execution)[0].status is ExecutionStatus.INTERRUPTED


def test_one_that_runs_after_all_is_left_alone(engine: Engine, settings: Settings, queued: Attempt) -> None:
    settings = replace(settings, lease=2.0)  # on a busy machine one beat comes late
    held = engine.journal.adopt(queued, owner=ELSEWHERE)
    over = threading.Event()

    def beat() -> None:
        with closing(open_engine(settings)) as other:
            while not over.wait(0.1):
                other.journal.heartbeat(held)

    beating = threading.Thread(target=beat)
    beating.start()
    begun = _begin(settings, queued.execution, queued.epoch, Signals())
    over.set()
    beating.join()

    assert begun is None


def test_one_that_closes_its_journal_is_followed(engine: Engine, settings: Settings, queued: Attempt) -> None:
    held = engine.journal.adopt(queued, owner=current_owner())
    ends = threading.Timer(0.3, engine.journal.finish, [held, ExecutionStatus.INTERRUPTED])
    ends.start()

    begun = _begin(replace(settings, lease=60.0), queued.execution, queued.epoch, Signals())
    ends.join()

    assert begun is not None
    assert begun[0].epoch == queued.epoch + 1


def test_a_signal_ends_the_waiting(engine: Engine, settings: Settings, queued: Attempt) -> None:
    engine.journal.adopt(queued, owner=current_owner())
    signals = Signals()
    signals.noted = signal.SIGTERM

    assert _begin(replace(settings, lease=3600.0), queued.execution, queued.epoch, signals) is None


def test_a_signal_between_the_attempt_and_its_first_cell_closes_the_attempt(
    engine: Engine, queued: Attempt, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A scheduler may have counted the time limit from when the job was submitted."""
    cell = nbformat.v4.new_code_cell("open('ran', 'w').close()")
    kernel = {"name": "python3", "display_name": "Python 3", "language": "python"}
    nb = nbformat.v4.new_notebook(cells=[cell], metadata={"kernelspec": kernel})
    nbformat.write(nb, tmp_path / "n.ipynb")
    ran = submitted.run

    def run(job: Job, *, settings: Settings) -> Outcome:
        os.kill(os.getpid(), signal.SIGTERM)
        return ran(job, settings=settings)

    monkeypatch.setattr(submitted, "run", run)

    code = submitted.main([queued.execution, f"--epoch={queued.epoch}"])

    execution = engine.journal.execution(queued.execution)
    assert (code, execution.status, execution.reason) == (
        143,
        ExecutionStatus.INTERRUPTED,
        "stopped by SIGTERM",
    )
    assert not (tmp_path / "ran").exists()


def test_a_handle_that_is_put_on_record_late_does_not_hide_that_of_the_next_job(
    engine: Engine, queued: Attempt
) -> None:
    """A scheduler that takes minutes to answer, and somebody who has submitted it once more meanwhile."""
    engine.journal.finish(queued, ExecutionStatus.INTERRUPTED)
    again = engine.journal.resume(queued.execution, owner=queue_owner("ours"))
    note_queued(engine, again, "ours", {})
    note_submitted(engine, again, "ours", Handle("second"))
    note_submitted(engine, queued, "ours", Handle("first"))

    found = submission_of(engine, engine.journal.execution(queued.execution))

    assert found is not None
    assert (found.epoch, found.handle) == (2, "second")
