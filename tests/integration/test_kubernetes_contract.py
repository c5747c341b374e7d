"""What the launcher says to a cluster's API, and what it makes of the answers, on the wire.

``kubernetes_answers.json`` holds what a real API server answered to the same requests, as
`tests.kubernetes.record` wrote it down; what that could not be brought to say has the same shapes.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from datetime import datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from kitaru_nb.errors import StackError
from kitaru_nb.model.execution import ExecutionId
from kitaru_nb.model.stack import Stack
from kitaru_nb.stacks import kubernetes_api, kubernetes_launcher
from kitaru_nb.stacks.kubernetes_launcher import KubernetesLauncher
from kitaru_nb.stacks.launcher import Handle, JobState, JobStatus, RunSpec
from kitaru_nb.stacks.settings import resolve

SPEC = RunSpec(
    ExecutionId("ex_01kb0000000000000000000000"), ["-m", "kitaru_nb.stacks", "submitted"], {"A": "1"}
)
NAME = "kitaru-nb-ex-01kb0000000000000000000000-0123abcd"
HANDLE = Handle(f"team/{NAME}")
JOBS = "/apis/batch/v1/namespaces/team/jobs"
PODS = "/api/v1/namespaces/team/pods"

Answer = tuple[int, Any]

RECORDED = json.loads(Path(__file__).with_name("kubernetes_answers.json").read_text())["answers"]


def recorded(name: str) -> Answer:
    """What a real API server has answered."""
    body = RECORDED[name]["body"]
    return RECORDED[name]["status"], body.encode() if isinstance(body, str) else body


def status(code: int, reason: str, message: str) -> Answer:
    """A refusal, as every part of the API words it."""
    told = {"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure"}
    return code, {**told, "message": message, "reason": reason, "code": code}


def job(**told: Any) -> Answer:
    spec = {"parallelism": 1, "completions": 1, "backoffLimit": 0, "template": {"spec": {"containers": []}}}
    metadata = {"name": NAME, "namespace": "team", "uid": "7", "creationTimestamp": "2026-03-01T11:00:00Z"}
    return 200, {"kind": "Job", "apiVersion": "batch/v1", "metadata": metadata, "spec": spec, "status": told}


def pods(*phases: str) -> Answer:
    items = [
        {
            "metadata": {
                "name": f"{NAME}-{i}",
                "namespace": "team",
                "creationTimestamp": f"2026-03-01T11:00:0{9 - i}Z",
            },
            "spec": {"nodeName": "node1", "containers": []},
            "status": {"phase": phase},
        }
        for i, phase in enumerate(phases)
    ]
    return 200, {"kind": "PodList", "apiVersion": "v1", "metadata": {"resourceVersion": "9"}, "items": items}


GONE = status(404, "NotFound", f'jobs.batch "{NAME}" not found')


class Api:
    """An API server that answers from a table, and keeps what it was asked."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, str, dict[str, list[str]], Any]] = []
        self.answers: dict[tuple[str, str], Answer | Callable[[], Answer]] = {}
        api = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                parts = urlsplit(self.path)
                length = int(self.headers.get("Content-Length") or 0)
                body = json.loads(self.rfile.read(length)) if length else None
                api.asked.append((self.command, parts.path, parse_qs(parts.query), body))
                assert self.headers["Authorization"] == "Bearer a-token"
                found = api.answers.get((self.command, parts.path), GONE)
                answer = found() if callable(found) else found
                if answer[0] == 0:
                    self.close_connection = True  # as where the network is cut after the request
                    return
                plain = isinstance(answer[1], bytes)
                self.send_response(answer[0])
                self.send_header("Content-Type", "text/plain" if plain else "application/json")
                self.end_headers()
                self.wfile.write(answer[1] if plain else json.dumps(answer[1]).encode())

            do_POST = do_DELETE = do_GET  # noqa: N815 - what the server calls them

            def log_message(self, *_: object) -> None:
                """Nothing."""

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()


@pytest.fixture
def api(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Api]:
    api = Api()
    context = {"name": "here", "context": {"cluster": "c", "user": "u", "namespace": "team"}}
    told = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": "c", "cluster": {"server": api.url}}],
        "users": [{"name": "u", "user": {"token": "a-token"}}],
        "contexts": [context],
        "current-context": "here",
    }
    (tmp_path / "kubeconfig").write_text(json.dumps(told))
    monkeypatch.setenv("KUBECONFIG", str(tmp_path / "kubeconfig"))
    yield api
    api.server.shutdown()
    api.server.server_close()


def launcher(**options: Any) -> KubernetesLauncher:
    told = {"image": "registry.example/notebooks:1", **options}
    return KubernetesLauncher(Stack("prod", launcher="kubernetes", launcher_options=told), resolve())


