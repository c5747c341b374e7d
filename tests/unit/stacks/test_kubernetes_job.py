"""The Job that is made of a stack's options, and the options that are refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from kubernetes.client import ApiClient, V1Job

from kitaru_nb.errors import UsageError
from kitaru_nb.model.execution import ExecutionId, new_execution_id
from kitaru_nb.model.stack import Stack
from kitaru_nb.stacks.config import stack_of
from kitaru_nb.stacks.kubernetes_job import JobOptions, is_name, job_name, manifest
from kitaru_nb.stacks.launcher import RunSpec

EXECUTION = ExecutionId("ex_01kb0000000000000000000000")
SPEC = RunSpec(EXECUTION, ["-m", "kitaru_nb.stacks", "submitted"], {"A": "1"}, folder="/data/project")
EVERYTHING: dict[str, Any] = {
    "image": "registry.example/notebooks:1",
    "namespace": "team",
    "python": "/opt/bin/python",
    "resources": {"requests": {"cpu": 2, "memory": "8Gi"}, "limits": {"nvidia.com/gpu": "1"}},
    "secrets": {"OPENAI_API_KEY": "model-keys/openai"},
    "env_from": ["team-env"],
    "volumes": {"shared": "/data"},
    "service_account": "runner",
    "node_selector": {"pool": "gpu"},
    "tolerations": [{"key": "gpu", "operator": "Exists", "effect": "NoSchedule"}],
    "image_pull_secrets": ["registry"],
    "labels": {"team": "vision"},
}


def options(**told: Any) -> JobOptions:
    return JobOptions.of(Stack("prod", launcher="kubernetes", launcher_options=told, source="kitaru_nb.toml"))


def made(**told: Any) -> dict[str, Any]:
    return manifest("kitaru-nb-ex-01-abcd", SPEC, options(**told))


def test_a_job_makes_one_pod_that_is_never_started_again() -> None:
    job = made(image="i")

    assert job["spec"]["backoffLimit"] == 0
    assert job["spec"]["ttlSecondsAfterFinished"] > 0
    pod = job["spec"]["template"]["spec"]
    assert (pod["restartPolicy"], pod["terminationGracePeriodSeconds"]) == ("Never", 30)
    assert pod["automountServiceAccountToken"] is False, "what a notebook runs cannot speak to the cluster"
    assert pod["containers"] == [
        {
            "name": "worker",
            "image": "i",
            "command": ["python", "-m", "kitaru_nb.stacks", "submitted"],
            "env": [{"name": "A", "value": "1"}],
        }
    ]


def test_all_that_can_be_said_is_where_the_cluster_looks_for_it() -> None:
    pod = made(**EVERYTHING)["spec"]["template"]["spec"]

    [container] = pod.pop("containers")
    assert pod == {
        "restartPolicy": "Never",
        "terminationGracePeriodSeconds": 30,
        "automountServiceAccountToken": True,
        "serviceAccountName": "runner",
        "nodeSelector": {"pool": "gpu"},
        "tolerations": [{"key": "gpu", "operator": "Exists", "effect": "NoSchedule"}],
        "imagePullSecrets": [{"name": "registry"}],
        "volumes": [{"name": "claim-0", "persistentVolumeClaim": {"claimName": "shared"}}],
    }
    assert container["env"] == [
        {"name": "OPENAI_API_KEY", "valueFrom": {"secretKeyRef": {"name": "model-keys", "key": "openai"}}},
        {"name": "A", "value": "1"},
    ]
    assert container["envFrom"] == [{"secretRef": {"name": "team-env"}}]
    assert container["resources"]["requests"] == {"cpu": "2", "memory": "8Gi"}
    assert container["resources"]["limits"] == {"nvidia.com/gpu": "1"}
    assert container["volumeMounts"] == [{"name": "claim-0", "mountPath": "/data"}]
    assert (container["command"][0], container["workingDir"]) == ("/opt/bin/python", "/data/project")


def test_labels_tell_whose_it_is_and_are_the_pods_too() -> None:
    job = made(image="i", labels={"team": "vision", "kitaru-nb/execution": "another"})

    labels = {"team": "vision", "app.kubernetes.io/name": "kitaru-nb", "kitaru-nb/execution": EXECUTION}
    assert job["metadata"]["labels"] == job["spec"]["template"]["metadata"]["labels"] == labels


def test_a_folder_that_no_volume_has_is_not_gone_into() -> None:
    """The cluster would make an empty one of that name."""
    [container] = made(image="i", volumes={"shared": "/data/other"})["spec"]["template"]["spec"]["containers"]

    assert "workingDir" not in container


def test_the_cluster_knows_every_field() -> None:
    """As its own client reads and writes it: a field that it does not know would be gone."""
    job = made(**EVERYTHING)

    assert ApiClient().sanitize_for_serialization(V1Job.from_dict(job)) == job


def test_names_are_new_each_time_and_ones_that_kubernetes_takes() -> None:
    execution = new_execution_id()

    names = {job_name(execution) for _ in range(20)}

    assert len(names) == 20
    assert all(is_name(name) and len(name) <= 63 for name in names)


@pytest.mark.parametrize(
    ("told", "said"),
    [
        ({}, "names no `image`"),
        ({"image": 3}, "no text"),
        ({"image": "i", "namespace": "My_Team"}, "no name in Kubernetes"),
        ({"image": "i", "resources": {"cpu": "2"}}, "`resources.cpu`, which means nothing"),
        ({"image": "i", "env_from": [{"name": "x"}]}, "no name of a Secret"),
        ({"image": "i", "volumes": {"shared": "data"}}, "no claim with the path"),
        ({"image": "i", "tolerations": ["gpu"]}, "no table"),
        ({"image": "i", "node_selector": {"gpu": True}}, "no text"),
        ({"image": "i", "secrets": {"A-B": "secret/key"}}, "does not name a Secret and a key"),
    ],
)
def test_options_that_mean_nothing_are_refused(told: dict[str, Any], said: str) -> None:
    with pytest.raises(UsageError, match=said) as refused:
        options(**told)

    assert refused.value.kind == "bad-launcher-option"
    assert "kitaru_nb.toml" in refused.value.hint


def test_a_secret_that_is_written_out_is_refused_and_not_repeated() -> None:
    with pytest.raises(UsageError) as refused:
        options(image="i", secrets={"OPENAI_API_KEY": "hunter2-hunter2-hunter2"})

    assert "hunter2" not in str(refused.value)


def test_a_stacks_file_may_name_where_secrets_are_and_the_keys_of_taints() -> None:
    told = {"type": "kubernetes", **EVERYTHING}

    stack = stack_of("prod", {"launcher": told}, Path("kitaru_nb.toml"))

    assert JobOptions.of(stack).secrets == {"OPENAI_API_KEY": ("model-keys", "openai")}
    with pytest.raises(UsageError, match="written out"):
        stack_of(
            "prod", {"launcher": {**told, "secrets": {"A": "sk-0123456789abcdef0"}}}, Path("kitaru_nb.toml")
        )
