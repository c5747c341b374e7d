"""What the line magics do; imported with their first use."""

from __future__ import annotations

import ast
import re
import shlex
import subprocess
import sys
from collections.abc import Mapping
from functools import partial
from typing import Any

from kitaru_nb.analysis.directive import directive_of
from kitaru_nb.engine.stored import stored_values
from kitaru_nb.engine.why import explain_step
from kitaru_nb.errors import KitaruError, StoreError, UsageError
from kitaru_nb.notebook import display
from kitaru_nb.notebook.auto import auto_of
from kitaru_nb.notebook.foresight import live_plan
from kitaru_nb.notebook.hooks import Hooks
from kitaru_nb.notebook.interrupts import Shield
from kitaru_nb.notebook.opening import session_to_read
from kitaru_nb.notebook.shown import as_html
from kitaru_nb.notebook.variables import filled_words
from kitaru_nb.notebook.words import words_of
from kitaru_nb.stacks.open import open_engine
from kitaru_nb.stacks.outcome import Exit

__all__ = [
    "checkpoint_cell",
    "checkpoint_line",
    "kitaru_line",
    "replay_line",
    "resume_line",
    "rewind_line",
    "why_line",
]


def checkpoint_cell(_hooks: Hooks, line: str, _cell: str) -> None:
    """Reached only when `%%checkpoint` is not on the cell's first line of code."""
    message = (
        "`%%checkpoint` belongs on a cell's first line; only `%%time` and `%%capture` may stand above it"
    )
    raise UsageError(message, kind="misplaced-checkpoint", hint=f"%%checkpoint {line}".rstrip())


def checkpoint_line(hooks: Hooks, line: str) -> None:
    """`%checkpoint auto [OPTIONS] | off | status`; anything else has one percent sign too few."""
    match words_of("%checkpoint", line):
        case ["off"] | ["auto", "off"]:
            hooks.auto = None
            _say(hooks, "kitaru: auto is off; marked cells are checkpoints")
            return
        case ["status"] | ["auto", "status"]:
            _say(hooks, display.auto_status(hooks.auto))
            return
        case ["auto", *options]:
            hooks.auto = auto_of(options)
            _say(hooks, f"kitaru: auto is on: {hooks.auto}")
            return
    message = "`%checkpoint` is a line magic and stores nothing; did you mean `%%checkpoint`?"
    raise UsageError(message, kind="one-percent", hint=f"%%checkpoint {line}".rstrip())


def _say(hooks: Hooks, text: str) -> None:
    if not hooks.quiet:
        display.say(hooks.shell, text)


def resume_line(hooks: Hooks, line: str) -> None:
    """`%resume [EXECUTION] [--at CHECKPOINT] [--remake a,b] [--take-over] [--trust]`."""
    execution, at, again, take_over, trust = _resume_arguments(words_of("%resume", line))
    unwritable: StoreError | None = None
    try:
        session = hooks.open_session()
    except StoreError as error:
        if take_over:
            raise
        unwritable, session = error, session_to_read(hooks.shell, hooks.process, error)
    with Shield() as shield:
        report = session.resume(
            execution,
            at=at,
            take_over=take_over,
            again=again,
            parse=partial(_parsed, hooks.shell),
            trust=trust,
        )
    _fill_out(hooks.shell, report.results)
    hooks.shell.display_pub.publish(display.resumed(report).bundle())
    if unwritable is not None:
        session.namespace.open()  # nobody would see to it later: this session ends here
        session.engine.close()
        _say(hooks, f"kitaru: checkpoints cannot be recorded here: {unwritable.message}")
    hooks.open_after("resume")
    if report.refused:
        raise report.refused[0]
    if shield.pressed:
        raise KeyboardInterrupt


