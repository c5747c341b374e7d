"""Stands in for a kubelet: runs the pods of a real API server as processes of this machine.

For an API server, controller manager and scheduler that have no node to run anything on: ``python -m
tests.kubernetes.node``, with KUBECONFIG naming the cluster. It registers a node, starts what is scheduled
to it without any image, says how it goes in the pods' status, ends what is deleted as a kubelet does and
serves logs to the API server. Volumes are not mounted: a path is this machine's own.
"""

from __future__ import annotations

import base64
import http.server
import os
import signal
import ssl
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from kubernetes import client, config

NAME = "stand-in"
_LOOK = 0.2
_HEARTBEAT = 10.0


class Pod:
    """One pod that was begun, and its only container's process."""

    def __init__(self, spec: Any, env: dict[str, str], folder: Path) -> None:
        self.log = folder / f"{spec.metadata.namespace}_{spec.metadata.name}.log"
        container = spec.spec.containers[0]
        self.container, self.image = container.name, container.image
        self.began, self.killed_at = datetime.now(UTC), 0.0
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                [*(container.command or ()), *(container.args or ())],
                env={"PATH": os.environ["PATH"], "HOME": str(folder), **env},
                cwd=container.working_dir,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    def status(self) -> dict[str, Any]:
        code = self.process.poll()
        if code is None:
            phase, state = "Running", {"running": {"startedAt": _text(self.began)}}
        else:
            code = code if code >= 0 else 128 - code
            phase = "Failed" if code else "Succeeded"
            reason = "Error" if code else "Completed"
            told = {"exitCode": code, "reason": reason, "startedAt": _text(self.began)}
            state = {"terminated": {**told, "finishedAt": _text(datetime.now(UTC))}}
        container = {"name": self.container, "image": self.image, "imageID": "", "ready": code is None}
        return {
            "phase": phase,
            "startTime": _text(self.began),
            "hostIP": "127.0.0.1",
            "conditions": [{"type": "Ready", "status": "True"}] if code is None else [],
            "containerStatuses": [{**container, "restartCount": 0, "state": state}],
        }


class Node:
    """The node, and all pods that were scheduled to it."""

    def __init__(self, folder: Path) -> None:
        config.load_kube_config()
        self._core = client.CoreV1Api()
        self._folder = folder
        self._pods: dict[tuple[str, str], Pod] = {}
        self._said: dict[tuple[str, str], str] = {}
        self._seen = 0.0
        self._port = _serve_logs(folder)

    def run(self) -> None:
        while True:
            if time.monotonic() - self._seen > _HEARTBEAT:
                self._beat()
            for pod in self._core.list_pod_for_all_namespaces(field_selector=f"spec.nodeName={NAME}").items:
                self._look(pod)
            time.sleep(_LOOK)

    def _look(self, pod: Any) -> None:
        where = (pod.metadata.namespace, pod.metadata.name)
        known = self._pods.get(where)
        if known is None and pod.metadata.deletion_timestamp is None and pod.status.phase == "Pending":
            known = self._pods[where] = Pod(pod, dict(self._env(pod)), self._folder)
        if pod.metadata.deletion_timestamp is not None and (known is None or self._ended(known, pod)):
            self._core.delete_namespaced_pod(where[1], where[0], grace_period_seconds=0)
            self._pods.pop(where, None)
            return
        if known is not None and self._said.get(where) != (status := known.status())["phase"]:
            self._core.patch_namespaced_pod_status(where[1], where[0], {"status": status})
            self._said[where] = status["phase"]

    def _ended(self, known: Pod, pod: Any) -> bool:
        if known.process.poll() is not None:
            return True
        if not known.killed_at:
            known.process.terminate()
            known.killed_at = time.monotonic() + pod.metadata.deletion_grace_period_seconds
        elif time.monotonic() > known.killed_at:
            os.killpg(known.process.pid, signal.SIGKILL)
        return False

    def _env(self, pod: Any) -> Iterator[tuple[str, str]]:
        for each in pod.spec.containers[0].env_from or ():
            yield from self._secret(each.secret_ref.name, pod).items()
        for each in pod.spec.containers[0].env or ():
            if each.value_from is None:
                yield each.name, each.value or ""
            else:
                told = each.value_from.secret_key_ref
                yield each.name, self._secret(told.name, pod)[told.key]

    def _secret(self, name: str, pod: Any) -> dict[str, str]:
        found = self._core.read_namespaced_secret(name, pod.metadata.namespace)
        return {key: base64.b64decode(value).decode() for key, value in (found.data or {}).items()}

    def _beat(self) -> None:
        if not self._seen:
            told = {"metadata": {"name": NAME, "labels": {"kubernetes.io/hostname": NAME}}}
            if NAME not in [each.metadata.name for each in self._core.list_node().items]:
                self._core.create_node(told)
        now = _text(datetime.now(UTC))
        ready = {"type": "Ready", "status": "True", "reason": "StandIn", "message": "it runs"}
        amounts = {"cpu": "64", "memory": "64Gi", "pods": "110"}
        status = {
            "conditions": [{**ready, "lastHeartbeatTime": now, "lastTransitionTime": now}],
            "addresses": [{"type": "InternalIP", "address": "127.0.0.1"}],
            "daemonEndpoints": {"kubeletEndpoint": {"Port": self._port}},
            "capacity": amounts,
            "allocatable": amounts,
        }
        self._core.patch_node_status(NAME, {"status": status})
        self._seen = time.monotonic()


def _serve_logs(folder: Path) -> int:
    class Logs(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            _, _, namespace, pod, _ = self.path.partition("?")[0].split("/")
            log = folder / f"{namespace}_{pod}.log"
            self.send_response(200 if log.exists() else 404)
            self.end_headers()
            self.wfile.write(log.read_bytes() if log.exists() else b"")

        def log_message(self, *_: object) -> None:
            """Nothing: the pods' output is what matters."""

    certificate = folder / "node.pem"
    subprocess.run(
        [
            *("openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2"),
            *("-subj", f"/CN={NAME}", "-keyout", certificate.with_suffix(".key"), "-out", certificate),
        ],
        check=True,
        capture_output=True,
    )
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, certificate.with_suffix(".key"))
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Logs)
    server.socket = context.wrap_socket(server.socket, server_side=True)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return int(server.server_address[1])


def _text(moment: datetime) -> str:
    return moment.strftime("%Y-%m-%dT%H:%M:%SZ")


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as _folder:
        sys.exit(Node(Path(_folder)).run())
