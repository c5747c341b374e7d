"""Submitted runs whose stores go away: a bucket, a database, a disk, all real, and what is said of it."""

from __future__ import annotations

import getpass
import os
import shlex
import shutil
import socket
import struct
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing, contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest

from kitaru_nb.errors import StoreError
from kitaru_nb.model.execution import ExecutionStatus
from kitaru_nb.model.stack import Stack
from kitaru_nb.stacks.launcher import Handle, JobState, JobStatus, Launcher, RunSpec
from kitaru_nb.stacks.open import load, open_engine
from kitaru_nb.stacks.outcome import Exit
from kitaru_nb.stacks.settings import resolve
from kitaru_nb.stacks.submitting import Submitted
from kitaru_nb.testing.launcher_suite import Bench
from tests import ssh_server
from tests.postgres_server import PostgresServer
from tests.s3_server import BUCKET, KEY, SECRET, Cable, S3Server
from tests.ssh_server import SshServer

PROMISED = 30.0
"""Seconds that a run outlasts without its stores."""

_NONE: Mapping[str, Any] = {}

VALUES = "import numpy as np; values = np.arange(200_000.0)"


@pytest.fixture
def cable(s3_server: S3Server) -> Iterator[Cable]:
    cable = Cable(s3_server.port)
    yield cable
    cable.close()


@contextmanager
def down(server: PostgresServer) -> Iterator[None]:
    """While entered there is no such server; it ends as in a power cut."""
    server.kill()
    try:
        yield
    finally:
        server.start()


@pytest.fixture
def team(
    tmp_path: Path, cable: Cable, postgres_server: PostgresServer, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Callable[..., Bench]]:
    """Makes a bench whose records are in PostgreSQL and whose values are in S3; launcher, then settings."""
    monkeypatch.setenv("TEAM_SIGNING_KEY", "a-key-that-only-these-tests-sign-with")
    monkeypatch.setenv("TEAM_S3_KEY", KEY)
    monkeypatch.setenv("TEAM_S3_SECRET", SECRET)
    name = f"o{uuid.uuid4().hex[:12]}"
    folder = tmp_path / "work"
    folder.mkdir()

    def make(launcher: str = "local", options: Mapping[str, Any] = _NONE, **settings: object) -> Bench:
        stack = Stack(
            "team",
            launcher=launcher,
            launcher_options=options,
            store=f"s3://{BUCKET}/{name}",
            journal=postgres_server.schema(name),
            signing_key="secret:env:TEAM_SIGNING_KEY",
            options={
                "endpoint": cable.endpoint,
                "region": "us-east-1",
                "access_key_id": "secret:env:TEAM_S3_KEY",
                "secret_access_key": "secret:env:TEAM_S3_SECRET",
            },
            settings=settings,
        )
        bench = Bench(folder, resolve(place=stack))
        opened.callback(bench.engine.close)
        opened.callback(bench.go.touch)
        return bench

    with ExitStack() as opened:
        yield make


def begun(bench: Bench, *, last: str = "") -> tuple[Path, Submitted]:
    """A notebook that is submitted, and has come to the cell that makes values and waits for `bench.go`."""
    cells = ("tick('a')", f"{bench.endless}\n{VALUES}\n{last}", "tick('b'); float(values.sum())")
    notebook = bench.notebook(*cells)
    submitted = bench.submit(notebook)
    bench.until(lambda: "endless" in bench.ticks(), "the endless cell")
    return notebook, submitted


def test_a_run_outlasts_30_s_without_journal_and_store(
    team: Callable[..., Bench], cable: Cable, postgres_server: PostgresServer
) -> None:
    """The cell ends while both are away, so it is its commit that has to wait for them."""
    bench = team()
    _, submitted = begun(bench)

    with ThreadPoolExecutor(1) as threads:
        followed = threads.submit(bench.follow, submitted)
        with cable.cut(), down(postgres_server):
            bench.go.touch()
            time.sleep(PROMISED)  # what is promised is a time
            assert not followed.done(), "who follows it waits, too"
        outcome = followed.result()

    assert outcome.exit is Exit.COMPLETED, outcome
    assert bench.ticks() == ["a", "endless", "b"]
    assert bench.execution(submitted.execution).attempts == 1


@pytest.fixture
def ssh() -> Iterator[SshServer]:
    with ssh_server.started() as server:
        yield server