def rewind_line(hooks: Hooks, line: str) -> None:
    """`%rewind CHECKPOINT | --undo | --keep`."""
    words = words_of("%rewind", line)
    if len(words) != 1:
        raise UsageError("`%rewind` takes one thing", kind="bad-option", hint=_REWIND)
    session = hooks.open_session()
    if words[0] == "--undo":
        done = session.failures.undo_all()
        display.say(hooks.shell, display.undone(done))
    elif words[0] == "--keep":
        display.say(hooks.shell, display.kept(session.failures.keep()))
    elif words[0].startswith("-"):
        raise UsageError(f"`%rewind` has no option `{words[0]}`", kind="unknown-option", hint=_REWIND)
    else:
        with Shield() as shield:
            report = session.rewind(words[0])
        hooks.shell.display_pub.publish(display.rewound(report).bundle())
        hooks.open_after("rewind")
        if shield.pressed:
            raise KeyboardInterrupt


_REWIND = "%rewind CHECKPOINT, %rewind --undo or %rewind --keep"


def _fill_out(shell: Any, results: Mapping[int, object]) -> None:
    """Put back `Out`, `_1`, `_2` ... and `_`, `__`, `___`."""
    for count, value in results.items():
        shell.user_ns["_oh"][count] = value
        shell.user_ns[f"_{count}"] = value
    hook = shell.displayhook
    for value in list(results.values())[-3:]:
        hook.___, hook.__, hook._ = hook.__, hook._, value
    shell.push({"_": hook._, "__": hook.__, "___": hook.___}, interactive=False)
    _count_on(shell, max(results, default=0))


def _count_on(shell: Any, count: int) -> None:
    """Let the next cell be number `count` + 1 at least, so that it takes no place in `Out` that is filled."""
    missing = count - shell.execution_count
    if missing <= 0:
        return
    shell.execution_count = count
    for inputs in (shell.history_manager.input_hist_parsed, shell.history_manager.input_hist_raw):
        inputs[-1:-1] = [""] * missing  # `In[n]` stays the source of cell n


def replay_line(hooks: Hooks, line: str) -> object:
    """`%replay`; see `notebook.replaying`."""
    from kitaru_nb.notebook.replaying import replay_line as replayed  # noqa: PLC0415 - it brings papermill

    return replayed(hooks, line)


def why_line(hooks: Hooks, line: str) -> None:
    """`%why [CHECKPOINT]`."""
    session = hooks.open_session()
    name = " ".join(words_of("%why", line)) or None
    stored = stored_values(lambda: open_engine(session.engine.settings, read_only=True))
    display.say(hooks.shell, explain_step(session, name, stored=stored))


def kitaru_line(hooks: Hooks, line: str) -> None:
    """`%kitaru VERB ...`: the command line's verbs, and `new`, `exclude`, `plan` of this kernel.

    Raises:
        KitaruError: what the verb failed with, so that Run All stops there.
    """
    arguments = filled_words(words_of("%kitaru", line), hooks.shell.user_ns)
    if arguments == ["new"]:
        _begin_anew(hooks)
        return
    if arguments[:1] == ["exclude"]:
        _exclude(hooks, arguments[1:])
        return
    if arguments[:1] == ["diff"] and len(arguments) == 3 and not arguments[1].startswith("-"):
        _show_diff(hooks, *arguments[1:])
        return
    if arguments == ["plan"]:
        _say(hooks, live_plan(hooks))
        return
    try:
        finished = subprocess.run(  # noqa: S603 - our own command, with the user's arguments
            [sys.executable, "-m", "kitaru_nb", *arguments], capture_output=True, text=True, check=False
        )
    except ValueError as error:  # a NUL, or half a character
        message = f"`%kitaru` cannot be given that: {error}"
        raise UsageError(message, kind="bad-argument", hint="%kitaru --help") from None
    html = (
        as_html(arguments, finished.stdout)
        if finished.returncode == Exit.COMPLETED and not hooks.quiet
        else None
    )
    if html is None:
        sys.stdout.write(finished.stdout)
    else:
        hooks.shell.display_pub.publish({"text/plain": finished.stdout.rstrip("\n"), "text/html": html})
    if arguments in (["--help"], ["-h"], []):
        sys.stdout.write(_OF_THIS_KERNEL)
    if finished.returncode in (Exit.COMPLETED, Exit.WAITING):
        sys.stderr.write(finished.stderr)
        return
    said, failure = _failure(shlex.join(arguments), finished.returncode, finished.stderr)
    sys.stderr.write(said)
    raise failure


