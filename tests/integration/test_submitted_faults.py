"""Submitted runs where several answer at once, and where the home is on a network file system."""

from __future__ import annotations

import json
import os
import signal
import sqlite3
import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import nbformat
import pytest

from kitaru_nb.journal import connection
from kitaru_nb.model.execution import ExecutionStatus
from kitaru_nb.model.settings import JOURNAL_FILE
from kitaru_nb.model.stack import Stack
from kitaru_nb.stacks.outcome import Exit
from kitaru_nb.stacks.settings import resolve
from kitaru_nb.testing.launcher_suite import Bench
from tests import slurm_cluster
from tests.integration.headless import Finished, finished, start
from tests.postgres_server import PostgresServer
from tests.served import quoted, started
from tests.slurm_cluster import SlurmCluster

_TEAM = """
use = "team"

[stacks.team]
store = "values"
journal = "{journal}"
signing_key = "secret:env:TEAM_SIGNING_KEY"
"""

# A command that has loaded all it needs before it may begin, so that several begin at the same time.
_GATED = """
import pathlib, sys, time
import kitaru_nb.cli.waits, kitaru_nb.stacks.reconcile
from kitaru_nb.cli.main import main
print("ready", flush=True)
while not pathlib.Path(sys.argv[1]).exists():
    time.sleep(0.001)
sys.exit(main(sys.argv[2:]))
"""

# The seam through which a journal learns what it is on, in every Python that is started.
_ON_NFS = """
from kitaru_nb.journal import mounts
mounts.file_system = lambda path: "nfs4"
"""


# Workers on two machines: what a process takes for the name of its own.
_ON_A_MACHINE = """
import os, socket
if "TEST_MACHINE" in os.environ:
    socket.gethostname = lambda: os.environ["TEST_MACHINE"]
"""


def test_of_two_workers_that_a_partition_lets_run_one_execution_the_fenced_one_commits_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first is stopped until its lease is over, and its kernel computes on as beyond a partition."""
    _seam(tmp_path, _ON_A_MACHINE, monkeypatch)
    monkeypatch.setenv("TEST_MACHINE", "one")
    folder = tmp_path / "work"
    folder.mkdir()
    bench = Bench(folder, resolve(place=Stack("here", settings={"lease": "3s", "heartbeat": "1s"})))
    with closing(bench.engine):
        notebook = bench.notebook("tick('a')", f"{bench.endless}\ntick('over')", "tick('b')")
        first = bench.submit(notebook)
        bench.until(lambda: "endless" in bench.ticks(), "the endless cell")

        parted = bench.engine.journal.attempts(first.execution)[-1].owner.pid
        with _stopped(parted):
            bench.until(
                lambda: bench.execution(first.execution).status is ExecutionStatus.INTERRUPTED,
                "the end of its lease",
            )
            monkeypatch.setenv("TEST_MACHINE", "two")
            second = bench.submit(notebook)
            bench.until(lambda: bench.ticks().count("endless") == 2, "the same cell in two kernels")
            bench.go.touch()
            bench.until(lambda: bench.ticks().count("over") == 2, "the end of both")
            outcome = bench.follow(second)
        bench.over(first.handle)

        assert outcome.exit is Exit.COMPLETED, outcome
        assert f"kitaru: superseded execution={first.execution}" in bench.launcher.logs(first.handle).decode()
        recorded = bench.engine.journal.checkpoints(first.execution)
        steps = [[each.draft.step for each in recorded if each.epoch == epoch] for epoch in (1, 2)]
        assert steps == [["cell:c0", "cell:c1"], ["cell:c0", "cell:c1", "cell:c2", "cell:c3"]]
        assert sorted(bench.ticks()) == ["a", "b", "endless", "endless", "over", "over"]


@contextmanager
def _stopped(pid: int) -> Iterator[None]:
    os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(pid, signal.SIGCONT)


def _seam(folder: Path, text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Have each Python that is started begin with `text`."""
    (folder / "seam").mkdir()
    (folder / "seam" / "sitecustomize.py").write_text(text)
    monkeypatch.setenv(
        "PYTHONPATH", os.pathsep.join([str(folder / "seam"), os.environ.get("PYTHONPATH", "")])
    )