def test_a_run_behind_ssh_outlasts_its_connection_and_30_s_without_journal_and_store(
    team: Callable[..., Bench], cable: Cable, postgres_server: PostgresServer, ssh: SshServer
) -> None:
    """Nobody follows it, and the machine cannot be asked until all is over: the worker needs neither."""
    needed = (
        "KITARU_NB_CONFIG",
        "IPYTHONDIR",
        "JUPYTER_CONFIG_DIR",
        "JUPYTER_PLATFORM_DIRS",
        "TEAM_SIGNING_KEY",
    )
    needed += ("TEAM_S3_KEY", "TEAM_S3_SECRET")
    bench = team(
        "ssh",
        {
            "host": f"{getpass.getuser()}@127.0.0.1:{ssh.port}",
            "identity_file": str(ssh.identity),
            "known_hosts": str(ssh.known_hosts),
            "folder": str(ssh.identity.parent / "jobs"),
            "python": sys.executable,
            "setup": [f"export {name}={shlex.quote(os.environ[name])}" for name in needed],
        },
    )
    _, submitted = begun(bench, last="tick('ended')")

    ssh.kill()
    with cable.cut(), down(postgres_server):
        bench.go.touch()
        bench.until(lambda: "ended" in bench.ticks(), "the end of the cell, whose commit has to wait")
        time.sleep(PROMISED)  # what is promised is a time
    bench.until(
        lambda: bench.execution(submitted.execution).status is ExecutionStatus.COMPLETED, "the end of the run"
    )
    ssh.start()
    bench.over(submitted.handle)

    assert bench.launcher.poll(submitted.handle) == JobState(JobStatus.EXITED, 0)
    assert bench.ticks() == ["a", "endless", "ended", "b"]
    assert bench.execution(submitted.execution).attempts == 1


def test_a_bucket_that_answers_503_for_a_while_costs_time_only(
    team: Callable[..., Bench], cable: Cable
) -> None:
    bench = team()
    _, submitted = begun(bench)

    with cable.busy():
        bench.go.touch()
        bench.until(lambda: cable.refused >= 8, "one more try")
    outcome = bench.follow(submitted)

    assert outcome.exit is Exit.COMPLETED, outcome
    assert bench.ticks() == ["a", "endless", "b"]
    assert bench.execution(submitted.execution).attempts == 1


def test_a_server_that_is_started_anew_in_mid_run_is_not_noticed(
    team: Callable[..., Bench], postgres_server: PostgresServer
) -> None:
    bench = team()
    submitted = bench.submit(bench.notebook("tick('a')", bench.endless, "tick('b')"))
    bench.until(lambda: "endless" in bench.ticks(), "the endless cell")

    postgres_server.stop()
    postgres_server.start()
    bench.go.touch()
    outcome = bench.follow(submitted)

    assert outcome.exit is Exit.COMPLETED, outcome
    assert bench.ticks() == ["a", "endless", "b"]
    assert bench.execution(submitted.execution).attempts == 1


@contextmanager
def door_of(server: PostgresServer) -> Iterator[socket.socket]:
    """Where a server that is down would listen: who knocks is heard, and finds nobody."""
    door = server.folder / f".s.PGSQL.{server.port}"
    door.unlink(missing_ok=True)
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(door))
        listener.listen()
        yield listener
    door.unlink()


class Late:
    """A launcher whose workers find no server, until they have looked for it once."""

    def __init__(self, launcher: Launcher, server: PostgresServer) -> None:
        self._launcher, self._server = launcher, server
        self.capabilities, self.poll, self.cancel = launcher.capabilities, launcher.poll, launcher.cancel
        self.logs = launcher.logs

    def submit(self, spec: RunSpec) -> Handle:
        with down(self._server), door_of(self._server) as door:
            handle = self._launcher.submit(spec)
            door.accept()[0].close()
        return handle


@pytest.mark.further
def test_a_worker_that_begins_while_the_server_is_away_waits_for_it(
    team: Callable[..., Bench], postgres_server: PostgresServer
) -> None:
    bench = team()
    bench.launcher = Late(bench.launcher, postgres_server)

    submitted = bench.submit(bench.notebook("tick('a')"))
    outcome = bench.follow(submitted)

    assert outcome.exit is Exit.COMPLETED, outcome
    assert bench.execution(submitted.execution).attempts == 1


