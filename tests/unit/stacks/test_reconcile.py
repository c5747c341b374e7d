"""What is done about a run that was submitted, decided from what is on record and what its scheduler says."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from kitaru_nb.model.execution import (
    Attempt,
    Execution,
    ExecutionId,
    ExecutionStatus,
    Identity,
    Owner,
    current_owner,
    queue_owner,
)
from kitaru_nb.stacks.launcher import Handle, JobState, JobStatus
from kitaru_nb.stacks.outcome import Exit, Outcome
from kitaru_nb.stacks.reconcile import LIMIT, Action, decide
from kitaru_nb.stacks.submissions import Submission

NOW = datetime(2026, 11, 28, 12, tzinfo=UTC)
ID = ExecutionId("ex_1")
QUEUE = queue_owner("cluster")
RUNNING, QUEUED = JobState(JobStatus.RUNNING), JobState(JobStatus.QUEUED, reason="Priority")
LOST, KILLED = JobState(JobStatus.LOST), JobState(JobStatus.EXITED, 137, "NODE_FAIL")


def found(status: str, owner: Owner, state: JobState | None, **more: Any) -> tuple[Action, str]:
    """What is decided of an execution in that state."""
    execution = Execution(ID, Identity(notebook="/a.ipynb"), ExecutionStatus(status), NOW)
    submitted = Submission(1, "cluster", more.pop("at", NOW - timedelta(hours=1)), Handle("7"), {}, own=True)
    told = {"ended": None, "answered": False, "stopped": False, "idle": 0} | more
    return decide(execution, Attempt(ID, 1, owner, NOW, NOW), submitted, state=state, now=NOW, **told)


@pytest.mark.parametrize("status", ["completed", "cancelled", "failed"])
@pytest.mark.parametrize("state", [None, LOST, KILLED])
def test_what_is_over_is_left(status: str, state: JobState | None) -> None:
    assert found(status, current_owner(), state)[0] is Action.LEFT


def test_a_worker_that_holds_its_lease_is_left_whatever_the_scheduler_says() -> None:
    assert found("running", current_owner(), LOST) == (Action.LEFT, "running")


@pytest.mark.parametrize("state", [QUEUED, RUNNING])
@pytest.mark.parametrize(("status", "owner"), [("running", QUEUE), ("interrupted", current_owner())])
def test_a_job_that_may_still_run_is_left(status: str, owner: Owner, state: JobState) -> None:
    """Also where the lease is lost: the network may be parted, or the scheduler starts it again."""
    assert found(status, owner, state)[0] is Action.LEFT


def test_the_reason_for_waiting_in_a_queue_is_told() -> None:
    assert found("running", QUEUE, QUEUED) == (Action.LEFT, "queued: Priority")


@pytest.mark.parametrize("state", [LOST, KILLED])
def test_what_died_is_submitted_again(state: JobState) -> None:
    assert found("interrupted", current_owner(), state)[0] is Action.SUBMITTED
    assert found("running", QUEUE, state)[0] is Action.SUBMITTED


def test_the_reason_names_the_exit_code_of_a_job_that_never_began() -> None:
    assert (
        found("running", QUEUE, KILLED)[1] == "its job ended with exit code 137 (NODE_FAIL) before it began"
    )


def test_a_preempted_worker_is_submitted_again_and_one_that_a_person_stopped_is_not() -> None:
    def ended(code: Exit) -> Outcome:
        return Outcome(ExecutionStatus.INTERRUPTED, code, ID)

    assert found("interrupted", current_owner(), KILLED, ended=ended(Exit.SIGTERM))[0] is Action.SUBMITTED
    assert found("interrupted", current_owner(), KILLED, ended=ended(Exit.SIGINT))[0] is Action.LEFT
    assert found("interrupted", current_owner(), KILLED, ended=ended(Exit.KERNEL_DIED))[0] is Action.LEFT


def test_what_a_person_has_stopped_stays_so() -> None:
    assert found("interrupted", current_owner(), LOST, stopped=True) == (Action.LEFT, "was stopped")


def test_a_wait_goes_on_only_with_its_answer() -> None:
    assert found("waiting", current_owner(), LOST)[0] is Action.LEFT
    assert found("waiting", current_owner(), LOST, answered=True)[0] is Action.SUBMITTED


def test_what_records_nothing_any_more_is_given_up() -> None:
    assert found("interrupted", current_owner(), LOST, idle=LIMIT - 1)[0] is Action.SUBMITTED
    assert found("interrupted", current_owner(), LOST, idle=LIMIT)[0] is Action.GIVEN_UP


def test_a_submission_that_was_cut_off_half_way_gets_a_minute() -> None:
    assert found("running", QUEUE, None, at=NOW - timedelta(seconds=59))[0] is Action.LEFT
    assert found("running", QUEUE, None, at=NOW - timedelta(seconds=61))[0] is Action.SUBMITTED
