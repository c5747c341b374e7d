"""How Slurm's commands are asked; what a real cluster does is in tests/integration/test_launchers.py."""

from __future__ import annotations

from pathlib import Path

import pytest

from kitaru_nb.errors import StackError, UsageError
from kitaru_nb.model.execution import ExecutionId
from kitaru_nb.model.stack import Stack
from kitaru_nb.stacks.launcher import Handle, JobState, JobStatus, Launcher, RunSpec, launcher_of
from kitaru_nb.stacks.settings import resolve

EXECUTION = ExecutionId("ex_01m8h3kbc5pjabd3y41gx")
HANDLE = Handle(f"12 {EXECUTION}")


def launcher(**options: object) -> Launcher:
    stack = Stack("gpu", launcher="slurm", launcher_options=options, source="stacks.toml")
    return launcher_of(stack, resolve(place=stack))


@pytest.fixture
def commands(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The only folder that commands are found in."""
    folder = tmp_path / "bin"
    folder.mkdir()
    monkeypatch.setenv("PATH", str(folder))
    return folder


def says(commands: Path, name: str, script: str) -> None:
    path = commands / name
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)


def test_where_slurm_is_not_installed_its_commands_are_named(commands: Path) -> None:
    with pytest.raises(StackError, match="`sbatch` is not on this machine's PATH") as refused:
        launcher().submit(RunSpec(EXECUTION, ["-c", "1"]))

    assert refused.value.kind == "stack-unreachable"


def test_of_a_job_that_the_controller_has_forgotten_the_accounts_say_how_it_ended(commands: Path) -> None:
    says(commands, "scontrol", 'echo "slurm_load_jobs error: Invalid job id specified" >&2; exit 1')
    says(commands, "sacct", f'echo "{EXECUTION}|TIMEOUT|0:15"')

    assert launcher().poll(HANDLE) == JobState(JobStatus.EXITED, 143, "TIMEOUT")


@pytest.mark.parametrize("accounts", [None, 'echo "Slurm accounting storage is disabled" >&2; exit 1'])
def test_without_accounts_it_is_lost(commands: Path, accounts: str | None) -> None:
    says(commands, "scontrol", 'echo "slurm_load_jobs error: Invalid job id specified" >&2; exit 1')
    if accounts is not None:
        says(commands, "sacct", accounts)

    assert launcher().poll(HANDLE).status is JobStatus.LOST


def test_any_other_failure_decides_nothing(commands: Path) -> None:
    says(commands, "scontrol", 'echo "slurm_load_jobs error: Protocol authentication error" >&2; exit 1')

    with pytest.raises(StackError, match="Protocol authentication error") as away:
        launcher().poll(HANDLE)

    assert away.value.kind == "stack-unreachable"


def test_what_has_ended_meanwhile_is_cancelled_without_an_error(commands: Path) -> None:
    said = commands / "said"
    line = f"JobId=12 JobName={EXECUTION} UserId=ana(1) JobState=$state Reason=None ExitCode=0:15"
    says(commands, "scontrol", f'state=RUNNING; [ -e "{said}" ] && state=COMPLETING; echo "{line}"')
    says(commands, "scancel", f': > "{said}"; echo "scancel: error: already completing" >&2; exit 1')

    launcher().cancel(HANDLE)

    assert said.exists()


def test_a_cancel_that_failed_is_an_error(commands: Path) -> None:
    says(
        commands,
        "scontrol",
        f'echo "JobId=12 JobName={EXECUTION} UserId=ana(1) JobState=RUNNING Reason=None ExitCode=0:0"',
    )
    says(commands, "scancel", 'echo "scancel: error: Kill job error: Access denied" >&2; exit 1')

    with pytest.raises(StackError, match="Access denied"):
        launcher().cancel(HANDLE)


@pytest.mark.parametrize("folder", ["logs", "back\\slash", "/back\\slash"])
def test_a_folder_of_logs_is_a_whole_path(folder: str) -> None:
    with pytest.raises(UsageError, match="`log_folder`") as refused:
        launcher(log_folder=folder)

    assert (refused.value.kind, refused.value.hint) == ("bad-launcher-option", "mend stacks.toml")
