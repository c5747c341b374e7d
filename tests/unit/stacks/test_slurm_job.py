"""A job of Slurm in words: what submits it, and what its scheduler says of it."""

from __future__ import annotations

import subprocess

import pytest

from kitaru_nb.errors import StackError, UsageError
from kitaru_nb.model.execution import ExecutionId
from kitaru_nb.model.stack import Stack
from kitaru_nb.stacks.launcher import Handle, JobState, JobStatus, RunSpec
from kitaru_nb.stacks.slurm_job import (
    FORGOTTEN,
    arguments_of,
    environment_of,
    handle_of,
    job_id,
    parsed,
    script_of,
    state_of,
    state_on_record,
)

EXECUTION = ExecutionId("ex_01m8h3kbc5pjabd3y41gx")


def stack(**options: object) -> Stack:
    return Stack("gpu", launcher="slurm", launcher_options=options, source="stacks.toml")


def shown(state: str, code: str = "0:0", reason: str = "None", name: str = EXECUTION) -> str:
    return (
        f"JobId=12 JobName={name} UserId=ana(1000) GroupId=ana(1000) JobState={state} Reason={reason} "
        f"Dependency=(null) Requeue=0 ExitCode={code} RunTime=00:00:02 Comment=JobState=COMPLETED"
    )


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        (shown("PENDING", reason="Resources"), JobState(JobStatus.QUEUED, reason="Resources")),
        (shown("PENDING"), JobState(JobStatus.QUEUED)),
        (shown("CONFIGURING"), JobState(JobStatus.QUEUED)),
        (shown("RUNNING"), JobState(JobStatus.RUNNING)),
        (shown("COMPLETING", "0:15"), JobState(JobStatus.RUNNING, reason="COMPLETING")),
        (shown("OF_A_LATER_SLURM"), JobState(JobStatus.RUNNING, reason="OF_A_LATER_SLURM")),
        (shown("COMPLETED"), JobState(JobStatus.EXITED, 0)),
        (shown("FAILED", "1:0", "NonZeroExitCode"), JobState(JobStatus.EXITED, 1, "FAILED")),
        (shown("FAILED", "0:9"), JobState(JobStatus.EXITED, 137, "FAILED")),
        (shown("FAILED", "1:0", "Prolog"), JobState(JobStatus.EXITED, 1, "FAILED: Prolog")),
        (shown("TIMEOUT", "0:0", "TimeLimit"), JobState(JobStatus.EXITED, None, "TIMEOUT")),
        (shown("NODE_FAIL", "0:0", "NodeDown"), JobState(JobStatus.EXITED, None, "NODE_FAIL")),
        (shown("PREEMPTED", "0:15"), JobState(JobStatus.EXITED, 143, "PREEMPTED")),
        (shown("OUT_OF_MEMORY", "0:125"), JobState(JobStatus.EXITED, 253, "OUT_OF_MEMORY")),
        (shown("CANCELLED", "0:0", "Priority"), JobState(JobStatus.EXITED, None, "CANCELLED")),
        (shown("RUNNING", name="somebody-else-s"), FORGOTTEN),
        (shown("RUNNING", name=EXECUTION + "x"), FORGOTTEN),
        ("", FORGOTTEN),
    ],
)
def test_states_of_slurm_are_states_of_jobs(said: str, expected: JobState) -> None:
    assert state_of(said, EXECUTION) == expected


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        (f"{EXECUTION}|COMPLETED|0:0\n", JobState(JobStatus.EXITED, 0)),
        (f"{EXECUTION}|CANCELLED by 1000|0:15\n", JobState(JobStatus.EXITED, 143, "CANCELLED")),
        (f"other|COMPLETED|0:0\n{EXECUTION}|FAILED|2:0\n", JobState(JobStatus.EXITED, 2, "FAILED")),
        (f"{EXECUTION}|RUNNING|0:0\n", FORGOTTEN),  # what accounts say of a job that the controller lost
        ("", FORGOTTEN),
    ],
)
def test_what_the_accounts_say_of_a_forgotten_job(said: str, expected: JobState) -> None:
    assert state_on_record(said, EXECUTION) == expected


