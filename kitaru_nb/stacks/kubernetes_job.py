"""A worker as a Job of Kubernetes: what a stack's options mean, and the manifest that is made of them.

A Job is one attempt: it makes one pod, which is never started again, since going on is the journal's
doing. No value of a secret is in it, only names of Secrets that the cluster has.
"""

from __future__ import annotations

import re
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any, NoReturn

from kitaru_nb.errors import UsageError
from kitaru_nb.model.execution import ExecutionId
from kitaru_nb.model.stack import Stack
from kitaru_nb.stacks.launcher import RunSpec, option

__all__ = ["CONTAINER", "GRACE", "OPTIONS", "JobOptions", "is_name", "job_name", "manifest"]

OPTIONS = (
    "image",
    "namespace",
    "context",
    "python",
    "resources",
    "secrets",
    "env_from",
    "volumes",
    "service_account",
    "node_selector",
    "tolerations",
    "image_pull_secrets",
    "labels",
)
CONTAINER = "worker"
GRACE = 30
"""Seconds from SIGTERM to SIGKILL; the journal is closed within five."""

_KEPT = 86_400  # seconds that a Job that has ended, and its log, can be looked at
_DNS_LABEL = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?")
_DNS_NAME = re.compile(r"[a-z0-9]([a-z0-9.-]{0,251}[a-z0-9])?")
_SECRET_KEY = re.compile(r"(?P<secret>[a-z0-9]([a-z0-9.-]*[a-z0-9])?)/(?P<key>[-._a-zA-Z0-9]+)")
_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


@dataclass(frozen=True, slots=True)
class JobOptions:
    """What a stack says of its Jobs, checked.

    Attributes:
        image: What the pod runs; kitaru_nb is installed in it.
        namespace: Where; None for that of the context.
        context: Which of the user's clusters; None for the current one.
        python: The Python in the image.
        resources: `requests` and `limits`, as Kubernetes has them.
        secrets: For a variable the name of a Secret and a key in it.
        env_from: Secrets all of whose keys become variables.
        volumes: For the name of a claim where it is mounted.
        service_account: As whom the pod speaks to the cluster and the cloud; None for nobody.
        node_selector: Labels that its node must have.
        tolerations: Taints that its node may have, as Kubernetes writes them.
        image_pull_secrets: Secrets with which the image is fetched.
        labels: Labels of the Job and its pod.
    """

    image: str
    namespace: str | None = None
    context: str | None = None
    python: str = "python"
    resources: Mapping[str, Mapping[str, str]] | None = None
    secrets: Mapping[str, tuple[str, str]] | None = None
    env_from: Sequence[str] = ()
    volumes: Mapping[str, str] | None = None
    service_account: str | None = None
    node_selector: Mapping[str, str] | None = None
    tolerations: Sequence[Mapping[str, Any]] = ()
    image_pull_secrets: Sequence[str] = ()
    labels: Mapping[str, str] | None = None

    @classmethod
    def of(cls, stack: Stack) -> JobOptions:
        """The options of a stack.

        Raises:
            UsageError: kind ``bad-launcher-option``: one is missing or means nothing.
        """
        read = _Reader(stack)
        image = read.text("image")
        if image is None:
            read.refuse("names no `image`", 'image = "registry.example/team/notebooks:1"')
        return cls(
            image=image,
            namespace=read.name("namespace"),
            context=read.text("context"),
            python=read.text("python") or "python",
            resources=read.resources(),
            secrets=read.secrets(),
            env_from=read.names("env_from"),
            volumes=read.volumes(),
            service_account=read.name("service_account"),
            node_selector=read.texts("node_selector"),
            tolerations=read.tables("tolerations"),
            image_pull_secrets=read.names("image_pull_secrets"),
            labels=read.texts("labels"),
        )


def is_name(text: str) -> bool:
    """Whether Jobs and namespaces can be called so."""
    return _DNS_LABEL.fullmatch(text) is not None


def job_name(execution: ExecutionId) -> str:
    """A name that no other Job has, and that tells whose it is."""
    return f"kitaru-nb-{execution.replace('_', '-')}-{secrets.token_hex(4)}"


def manifest(name: str, spec: RunSpec, options: JobOptions) -> dict[str, Any]:
    """The Job, as the API takes it."""
    labels = {
        **(options.labels or {}),
        "app.kubernetes.io/name": "kitaru-nb",
        "kitaru-nb/execution": str(spec.execution),
    }
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {"name": name, "labels": labels},
        "spec": {
            "backoffLimit": 0,
            "ttlSecondsAfterFinished": _KEPT,
            "template": {"metadata": {"labels": labels}, "spec": _pod(spec, options)},
        },
    }


def _pod(spec: RunSpec, options: JobOptions) -> dict[str, Any]:
    claims = dict(options.volumes or {})
    pod: dict[str, Any] = {
        "restartPolicy": "Never",
        "terminationGracePeriodSeconds": GRACE,
        # the worker asks the cluster nothing: what a notebook runs gets no way to
        "automountServiceAccountToken": options.service_account is not None,
        "serviceAccountName": options.service_account,
        "nodeSelector": dict(options.node_selector or {}),
        "tolerations": [dict(each) for each in options.tolerations],
        "imagePullSecrets": [{"name": each} for each in options.image_pull_secrets],
        "volumes": [
            {"name": f"claim-{i}", "persistentVolumeClaim": {"claimName": claim}}
            for i, claim in enumerate(claims)
        ],
        "containers": [_container(spec, options, list(claims.values()))],
    }
    return _filled(pod)


