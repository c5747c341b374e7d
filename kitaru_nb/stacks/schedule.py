"""Runs at fixed times, written for what starts things at fixed times: cron, systemd, Kubernetes, Slurm.

Nothing of ours has to live in between. That two runs of one notebook never overlap needs no lock
file either: the second one is refused by the lease of the first.
"""

from __future__ import annotations

import hashlib
import json
import re
import shlex
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Any

from kitaru_nb.errors import UsageError
from kitaru_nb.stacks.calendars import When
from kitaru_nb.stacks.outcome import Exit

__all__ = ["Kind", "Schedule", "WrittenFile", "command_here", "document", "schedule_name", "written"]

_SLUG = re.compile(r"[^a-z0-9]+")
_SLUG_LENGTH = 24  # a CronJob's name may have 52 characters
_IMAGE = "YOUR-IMAGE"  # no name that a registry could have: better a pod that is refused than a stranger's
_PERCENT = """'"$(printf '\\045')"'"""  # inside single quotes, where `shlex.quote` leaves every `%`
_OVERLAP = (
    "A run that is still going on at the next time is not run twice: the second one finds it held, "
    f"and ends with exit code {int(Exit.FAILED)}."
)


class Kind(StrEnum):
    """What starts it."""

    CRON = "cron"
    SYSTEMD = "systemd"
    K8S = "k8s"
    SLURM = "slurm"


@dataclass(frozen=True, slots=True)
class Schedule:
    """A command that is to run at fixed times.

    Attributes:
        name: What units and jobs are called.
        when: At what times.
        folder: Where it is run: settings and stacks are looked for from there.
        command: The program and its arguments.
        environ: Environment variables that say where things are recorded.
        needs: Environment variables with secrets that the command needs; they are never written down.
        image: For Kubernetes, the image of its container.
    """

    name: str
    when: When
    folder: str
    command: Sequence[str]
    environ: Mapping[str, str] = field(default_factory=dict)
    needs: Sequence[str] = ()
    image: str | None = None


@dataclass(frozen=True, slots=True)
class WrittenFile:
    """One text that a schedule is made of.

    Attributes:
        name: What it is called where it has to be a file, else None: a part of a table.
        text: What it says.
        todo: What to do with it.
    """

    name: str | None
    text: str
    todo: str


def command_here() -> list[str]:
    """How `kitaru-nb` of this Python is called, wherever it is called from."""
    script = Path(sys.executable).with_name("kitaru-nb")
    return [str(script)] if script.is_file() else [sys.executable, "-m", "kitaru_nb"]


def schedule_name(notebook: str, command: Sequence[str]) -> str:
    """A name for that command that systemd, Kubernetes and Slurm take; another command has another one."""
    slug = _SLUG.sub("-", Path(notebook).stem.lower()).strip("-")[:_SLUG_LENGTH].strip("-")
    digest = hashlib.sha256("\0".join(command).encode("utf-8", "surrogateescape")).hexdigest()[:8]
    return "-".join(filter(None, ["kitaru-nb", slug, digest]))


def written(schedule: Schedule, kind: Kind) -> list[WrittenFile]:
    """`schedule` as `kind` reads it.

    Raises:
        UsageError: kind ``unwritable-schedule``: a path or value has characters that no table of
            times can hold.
    """
    for text in (schedule.folder, *schedule.command, *schedule.environ.values()):
        _check(text)
    return _WRITERS[kind](schedule)


def _check(text: str) -> None:
    """Control characters end a line, and what is no text has no place in a file of text."""
    if any(ord(each) < ord(" ") or each == "\x7f" or "\ud800" <= each <= "\udfff" for each in text):
        raise UsageError(
            f"{text!r} cannot be written into a table of times: it has control characters in it",
            kind="unwritable-schedule",
            hint="rename it; parameters may also be in a file: -f params.yaml",
        )


def _shell(schedule: Schedule) -> str:
    """The command for /bin/sh."""
    environ = [f"{name}={shlex.quote(value)}" for name, value in schedule.environ.items()]
    return " ".join([f"cd {shlex.quote(schedule.folder)} &&", *environ, shlex.join(schedule.command)])


def _told(schedule: Schedule, *more: str) -> str:
    lines = [*more, _OVERLAP]
    if schedule.needs:
        lines.append("It needs in its environment: " + ", ".join(schedule.needs))
    return "".join(f"# {line}\n" for line in lines)


def _cron(schedule: Schedule) -> list[WrittenFile]:
    # cron takes the first `%` for the end of the command, inside quotes too, and what becomes of the
    # backslash of a `\%` depends on which cron it is: so there is none, and the shell makes it
    line = f"{schedule.when.cron()} {_shell(schedule)}".replace("%", _PERCENT)
    return [WrittenFile(None, f"{_told(schedule)}{line}\n", "crontab -e, and add these lines")]


