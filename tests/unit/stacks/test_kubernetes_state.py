"""What the answers of a cluster mean. Shapes are those of batch/v1 JobStatus and core/v1 PodStatus."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from kitaru_nb.stacks.kubernetes_state import state_of
from kitaru_nb.stacks.launcher import JobState, JobStatus

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)


def job(*conditions: dict[str, Any], **status: Any) -> dict[str, Any]:
    return {
        "metadata": {"name": "j"},
        "status": {**status, "conditions": list(conditions)} if conditions else status,
    }


def condition(kind: str, **told: str) -> dict[str, Any]:
    return {"type": kind, "status": "True", **told}


def pod(
    phase: str, *, state: dict[str, Any] | None = None, leaves: datetime | None = None, **status: Any
) -> Any:
    metadata = {"name": "j-x", "creationTimestamp": "2026-03-01T11:00:00Z"}
    if leaves is not None:
        metadata["deletionTimestamp"] = leaves.strftime("%Y-%m-%dT%H:%M:%SZ")
    if state is not None:
        status["containerStatuses"] = [{"name": "worker", "state": state, "restartCount": 0}]
    return {"metadata": metadata, "spec": {"nodeName": "n1"}, "status": {"phase": phase, **status}}


def ended(code: int, reason: str) -> dict[str, Any]:
    return {"terminated": {"exitCode": code, "reason": reason}}


UNSCHEDULABLE = {
    "type": "PodScheduled",
    "status": "False",
    "reason": "Unschedulable",
    "message": "0/3 nodes are available: 3 Insufficient nvidia.com/gpu.",
}
PULL = {"waiting": {"reason": "ImagePullBackOff", "message": 'Back-off pulling image "x"'}}
NOT_READY = {"type": "Ready", "status": "False", "reason": "ContainersNotReady"}
FAILED = condition(
    "Failed", reason="BackoffLimitExceeded", message="Job has reached the specified backoff limit"
)


@pytest.mark.parametrize(
    ("the_job", "pods", "state"),
    [
        (None, [], JobState(JobStatus.LOST, reason="the cluster has no Job of that name any more")),
        (job(), [], JobState(JobStatus.QUEUED, reason="its pod is not made yet")),
        (
            job(condition("Suspended", reason="JobSuspended", message="Job suspended")),
            [],
            JobState(JobStatus.QUEUED, reason="JobSuspended: Job suspended"),
        ),
        (job(active=1), [pod("Pending")], JobState(JobStatus.QUEUED, reason="its container is being made")),
        (
            job(active=1),
            [pod("Pending", state={"waiting": {"reason": "ContainerCreating"}})],
            JobState(JobStatus.QUEUED, reason="its container is being made"),
        ),
        (
            job(active=1),
            [pod("Pending", conditions=[UNSCHEDULABLE])],
            JobState(JobStatus.QUEUED, reason=f"Unschedulable: {UNSCHEDULABLE['message']}"),
        ),
        (
            job(active=1),
            [pod("Pending", state=PULL)],
            JobState(JobStatus.QUEUED, reason='ImagePullBackOff: Back-off pulling image "x"'),
        ),
        (job(active=1), [pod("Running", state={"running": {}})], JobState(JobStatus.RUNNING, reason="on n1")),
        (
            job(active=1),
            [pod("Running", conditions=[{"type": "Ready", "status": "False"}])],
            JobState(JobStatus.LOST, reason="its node does not answer"),
        ),
        (
            job(active=1),
            [pod("Running", conditions=[NOT_READY])],
            JobState(JobStatus.RUNNING, reason="on n1"),
        ),
        (job(active=1), [pod("Unknown")], JobState(JobStatus.RUNNING, reason="its node does not answer")),
        (
            job(condition("Complete")),
            [pod("Succeeded", state=ended(0, "Completed"))],
            JobState(JobStatus.EXITED, code=0),
        ),
        (job(active=1), [pod("Failed", state=ended(1, "Error"))], JobState(JobStatus.EXITED, code=1)),
        (
            job(FAILED),
            [pod("Failed", state=ended(137, "OOMKilled"))],
            JobState(JobStatus.EXITED, code=137, reason="OOMKilled"),
        ),
        (
            job(FAILED),
            [pod("Failed", reason="Evicted", message="The node was low on resource: memory.")],
            JobState(JobStatus.EXITED, reason="Evicted: The node was low on resource: memory."),
        ),
        (
            job(FAILED),
            [pod("Failed", state=ended(143, "Error"), reason="Terminated", message="node shutdown")],
            JobState(JobStatus.EXITED, code=143, reason="Terminated: node shutdown"),
        ),
        (
            job(FAILED),
            [],
            JobState(
                JobStatus.EXITED, reason="BackoffLimitExceeded: Job has reached the specified backoff limit"
            ),
        ),
        (job(condition("Complete")), [], JobState(JobStatus.EXITED, code=0)),
        (
            job(active=1),
            [pod("Running", leaves=NOW + timedelta(seconds=20))],
            JobState(JobStatus.RUNNING, reason="is being ended"),
        ),
        (
            None,
            [pod("Running", leaves=NOW + timedelta(seconds=20))],
            JobState(JobStatus.RUNNING, reason="is being ended"),
        ),
        (
            None,
            [pod("Running", leaves=NOW - timedelta(seconds=70))],
            JobState(JobStatus.LOST, reason="its node does not answer"),
        ),
    ],
)
def test_a_job_stands_where_its_pod_does(
    the_job: dict[str, Any] | None, pods: list[dict[str, Any]], state: JobState
) -> None:
    assert state_of(the_job, pods, now=NOW) == state


def test_of_several_pods_the_newest_counts() -> None:
    """As after a node was drained: the cluster has made another one."""
    old, new = pod("Failed", state=ended(143, "Error")), pod("Running", state={"running": {}})
    new["metadata"]["creationTimestamp"] = "2026-03-01T11:30:00Z"

    assert state_of(job(active=1), [new, old], now=NOW).status is JobStatus.RUNNING