def test_of_three_answers_from_three_places_at_once_one_counts_and_the_run_goes_on_once(
    tmp_path: Path, postgres_server: PostgresServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two terminals and a browser, each with a home of its own."""
    monkeypatch.setenv("TEAM_SIGNING_KEY", "a-key-that-only-these-tests-sign-with")
    folder = tmp_path / "work"
    folder.mkdir()
    name = f"w{uuid.uuid4().hex[:12]}"
    (folder / "kitaru_nb.toml").write_text(_TEAM.format(journal=postgres_server.schema(name)))
    monkeypatch.chdir(folder)
    bench = Bench(folder, resolve())
    ask = "import kitaru_nb as kt\nwhich = kt.wait('Which?', schema=int, name='which')"
    gate, places = tmp_path / "gate", [{"KITARU_NB_HOME": str(tmp_path / each)} for each in "abc"]

    with closing(bench.engine), started(folder, env=places[0]) as browser, ThreadPoolExecutor(1) as threads:
        submitted = bench.submit(bench.notebook("tick('a')", ask, "tick('b'); which"))
        assert bench.follow(submitted).exit is Exit.WAITING
        address = f"{submitted.execution}/which"
        gated = [
            start(["-c", _GATED, str(gate), "answer", address, "--value", value, "--json"], folder, place)
            for value, place in zip("12", places[1:], strict=True)
        ]
        for each in gated:
            assert each.stdout is not None
            assert each.stdout.readline() == "ready\n"
        gate.touch()
        clicked = threads.submit(browser.post, f"waits/{quoted(address)}/answer", {"answer": 3})
        typed = [finished(each) for each in gated]
        outcome = bench.follow(submitted)

        answers = [_answer_of(each) for each in typed]
        answers.append(clicked.result().json())
        given = [each["answer"] for each in answers if "answer" in each]
        assert len(given) == 1, answers
        refused = [each["error"] for each in answers if "error" in each]
        assert [each["kind"] for each in refused] == ["already-answered"] * 2
        assert all(str(given[0]) in each["message"] for each in refused), refused
        assert outcome.exit is Exit.COMPLETED, outcome
        assert bench.execution(submitted.execution).attempts == 2
        assert bench.ticks() == ["a", "b"]
        shown = nbformat.read(folder / "work.out.ipynb", as_version=4).cells[-1]
        assert shown.outputs[0]["data"]["text/plain"] == str(given[0])


def _answer_of(done: Finished) -> Any:
    return json.loads(done.stdout)


@pytest.fixture(scope="module")
def slurm() -> Iterator[SlurmCluster]:
    """A real cluster, started when the first test asks for it."""
    with slurm_cluster.started() as cluster:
        yield cluster


def test_a_home_on_nfs_holds_no_write_ahead_log_while_a_worker_of_slurm_dies_and_another_goes_on(
    tmp_path: Path, slurm: SlurmCluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The home of a cluster is seldom a local disk: submitter, worker and kernel all have to know."""
    _seam(tmp_path, _ON_NFS, monkeypatch)
    monkeypatch.setenv("SLURM_CONF", str(slurm.conf))
    monkeypatch.setattr(connection, "file_system", lambda path: "nfs4")
    folder = tmp_path / "work"
    folder.mkdir()
    bench = Bench(folder, resolve(place=Stack("cluster", launcher="slurm")))
    journal = bench.settings.home / JOURNAL_FILE
    log = journal.with_name(f"{JOURNAL_FILE}-wal")

    with closing(bench.engine):
        submitted = bench.submit(bench.notebook("tick('a')", bench.endless, "tick('b')"))
        bench.until(lambda: "endless" in bench.ticks(), "the endless cell")
        assert not log.exists(), "worker and kernel have the journal open"
        os.kill(bench.engine.journal.attempts(submitted.execution)[-1].owner.pid, signal.SIGKILL)
        bench.until(
            lambda: bench.execution(submitted.execution).status is ExecutionStatus.INTERRUPTED, "the death"
        )
        bench.go.touch()
        outcome = bench.follow(submitted)
        bench.over(submitted.handle)

        assert outcome.exit is Exit.COMPLETED, outcome
        assert bench.ticks() == ["a", "endless", "endless", "b"]
        assert not log.exists()
        with closing(sqlite3.connect(journal)) as raw:
            assert raw.execute("PRAGMA journal_mode").fetchone()[0] == "delete"
    slurm.clear()