def _container(spec: RunSpec, options: JobOptions, mounts: Sequence[str]) -> dict[str, Any]:
    told = [{"name": name, "value": value} for name, value in spec.env.items()]
    kept = [
        {"name": name, "valueFrom": {"secretKeyRef": {"name": secret, "key": key}}}
        for name, (secret, key) in (options.secrets or {}).items()
    ]
    return _filled(
        {
            "name": CONTAINER,
            "image": options.image,
            "command": spec.argv(options.python),
            "workingDir": _folder(spec.folder, mounts),
            "env": [*kept, *told],
            "envFrom": [{"secretRef": {"name": each}} for each in options.env_from],
            "resources": {name: dict(amounts) for name, amounts in (options.resources or {}).items()},
            "volumeMounts": [{"name": f"claim-{i}", "mountPath": path} for i, path in enumerate(mounts)],
        }
    )


def _folder(folder: str | None, mounts: Sequence[str]) -> str | None:
    """The folder, where it lies on a volume: elsewhere the container would get an empty one of that name."""
    if folder is None:
        return None
    return folder if any(PurePosixPath(folder).is_relative_to(each) for each in mounts) else None


def _filled(table: dict[str, Any]) -> dict[str, Any]:
    """Without what is not said, so that the cluster's own defaults hold."""
    return {key: value for key, value in table.items() if value not in (None, [], {})}


class _Reader:
    """Reads the options of one stack, and says where one is wrong."""

    def __init__(self, stack: Stack) -> None:
        self._stack = stack

    def refuse(self, why: str, hint: str) -> NoReturn:
        raise UsageError(
            f"the launcher of stack `{self._stack.name}` {why}",
            kind="bad-launcher-option",
            hint=f"{hint}; in {self._stack.source}",
        )

    def text(self, name: str) -> str | None:
        found: str | None = option(self._stack, name, str)
        return found or None

    def name(self, name: str) -> str | None:
        found = self.text(name)
        if found is not None and not is_name(found):
            self.refuse(
                f"has `{name}` {found!r}, which is no name in Kubernetes", "small letters, digits and -"
            )
        return found

    def names(self, name: str) -> tuple[str, ...]:
        found: list[object] = option(self._stack, name, list, [])
        for each in found:
            if not isinstance(each, str) or not _DNS_NAME.fullmatch(each):
                self.refuse(
                    f"has {each!r} in `{name}`, which is no name of a Secret",
                    f'{name} = ["name-of-a-secret"]',
                )
        return tuple(str(each) for each in found)

    def texts(self, name: str) -> dict[str, str]:
        found: dict[str, object] = option(self._stack, name, dict, {})
        for key, value in found.items():
            if not isinstance(value, str):
                self.refuse(f"has {value!r} in `{name}.{key}`, which is no text", f'{key} = "{value}"')
        return {key: str(value) for key, value in found.items()}

    def tables(self, name: str) -> tuple[Mapping[str, Any], ...]:
        found: list[object] = option(self._stack, name, list, [])
        tables = tuple(each for each in found if isinstance(each, dict))
        if len(tables) != len(found):
            self.refuse(
                f"has in `{name}` what is no table", f'{name} = [{{ key = "gpu", operator = "Exists" }}]'
            )
        return tables

    def resources(self) -> dict[str, dict[str, str]]:
        found: dict[str, object] = option(self._stack, "resources", dict, {})
        read: dict[str, dict[str, str]] = {}
        for name, amounts in found.items():
            if name not in ("requests", "limits") or not isinstance(amounts, dict):
                self.refuse(
                    f"has `resources.{name}`, which means nothing",
                    'resources = { requests = { cpu = "2", memory = "8Gi" }, limits = { memory = "8Gi" } }',
                )
            read[name] = {key: str(amount) for key, amount in amounts.items()}
        return read

    def secrets(self) -> dict[str, tuple[str, str]]:
        read: dict[str, tuple[str, str]] = {}
        for name, value in self.texts("secrets").items():
            where = _SECRET_KEY.fullmatch(value)
            if where is None or not _VARIABLE.fullmatch(name):
                # it may be the secret itself, so it is not repeated
                self.refuse(
                    f"has in `secrets.{name}` what does not name a Secret and a key in it",
                    f'{name} = "NAME-OF-THE-SECRET/KEY", from kubectl create secret generic',
                )
            read[name] = (where["secret"], where["key"])
        return read

    def volumes(self) -> dict[str, str]:
        found = self.texts("volumes")
        for claim, path in found.items():
            if not _DNS_NAME.fullmatch(claim) or not path.startswith("/"):
                self.refuse(
                    f"has `volumes.{claim}` {path!r}, which is no claim with the path to mount it at",
                    'volumes = { name-of-the-claim = "/data" }',
                )
        return found
