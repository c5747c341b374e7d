"""The lines of shell that a machine behind SSH is told, run by this machine's own shells."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from kitaru_nb.errors import StackError, UsageError
from kitaru_nb.model.execution import ExecutionId
from kitaru_nb.model.stack import Stack
from kitaru_nb.stacks.launcher import Handle, JobState, JobStatus, RunSpec
from kitaru_nb.stacks.ssh_job import (
    Host,
    cancel_script,
    host_of,
    log_script,
    new_handle,
    poll_script,
    state_of,
    submit_script,
)
from tests.patience import PATIENCE

EXECUTION = ExecutionId("ex_01m8h3kbc5pjabd3y41gx")
RUNNING = JobState(JobStatus.RUNNING)


class There:
    """A user's folder on a machine, in which scripts are run.

    Args:
        home: The folder.
        bare: Whether the machine has but a plain shell, neither Bash nor ``setsid``.
        proc: Whether it shows processes as Linux does.
    """

    def __init__(self, home: Path, *, bare: bool = False, proc: bool = True) -> None:
        self.home = home
        self.jobs = home / 'it\'s $(id) "my" jobs'
        self.handle = new_handle(EXECUTION)
        self._proc = proc
        self._environment = {**os.environ, "HOME": str(home)}
        self._shell = "bash"
        if bare:
            self._shell = "dash"
            programs = home / "programs"
            programs.mkdir()
            for name in ("dash", "cat", "mkdir", "mv", "nohup", "ps", "sleep", "tail"):
                (programs / name).symlink_to(shutil.which(name) or "missing")
            (programs / "sh").symlink_to("dash")
            self._environment["PATH"] = str(programs)

    def run(self, script: str) -> str:
        text = script if self._proc else script.replace("/proc/self/stat", "/no/such/file")
        done = subprocess.run(
            [self._shell, "-s"],
            input=text,
            env=self._environment,
            cwd="/",
            capture_output=True,
            text=True,
            check=True,
        )
        return done.stdout

    def submit(self, *words: str, setup: tuple[str, ...] = (), env: dict[str, str] | None = None) -> None:
        spec = RunSpec(EXECUTION, words, env or {}, folder=str(self.home))
        script = submit_script(
            self.handle, spec, folder=self.jobs.name, python=sys.executable, setup=list(setup)
        )
        assert self.run(script) == "begun\n"

    def state(self) -> JobState:
        return state_of(self.run(poll_script(self.handle, folder=self.jobs.name)))

    def cancel(self) -> None:
        self.run(cancel_script(self.handle, folder=self.jobs.name))

    def log(self, offset: int = 0) -> str:
        return self.run(log_script(self.handle, folder=self.jobs.name, offset=offset))

    def until(self, holds: Callable[[], bool]) -> None:
        limit = time.monotonic() + PATIENCE
        while not holds():
            assert time.monotonic() < limit
            time.sleep(0.02)

    @property
    def job(self) -> Path:
        return self.jobs / self.handle


@pytest.fixture(params=["a usual machine", "a bare one", "one without /proc"])
def there(tmp_path: Path, request: pytest.FixtureRequest) -> There:
    if request.param == "a bare one":
        if shutil.which("dash") is None:
            pytest.skip("needs the plain shell dash")
        return There(tmp_path, bare=True)
    return There(tmp_path, proc=request.param == "a usual machine")


def test_a_worker_gets_every_word_and_variable_as_it_is(there: There) -> None:
    text = 'it\'s\n$(id) `id` "\\n" EOF'
    code = "import os, sys; print(os.getcwd()); print(repr([os.environ['TOLD'], *sys.argv[1:]]))"

    there.submit("-c", code, text, env={"TOLD": text})
    there.until(lambda: there.state().over)

    assert there.state() == JobState(JobStatus.EXITED, 0)
    assert there.log() == f"{there.home}\n{[text, text]!r}\n"
    assert there.log(len(there.log()) - 3) == there.log()[-3:]


def test_its_exit_code_is_known_and_a_signal_s_too(there: There) -> None:
    there.submit("-c", "import os; os.kill(os.getpid(), 9)")
    there.until(lambda: there.state().over)

    assert there.state() == JobState(JobStatus.EXITED, 137)


def test_sigterm_reaches_the_worker_which_may_take_its_time(there: There) -> None:
    source = (
        "import signal, sys, time\n"
        "def end(*_):\n    print('closing', flush=True)\n    time.sleep(0.3)\n    sys.exit(43)\n"
        "signal.signal(signal.SIGTERM, end)\nprint('ready', flush=True)\ntime.sleep(60)"
    )
    there.submit("-c", source)
    there.until(lambda: there.log() == "ready\n")
    assert there.state() == RUNNING

    there.cancel()
    there.until(lambda: there.state().over)

    assert there.state() == JobState(JobStatus.EXITED, 43)
    assert there.log() == "ready\nclosing\n"


def test_setup_lines_come_first_and_one_that_fails_ends_it(there: There) -> None:
    there.submit("-c", "import os; print(os.environ['TRIED'])", setup=("export TRIED=yes",))
    there.until(lambda: there.state().over)
    assert there.log() == "yes\n"

    there.handle = new_handle(EXECUTION)
    there.submit("-c", "print('never')", setup=("false", "echo later"))
    there.until(lambda: there.state().over)

    assert there.state() == JobState(JobStatus.EXITED, 1)
    assert there.log() == ""


def test_a_later_process_of_the_same_number_is_neither_taken_for_it_nor_ended(there: There) -> None:
    other = subprocess.Popen(["sleep", "60"])
    begun = time.monotonic()
    there.until(lambda: time.monotonic() - begun > 1.1)  # ps tells seconds
    there.submit("-c", "import time; time.sleep(60)")
    pid, _, start = (there.job / "pid").read_text().partition(" ")
    (there.job / "pid").write_text(f"{other.pid} {start}")

    assert there.state().status is JobStatus.LOST
    there.cancel()
    assert other.poll() is None

    other.kill()
    other.wait()
    (there.job / "pid").write_text(f"{pid} {start}")
    there.cancel()
    there.until(lambda: there.state().over)


def test_where_the_machine_has_restarted_it_is_lost(tmp_path: Path) -> None:
    there = There(tmp_path)
    there.submit("-c", "import time; time.sleep(60)")
    told = (there.job / "pid").read_text()
    pid, boot, start = told.split()
    (there.job / "pid").write_text(f"{pid} another-{boot} {start}\n")

    assert there.state().status is JobStatus.LOST

    (there.job / "pid").write_text(told)
    there.cancel()
    there.until(lambda: there.state().over)


def test_a_job_without_a_folder_is_lost_and_has_said_nothing(there: There) -> None:
    there.cancel()

    assert there.state().status is JobStatus.LOST
    assert there.log() == ""


def test_nobody_else_reads_it_and_what_the_worker_makes_is_as_the_user_has_it(there: There) -> None:
    there.submit("-c", "open('made', 'w').close()")
    there.until(lambda: there.state().over)

    assert {each.stat().st_mode & 0o077 for each in (there.job, *there.job.glob("[jl]*"))} == {0}
    assert (there.home / "made").stat().st_mode & 0o777 == 0o666 & ~_umask()


@pytest.mark.parametrize(
    ("given", "expected", "words"),
    [
        ("gpu", Host("gpu"), "gpu"),
        ("ana@gpu.example:2222", Host("gpu.example", "ana", 2222), "-p 2222 ana@gpu.example"),
        ("ana@[::1]:22", Host("::1", "ana", 22), "-p 22 ana@::1"),
        ("10.0.0.7", Host("10.0.0.7"), "10.0.0.7"),
    ],
)
def test_a_machine_is_named_as_people_do(given: str, expected: Host, words: str) -> None:
    found = host_of(Stack("box", launcher="ssh", launcher_options={"host": given}))

    assert (found, found.words) == (expected, words)


@pytest.mark.parametrize(
    "given", [None, "", "-oProxyCommand=id", "a b", "gpu:99999", "gpu:", "ana@", "gpu\n", 7]
)
def test_what_names_no_machine_is_an_error(given: object) -> None:
    options = {} if given is None else {"host": given}

    with pytest.raises(UsageError, match="the launcher of stack `box`") as refused:
        host_of(Stack("box", launcher="ssh", launcher_options=options, source="stacks.toml"))

    assert refused.value.kind == "bad-launcher-option"


@pytest.mark.parametrize(
    "handle", ["", EXECUTION, f"{EXECUTION}-0123456789abcdef\n", f"../{EXECUTION}-0123456789abcdef", "x; id"]
)
def test_what_is_no_handle_never_reaches_a_shell(handle: str) -> None:
    for script in (
        lambda: poll_script(Handle(handle), folder="jobs"),
        lambda: cancel_script(Handle(handle), folder="jobs"),
        lambda: log_script(Handle(handle), folder="jobs", offset=0),
    ):
        with pytest.raises(StackError) as refused:
            script()
        assert refused.value.kind == "bad-handle"


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