def test_to_submit_is_to_make_one_job(api: Api) -> None:
    api.answers["POST", JOBS] = recorded("fails: create")

    handle = launcher(secrets={"OPENAI_API_KEY": "model-keys/openai"}).submit(SPEC)

    [(verb, path, _, body)] = api.asked
    assert (verb, path) == ("POST", JOBS)
    assert handle == f"team/{body['metadata']['name']}"
    assert body["metadata"]["name"].startswith("kitaru-nb-ex-01kb0000000000000000000000-")
    assert body["spec"]["template"]["spec"]["containers"][0]["command"] == [
        "python",
        "-m",
        "kitaru_nb.stacks",
        "submitted",
    ]
    [key, told] = body["spec"]["template"]["spec"]["containers"][0]["env"]
    assert key["valueFrom"] == {"secretKeyRef": {"name": "model-keys", "key": "openai"}}
    assert told == {"name": "A", "value": "1"}


def test_to_poll_is_to_ask_for_the_job_and_its_pods(api: Api) -> None:
    api.answers["GET", f"{JOBS}/{NAME}"] = job(active=1, startTime="2026-03-01T11:00:00Z")
    api.answers["GET", PODS] = pods("Running")

    assert launcher().poll(HANDLE) == JobState(JobStatus.RUNNING, reason="on node1")

    assert [each[:3] for each in api.asked] == [
        ("GET", f"{JOBS}/{NAME}", {}),
        ("GET", PODS, {"labelSelector": [f"job-name={NAME}"]}),
    ]


@pytest.mark.parametrize(
    ("scene", "state"),
    [
        ("running", JobState(JobStatus.RUNNING, reason="on stand-in")),
        ("failed", JobState(JobStatus.EXITED, code=3)),
        ("completed", JobState(JobStatus.EXITED, code=0)),
        (
            "unschedulable",
            JobState(
                JobStatus.QUEUED,
                reason="Unschedulable: 0/1 nodes are available: 1 node(s) didn't match Pod's node affinity.",
            ),
        ),
        ("ends", JobState(JobStatus.RUNNING, reason="is being ended")),
        ("gone", JobState(JobStatus.LOST, reason="the cluster has no Job of that name any more")),
    ],
)
def test_what_a_real_cluster_has_answered_is_understood(
    api: Api, monkeypatch: pytest.MonkeyPatch, scene: str, state: JobState
) -> None:
    api.answers["GET", f"{JOBS}/{NAME}"] = recorded(f"{scene}: job")
    api.answers["GET", PODS] = recorded(f"{scene}: pods")
    at = RECORDED[f"{scene}: pods"]["body"]["items"]
    leaves = at[0]["metadata"].get("deletionTimestamp") if at else None
    if leaves is not None:  # one that ends is looked at while it does
        monkeypatch.setattr(kubernetes_launcher, "_now", lambda: datetime.fromisoformat(leaves))

    assert launcher().poll(HANDLE) == state


def test_what_pods_printed_is_one_text_the_oldest_first(api: Api) -> None:
    api.answers["GET", PODS] = pods("Running", "Failed")
    api.answers["GET", f"{PODS}/{NAME}-0/log"] = (200, b"second \xff\n")
    api.answers["GET", f"{PODS}/{NAME}-1/log"] = (200, b"first\n")

    assert launcher().logs(HANDLE) == b"first\nsecond \xff\n"
    assert launcher().logs(HANDLE, offset=8) == b"cond \xff\n"
    assert api.asked[1][2] == {"container": ["worker"]}


def test_one_that_has_not_begun_has_printed_nothing(api: Api) -> None:
    api.answers["GET", PODS] = pods("Pending", "Pending")
    api.answers["GET", f"{PODS}/{NAME}-1/log"] = recorded("unschedulable: log")
    waiting = 'container "worker" in pod "x" is waiting to start: ContainerCreating'
    api.answers["GET", f"{PODS}/{NAME}-0/log"] = status(400, "BadRequest", waiting)

    assert launcher().logs(HANDLE) == b""


def test_to_cancel_is_to_delete_the_job_and_have_its_pod_end(api: Api) -> None:
    api.answers["GET", f"{JOBS}/{NAME}"] = recorded("runs: job")
    api.answers["GET", PODS] = recorded("runs: pods")
    api.answers["DELETE", f"{JOBS}/{NAME}"] = recorded("ends: delete")

    launcher().cancel(HANDLE)

    verb, path, query, _ = api.asked[-1]
    assert (verb, path, query) == ("DELETE", f"{JOBS}/{NAME}", {"propagationPolicy": ["Background"]})


