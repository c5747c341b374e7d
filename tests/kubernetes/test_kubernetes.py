"""The launcher ``kubernetes`` on the cluster that KUBECONFIG names: ``make test-kubernetes``.

It makes Jobs and one Secret in the context's namespace. The environment says what they run:

CLUSTER_IMAGE
    an image with this kitaru_nb in it
CLUSTER_PYTHON
    the Python in it, where that is not ``python``
CLUSTER_CLAIM, CLUSTER_FOLDER
    a claim, and the folder where it is mounted both on this machine and in the pods: notebooks, and the
    journal, are kept there

Without nodes that run containers, `tests.kubernetes.node` stands in for one; image and claim are then
not looked at, and CLUSTER_PYTHON is this Python.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from kubernetes import client, config
from kubernetes.client.exceptions import ApiException

from kitaru_nb.errors import StackError
from kitaru_nb.model.stack import Stack
from kitaru_nb.stacks.launcher import JobStatus, Launcher, launcher_of
from kitaru_nb.stacks.outcome import Exit
from kitaru_nb.stacks.settings import resolve
from kitaru_nb.stacks.submitting import Submitted
from kitaru_nb.testing.launcher_suite import Bench, LauncherSuite

pytestmark = [
    pytest.mark.skipif("KUBECONFIG" not in os.environ, reason="KUBECONFIG names no cluster"),
    pytest.mark.timeout(600),
    # what a cluster's certificate is worth is for whoever names it to say
    pytest.mark.filterwarnings("ignore:Unverified HTTPS request"),
]

SECRET = "kitaru-nb-tests"
SIGNING = "a-key-that-only-these-tests-sign-with"


class TestKubernetes(LauncherSuite):
    @pytest.fixture(autouse=True)
    def _secret(self, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
        """The key that workers sign with is in a Secret of the cluster, and here in the environment."""
        config.load_kube_config(config_file=os.environ["KUBECONFIG"])
        _, active = config.list_kube_config_contexts(config_file=os.environ["KUBECONFIG"])
        self.namespace = active["context"].get("namespace", "default")
        self.core = client.CoreV1Api()
        told = {"metadata": {"name": SECRET}, "stringData": {"signing": SIGNING}}
        with suppress(ApiException):  # it is there from the test before
            self.core.create_namespaced_secret(self.namespace, told)
        monkeypatch.setenv("TEAM_SIGNING_KEY", SIGNING)
        yield
        jobs = client.BatchV1Api().list_namespaced_job(
            self.namespace, label_selector="app.kubernetes.io/name=kitaru-nb"
        )
        for job in jobs.items:
            client.BatchV1Api().delete_namespaced_job(
                job.metadata.name, self.namespace, propagation_policy="Background"
            )

    def stack(self, folder: Path) -> Stack:
        return Stack(
            "cluster",
            launcher="kubernetes",
            launcher_options=self._options(),
            signing_key="secret:env:TEAM_SIGNING_KEY",
        )

    def kill_worker(self, bench: Bench, submitted: Submitted) -> None:
        owner = bench.engine.journal.attempts(submitted.execution)[-1].owner
        if owner.host == socket.gethostname():  # the node that stands in
            super().kill_worker(bench, submitted)
        else:
            self.core.delete_namespaced_pod(owner.host, self.namespace, grace_period_seconds=0)

    def test_a_pod_that_no_node_can_take_says_why(self, bench: Bench) -> None:
        bench.launcher = self._launcher(node_selector={"no-node": "has-this"})
        submitted = bench.submit(bench.notebook("tick('a')"))

        bench.until(lambda: "Unschedulable" in bench.launcher.poll(submitted.handle).reason, "the reason")

        assert bench.launcher.poll(submitted.handle).status is JobStatus.QUEUED
        bench.launcher.cancel(submitted.handle)
        bench.over(submitted.handle)
        assert bench.ticks() == []

    def test_what_the_cluster_refuses_is_said_in_its_words(self, bench: Bench) -> None:
        bench.launcher = self._launcher(resources={"requests": {"cpu": "two"}})

        with pytest.raises(StackError, match="quantities must match") as refused:
            bench.submit(bench.notebook("tick('a')"))

        assert refused.value.kind == "not-submitted"

    def test_a_namespace_that_is_not_there_is_named(self, bench: Bench) -> None:
        bench.launcher = self._launcher(namespace="no-such-namespace")

        with pytest.raises(StackError, match="has no namespace `no-such-namespace`"):
            bench.submit(bench.notebook("tick('a')"))

    def test_a_job_that_is_deleted_behind_its_back_is_begun_again(self, bench: Bench) -> None:
        submitted = bench.submit(bench.notebook("tick('a')", bench.endless, "tick('b')"))
        bench.until(lambda: "endless" in bench.ticks(), "the endless cell")

        name = submitted.handle.partition("/")[2]
        client.BatchV1Api().delete_namespaced_job(name, self.namespace, propagation_policy="Background")
        bench.over(submitted.handle)
        bench.go.touch()

        assert bench.follow(submitted).exit is Exit.COMPLETED
        assert bench.ticks() == ["a", "endless", "endless", "b"]

    def _launcher(self, **options: Any) -> Launcher:
        told = {**self._options(), **options}
        return launcher_of(Stack("cluster", launcher="kubernetes", launcher_options=told), resolve())

    def _options(self) -> dict[str, Any]:
        told: dict[str, Any] = {
            "image": os.environ.get("CLUSTER_IMAGE", "none"),
            "python": os.environ.get("CLUSTER_PYTHON", "python"),
            "secrets": {"TEAM_SIGNING_KEY": f"{SECRET}/signing"},
        }
        if "CLUSTER_CLAIM" in os.environ:
            told["volumes"] = {os.environ["CLUSTER_CLAIM"]: os.environ["CLUSTER_FOLDER"]}
        return told
