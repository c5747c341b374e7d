"""A job of Slurm in words: the script and arguments that submit it, and what its scheduler says of it.

All of it is pure: `slurm_launcher` is what asks Slurm.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping

from kitaru_nb.errors import StackError, UsageError
from kitaru_nb.model.execution import ExecutionId
from kitaru_nb.model.stack import Stack
from kitaru_nb.stacks.launcher import Handle, JobState, JobStatus, RunSpec, option, texts

__all__ = [
    "FORGOTTEN",
    "OPTIONS",
    "arguments_of",
    "environment_of",
    "handle_of",
    "job_id",
    "parsed",
    "script_of",
    "state_of",
    "state_on_record",
]

_ASKED = {
    "partition": "--partition",
    "time": "--time",
    "cpus": "--cpus-per-task",
    "mem": "--mem",
    "gpus": "--gpus",
    "gres": "--gres",
    "account": "--account",
    "qos": "--qos",
    "constraint": "--constraint",
}
OPTIONS = (*_ASKED, "python", "setup", "arguments", "log_folder")
"""What a stack's file may tell the launcher."""

FORGOTTEN = JobState(JobStatus.LOST, reason="Slurm does not know the job any more")

# One submission is one job, on this cluster, of whose end we are told: these would make it another thing.
_NOT_YOURS = re.compile(
    r"--(?:array|clusters?|wait|wrap|parsable|output|error|open-mode|job-name|export(?:-file)?|signal"
    r"|requeue|no-requeue|test-only)(?:=.*)?|-[aMWoeJ].*"
)
_NOT_THEIRS = ("SBATCH_ARRAY_INX", "SBATCH_CLUSTERS", "SBATCH_WAIT", "SBATCH_TEST_ONLY")
_SLURMS_OWN = ("SLURM_CONF", "SLURM_JWT")

_HANDLE = re.compile(r"([0-9]{1,12}(?:_[0-9]{1,9})?) (ex_[0-9A-Za-z]{1,64})", re.ASCII)
_ID = re.compile(r"([0-9]{1,12})(?:;\S*)?", re.ASCII)

_QUEUED = {
    "PENDING",
    "CONFIGURING",
    "REQUEUED",
    "REQUEUE_FED",
    "REQUEUE_HOLD",
    "RESV_DEL_HOLD",
    "SPECIAL_EXIT",
}
_EXITED = {
    "BOOT_FAIL",
    "CANCELLED",
    "COMPLETED",
    "DEADLINE",
    "FAILED",
    "NODE_FAIL",
    "OUT_OF_MEMORY",
    "PREEMPTED",
    "REVOKED",
    "TIMEOUT",
}
_NO_LOG = 53  # the "signal" that Slurm reports where a job's output file could not be opened


def arguments_of(stack: Stack, execution: ExecutionId, log: str) -> list[str]:
    """What ``sbatch`` is told besides the script.

    SIGTERM reaches the worker alone, 30 seconds before the time limit. The job is not put into the queue
    again by Slurm, which would hold it for two minutes: whoever looks after the run submits a new one.

    Raises:
        UsageError: kind ``bad-launcher-option``.
    """
    asked = [
        f"{flag}={value}"
        for name, flag in _ASKED.items()
        if (value := option(stack, name, int | str)) is not None
    ]
    extra = texts(stack, "arguments")
    for each in extra:
        if _NOT_YOURS.fullmatch(each):
            raise UsageError(
                f"`arguments` of the launcher of stack `{stack.name}` holds `{each}`, "
                "which the launcher decides",
                kind="bad-launcher-option",
                hint=f"take it out of {stack.source}",
            )
    return [
        *("--parsable", f"--job-name={execution}", f"--output={log}", "--open-mode=append", "--export=ALL"),
        *("--signal=B:TERM@30", "--no-requeue"),
        *asked,
        *extra,
    ]


def script_of(stack: Stack, spec: RunSpec, python: str) -> str:
    """The batch script: the setup lines, then the worker in the shell's own place, where signals go."""
    go = [] if spec.folder is None else [f"cd -- {shlex.quote(spec.folder)} 2>/dev/null || true"]
    setup = texts(stack, "setup")
    checked = ["set -e", *setup, "set +e"] if setup else []
    return "\n".join(["#!/bin/bash", *checked, *go, f"exec {shlex.join(spec.argv(python))}", ""])


def environment_of(environ: Mapping[str, str], spec: RunSpec) -> dict[str, str]:
    """What the job inherits: the submitter's environment, without what would make it another kind of job.

    A submitter may itself be a job: what Slurm told that one is nothing for this one.
    """
    kept = {
        name: value
        for name, value in environ.items()
        if name not in _NOT_THEIRS and (name in _SLURMS_OWN or not name.startswith("SLURM_"))
    }
    return kept | dict(spec.env)


def job_id(said: str) -> str | None:
    """The id in what ``sbatch --parsable`` printed; sites print other lines too."""
    found = [match[1] for line in said.splitlines() if (match := _ID.fullmatch(line.strip()))]
    return found[-1] if found else None


def handle_of(job: str, execution: ExecutionId) -> Handle:
    """The handle of a job. Ids are given out anew one day: with the name it is known whose it is."""
    return Handle(f"{job} {execution}")


def parsed(handle: Handle) -> tuple[str, ExecutionId]:
    """Id and name of a job; a handle comes from a journal, and commands and paths are made of it.

    Raises:
        StackError: kind ``bad-handle``.
    """
    found = _HANDLE.fullmatch(handle)
    if found is None:
        raise StackError(
            f"the journal holds {handle!r} as a job of Slurm, which it is not",
            kind="bad-handle",
            hint="squeue --me, to see what runs",
        )
    return found[1], ExecutionId(found[2])


def state_of(said: str, execution: ExecutionId) -> JobState:
    """What ``scontrol --oneliner show job`` says of the job of an execution."""
    if not re.match(rf"JobId=\S+ (?:ArrayJobId=\S+ )?(?:ArrayTaskId=\S+ )?JobName={execution} ", said):
        return FORGOTTEN
    return _state(_field(said, "JobState"), _field(said, "ExitCode"), _field(said, "Reason"))


def state_on_record(said: str, execution: ExecutionId) -> JobState:
    """What ``sacct`` says of a job that the scheduler has forgotten."""
    for line in said.splitlines():
        name, _, rest = line.partition("|")
        if name == execution:
            state, _, code = rest.partition("|")
            found = _state(state.partition(" ")[0], code, "")
            if found.over:
                return found
    return FORGOTTEN


def _field(said: str, name: str) -> str:
    found = re.search(rf" {name}=(\S*)", said)
    return found[1] if found else ""


def _state(state: str, ended: str, reason: str) -> JobState:
    why = "" if reason in ("None", "") else reason.replace("_", " ")
    if state in _QUEUED:
        return JobState(JobStatus.QUEUED, reason=why)
    if state not in _EXITED:  # also one of a later Slurm: better to wait for a job than to start it twice
        return JobState(JobStatus.RUNNING, reason="" if state == "RUNNING" else state)
    status, signum = (int(each) if each.isdecimal() else 0 for each in (*ended.split(":"), "")[:2])
    code = 128 + signum if signum else status
    if state == "COMPLETED":
        return JobState(JobStatus.EXITED, code)
    if state == "FAILED" and signum == _NO_LOG:
        why = "its log could not be written: log_folder must be one that the nodes reach"
    elif state != "FAILED" or why == "NonZeroExitCode":
        why = ""  # the reason for which it had waited before, or what the code says already
    return JobState(JobStatus.EXITED, code or None, f"{state}: {why}" if why else state)
