"""Writes down what a real API server answers, for the tests that have none.

``python -m tests.kubernetes.record``, and KUBECONFIG names the cluster. It makes a few Jobs in the
context's namespace, of an image that has ``python3`` (CLUSTER_IMAGE), looks at them as the launcher
does, and deletes them.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from kubernetes import client, config
from kubernetes.client.exceptions import ApiException

from kitaru_nb.model.execution import ExecutionId
from kitaru_nb.model.stack import Stack
from kitaru_nb.stacks.kubernetes_job import CONTAINER, JobOptions, manifest
from kitaru_nb.stacks.launcher import RunSpec

FILE = Path(__file__).parents[1] / "integration" / "kubernetes_answers.json"
EXECUTION = ExecutionId("ex_01kb0000000000000000000000")
_PATIENCE = 120.0


class Recorder:
    """Asks a cluster, and keeps each answer under a name."""

    def __init__(self) -> None:
        config.load_kube_config(config_file=os.environ["KUBECONFIG"])
        _, active = config.list_kube_config_contexts(config_file=os.environ["KUBECONFIG"])
        self.namespace = active["context"].get("namespace", "default")
        self.batch, self.core = client.BatchV1Api(), client.CoreV1Api()
        self.answers: dict[str, dict[str, Any]] = {}

    def ask(self, name: str, call: Callable[..., Any], *arguments: Any, **more: Any) -> Any:
        """Keep what a call answers, a refusal included; its body."""
        try:
            response = call(*arguments, _preload_content=False, **more)
            status, text = response.status, response.data.decode()
        except ApiException as error:
            status, text = error.status, error.body
        body = json.loads(text) if text.startswith("{") else text
        for each in [body, *body.get("items", [])] if isinstance(body, dict) else []:
            each.get("metadata", {}).pop("managedFields", None)
        self.answers[name] = {"status": status, "body": body}
        return body

    def job(self, name: str, source: str, **options: Any) -> str:
        """Make a Job that runs this source."""
        told = {"image": os.environ.get("CLUSTER_IMAGE", "none"), "python": "python3", **options}
        stack = Stack("recorded", launcher="kubernetes", launcher_options=told)
        job = manifest(f"kitaru-nb-{name}", RunSpec(EXECUTION, ["-c", source]), JobOptions.of(stack))
        self.ask(f"{name}: create", self.batch.create_namespaced_job, self.namespace, job)
        return f"kitaru-nb-{name}"

    def look(self, scene: str, job: str, until: Callable[[list[Any]], bool]) -> list[Any]:
        """Look at a Job and its pods until they are as wanted, and keep that; the pods."""
        limit = time.monotonic() + _PATIENCE
        while True:
            self.ask(f"{scene}: job", self.batch.read_namespaced_job, job, self.namespace)
            selector = f"job-name={job}"
            listed = self.core.list_namespaced_pod
            pods: list[Any] = self.ask(f"{scene}: pods", listed, self.namespace, label_selector=selector)[
                "items"
            ]
            if until(pods):
                return pods
            assert time.monotonic() < limit, f"{scene} never came: {pods}"
            time.sleep(0.2)

    def log(self, name: str, pod: Any) -> None:
        self.ask(
            name,
            self.core.read_namespaced_pod_log,
            pod["metadata"]["name"],
            self.namespace,
            container=CONTAINER,
        )

    def delete(self, name: str, job: str) -> None:
        self.ask(name, self.batch.delete_namespaced_job, job, self.namespace, propagation_policy="Background")


def phase(wanted: str) -> Callable[[list[Any]], bool]:
    return lambda pods: [each["status"]["phase"] for each in pods] == [wanted]


def main() -> None:
    """Record every scene, and write them all."""
    recorder = Recorder()
    fails = recorder.job(
        "fails", "import time; print('hello', flush=True); time.sleep(3); raise SystemExit(3)"
    )
    recorder.ask(
        "empty: create",
        recorder.batch.create_namespaced_job,
        recorder.namespace,
        {"metadata": {"name": fails}},
    )
    recorder.look("running", fails, phase("Running"))
    [pod] = recorder.look("failed", fails, phase("Failed"))
    recorder.log("failed: log", pod)
    done = recorder.job("completes", "print('done')")
    recorder.look("completed", done, phase("Succeeded"))
    waits = recorder.job("waits", "pass", node_selector={"no-node": "has-this"})
    [pod] = recorder.look(
        "unschedulable", waits, lambda pods: bool(pods and pods[0]["status"].get("conditions"))
    )
    recorder.log("unschedulable: log", pod)
    ends = recorder.job(
        "ends",
        "import signal, time; signal.signal(15, lambda *_: time.sleep(4) or exit(143)); time.sleep(99)",
    )
    recorder.look("runs", ends, phase("Running"))
    recorder.delete("ends: delete", ends)
    recorder.look("ends", ends, lambda pods: bool(pods and "deletionTimestamp" in pods[0]["metadata"]))
    recorder.look("gone", ends, lambda pods: not pods)
    recorder.job("invalid", "pass", resources={"requests": {"cpu": "two"}})
    recorder.namespace, own = "no-such-namespace", recorder.namespace
    recorder.job("nowhere", "pass")
    recorder.namespace = own
    for job in (fails, done, waits):
        recorder.delete("deleted", job)
    nobody = client.Configuration.get_default_copy()
    nobody.cert_file = nobody.key_file = nobody.refresh_api_key_hook = None
    nobody.api_key = dict.fromkeys(("authorization", "BearerToken"), "Bearer nobody's")
    recorder.batch = client.BatchV1Api(client.ApiClient(nobody))
    recorder.job("unknown", "pass")
    if "KUBECONFIG_WITHOUT_RIGHTS" in os.environ:
        config.load_kube_config(config_file=os.environ["KUBECONFIG_WITHOUT_RIGHTS"])
        recorder.batch = client.BatchV1Api()
        recorder.job("forbidden", "pass")
    config.load_kube_config(config_file=os.environ["KUBECONFIG"])
    told = {"server": client.VersionApi().get_code().git_version, "answers": recorder.answers}
    FILE.write_text(json.dumps(told, indent=1, sort_keys=True) + "\n")


if __name__ == "__main__":
    sys.exit(main())