def test_one_that_is_over_stays_so_with_its_log(api: Api) -> None:
    api.answers["GET", f"{JOBS}/{NAME}"] = recorded("completed: job")
    api.answers["GET", PODS] = recorded("completed: pods")

    launcher().cancel(HANDLE)

    assert "DELETE" not in [verb for verb, *_ in api.asked]


@pytest.mark.parametrize(
    ("answer", "kind", "said", "hint"),
    [
        (
            recorded("forbidden: create"),
            "not-submitted",
            "does not let you create jobs in namespace `team`",
            "kubectl auth can-i create jobs -n team",
        ),
        (
            status(403, "Forbidden", 'jobs.batch "x" is forbidden: exceeded quota: compute'),
            "not-submitted",
            "refuses: jobs.batch .* exceeded quota",
            "mend",
        ),
        (recorded("unknown: create"), "not-submitted", "does not let you", "kubectl"),
        (
            recorded("nowhere: create"),
            "not-submitted",
            "has no namespace `team`",
            "kubectl create namespace team",
        ),
        (
            recorded("empty: create"),
            "not-submitted",
            "refuses: Job.batch .* is invalid: .*containers: Required value",
            "mend",
        ),
        (recorded("invalid: create"), "not-submitted", "refuses: Job in version .* quantities must", "mend"),
        (
            status(409, "AlreadyExists", 'jobs.batch "x" already exists'),
            "not-submitted",
            "refuses: jobs.batch .* already exists",
            "mend",
        ),
        (status(503, "ServiceUnavailable", "etcd leader changed"), "stack-unreachable", "503 etcd", "again"),
        ((502, b"<html>bad gateway</html>"), "stack-unreachable", "502", "again"),
    ],
)
def test_a_refusal_says_what_to_type(api: Api, answer: Answer, kind: str, said: str, hint: str) -> None:
    api.answers["POST", JOBS] = answer

    with pytest.raises(StackError, match=said) as refused:
        launcher().submit(SPEC)

    assert refused.value.kind == kind
    assert hint in refused.value.hint


def test_who_may_not_look_is_told_so(api: Api) -> None:
    api.answers["GET", f"{JOBS}/{NAME}"] = status(403, "Forbidden", "jobs.batch is forbidden")

    with pytest.raises(StackError, match="does not let you get jobs") as refused:
        launcher().poll(HANDLE)

    assert refused.value.kind == "stack-refused"


def test_a_job_that_may_have_been_made_is_never_reported_as_refused(api: Api) -> None:
    api.answers["POST", JOBS] = (0, None)

    handle = launcher().submit(SPEC)

    assert handle.startswith("team/kitaru-nb-")
    assert [verb for verb, *_ in api.asked] == ["POST"], "sent once"


def test_a_cluster_that_is_not_there_or_hangs_is_given_up(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kubernetes_api, "_TIMEOUT", (0.5, 0.5))
    release = threading.Event()
    api.answers["GET", f"{JOBS}/{NAME}"] = lambda: (release.wait(30), GONE)[1]

    with pytest.raises(StackError, match="does not answer: it took too long") as hung:
        launcher().poll(HANDLE)
    release.set()
    api.server.shutdown()
    api.server.server_close()
    with pytest.raises(StackError, match="does not answer") as gone:
        launcher().submit(SPEC)

    assert hung.value.kind == gone.value.kind == "stack-unreachable"
    assert api.url in gone.value.message


def test_where_no_cluster_is_configured_that_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KUBECONFIG", str(tmp_path / "none"))

    with pytest.raises(StackError, match="no Kubernetes cluster is configured") as refused:
        launcher().poll(HANDLE)

    assert "KUBECONFIG" in refused.value.hint


def test_a_context_that_does_not_exist_is_said(api: Api) -> None:
    with pytest.raises(StackError, match="elsewhere") as refused:
        launcher(context="elsewhere").poll(HANDLE)

    assert refused.value.kind == "stack-unreachable"


def test_a_namespace_of_the_stack_is_before_that_of_the_context(api: Api) -> None:
    api.answers["POST", "/apis/batch/v1/namespaces/other/jobs"] = (201, job()[1])

    assert launcher(namespace="other").submit(SPEC).startswith("other/")


@pytest.mark.parametrize(
    "handle", ["4711", "team/x", "a/b/c", f"../{NAME}", f"team/{NAME}?x", f"Team/{NAME}"]
)
def test_a_handle_that_is_no_job_never_becomes_a_path(api: Api, handle: str) -> None:
    with pytest.raises(StackError, match="no Job in Kubernetes") as refused:
        launcher().cancel(Handle(handle))

    assert (refused.value.kind, api.asked) == ("bad-handle", [])