def test_what_a_stack_asks_for_are_arguments() -> None:
    told = arguments_of(
        stack(partition="gpu; rm -rf /", time=30, cpus=4, gpus="a100:2", arguments=["--nice=5", "-x", "n1"]),
        EXECUTION,
        "/home/ana/logs/%j.log",
    )

    assert told[0] == "--parsable"
    assert {"--partition=gpu; rm -rf /", "--time=30", "--cpus-per-task=4", "--gpus=a100:2"} <= set(told)
    assert told[-3:] == ["--nice=5", "-x", "n1"]
    assert {"--signal=B:TERM@30", "--no-requeue", f"--job-name={EXECUTION}"} <= set(told)


@pytest.mark.parametrize(
    "argument", ["--array=1-3", "--array", "-a1-3", "-W", "--clusters=other", "--requeue", "--output=/tmp/x"]
)
def test_what_would_make_it_another_kind_of_job_is_refused(argument: str) -> None:
    with pytest.raises(UsageError, match="the launcher decides") as refused:
        arguments_of(stack(arguments=[argument]), EXECUTION, "log")

    assert (refused.value.kind, refused.value.hint) == ("bad-launcher-option", "take it out of stacks.toml")


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"cpus": 1.5}, "`cpus` .* is 1.5, which is no text or whole number"),
        ({"cpus": True}, "`cpus` .* is True"),
        ({"arguments": "--nice"}, "`arguments` .* which is no list"),
        ({"arguments": [5]}, "`arguments` .* holds 5, which is no text"),
    ],
)
def test_an_option_of_another_type_is_named(options: dict[str, object], words: str) -> None:
    with pytest.raises(UsageError, match=words):
        arguments_of(stack(**options), EXECUTION, "log")


def test_the_script_gives_every_word_to_the_worker_as_it_is() -> None:
    words = ["-c", "import os, sys; print(os.getcwd(), sys.argv[1:])", "a b", "$(id)", "it's", "`id`", "\\n"]
    spec = RunSpec(EXECUTION, words, folder="/tmp")

    script = script_of(stack(setup=["export TRIED=yes"]), spec, "python3")

    done = subprocess.run(["bash"], input=script, capture_output=True, text=True, check=True)
    assert done.stdout == f"/tmp {words[2:]}\n"


def test_a_folder_that_is_not_there_is_no_error() -> None:
    spec = RunSpec(EXECUTION, ["-c", "print('began')"], folder="/no/such folder")

    done = subprocess.run(
        ["bash"],
        input=script_of(stack(setup=["true"]), spec, "python3"),
        capture_output=True,
        text=True,
        check=True,
    )

    assert (done.stdout, done.stderr) == ("began\n", "")


def test_a_job_submitted_from_within_a_job_inherits_nothing_of_that() -> None:
    environ = {
        "PATH": "/bin",
        "SLURM_CONF": "/etc/slurm.conf",
        "SLURM_JOB_ID": "7",
        "SLURM_MEM_PER_NODE": "1",
        "SBATCH_ACCOUNT": "lab",
        "SBATCH_ARRAY_INX": "1-3",
    }

    told = environment_of(environ, RunSpec(EXECUTION, [], {"KITARU_NB_HOME": "/h"}))

    assert told == {
        "PATH": "/bin",
        "SLURM_CONF": "/etc/slurm.conf",
        "SBATCH_ACCOUNT": "lab",
        "KITARU_NB_HOME": "/h",
    }


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        ("12\n", "12"),
        ("12;loop\n", "12"),
        ("Welcome to the cluster\n12\n", "12"),
        ("", None),
        ("no id", None),
    ],
)
def test_the_id_is_found_among_what_a_site_prints(said: str, expected: str | None) -> None:
    assert job_id(said) == expected


def test_a_handle_comes_back_as_what_it_was_made_of() -> None:
    assert parsed(handle_of("12", EXECUTION)) == ("12", EXECUTION)


@pytest.mark.parametrize(
    "handle",
    [
        "",
        "12",
        f"12 --user=ana {EXECUTION}",
        f"--user=ana {EXECUTION}",
        f"12 ../{EXECUTION}",
        f"12 {EXECUTION}\n",
        "\u0661 ex_a",
    ],
)
def test_what_is_no_handle_never_reaches_a_command(handle: str) -> None:
    with pytest.raises(StackError, match="which it is not") as refused:
        parsed(Handle(handle))

    assert refused.value.kind == "bad-handle"