def _slurm(schedule: Schedule) -> list[WrittenFile]:
    # the command becomes a script of /bin/sh as it stands: a `%` means nothing there
    text = (
        f"{_told(schedule)}#SCRON --job-name={schedule.name}\n"
        f"#SCRON --output={schedule.name}.%j.log\n"
        f"{schedule.when.cron()} {_shell(schedule)}\n"
    )
    return [WrittenFile(None, text, "scrontab -e, and add these lines; partition, time and memory as #SCRON")]


def _systemd(schedule: Schedule) -> list[WrittenFile]:
    if schedule.folder != schedule.folder.strip() or schedule.folder.endswith("\\"):
        raise UsageError(
            f"systemd cannot start anything in the folder `{schedule.folder}`: its name begins or ends "
            "with what systemd strips",
            kind="unwritable-schedule",
            hint="cd into another folder, and type it there",
        )
    service = [
        "[Unit]",
        f"Description={schedule.name}",
        "",
        "[Service]",
        "Type=oneshot",
        f"WorkingDirectory={schedule.folder.replace('%', '%%')}",
        *(f"Environment={_unit_quoted(f'{name}={value}')}" for name, value in schedule.environ.items()),
        # by `env`, because systemd reads `$` in the name of the program in another way than in arguments
        "ExecStart=/usr/bin/env "
        + " ".join(_unit_quoted(word).replace("$", "$$") for word in schedule.command),
        f"SuccessExitStatus={int(Exit.WAITING)}",
        "",
    ]
    timer = [
        "[Unit]",
        f"Description=When {schedule.name} runs",
        "",
        "[Timer]",
        *(f"OnCalendar={each}" for each in schedule.when.calendars()),
        "Persistent=true",
        "",
        "[Install]",
        "WantedBy=timers.target",
        "",
    ]
    name = schedule.name
    put = "save it in ~/.config/systemd/user/"
    start = f"{put}; then systemctl --user daemon-reload && systemctl --user enable --now {name}.timer"
    return [
        WrittenFile(f"{name}.service", _told(schedule) + "\n".join(service), put),
        WrittenFile(f"{name}.timer", "\n".join(timer), start),
    ]


def _unit_quoted(word: str) -> str:
    """One word of a unit file."""
    escaped = word.replace("\\", "\\\\").replace('"', '\\"').replace("%", "%%")
    return f'"{escaped}"' if re.search(r"[\s\"'\\;]", word) or not word else escaped


def _k8s(schedule: Schedule) -> list[WrittenFile]:
    # Kubernetes puts variables in for $(NAME), and reads $$ as $
    environ = [
        f"- name: {name}\n  value: {_yaml(value.replace('$', '$$'))}"
        for name, value in schedule.environ.items()
    ]
    command = ", ".join(_yaml(word.replace("$", "$$")) for word in schedule.command)
    environ += [
        f"- name: {name}\n  valueFrom:\n    secretKeyRef:\n      name: kitaru-nb\n      key: {name}"
        for name in schedule.needs
    ]
    lines = [
        "apiVersion: batch/v1",
        "kind: CronJob",
        "metadata:",
        f"  name: {schedule.name}",
        "spec:",
        f"  schedule: {_yaml(schedule.when.cron())}",
        "  concurrencyPolicy: Forbid",
        "  jobTemplate:",
        "    spec:",
        "      backoffLimit: 2",
        "      template:",
        "        spec:",
        "          restartPolicy: Never",
        "          containers:",
        "            - name: run",
        f"              image: {_yaml(schedule.image or _IMAGE)}",
        f"              workingDir: {_yaml(schedule.folder)}",
        f"              command: [{command}]",
    ]
    if environ:
        block = "\n".join(environ).splitlines()
        lines += ["              env:", *(f"                {line}" for line in block)]
    notes = [
        "The image has kitaru-nb, the notebook and its folder at these paths, and the packages it imports.",
        "A pod that is restarted goes on where the one before stopped, with a stack that both reach.",
    ]
    text = _told(schedule, *notes) + "\n".join(lines) + "\n"
    return [WrittenFile(f"{schedule.name}.yaml", text, f"kubectl apply -f {schedule.name}.yaml")]


def _yaml(text: str) -> str:
    """`text` as YAML reads nothing else: in quotes, and what is not printable by its number."""
    quoted = json.dumps(text, ensure_ascii=False)
    return "".join(each if each.isprintable() else f"\\U{ord(each):08x}" for each in quoted)


_WRITERS: Mapping[Kind, Callable[[Schedule], list[WrittenFile]]] = {
    Kind.CRON: _cron,
    Kind.SYSTEMD: _systemd,
    Kind.K8S: _k8s,
    Kind.SLURM: _slurm,
}


def document(schedule: Schedule, kind: Kind) -> dict[str, Any]:
    """What `schedule show --json` prints."""
    return {
        "name": schedule.name,
        "as": str(kind),
        "at": schedule.when.cron(),
        "folder": schedule.folder,
        "command": list(schedule.command),
        "environment": dict(schedule.environ),
        "needs": list(schedule.needs),
        "files": [
            {"name": each.name, "text": each.text, "todo": each.todo} for each in written(schedule, kind)
        ],
    }
