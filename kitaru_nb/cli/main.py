"""The `kitaru-nb` command: its verbs, and the one place where errors become words and exit codes.

A verb's module is imported when the verb is typed, so that `executions` never pays for
papermill or zarr.
"""

from __future__ import annotations

import os
import sys
import traceback
from collections.abc import Sequence
from contextlib import nullcontext

from cyclopts import App, CycloptsError, Group, Parameter

from kitaru_nb.cli.output import print_error
from kitaru_nb.cli.usage import usage_error
from kitaru_nb.errors import KitaruError
from kitaru_nb.stacks.deferred import defer_imports
from kitaru_nb.stacks.loading import rarely_collected
from kitaru_nb.stacks.outcome import Exit, exit_code_of

__all__ = ["app", "main"]

_PIPE_CLOSED = 141
_RUNS_FLOWS = {"resume", "replay"}  # in this process; what they leave to be collected is no business of ours

_DAILY = {
    "run": (
        "kitaru_nb.cli.verbs:run",
        "Run notebooks; what was interrupted or failed goes on where it stopped.",
    ),
    "resume": ("kitaru_nb.cli.verbs:resume", "Go on with executions that were interrupted or failed."),
    "replay": ("kitaru_nb.cli.verbs:replay", "Run an execution again from one of its checkpoints on."),
    "cancel": ("kitaru_nb.cli.cancel:cancel", "End an execution for good, wherever it runs."),
    "executions": ("kitaru_nb.cli.executions:executions", "List executions, newest first."),
    "show": ("kitaru_nb.cli.executions:show", "Show one execution with its checkpoints."),
    "logs": ("kitaru_nb.cli.logs:logs", "Say what happened in an execution, line by line."),
    "cost": ("kitaru_nb.cli.cost:cost", "Say what model calls have cost, and what was saved."),
    "diff": ("kitaru_nb.cli.diff:diff", "Compare two executions, step by step."),
    "plan": ("kitaru_nb.cli.plan:plan", "Say what running a notebook would do, and why."),
    "waits": ("kitaru_nb.cli.waits:waits", "List what waits for a person, and what was answered."),
    "answer": ("kitaru_nb.cli.waits:answer", "Answer a wait."),
    "approve": ("kitaru_nb.cli.waits:approve", "Answer yes to a wait."),
    "reject": ("kitaru_nb.cli.waits:reject", "Answer no to a wait."),
    "why": ("kitaru_nb.cli.why:why", "Say why a checkpoint was restored or run."),
}
_ADMIN = {
    "artifacts": ("kitaru_nb.cli.artifacts:artifacts", "List what an execution stored."),
    "artifact": ("kitaru_nb.cli.artifacts:artifact", "Show one stored value, or write it to a file."),
    "trust": ("kitaru_nb.cli.trust:trust", "Trust what somebody else signed; without KEY, list whom."),
    "export": (
        "kitaru_nb.cli.handover:export",
        "Write an execution to a file that somebody else can import.",
    ),
    "import": ("kitaru_nb.cli.handover:import_", "Take in an execution that somebody exported."),
    "pin": ("kitaru_nb.cli.keep:pin", "Keep an execution's values for good."),
    "unpin": ("kitaru_nb.cli.keep:unpin", "Let an execution's values go with the others."),
    "gc": ("kitaru_nb.cli.keep:gc", "Remove the values of executions that completed long ago."),
    "audit": ("kitaru_nb.cli.audit:audit", "Check that nothing on record was changed afterwards."),
    "store": ("kitaru_nb.cli.store:store", "What the store holds, whether it is whole, and its format."),
    "stack": ("kitaru_nb.cli.stack:stack", "Where to run and record: list, choose, make, try."),
    "reconcile": (
        "kitaru_nb.cli.elsewhere:reconcile",
        "Submit again what died on a stack, and what has its answer.",
    ),
    "schedule": ("kitaru_nb.cli.schedule:schedule", "Write a run at fixed times for cron and its like."),
    "enable": ("kitaru_nb.cli.setup:enable", "Load kitaru_nb in every kernel by itself."),
    "demo": ("kitaru_nb.cli.demo:demo", "Run a real notebook, kill its kernel half-way, run it again."),
    "doctor": ("kitaru_nb.cli.setup:doctor", "Check settings, disk, journal and kernels."),
    "fake-llm": ("kitaru_nb.cli.fake_llm:fake_llm", "Serve a language model that costs nothing."),
}


def _version() -> str:
    from importlib.metadata import PackageNotFoundError, version  # noqa: PLC0415 - only for --version

    try:
        return f"kitaru-nb {version('kitaru-nb')}"
    except PackageNotFoundError:
        return "kitaru-nb (run from its source, not installed)"


def _build() -> App:
    built = App(
        name="kitaru-nb",
        help="Durable notebooks: what has run is not run again.",
        version=_version,
        default_parameter=Parameter(
            negative=(),
            show_default=False,
            json_dict=False,
            json_list=False,  # a value is text, as typed
        ),
        help_flags=["--help", "-h"],
        version_flags=["--version"],
    )
    order = 0
    for group, verbs in ((Group("Daily", sort_key=1), _DAILY), (Group("Admin", sort_key=2), _ADMIN)):
        for verb, (path, text) in verbs.items():
            order += 1  # the order above, not the alphabet's
            built.command(path, name=verb, help=text, group=group, sort_key=order)
    options = Group("Options", sort_key=3)
    for flag in ("--help", "--version"):
        built[flag].group = (options,)
    return built


app = _build()


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command line and give its exit code; nothing but an exit code gets out of here.

    Args:
        argv: The words after ``kitaru-nb``; those of this process by default.
    """
    defer_imports()
    words = list(sys.argv[1:] if argv is None else argv)
    try:
        with nullcontext() if _RUNS_FLOWS & set(words) else rarely_collected():
            return _carry_out(words)
    except BrokenPipeError:
        # The reader has gone (`| head`). Python flushes stdout once more at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return _PIPE_CLOSED


def _carry_out(words: list[str]) -> int:
    as_json = "--json" in words
    try:
        command, bound, _ = app.parse_args(words, print_error=False, exit_on_error=False)
        as_json = bool(bound.arguments.get("json"))  # a parameter's value may be `--json` too
        code = int(command(*bound.args, **bound.kwargs) or 0)
        sys.stdout.flush()
    except CycloptsError as error:
        print_error(usage_error(error, verbs=[*_DAILY, *_ADMIN]), as_json=as_json)
        return int(Exit.USAGE)
    except KitaruError as error:
        print_error(error, as_json=as_json)
        return int(exit_code_of(error))
    except KeyboardInterrupt:
        print_error(KitaruError("interrupted", kind="interrupted"), as_json=as_json)
        return int(Exit.SIGINT)
    except BrokenPipeError:
        raise
    except Exception as error:  # a defect of ours: the traceback for a report, the document for the program
        if not as_json:
            raise
        traceback.print_exc()
        message = f"{type(error).__name__}: {error}"
        print_error(
            KitaruError(message, kind="unexpected", hint="report it with the traceback"), as_json=True
        )
        return int(Exit.FAILED)
    return code