@pytest.mark.further
@pytest.mark.skipif(sys.platform != "linux", reason="who asks at a socket is told by Linux alone")
def test_a_kernel_that_begins_while_the_server_is_away_waits_for_it(
    team: Callable[..., Bench],
    postgres_server: PostgresServer,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    startup = tmp_path / "ipython" / "profile_default" / "startup"
    startup.mkdir(parents=True)
    began, go = tmp_path / "began", tmp_path / "go"
    (startup / "held.py").write_text(
        "import os, pathlib, time\n"
        f"pathlib.Path({str(began)!r}).write_text(f'{{os.getpid()}}.')\n"
        f"while not os.path.exists({str(go)!r}): time.sleep(0.01)"
    )
    monkeypatch.setenv("IPYTHONDIR", str(startup.parents[1]))
    bench = team()

    submitted = bench.submit(bench.notebook("tick('a')"))
    bench.until(lambda: began.exists() and began.read_text().endswith("."), "the kernel")
    with down(postgres_server), door_of(postgres_server) as door:
        go.touch()
        while (knocks := _next_to_knock(door)) != int(began.read_text()[:-1]):
            assert knocks > 0
    outcome = bench.follow(submitted)

    assert outcome.exit is Exit.COMPLETED, outcome
    assert bench.execution(submitted.execution).attempts == 1


def _next_to_knock(door: socket.socket) -> int:
    """The process that asks next for a server that is down; it is turned away."""
    with door.accept()[0] as asked:
        pid: int = struct.unpack("3i", asked.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12))[0]
    return pid


def test_a_bucket_that_stays_away_fails_the_run_which_goes_on_when_it_is_back(
    team: Callable[..., Bench], cable: Cable
) -> None:
    bench = team(patience=1)
    notebook, submitted = begun(bench)

    with cable.cut():
        bench.go.touch()
        outcome = bench.follow(submitted)
    again = bench.follow(bench.submit(notebook))

    assert (outcome.status, outcome.exit) == (ExecutionStatus.FAILED, Exit.FAILED)
    assert f"in `{bench.settings.place.store}`" in outcome.reason
    assert outcome.hint == "check the network and the endpoint, then again"
    assert again.exit is Exit.COMPLETED, again
    assert again.execution == submitted.execution
    assert bench.ticks() == ["a", "endless", "endless", "b"], "what was on record is not run again"


