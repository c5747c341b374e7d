"""A worker on a machine behind SSH, in words: the lines of shell that start it, look at it and end it.

Each job has a folder there, which only its owner reads::

    job.sh   what is run
    pid      its process, and what tells that from a later one of the same number
    log      what it prints
    exit     its exit code, when it has ended

A process of its own keeps these, so a connection is needed only for as long as a question takes: the run
outlives it. All of this module is pure: `ssh_launcher` is what asks.
"""

from __future__ import annotations

import re
import secrets
import shlex
from dataclasses import dataclass

from kitaru_nb.errors import StackError, UsageError
from kitaru_nb.model.execution import ExecutionId
from kitaru_nb.model.stack import Stack
from kitaru_nb.stacks.launcher import Handle, JobState, JobStatus, RunSpec, option

__all__ = [
    "Host",
    "cancel_script",
    "host_of",
    "log_script",
    "new_handle",
    "poll_script",
    "state_of",
    "submit_script",
]

_HANDLE = re.compile(r"ex_[0-9A-Za-z]{1,64}-[0-9a-f]{16}", re.ASCII)
_HOST = re.compile(
    r"(?:(?P<user>[^@:\s]+)@)?(?P<host>[A-Za-z0-9_][A-Za-z0-9._-]*|\[[0-9A-Fa-f:.]+\])(?::(?P<port>[0-9]{1,5}))?",
    re.ASCII,
)

# What tells a process from a later one of its number: when the machine started, and when it did. A process
# that has ended and that nobody has waited for is none.
_START = r"""start_of() {
  if [ -r /proc/self/stat ]; then
    stat=$(cat "/proc/$1/stat" 2>/dev/null) || return 1
    set -- ${stat##*\)}
    case $1 in [ZX]) return 1 ;; esac
    echo "$(cat /proc/sys/kernel/random/boot_id) ${20}"
  else
    case $(ps -o state= -p "$1") in Z* | '') return 1 ;; esac
    LC_ALL=C ps -o lstart= -p "$1"
  fi
}"""

_RUNS = r"""runs() {
  [ -s pid ] && [ ! -s exit ] || return 1
  read -r pid start <pid
  [ "$(start_of "$pid")" = "$start" ]
}"""

# The shell stays as the parent that can say how the worker ended, and hands SIGTERM on. A signal ends a
# `wait` before the worker has ended: then it waits again.
_SUPERVISE = r"""worker=$!
[ -z "$stop" ] || kill -TERM "$worker"
code=
while :; do
  seen=$stop
  wait "$worker"
  said=$?
  [ "$said" = 127 ] && [ -n "$code" ] || code=$said
  [ "$seen" != "$stop" ] || break
done
echo "$code" >"$job/exit.new" && mv "$job/exit.new" "$job/exit"
"""


@dataclass(frozen=True, slots=True)
class Host:
    """Where to, as the stack's file says; what it does not say the user's SSH configuration may."""

    name: str
    user: str | None = None
    port: int | None = None

    @property
    def words(self) -> str:
        """As one types it after ``ssh``."""
        address = self.name if self.user is None else f"{self.user}@{self.name}"
        return address if self.port is None else f"-p {self.port} {address}"


def host_of(stack: Stack) -> Host:
    """The machine that a stack's file names.

    Raises:
        UsageError: kind ``bad-launcher-option``.
    """
    given: str | None = option(stack, "host", str)
    found = None if given is None else _HOST.fullmatch(given)
    if found is None or int(found["port"] or 0) > 65535:
        said = "has no `host`" if given is None else f"has the host {given!r}, which is none"
        raise UsageError(
            f"the launcher of stack `{stack.name}` {said}",
            kind="bad-launcher-option",
            hint=f'host = "user@machine.example:22" in {stack.source}',
        )
    port = None if found["port"] is None else int(found["port"])
    return Host(found["host"].strip("[]"), found["user"], port)


def new_handle(execution: ExecutionId) -> Handle:
    """The name of a job's folder; no two submissions share one."""
    return Handle(f"{execution}-{secrets.token_hex(8)}")