_OF_THIS_KERNEL = """
Besides, in a notebook:
  %kitaru new            begin a new execution for this notebook
  %kitaru plan           what each checkpoint would do if it were run now, with this kernel's values
  %kitaru exclude NAME   never store NAME in this notebook; --remove NAME stores it again
"""
_ERROR = re.compile(r"^error: (.*)\n(?:  Try: (.*)\n)?", re.MULTILINE)


def _failure(verb: str, code: int, stderr: str) -> tuple[str, KitaruError]:
    """What a verb that failed said besides its error, and the error that fails the cell for it."""
    failed = UsageError if code == Exit.USAGE else KitaruError
    *_, last = [None, *_ERROR.finditer(stderr)]
    if last is None:  # it ran something, and has said how that went
        return stderr, failed(f"`kitaru-nb {verb}` ended with exit code {code}", kind="verb-failed")
    said = stderr[: last.start()] + stderr[last.end() :]
    return said, failed(last[1], kind="verb-failed", hint=last[2] or "")


def _show_diff(hooks: Hooks, a: str, b: str) -> None:
    """`%kitaru diff A B`, as a page where the front end shows one."""
    from kitaru_nb.stacks.comparing import compared  # noqa: PLC0415 - seldom needed

    hooks.shell.display_pub.publish(compared(hooks.open_session().engine.settings, a, b))


def _exclude(hooks: Hooks, words: list[str]) -> None:
    """`%kitaru exclude [NAME...] [--remove NAME...]`."""
    session = hooks.open_session()
    hint = "%kitaru exclude NAME, or %kitaru exclude --remove NAME"
    remove = words[:1] == ["--remove"]
    names = {name for word in words[remove:] for name in word.split(",") if name}
    for name in names:
        if not name.isidentifier():
            raise UsageError(f"`{name}` is not a name", kind="bad-option", hint=hint)
    if remove and not names:
        raise UsageError("`--remove` needs a name", kind="bad-option", hint=hint)
    if names:
        session.exclude(sorted(session.excluded - names if remove else session.excluded | names))
    listed = ", ".join(f"`{name}`" for name in sorted(session.excluded))
    _say(
        hooks,
        f"kitaru: never stored in this notebook: {listed}" if listed else "kitaru: all names are stored",
    )


def _begin_anew(hooks: Hooks) -> None:
    hooks.close()
    session = hooks.open_session()
    attempt = session.open(new=True)
    display.say(hooks.shell, f"kitaru: a new execution has begun, `{attempt.execution}`")


def _parsed(shell: Any, source: str) -> ast.Module:
    """A recorded cell's tree; the shell turns its magics into Python."""
    return directive_of(ast.parse(shell.transform_cell(source)))[1]


def _resume_arguments(words: list[str]) -> tuple[str | None, str | None, list[str], bool, bool]:
    execution: str | None = None
    at: str | None = None
    again: list[str] = []
    take_over = trust = False
    rest: Any = iter(words)
    for word in rest:
        if word == "--take-over":
            take_over = True
        elif word == "--trust":
            trust = True
        elif word == "--at" or word.startswith("--at="):
            at = word.partition("=")[2] or next(rest, None)
            if not at:
                raise _misused("`--at` needs the name of a checkpoint")
        elif word == "--remake" or word.startswith("--remake="):
            asked = word.partition("=")[2] or next(rest, None) or ""
            again += [name for part in asked.split(",") if (name := part.strip())]
            if not again:
                raise _misused("`--remake` needs the names to make again")
        elif word.startswith("-"):
            raise _misused(f"`%resume` has no option `{word}`")
        elif execution is not None:
            raise _misused(f"`%resume` takes one execution, and got `{execution}` and `{word}`")
        else:
            execution = word
    return execution, at, again, take_over, trust


def _misused(message: str) -> UsageError:
    return UsageError(
        message,
        kind="unknown-option",
        hint="%resume [EXECUTION] [--at CHECKPOINT] [--remake a,b] [--take-over] [--trust]",
    )
