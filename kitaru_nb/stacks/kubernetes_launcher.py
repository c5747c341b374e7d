"""Workers as Jobs of a Kubernetes cluster: the launcher ``kubernetes``.

One Job is one attempt and one pod. What the cluster does about a pod that fails is nothing: its worker's
lease and `reconcile` decide what goes on, as on every stack. A Job is known by its namespace and name to
whoever may see it; it and its log are kept for a day after it has ended.
"""

from __future__ import annotations

from datetime import UTC, datetime
from functools import cached_property

from kitaru_nb.errors import StackError
from kitaru_nb.model.settings import Settings
from kitaru_nb.model.stack import Stack
from kitaru_nb.stacks import kubernetes_job
from kitaru_nb.stacks.kubernetes_api import Cluster
from kitaru_nb.stacks.kubernetes_job import JobOptions, is_name, job_name, manifest
from kitaru_nb.stacks.kubernetes_state import state_of
from kitaru_nb.stacks.launcher import Capabilities, Handle, JobState, JobStatus, RunSpec

__all__ = ["KubernetesLauncher"]


class KubernetesLauncher:
    """Starts Jobs. See `launcher.Launcher`."""

    OPTIONS = kubernetes_job.OPTIONS
    # a pod that ends with 75 would count as failed, and a run that waits is none
    capabilities = Capabilities(suspend_exit=0, queues=True)

    def __init__(self, stack: Stack, _settings: Settings) -> None:
        self._options = JobOptions.of(stack)

    @cached_property
    def _cluster(self) -> Cluster:
        return Cluster(self._options.context, self._options.namespace)

    def submit(self, spec: RunSpec) -> Handle:
        """Make a Job."""
        name = job_name(spec.execution)
        self._cluster.create(manifest(name, spec, self._options))
        return Handle(f"{self._cluster.namespace}/{name}")

    def poll(self, handle: Handle) -> JobState:
        """What the cluster says of the Job and its pod."""
        namespace, name = _parsed(handle)
        job = self._cluster.job(name, namespace)
        return state_of(job, self._cluster.pods(name, namespace), now=_now())

    def cancel(self, handle: Handle) -> None:
        """Delete the Job: its pod gets SIGTERM, and SIGKILL half a minute later. Its log goes with it."""
        namespace, name = _parsed(handle)
        if self.poll(handle).status is not JobStatus.EXITED:
            self._cluster.delete(name, namespace)

    def logs(self, handle: Handle, *, offset: int = 0) -> bytes:
        """What its pods have printed, as far as their nodes keep it."""
        namespace, name = _parsed(handle)
        pods = sorted(
            self._cluster.pods(name, namespace), key=lambda pod: str(pod["metadata"]["creationTimestamp"])
        )
        return b"".join(self._cluster.log(pod["metadata"]["name"], namespace) for pod in pods)[offset:]


def _now() -> datetime:
    return datetime.now(UTC)


def _parsed(handle: Handle) -> tuple[str, str]:
    namespace, _, name = handle.partition("/")
    if not (is_name(namespace) and is_name(name) and name.startswith("kitaru-nb-")):
        raise StackError(
            f"`{handle}` is no Job in Kubernetes",
            kind="bad-handle",
            hint="was the stack's launcher another one when it was submitted?",
        )
    return namespace, name
