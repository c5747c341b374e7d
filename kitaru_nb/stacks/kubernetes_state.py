"""What a cluster's answers say of a Job: the one place that reads their shapes."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from kitaru_nb.stacks.launcher import JobState, JobStatus

__all__ = ["state_of"]

_GONE_AFTER = timedelta(seconds=60)
_STARTING = ("ContainerCreating", "PodInitializing")


def state_of(job: Mapping[str, Any] | None, pods: Sequence[Mapping[str, Any]], *, now: datetime) -> JobState:
    """Where a Job stands.

    Args:
        job: As the API gives it; None where there is none of that name (any more).
        pods: Its pods; the newest one counts, and of a Job that was deleted there may be one that ends.
        now: The time.
    """
    pod = max(pods, key=lambda each: str(each["metadata"].get("creationTimestamp")), default=None)
    if pod is not None:
        return _state_of_pod(pod, now)
    if job is None:
        return JobState(JobStatus.LOST, reason="the cluster has no Job of that name any more")
    ended = _true(job, "Complete", "SuccessCriteriaMet") or _true(job, "Failed", "FailureTarget")
    if ended is not None:
        # its pod was deleted, so nothing tells the exit code but that it was none or some
        code = 0 if ended["type"] in ("Complete", "SuccessCriteriaMet") else None
        return JobState(JobStatus.EXITED, code=code, reason=_said(ended))
    if (suspended := _true(job, "Suspended")) is not None:
        return JobState(JobStatus.QUEUED, reason=_said(suspended))
    return JobState(JobStatus.QUEUED, reason="its pod is not made yet")


def _state_of_pod(pod: Mapping[str, Any], now: datetime) -> JobState:
    status = pod.get("status") or {}
    phase = status.get("phase")
    leaves = pod["metadata"].get("deletionTimestamp")
    if phase in ("Succeeded", "Failed"):
        return _ended(status)
    if leaves is not None:
        # that is when it should have been gone; a node that is gone itself never says that it is
        if now - _time(leaves) > _GONE_AFTER:
            return JobState(JobStatus.LOST, reason="its node does not answer")
        return JobState(JobStatus.RUNNING, reason="is being ended")
    if phase == "Running" and _node_is_silent(status):
        # If it runs all the same, its lease says so, and what it commits after that is out is refused.
        return JobState(JobStatus.LOST, reason="its node does not answer")
    if phase == "Running":
        return JobState(JobStatus.RUNNING, reason=f"on {pod['spec'].get('nodeName')}")
    if phase == "Unknown":
        return JobState(JobStatus.RUNNING, reason="its node does not answer")
    return JobState(JobStatus.QUEUED, reason=_why_pending(status))


def _node_is_silent(status: Mapping[str, Any]) -> bool:
    """Whether the cluster has declared the pod not ready itself: a node that answers gives a reason."""
    return any(
        each["type"] == "Ready" and each["status"] == "False" and not each.get("reason")
        for each in status.get("conditions") or ()
    )


def _ended(status: Mapping[str, Any]) -> JobState:
    code, reason = None, ""
    for container in status.get("containerStatuses") or ():
        terminated = (container.get("state") or {}).get("terminated")
        if terminated is not None:
            code = terminated.get("exitCode")
            if terminated.get("reason") not in ("Completed", "Error", None):
                reason = _said(terminated)
    # what happened to the whole pod says more: Evicted, NodeLost, Terminated, Preempting …
    return JobState(JobStatus.EXITED, code=code, reason=_said(status) or reason)


def _why_pending(status: Mapping[str, Any]) -> str:
    for container in status.get("containerStatuses") or ():
        waiting = (container.get("state") or {}).get("waiting")
        if waiting is not None and waiting.get("reason") not in _STARTING:
            return _said(waiting)
    for condition in status.get("conditions") or ():
        if condition["type"] == "PodScheduled" and condition["status"] == "False":
            return _said(condition)
    return "its container is being made"


def _said(told: Mapping[str, Any]) -> str:
    return ": ".join(str(told[name]) for name in ("reason", "message") if told.get(name))


def _true(job: Mapping[str, Any], *kinds: str) -> Mapping[str, Any] | None:
    conditions: Iterable[Mapping[str, Any]] = (job.get("status") or {}).get("conditions") or ()
    return next((each for each in conditions if each["type"] in kinds and each["status"] == "True"), None)


def _time(text: str) -> datetime:
    return datetime.fromisoformat(text).astimezone(UTC)
