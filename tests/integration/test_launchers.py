"""Every launcher against the place it really starts things in."""

from __future__ import annotations

import getpass
import json
import os
import shlex
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, suppress
from pathlib import Path
from socket import gethostname

import nbformat
import psutil
import pytest

from kitaru_nb.errors import StackError
from kitaru_nb.model.execution import ExecutionStatus
from kitaru_nb.model.stack import Stack
from kitaru_nb.stacks.launcher import Handle, JobState, JobStatus, Launcher, launcher_of
from kitaru_nb.stacks.outcome import Exit
from kitaru_nb.stacks.reconcile import Action
from kitaru_nb.stacks.settings import resolve
from kitaru_nb.stacks.submissions import submission_of
from kitaru_nb.testing.launcher_suite import Bench, LauncherSuite
from tests import slurm_cluster, ssh_server
from tests.dask_cluster import SIGNING, DaskCluster
from tests.further import further_in
from tests.integration.headless import Finished, finished, start
from tests.slurm_cluster import SlurmCluster
from tests.ssh_server import SshServer

Benches = Callable[..., Bench]


@pytest.fixture
def bench_of(request: pytest.FixtureRequest) -> Iterator[Benches]:
    """Makes benches in folders, with options of the launcher."""
    with ExitStack() as benches:

        def make(folder: Path, **options: object) -> Bench:
            folder.mkdir(exist_ok=True)
            bench = Bench(folder, resolve(place=request.instance.stack(folder, **options)))
            benches.callback(bench.engine.close)
            benches.callback(bench.go.touch)
            return bench

        yield make


def _told_after_it_was_left(bench: Bench, launcher: str) -> None:
    """Hand a grid to a queue, let it end with nobody there, and ask for its table.

    No process of this machine looks after it, and both points are there at once though `-j` is 1.
    """
    name = bench.settings.stack
    key = 'signing_key = "secret:env:TEAM_SIGNING_KEY"' if "TEAM_SIGNING_KEY" in os.environ else ""
    (bench.folder / "kitaru_nb.toml").write_text(
        f'use = "{name}"\n[stacks.{name}]\n{key}\n[stacks.{name}.launcher]\n{launcher}\n'
    )
    notebook = bench.notebook(f"tick(f'in-{{x}}')\n{bench.endless}", "10 * x")
    words = ["-m", "kitaru_nb", "run", notebook.name, "--grid", "x=2,3"]

    left = finished(start([*words, "--detach"], bench.folder))
    bench.until(lambda: {"in-2", "in-3"} <= set(bench.ticks()), "both points at the same time")
    bench.go.touch()
    journal = bench.engine.journal
    bench.until(
        lambda: {each.status for each in journal.executions()} == {ExecutionStatus.COMPLETED}, "their ends"
    )
    told = finished(start([*words, "--json"], bench.folder))

    assert left.code == 0, left.stderr
    assert f"2 points are with stack {name}" in left.stdout
    assert [each["status"] for each in json.loads(told.stdout)] == ["completed"] * 2, told.stderr
    assert [each["attempts"] for each in json.loads(told.stdout)] == [1, 1]
    assert sorted(bench.ticks()) == ["endless", "endless", "in-2", "in-3"], "nobody pays for it again"
    shown = [
        nbformat.read(path, as_version=4).cells[-1].outputs[0]["data"]["text/plain"]
        for path in sorted(bench.folder.glob("work.x-*.out.ipynb"))
    ]
    assert shown == ["20", "30"]


# What becomes of a run whose worker and journal do it all, wherever that is: `TestLocal` proves it.
of_any_launcher = further_in(
    "test_a_cell_that_raises_is_a_failed_run",
    "test_a_failed_run_is_tried_again_by_the_worker",
    "test_a_run_that_waits_holds_nothing_and_goes_on_with_its_answer",
    "test_a_worker_that_is_asked_to_end_leaves_a_run_that_goes_on",
    "test_a_job_that_is_started_twice_runs_once",
    "test_many_are_submitted_at_once",
    "test_of_many_passes_at_once_one_submits",
    "test_a_job_that_never_begins_is_given_up_with_what_it_said",
    "test_an_unknown_job_is_lost_and_cannot_be_harmed",
)


class TestLocal(LauncherSuite):
    def stack(self, folder: Path) -> Stack:
        return Stack("here")