@pytest.mark.further
def test_a_server_that_stays_away_loses_nothing_that_was_recorded(
    team: Callable[..., Bench], postgres_server: PostgresServer
) -> None:
    bench = team(patience=1, lease=2, heartbeat=0.5)
    submitted = bench.submit(bench.notebook("tick('a')", bench.endless, "tick('b')"))
    bench.until(lambda: "endless" in bench.ticks(), "the endless cell")

    with down(postgres_server):
        bench.go.touch()
        with pytest.raises(StoreError, match="cannot be reached") as away:
            bench.follow(submitted)
        bench.over(submitted.handle)
    outcome = bench.follow(submitted)

    assert away.value.kind == "journal-unreachable"
    assert outcome.exit is Exit.COMPLETED, outcome
    assert bench.ticks() == ["a", "endless", "endless", "b"]


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of 20 MB."""
    place = tmp_path / "disk"
    place.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=20m", "tmpfs", str(place)]
    if sys.platform != "linux" or subprocess.run(mount, check=False, capture_output=True).returncode:
        pytest.skip("a small file system is a tmpfs, and mounting it needs root on Linux")
    yield place
    subprocess.run(["umount", "-l", str(place)], check=True)


@contextmanager
def full(disk: Path) -> Iterator[None]:
    """While entered nothing more fits on the disk."""
    filler = disk / "filler"
    with suppress(OSError), filler.open("wb", buffering=0) as file:
        while file.write(bytes(4096)):
            pass
    assert shutil.disk_usage(disk).free == 0
    try:
        yield
    finally:
        filler.unlink()


@contextmanager
def local(folder: Path, home: Path) -> Iterator[Bench]:
    """A bench of workers on this machine."""
    folder.mkdir(exist_ok=True)
    bench = Bench(folder, resolve(place=Stack("here"), home=str(home)))
    with closing(bench.engine):
        yield bench
        bench.go.touch()


def test_a_disk_that_fills_up_under_the_store_fails_the_run_which_goes_on_with_room(
    tmp_path: Path, disk: Path
) -> None:
    with local(tmp_path / "work", disk / "home") as bench:
        notebook, submitted = begun(bench)

        with full(disk):
            bench.go.touch()
            outcome = bench.follow(submitted)
        again = bench.follow(bench.submit(notebook))

        assert (outcome.status, outcome.exit) == (ExecutionStatus.FAILED, Exit.FAILED)
        assert "No space left on device" in outcome.reason
        assert again.exit is Exit.COMPLETED, again
        assert again.execution == submitted.execution
        assert bench.ticks() == ["a", "endless", "endless", "b"]


def test_a_disk_that_fills_up_under_the_output_keeps_every_cell(tmp_path: Path, disk: Path) -> None:
    with local(disk / "work", tmp_path / "home") as bench:
        notebook = bench.notebook("tick('a')", bench.endless, "tick('b'); print('x' * 100_000)")
        submitted = bench.submit(notebook)
        bench.until(lambda: "endless" in bench.ticks(), "the endless cell")

        with full(disk):
            bench.go.touch()
            outcome = bench.follow(submitted)
        again = bench.follow(bench.submit(notebook))

        assert outcome.status is ExecutionStatus.FAILED
        assert "the output notebook could not be saved" in outcome.reason
        assert again.exit is Exit.COMPLETED, again
        assert bench.ticks() == ["a", "endless", "b"], "every cell was on record"


class Disk:
    """A disk that can be unmounted and mounted again; what has files open on it goes on using them."""

    def __init__(self, folder: Path) -> None:
        self._content, self.path = folder / "content", folder / "mounted"
        for each in (self._content, self.path):
            each.mkdir()
        self.mount()

    def mount(self) -> None:
        command = ["mount", "--bind", str(self._content), str(self.path)]
        if sys.platform != "linux" or subprocess.run(command, check=False, capture_output=True).returncode:
            pytest.skip("mounting a folder needs root on Linux")

    def unmount(self) -> None:
        subprocess.run(["umount", "-l", str(self.path)], check=True)


@pytest.fixture
def volume(tmp_path: Path) -> Iterator[Disk]:
    """A disk that can be unmounted."""
    disk = Disk(tmp_path)
    yield disk
    disk.unmount()


@pytest.mark.further
def test_values_wait_for_a_disk_that_is_unmounted_for_a_while(
    tmp_path: Path, volume: Disk, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They would be written into the folder that it was mounted on, and be gone when it is back."""
    monkeypatch.setenv("KITARU_NB_HOME", str(volume.path / "home"))
    with local(tmp_path / "work", volume.path / "home") as bench:
        _, submitted = begun(bench, last="tick('ended')")

        volume.unmount()
        bench.go.touch()
        bench.until(lambda: "ended" in bench.ticks(), "the end of the cell, whose commit has to wait")
        time.sleep(1)  # an outage has a length
        left = [each.name for each in volume.path.rglob("*.pack")]
        volume.mount()
        outcome = bench.follow(submitted)

        assert left == [], "they are where nobody will look for them"
        assert outcome.exit is Exit.COMPLETED, outcome
        assert bench.ticks() == ["a", "endless", "ended", "b"]
        assert bench.execution(submitted.execution).attempts == 1
        assert load("values", execution=submitted.execution).sum() == sum(range(200_000))


@pytest.mark.further
def test_a_disk_that_stays_away_fails_the_run_which_goes_on_when_it_is_back(
    tmp_path: Path, volume: Disk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KITARU_NB_PATIENCE", "1")
    with local(tmp_path / "work", volume.path / "home") as bench:
        notebook, submitted = begun(bench)

        volume.unmount()
        bench.go.touch()
        outcome = bench.follow(submitted)
        bench.over(submitted.handle)
        made = [each.name for each in volume.path.rglob("*") if each.is_file()]
        volume.mount()
        again = bench.follow(bench.submit(notebook))

        assert outcome.status is ExecutionStatus.FAILED
        assert "its disk is gone" in outcome.reason
        assert made == [], "no new journal is begun where the disk should be"
        assert again.exit is Exit.COMPLETED, again
        assert bench.ticks() == ["a", "endless", "endless", "b"]


def test_a_worker_whose_machine_does_not_have_the_disk_says_so(tmp_path: Path, volume: Disk) -> None:
    """Not that there is no such execution, which is what an empty journal would say."""
    bench_settings = resolve(place=Stack("here"), home=str(volume.path / "home"), patience=0.1)
    with closing(open_engine(bench_settings)):
        pass

    volume.unmount()
    with pytest.raises(StoreError, match="its disk is not there") as gone:
        open_engine(bench_settings, awaited=True)
    made = list(volume.path.rglob("*"))
    volume.mount()

    assert (gone.value.kind, made) == ("store-gone", [])
