"""The few calls to a cluster that a launcher makes, in bounded time; errors say what to type."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import urllib3
from kubernetes import client, config
from kubernetes.client.exceptions import ApiException
from kubernetes.config.config_exception import ConfigException
from urllib3.exceptions import ConnectTimeoutError, HTTPError, NewConnectionError, SSLError
from urllib3.exceptions import TimeoutError as TimedOut

from kitaru_nb.errors import StackError
from kitaru_nb.stacks.kubernetes_job import CONTAINER

__all__ = ["Cluster"]

_TIMEOUT = (5.0, 15.0)  # seconds to connect, and for an answer
_NEVER_SENT = (ConnectTimeoutError, NewConnectionError, SSLError)
_DENIED = {401, 403}
_OWN_NAMESPACE = Path("/var/run/secrets/kubernetes.io/serviceaccount/namespace")


class Cluster:
    """One namespace of one cluster.

    Args:
        context: Which of the user's clusters; None for the current one.
        namespace: Which namespace; None for that of the context.

    Raises:
        StackError: kind ``stack-unreachable``: no cluster is configured.
    """

    def __init__(self, context: str | None, namespace: str | None) -> None:
        settings = client.Configuration()
        try:
            # named here, since the client looks at the variable only when it is imported
            file = os.environ.get("KUBECONFIG") or None
            config.load_kube_config(
                config_file=file, context=context, client_configuration=settings, persist_config=False
            )
            chosen = _context(file, context)
        except (ConfigException, OSError) as error:
            settings, chosen = _inside(error)
        settings.retries = False
        if not settings.verify_ssl:
            # that is the kubeconfig's word; as kubectl, do not repeat it with each request
            urllib3.disable_warnings(urllib3.exceptions.InsecureRequestWarning)
        self.namespace = namespace or chosen
        self.host = str(settings.host)
        api = client.ApiClient(settings)
        self._batch = client.BatchV1Api(api)
        self._core = client.CoreV1Api(api)

    def create(self, job: Mapping[str, Any]) -> None:
        """Make a Job. One that may have been made although no answer came counts as made.

        Raises:
            StackError: kind ``not-submitted`` or ``stack-unreachable``.
        """
        try:
            self._batch.create_namespaced_job(
                self.namespace, job, _preload_content=False, _request_timeout=_TIMEOUT
            )
        except ApiException as error:
            raise self._refused(error, "create jobs", kind="not-submitted") from error
        except HTTPError as error:
            if isinstance(error, _NEVER_SENT):
                raise self._silent(error) from error
            # It was sent, so it may have been taken: what is begun must not be reported as refused.
            # `poll` finds the Job, or says that there is none.

    def job(self, name: str, namespace: str) -> Mapping[str, Any] | None:
        """A Job; None where there is none of that name."""
        found: Mapping[str, Any] | None = self._asked(
            "get jobs",
            lambda: self._batch.read_namespaced_job(
                name, namespace, _preload_content=False, _request_timeout=_TIMEOUT
            ),
        )
        return found

    def pods(self, job: str, namespace: str) -> list[Mapping[str, Any]]:
        """The pods of a Job, also of one that is gone."""
        found = self._asked(
            "list pods",
            lambda: self._core.list_namespaced_pod(
                namespace,
                label_selector=f"job-name={job}",
                _preload_content=False,
                _request_timeout=_TIMEOUT,
            ),
        )
        return [] if found is None else list(found["items"])

    def log(self, pod: str, namespace: str) -> bytes:
        """What a pod's worker has printed; nothing where it has not begun, or is gone."""
        try:
            response = self._core.read_namespaced_pod_log(
                pod, namespace, container=CONTAINER, _preload_content=False, _request_timeout=_TIMEOUT
            )
            return bytes(response.data)
        except ApiException as error:
            if error.status in (400, 404):
                return b""
            raise self._refused(error, "get pods/log", kind="stack-refused") from error
        except HTTPError as error:
            raise self._silent(error) from error

    def delete(self, name: str, namespace: str) -> None:
        """Delete a Job and its pods, which get SIGTERM first; nothing where there is none of that name."""
        self._asked(
            "delete jobs",
            lambda: self._batch.delete_namespaced_job(
                name,
                namespace,
                propagation_policy="Background",
                _preload_content=False,
                _request_timeout=_TIMEOUT,
            ),
        )

    def _asked(self, verb: str, call: Callable[[], Any]) -> Any:
        try:
            return json.loads(call().data)
        except ApiException as error:
            if error.status == 404:
                return None
            raise self._refused(error, verb, kind="stack-refused") from error
        except HTTPError as error:
            raise self._silent(error) from error

    def _refused(self, error: ApiException, verb: str, *, kind: str) -> StackError:
        said = _message(error)
        where = f"the cluster at {self.host}"
        if error.status in _DENIED and "quota" not in said:
            return StackError(
                f"{where} does not let you {verb} in namespace `{self.namespace}`: {said}",
                kind=kind,
                hint=f"kubectl auth can-i {verb} -n {self.namespace}, and see which role the docs name",
            )
        if error.status == 404:
            hint = f"kubectl create namespace {self.namespace}, or namespace = … in the stack's launcher"
            return StackError(f"{where} has no namespace `{self.namespace}`: {said}", kind=kind, hint=hint)
        if error.status == 429 or int(error.status or 0) >= 500:
            return StackError(
                f"{where} cannot answer now: {error.status} {said}",
                kind="stack-unreachable",
                hint="the same command again, in a while",
            )
        return StackError(
            f"{where} refuses: {said}", kind=kind, hint="mend what it names in the stack's launcher"
        )

    def _silent(self, error: HTTPError) -> StackError:
        why = "it took too long" if isinstance(error, TimedOut) else str(error)
        return StackError(
            f"the cluster at {self.host} does not answer: {why}",
            kind="stack-unreachable",
            hint="kubectl version tells whether it can be reached from here; then the same command again",
        )


def _context(file: str | None, name: str | None) -> str:
    """The namespace of a context."""
    contexts, active = config.list_kube_config_contexts(config_file=file)
    chosen = active if name is None else next(each for each in contexts if each["name"] == name)
    return str(chosen["context"].get("namespace") or "default")


def _inside(error: Exception) -> tuple[Any, str]:
    """What a pod knows of the cluster that it runs in."""
    settings = client.Configuration()
    try:
        config.load_incluster_config(client_configuration=settings)
        return settings, _OWN_NAMESPACE.read_text().strip()
    except (ConfigException, OSError):
        raise StackError(
            f"no Kubernetes cluster is configured: {error}",
            kind="stack-unreachable",
            hint="kubectl config get-contexts shows which there are; export KUBECONFIG=… names their file",
        ) from error


def _message(error: ApiException) -> str:
    try:
        return str(json.loads(error.body)["message"])
    except (TypeError, ValueError, KeyError):
        return str(error.reason or error.status)
