"""`schedule show`: a run at fixed times, written for cron, systemd, Kubernetes or Slurm."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated, Literal

from cyclopts import Parameter

from kitaru_nb.artifacts.secret_rules import is_secret_name
from kitaru_nb.cli.output import Json, clean, print_json
from kitaru_nb.errors import UsageError
from kitaru_nb.model.stack import LOCAL
from kitaru_nb.stacks.calendars import NIGHTLY, When
from kitaru_nb.stacks.config import referred
from kitaru_nb.stacks.notebooks import is_remote
from kitaru_nb.stacks.open import chosen_stack
from kitaru_nb.stacks.schedule import Kind, Schedule, command_here, document, schedule_name, written
from kitaru_nb.stacks.settings import resolve

__all__ = ["schedule"]

_WHERE = ("KITARU_NB_HOME", "KITARU_NB_CONFIG", "KITARU_NB_STACK")
"""What a process that is started elsewhere has to know in order to record in the same place."""

_SUSPENDS_WELL = (Kind.K8S, Kind.SLURM)  # they call every other exit code a failure


def schedule(
    action: Literal["show"],  # noqa: ARG001 - the word itself is all there is to it
    notebook: str,
    /,
    *,
    as_: Annotated[
        Literal["cron", "systemd", "k8s", "slurm"],
        Parameter(name="--as", metavar="cron|systemd|k8s|slurm", show_choices=False),
    ],
    at: Annotated[str, Parameter(metavar="WHEN")] = NIGHTLY,
    output: Annotated[str | None, Parameter(name=["--output", "-o"], metavar="OUTPUT")] = None,
    parameters: Annotated[
        tuple[tuple[str, str], ...],
        Parameter(name=["--parameter", "-p"], metavar="NAME VALUE", allow_leading_hyphen=True),
    ] = (),
    parameter_files: Annotated[
        tuple[str, ...], Parameter(name=["--parameters-file", "-f"], metavar="FILE")
    ] = (),
    stack: Annotated[str | None, Parameter(metavar="S")] = None,
    tags: Annotated[tuple[str, ...], Parameter(name="--tag", metavar="TAG")] = (),
    new: bool = False,
    retries: Annotated[int, Parameter(metavar="N")] = 0,
    timeout: Annotated[str | None, Parameter(metavar="TIME")] = None,
    budget: Annotated[float | None, Parameter(metavar="USD")] = None,
    image: Annotated[str | None, Parameter(metavar="IMAGE")] = None,
    json: Json = False,
) -> int:
    """Print what makes cron, systemd, Kubernetes or Slurm run a notebook at fixed times.

    Nothing is installed. A run that is still going on at the next time is not run twice.

    Args:
        action: show.
        notebook: The notebook.
        as_: For what: cron (a line of a crontab), systemd (a service and a timer), k8s (a CronJob),
            slurm (lines of a scrontab).
        at: When, in the five fields of cron, or @hourly, @daily ...; at two every night by default.
        output: Where the executed notebook goes; NAME.out.ipynb beside it by default.
        parameters: Set one parameter: NAME VALUE. May be given many times.
        parameter_files: YAML or JSON file of parameters; -p counts before it.
        stack: Where to run and record; the current stack by default.
        tags: Tag of each execution. May be given many times.
        new: Begin anew each time, also where the run before did not complete.
        retries: How many more attempts one that failed gets.
        timeout: How long one attempt may take, such as 90, 10m or 2h.
        budget: What each execution may cost in US dollars.
        image: With k8s: the image that it runs in.
        json: Print one JSON document.
    """
    kind = Kind(as_)
    where = notebook if is_remote(notebook) else os.path.abspath(notebook)
    elsewhere = is_remote(where) or (kind is Kind.K8S and Path(notebook).is_absolute())  # a path in the image
    if not elsewhere and not Path(where).is_file():
        raise UsageError(f"there is no notebook `{notebook}`", kind="no-notebook", hint="ls *.ipynb")
    _check_no_secrets(parameters)
    settings = resolve(stack=stack)
    if kind is not Kind.K8S:  # a pod has files of its own, and may know a stack that is not known here
        chosen_stack(settings)
    options = _options(
        output=output if output is None or is_remote(output) else os.path.abspath(output),
        parameters=parameters,
        files=parameter_files,
        stack=stack,
        tags=tags,
        new=new,
        retries=retries,
        timeout=timeout,
        budget=budget,
    )
    if kind in _SUSPENDS_WELL:
        options += ["--suspend-exit", "0"]
    program = ["kitaru-nb"] if kind is Kind.K8S else command_here()
    command = [*program, "run", where, *options, "--no-progress"]
    made = Schedule(
        schedule_name(where, command),
        When.parse(at),
        str(Path.cwd()),
        command,
        {name: os.environ[name] for name in _WHERE if os.environ.get(name)},
        referred((settings.place or LOCAL).to_json()),
        image,
    )
    if json:
        print_json(document(made, kind))
        return 0
    files = written(made, kind)
    for each in files:
        if each.name is not None and len(files) > 1:
            print(clean(f"# {each.name}"))
        print(f"# {each.todo}\n{each.text}")
    return 0


def _options(
    *,
    output: str | None,
    parameters: tuple[tuple[str, str], ...],
    files: tuple[str, ...],
    stack: str | None,
    tags: tuple[str, ...],
    new: bool,
    retries: int,
    timeout: str | None,
    budget: float | None,
) -> list[str]:
    """The options of `run`, with paths that are the same from everywhere."""
    words = [] if output is None else ["-o", output]
    for name, value in parameters:
        words += ["-p", name, value]
    for file in files:
        words += ["-f", os.path.abspath(file)]
    words += [] if stack is None else ["--stack", stack]
    for tag in tags:
        words += ["--tag", tag]
    words += ["--new"] if new else []
    words += ["--retries", str(retries)] if retries else []
    words += [] if timeout is None else ["--timeout", timeout]
    return words + ([] if budget is None else ["--budget", f"{budget:g}"])


def _check_no_secrets(parameters: tuple[tuple[str, str], ...]) -> None:
    for name, _ in parameters:
        if is_secret_name(name):
            raise UsageError(
                f"parameter `{name}` looks like a secret, which everybody could read in a table of times",
                kind="secret-in-schedule",
                hint=f"os.environ[{name.upper()!r}] in the notebook, or -f with a file only you can read",
            )