@pytest.fixture(scope="session")
def slurm() -> Iterator[SlurmCluster]:
    """A real cluster, started when the first test asks for it."""
    with slurm_cluster.started() as cluster:
        yield cluster


@of_any_launcher
class TestSlurm(LauncherSuite):
    @pytest.fixture(autouse=True)
    def _cluster(self, slurm: SlurmCluster, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
        monkeypatch.setenv("SLURM_CONF", str(slurm.conf))
        self.slurm = slurm
        yield
        slurm.clear()

    def stack(self, folder: Path, **options: object) -> Stack:
        return Stack("cluster", launcher="slurm", launcher_options=options)

    def test_a_job_outlives_the_daemon_of_its_node(self, bench: Bench) -> None:
        submitted = bench.submit(bench.notebook(bench.endless, "tick('b')"))
        bench.until(lambda: "endless" in bench.ticks(), "the endless cell")

        self.slurm.kill("slurmd")
        found = bench.reconcile(submitted.execution)
        bench.go.touch()

        assert found is not None
        assert (found.action, found.reason) == (Action.LEFT, "running")
        assert bench.follow(submitted).exit is Exit.COMPLETED
        assert bench.ticks() == ["endless", "b"]
        assert bench.execution(submitted.execution).attempts == 1

    def test_what_was_on_a_node_that_lost_its_power_goes_on(self, bench: Bench) -> None:
        submitted = bench.submit(bench.notebook("tick('a')", bench.endless, "tick('b')"))
        bench.until(lambda: "endless" in bench.ticks(), "the endless cell")

        self.slurm.kill("slurmd")
        self.slurm.kill_jobs()
        bench.until(
            lambda: bench.execution(submitted.execution).status is ExecutionStatus.INTERRUPTED, "the death"
        )
        found = bench.reconcile(submitted.execution)

        assert found is not None
        assert (found.action, found.reason) == (Action.LEFT, "running"), "Slurm has not noticed yet"
        bench.go.touch()
        self.slurm.give_up_node()
        self.slurm.start_node()
        assert bench.follow(submitted).exit is Exit.COMPLETED
        assert bench.ticks() == ["a", "endless", "endless", "b"]
        assert bench.launcher.poll(submitted.handle).reason == "NODE_FAIL"

    def test_while_the_controller_is_away_nothing_is_decided_and_nothing_is_lost(self, bench: Bench) -> None:
        submitted = bench.submit(bench.notebook(bench.endless, "tick('b')"))
        bench.until(lambda: "endless" in bench.ticks(), "the endless cell")
        self.slurm.kill("slurmctld")

        with pytest.raises(StackError, match="does not answer") as away:
            bench.submit(bench.notebook("1", name="other"))
        found = bench.reconcile(submitted.execution)

        assert (away.value.kind, away.value.hint) == ("stack-unreachable", "scontrol ping, until it says UP")
        assert found is not None
        assert found.action is Action.UNREACHABLE
        bench.go.touch()
        self.slurm.start_controller()
        assert bench.follow(submitted).exit is Exit.COMPLETED
        assert bench.ticks() == ["endless", "b"]
        assert bench.execution(submitted.execution).attempts == 1

    @pytest.mark.further
    def test_the_command_line_runs_stops_replays_and_varies_there(self, bench: Bench) -> None:
        """As a person does it: Ctrl-C ends a run until it is asked for again."""
        stacks = 'use = "cluster"\n[stacks.cluster]\nlauncher = "slurm"\n'
        (bench.folder / "kitaru_nb.toml").write_text(stacks)
        notebook = bench.notebook("x = 1", bench.endless, "y = 10 * x; y")

        def typed(*words: str) -> Finished:
            return finished(start(["-m", "kitaru_nb", *words], bench.folder))

        running = start(["-m", "kitaru_nb", "run", notebook.name], bench.folder)
        bench.until(lambda: "endless" in bench.ticks(), "the endless cell")
        running.send_signal(signal.SIGINT)
        assert finished(running).code == 130
        (left,) = json.loads(typed("reconcile", "--json").stdout)
        assert (left["action"], left["reason"]) == ("left", "was stopped")

        bench.go.touch()
        again = typed("run", notebook.name, "--json")
        assert again.code == 0, again.stderr
        assert json.loads(again.stdout)["id"] == left["execution"]
        assert bench.ticks() == ["endless", "endless"]
        replayed = typed("replay", "latest", "--from", "y", "--set", "x=5", "-o", "replayed.ipynb", "--json")
        assert replayed.code == 0, replayed.stderr
        shown = nbformat.read(bench.folder / "replayed.ipynb", as_version=4).cells[-1]
        assert shown.outputs[0]["data"]["text/plain"] == "50"
        varied = typed("run", notebook.name, "--grid", "x=2,3", "-j", "2", "--json")
        assert [each["status"] for each in json.loads(varied.stdout)] == ["completed"] * 2, varied.stderr
        journal = bench.engine.journal
        workers = {journal.attempts(each.id)[-1].owner.pid for each in journal.executions()}
        assert len(workers) == 4, "each in a worker of its own"

    @pytest.mark.further
    def test_a_grid_that_is_left_is_the_queue_s_and_is_told_to_who_comes_back(self, bench: Bench) -> None:
        _told_after_it_was_left(bench, 'type = "slurm"')

    def test_a_time_limit_leaves_a_run_that_goes_on(self, tmp_path: Path, bench_of: Benches) -> None:
        """Slurm counts the limit in minutes, and may say that it comes when the worker hardly began."""
        bench = bench_of(tmp_path, time="00:01:00")
        submitted = bench.submit(bench.notebook("tick('a')", bench.endless, "tick('b')"))

        bench.over(submitted.handle)

        stopped = bench.execution(submitted.execution)
        if bench.engine.journal.attempts(submitted.execution)[-1].owner.is_queue:
            assert bench.ticks() == [], "it was ended before it took the attempt from the queue"
        else:
            assert (stopped.status, stopped.reason) == (ExecutionStatus.INTERRUPTED, "stopped by SIGTERM")
        bench.go.touch()
        assert bench.follow(submitted).exit is Exit.COMPLETED
        ticks = bench.ticks()
        assert (ticks[0], ticks[-1]) == ("a", "b")
        assert (ticks.count("a"), ticks.count("b")) == (1, 1)

    def test_a_job_that_makes_room_for_another_leaves_a_run_that_goes_on(self, bench: Bench) -> None:
        submitted = bench.submit(bench.notebook("tick('a')", bench.endless, "tick('b')"))
        bench.until(lambda: "endless" in bench.ticks(), "the endless cell")

        urgent = ["sbatch", "-p", "urgent", "--exclusive", "-o", "/dev/null", "--wrap", "true"]
        assert self.slurm.run(*urgent).returncode == 0
        bench.over(submitted.handle)

        assert bench.launcher.poll(submitted.handle).reason == "PREEMPTED"
        stopped = bench.execution(submitted.execution)
        assert (stopped.status, stopped.reason) == (ExecutionStatus.INTERRUPTED, "stopped by SIGTERM")
        bench.go.touch()
        assert bench.follow(submitted).exit is Exit.COMPLETED
        assert bench.ticks() == ["a", "endless", "endless", "b"]

    def test_what_slurm_refuses_is_told_in_its_words(self, tmp_path: Path, bench_of: Benches) -> None:
        bench = bench_of(tmp_path, partition="no; such 'partition'", arguments=["--nice=10"])

        with pytest.raises(StackError, match="Invalid partition name") as refused:
            bench.submit(bench.notebook("1"))

        assert refused.value.kind == "not-submitted"
        assert [each.status for each in bench.engine.journal.executions()] == [ExecutionStatus.INTERRUPTED]

    def test_a_job_in_the_queue_says_why_and_is_taken_out_of_it(
        self, tmp_path: Path, bench_of: Benches
    ) -> None:
        bench = bench_of(tmp_path, arguments=["--hold"])
        submitted = bench.submit(bench.notebook("tick('a')"))

        queued = bench.launcher.poll(submitted.handle)
        bench.launcher.cancel(submitted.handle)
        bench.over(submitted.handle)

        assert (queued.status, queued.reason) == (JobStatus.QUEUED, "JobHeldUser")
        assert bench.launcher.poll(submitted.handle).reason == "CANCELLED"
        assert bench.launcher.logs(submitted.handle) == b""
        assert bench.ticks() == []

    def test_setup_lines_come_first_and_any_folder_can_be_named(
        self, tmp_path: Path, bench_of: Benches
    ) -> None:
        """No text is read by a shell but the setup lines; no variable is in the script or the log."""
        logs = tmp_path / 'it\'s a 100%j "log" $HOME; folder'
        side = tmp_path / "setup.txt"
        folder = tmp_path / "it's $(touch here) work"
        bench = bench_of(
            folder,
            log_folder=str(logs),
            setup=["export KNB_TRIED=yes", f'cat "$0" > "{side}"'],
            cpus=2,
            mem="100M",
        )
        submitted = bench.submit(bench.notebook("tick('a')", "import os; os.environ['KNB_TRIED']"))

        assert bench.follow(submitted).exit is Exit.COMPLETED
        bench.over(submitted.handle)

        assert b"kitaru: completed" in bench.launcher.logs(submitted.handle)
        assert "exec " in side.read_text()
        assert "KITARU_NB_PLACE" not in side.read_text()
        assert [each.name for each in folder.iterdir() if each.name == "here"] == []
        asked = self.slurm.run("scontrol", "show", "job", submitted.handle.split()[0]).stdout
        assert "CPUs/Task=2" in asked

    def test_a_setup_line_that_fails_ends_the_job(self, tmp_path: Path, bench_of: Benches) -> None:
        bench = bench_of(tmp_path, setup=["no-such-module load cuda"])
        submitted = bench.submit(bench.notebook("tick('a')"))

        bench.over(submitted.handle)

        state = bench.launcher.poll(submitted.handle)
        assert (state.status, state.code) == (JobStatus.EXITED, 127)
        assert b"no-such-module" in bench.launcher.logs(submitted.handle)

    def test_a_log_that_cannot_be_written_is_named(self, tmp_path: Path, bench_of: Benches) -> None:
        bench = bench_of(tmp_path, log_folder=str(tmp_path / "logs"), arguments=["--hold"])
        submitted = bench.submit(bench.notebook("tick('a')"))
        (tmp_path / "logs").rmdir()
        self.slurm.run("scontrol", "release", submitted.handle.split()[0])

        bench.over(submitted.handle)

        assert "log_folder" in bench.launcher.poll(submitted.handle).reason

    def test_an_id_that_is_another_job_s_by_now_is_not_ours(self, bench: Bench) -> None:
        other = self.slurm.run(
            "sbatch", "--parsable", "-o", "/dev/null", "--wrap", "sleep 600"
        ).stdout.strip()
        handle = Handle(f"{other} ex_01m8h3kbc5pjabd3y41gx")

        bench.launcher.cancel(handle)

        assert bench.launcher.poll(handle).status is JobStatus.LOST
        assert self.slurm.run("squeue", "-h", "-j", other, "-o", "%T").stdout.strip() in (
            "PENDING",
            "RUNNING",
        )


@pytest.fixture(scope="session")
def ssh() -> Iterator[SshServer]:
    """A real server, started when the first test asks for it."""
    with ssh_server.started() as server:
        yield server


@of_any_launcher
class TestSsh(LauncherSuite):
    @pytest.fixture(autouse=True)
    def _server(self, ssh: SshServer) -> Iterator[None]:
        self.ssh = ssh
        yield
        ssh.start()

    def stack(self, folder: Path, **options: object) -> Stack:
        own = ("KITARU_NB_CONFIG", "IPYTHONDIR", "JUPYTER_CONFIG_DIR", "JUPYTER_PLATFORM_DIRS")
        told = {
            "host": f"{getpass.getuser()}@127.0.0.1:{self.ssh.port}",
            "identity_file": str(self.ssh.identity),
            "known_hosts": str(self.ssh.known_hosts),
            "folder": str(folder / 'it\'s $(a) "folder" of jobs'),
            "python": sys.executable,
            "setup": [f"export {name}={shlex.quote(os.environ[name])}" for name in own],
        }
        given = {name: value for name, value in {**told, **options}.items() if value is not None}
        return Stack("box", launcher="ssh", launcher_options=given)

    def test_a_run_outlives_the_connection_and_the_server(self, bench: Bench) -> None:
        submitted = bench.submit(bench.notebook("tick('a')", bench.endless, "tick('b')"))
        bench.until(lambda: "endless" in bench.ticks(), "the endless cell")

        self.ssh.kill()
        with pytest.raises(StackError, match="cannot be reached") as away:
            bench.launcher.poll(submitted.handle)
        found = bench.reconcile(submitted.execution)

        assert (away.value.kind, away.value.hint.partition(",")[0]) == (
            "stack-unreachable",
            f"ssh -p {self.ssh.port} {getpass.getuser()}@127.0.0.1",
        )
        assert found is not None
        assert found.action is Action.UNREACHABLE
        self.ssh.start()
        assert bench.launcher.poll(submitted.handle) == JobState(JobStatus.RUNNING)
        bench.go.touch()
        assert bench.follow(submitted).exit is Exit.COMPLETED
        bench.over(submitted.handle)
        assert bench.launcher.poll(submitted.handle) == JobState(JobStatus.EXITED, 0)
        assert bench.ticks() == ["a", "endless", "b"]

    def test_while_the_machine_is_away_nothing_is_submitted(self, bench: Bench) -> None:
        self.ssh.kill()

        with pytest.raises(StackError) as away:
            bench.submit(bench.notebook("tick('a')"))
        self.ssh.start()

        assert away.value.kind == "stack-unreachable"
        assert [each.status for each in bench.engine.journal.executions()] == [ExecutionStatus.INTERRUPTED]

    def test_a_grid_that_is_left_tells_of_each_point_that_the_machine_is_away(self, bench: Bench) -> None:
        """Not a process that nobody looks at; and the same command hands them over later."""
        self._write_stack(bench)
        notebook = bench.notebook("tick(f'in-{x}')", "10 * x")
        words = ["-m", "kitaru_nb", "run", notebook.name]
        grid = [*words, "--grid", "x=2,3,4", "-j", "2", "--detach"]
        journal = bench.engine.journal
        self.ssh.kill()

        alone = finished(start([*words, "--detach"], bench.folder))
        away = finished(start(grid, bench.folder))
        self.ssh.start()
        left = finished(start(grid, bench.folder))
        bench.until(
            lambda: sum(each.status is ExecutionStatus.COMPLETED for each in journal.executions()) == 3,
            "their ends",
        )

        assert away.code == alone.code == 1
        for number, value in enumerate((2, 3, 4), 1):
            assert (
                f"[{number}/3] x={value}: not submitted: `127.0.0.1` (stack `box`) cannot be reached"
                in away.stderr
            )
        assert f"  Try: ssh -p {self.ssh.port} {getpass.getuser()}@127.0.0.1" in away.stderr
        assert "3 were not handed over: the same command tries again" in away.stdout
        assert "in the background" not in away.stdout
        assert left.code == 0, left.stderr
        assert "3 points go on in the background, 2 at a time" in left.stdout
        assert sorted(bench.ticks()) == ["in-2", "in-3", "in-4"]

    def _write_stack(self, bench: Bench) -> None:
        """The bench's stack as a file beside the notebook, for commands."""
        options = self.stack(bench.folder).launcher_options
        told = "".join(f"{name} = {json.dumps(value)}\n" for name, value in options.items())
        (bench.folder / "kitaru_nb.toml").write_text(
            f'use = "box"\n[stacks.box]\n[stacks.box.launcher]\ntype = "ssh"\n{told}'
        )

    @pytest.mark.parametrize("known", ["another key", "no key"])
    def test_a_machine_whose_key_is_not_known_is_not_talked_to(
        self, tmp_path: Path, bench_of: Benches, known: str
    ) -> None:
        self.ssh.make_key(tmp_path / "other")
        file = tmp_path / "known_hosts"
        file.write_text(self.ssh.line(tmp_path / "other") if known == "another key" else "")
        bench = bench_of(tmp_path / "work", known_hosts=str(file))

        with pytest.raises(StackError, match=r"the key of `127\.0\.0\.1`") as refused:
            bench.submit(bench.notebook("tick('a')"))

        assert refused.value.kind == "unknown-host-key"
        assert refused.value.hint.startswith(f"ssh -o UserKnownHostsFile={file} -p {self.ssh.port} ")

    def test_no_configuration_switches_the_check_off(
        self, tmp_path: Path, bench_of: Benches, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        (tmp_path / ".ssh").mkdir()
        text = "Host *\n  UserKnownHostsFile none\n  GlobalKnownHostsFile none\n  StrictHostKeyChecking no\n"
        (tmp_path / ".ssh" / "config").write_text(text)
        monkeypatch.setenv("HOME", str(tmp_path))
        bench = bench_of(tmp_path / "work", known_hosts=None)

        with pytest.raises(StackError, match=r"is not the one in ~/\.ssh/known_hosts") as refused:
            bench.submit(bench.notebook("tick('a')"))

        assert refused.value.kind == "unknown-host-key"

    def test_a_key_that_is_not_let_in_is_named(self, tmp_path: Path, bench_of: Benches) -> None:
        self.ssh.make_key(tmp_path / "other")
        bench = bench_of(tmp_path / "work", identity_file=str(tmp_path / "other"))

        with pytest.raises(StackError, match=r"does not let `ssh .*` in") as refused:
            bench.submit(bench.notebook("1"))

        assert refused.value.kind == "stack-unreachable"

    def test_a_setup_line_that_fails_ends_the_job(self, tmp_path: Path, bench_of: Benches) -> None:
        bench = bench_of(tmp_path / "work", setup=["no-such-module load cuda"])
        submitted = bench.submit(bench.notebook("tick('a')"))

        bench.over(submitted.handle)

        assert bench.launcher.poll(submitted.handle) == JobState(JobStatus.EXITED, 127)
        assert b"no-such-module" in bench.launcher.logs(submitted.handle)

    def test_what_is_there_only_its_owner_reads(self, bench: Bench) -> None:
        submitted = bench.submit(bench.notebook("open('made.txt', 'w').close()"))
        bench.follow(submitted)
        bench.over(submitted.handle)

        (jobs,) = bench.folder.glob("* of jobs")
        (job,) = jobs.iterdir()

        assert job.name == submitted.handle
        assert [each.stat().st_mode & 0o077 for each in (job, job / "job.sh", job / "log")] == [0, 0, 0]
        assert (bench.folder / "made.txt").stat().st_mode & 0o044, "what cells write is as the user has it"


@of_any_launcher
class TestDask(LauncherSuite):
    @pytest.fixture(autouse=True)
    def _cluster(self, dask_cluster: DaskCluster, monkeypatch: pytest.MonkeyPatch) -> None:
        for name, value in SIGNING.items():
            monkeypatch.setenv(name, value)
        dask_cluster.start()
        self.cluster = dask_cluster

    def stack(self, folder: Path) -> Stack:
        options = {"scheduler": self.cluster.address}
        return Stack(
            "ours", launcher="dask", launcher_options=options, signing_key="secret:env:TEAM_SIGNING_KEY"
        )

    def test_where_a_dask_worker_is_killed_dask_has_another_go_on(self, bench: Bench) -> None:
        """Nobody follows the run: the scheduler starts the task again, and it goes on where it was."""
        submitted = bench.submit(bench.notebook("tick('a')", bench.endless, "tick('b')"))
        bench.until(lambda: "endless" in bench.ticks(), "the endless cell")
        worker = bench.engine.journal.attempts(submitted.execution)[-1].owner.pid

        self.cluster.kill_worker(self.cluster.worker_of(worker))
        bench.until(lambda: bench.ticks().count("endless") == 2, "the second try")
        bench.go.touch()
        bench.until(
            lambda: not bench.execution(submitted.execution).status.continues, "the first worker's end"
        )
        outcome = bench.follow(submitted)
        bench.over(submitted.handle)

        assert outcome.exit is Exit.COMPLETED
        assert bench.ticks() == ["a", "endless", "endless", "b"]
        bench.until(lambda: not _lives(worker), "the end of what the Dask worker had started")
        assert bench.execution(submitted.execution).attempts == 2
        assert bench.launcher.logs(submitted.handle).count(b"kitaru: completed") == 1

    @pytest.mark.further
    def test_what_a_new_scheduler_does_not_know_is_submitted_again(self, bench: Bench) -> None:
        submitted = bench.submit(bench.notebook("tick('a')", bench.endless, "tick('b')"))
        bench.until(lambda: "endless" in bench.ticks(), "the endless cell")

        self.cluster.kill_scheduler()
        with pytest.raises(StackError, match="does not answer") as refused:
            bench.launcher.poll(submitted.handle)
        found = bench.reconcile(submitted.execution)
        assert found is not None
        assert (refused.value.kind, found.action) == ("stack-unreachable", Action.UNREACHABLE)
        # Dask workers end when their scheduler is gone, and ours with them
        bench.until(
            lambda: bench.execution(submitted.execution).status is ExecutionStatus.INTERRUPTED,
            "the end of it",
        )
        self.cluster.start()
        assert bench.launcher.poll(submitted.handle).status is JobStatus.LOST
        bench.go.touch()

        assert bench.follow(submitted).exit is Exit.COMPLETED
        assert bench.ticks() == ["a", "endless", "endless", "b"]

    @pytest.mark.further
    def test_a_grid_that_is_left_is_the_queue_s_and_is_told_to_who_comes_back(self, bench: Bench) -> None:
        _told_after_it_was_left(bench, f'type = "dask"\nscheduler = "{self.cluster.address}"')

    def test_a_job_in_the_queue_can_be_taken_out(self, bench: Bench) -> None:
        """A worker with what it asks for is not there; it waits for one, and is never begun."""
        bench.launcher = self._launcher(resources={"NONE_HAS_THIS": 1})
        submitted = bench.submit(bench.notebook("tick('a')"))
        queued = bench.launcher.poll(submitted.handle)

        bench.launcher.cancel(submitted.handle)

        assert (queued.status, "no worker" in queued.reason) == (JobStatus.QUEUED, True)
        assert bench.launcher.poll(submitted.handle).status is JobStatus.LOST

    def test_a_python_that_is_not_there_is_named(self, bench: Bench) -> None:
        bench.launcher = self._launcher(python="/no/such/python")
        submitted = bench.submit(bench.notebook("tick('a')"))
        bench.over(submitted.handle)

        assert bench.launcher.poll(submitted.handle).code == 127
        assert b"/no/such/python could not be started" in bench.launcher.logs(submitted.handle)

    def test_work_goes_where_its_resources_are(self, bench: Bench) -> None:
        bench.launcher = self._launcher(resources={"THING": 1})

        assert bench.follow(bench.submit(bench.notebook("tick('a')"))).exit is Exit.COMPLETED

    def _launcher(self, **options: object) -> Launcher:
        told = {"scheduler": self.cluster.address, **options}
        return launcher_of(Stack("ours", launcher="dask", launcher_options=told), resolve())


class TestDaskOfThisProcess:
    """A cluster that begins and ends with the process that submits."""

    @pytest.fixture
    def project(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Bench]:
        (tmp_path / "kitaru_nb.toml").write_text('[stacks.ours.launcher]\ntype = "dask"\nworkers = 2\n')
        monkeypatch.chdir(tmp_path)
        bench = Bench(tmp_path, resolve(stack="ours"))
        with closing(bench.engine):
            yield bench
            bench.go.touch()

    def test_a_run_ends_with_a_quiet_cluster(self, project: Bench) -> None:
        project.notebook("tick('a')", "tick('b')")

        done = run_command("run", "work.ipynb", "--stack", "ours")

        assert (done.returncode, project.ticks()) == (0, ["a", "b"]), done.stderr
        assert "distributed" not in done.stderr
        assert "kitaru: completed" in done.stderr

    @pytest.mark.further
    def test_nothing_can_be_detached_from_it(self, project: Bench) -> None:
        project.notebook("tick('a')")

        refused = run_command("run", "work.ipynb", "--stack", "ours", "--detach")

        assert (refused.returncode, project.ticks()) == (2, [])
        assert "only while the command that started it runs" in refused.stderr
        assert project.engine.journal.executions() == [], "it is refused before anything is on record"

    @pytest.mark.further
    def test_its_workers_end_with_it(self, project: Bench) -> None:
        """Killed, it leaves a run that goes on when it is run again."""
        project.notebook("tick('a')", project.endless, "tick('b')")
        first = start(["-m", "kitaru_nb", "run", "work.ipynb", "--stack", "ours"], project.folder)
        project.until(lambda: "endless" in project.ticks(), "the endless cell")
        [execution] = project.engine.journal.executions()
        handle = submission_of(project.engine, execution).handle
        elsewhere = project.launcher.poll(handle)
        with pytest.raises(StackError, match=f"process {first.pid}"):
            project.launcher.cancel(handle)

        first.kill()
        finished(first)
        project.until(
            lambda: project.execution(execution.id).status is ExecutionStatus.INTERRUPTED, "the worker's end"
        )
        project.go.touch()
        second = run_command("run", "work.ipynb", "--stack", "ours")

        assert elsewhere == JobState(JobStatus.RUNNING, reason=f"in process {first.pid} on {gethostname()}")
        assert project.launcher.poll(handle).status is JobStatus.LOST
        assert second.returncode == 0, second.stderr
        assert project.ticks() == ["a", "endless", "endless", "b"]


def _lives(pid: int) -> bool:
    """Whether it runs: of one that has ended something may be left until somebody asks how."""
    with suppress(psutil.NoSuchProcess):
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    return False


COMMAND = (sys.executable, "-m", "kitaru_nb")


def run_command(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([*COMMAND, *arguments], capture_output=True, text=True, check=False)