def submit_script(handle: Handle, spec: RunSpec, *, folder: str, python: str, setup: list[str]) -> str:
    """Starts a worker that outlives the connection; says ``begun`` when its process is on record."""
    end = f"end-{secrets.token_hex(8)}"
    return "\n".join(
        [
            "mask=$(umask)",
            "umask 077",
            f"job={_place(folder)}/{_checked(handle)}",
            'mkdir -p "$job" && cd "$job" || exit 1',
            f"cat >job.sh <<'{end}'",
            _job(spec, python, setup),
            end,
            ": >log",
            'umask "$mask"',
            "shell=sh; ! command -v bash >/dev/null || shell=bash",
            "{",
            '  if command -v setsid >/dev/null; then exec setsid "$shell" job.sh; fi',
            '  exec nohup "$shell" job.sh',
            "} </dev/null >>log 2>&1 &",
            "tries=0",
            'until [ -s pid ] || [ "$tries" -ge 100 ]; do tries=$((tries + 1)); sleep 0.1; done',
            "[ -s pid ] || { cat log >&2; exit 1; }",
            "echo begun",
            "",
        ]
    )


def poll_script(handle: Handle, *, folder: str) -> str:
    """Says how a job stands, see `state_of`."""
    return "\n".join(
        [
            *_within(handle, folder, "echo gone"),
            "if runs; then echo running",
            'elif [ -s exit ]; then echo "exited $(cat exit)"',
            "else echo gone; fi",
            "",
        ]
    )


def cancel_script(handle: Handle, *, folder: str) -> str:
    """Sends a worker that runs SIGTERM."""
    return "\n".join([*_within(handle, folder, ":"), 'if runs; then kill -TERM "$pid"; fi', ""])


def log_script(handle: Handle, *, folder: str, offset: int) -> str:
    """Prints a log from a byte on."""
    return "\n".join([*_within(handle, folder, ":"), f"[ ! -e log ] || tail -c +{offset + 1} log", ""])


def state_of(said: str) -> JobState:
    """What a `poll_script` has said."""
    match said.split():
        case ["running"]:
            return JobState(JobStatus.RUNNING)
        case ["exited", code] if code.isdecimal():
            return JobState(JobStatus.EXITED, int(code))
        case _:
            return JobState(JobStatus.LOST, reason="it was killed, or its machine restarted")


def _job(spec: RunSpec, python: str, setup: list[str]) -> str:
    go = [] if spec.folder is None else [f"cd {shlex.quote(spec.folder)} 2>/dev/null || true"]
    return "\n".join(
        [
            "stop= worker=",
            'trap \'stop=x$stop; [ -z "$worker" ] || kill -TERM "$worker"\' TERM',
            _START,
            'echo "$$ $(start_of $$)" >pid.new && mv pid.new pid',
            "job=$PWD",
            *(f"export {name}={shlex.quote(value)}" for name, value in spec.env.items()),
            "cd",
            "(",
            "set -e",
            *setup,
            *go,
            f"exec {shlex.join(spec.argv(python))}",
            ") &",
            _SUPERVISE,
        ]
    )


def _within(handle: Handle, folder: str, otherwise: str) -> list[str]:
    place = f"{_place(folder)}/{_checked(handle)}"
    return [f"cd {place} 2>/dev/null || {{ {otherwise}; exit; }}", _START, _RUNS]


def _place(folder: str) -> str:
    """The folder of jobs as a word of shell; from the user's own folder on, where it does not say."""
    if folder.startswith("/"):
        return shlex.quote(folder)
    return '"$HOME"/' + shlex.quote(folder.removeprefix("~/"))


def _checked(handle: Handle) -> str:
    if _HANDLE.fullmatch(handle) is None:
        raise StackError(
            f"the journal holds {handle!r} as a job behind SSH, which it is not",
            kind="bad-handle",
            hint="ps on that machine, to see what runs",
        )
    return handle
