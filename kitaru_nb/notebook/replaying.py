"""`%replay`: what is typed, with its expressions evaluated in the notebook's namespace."""

from __future__ import annotations

import ast
import re
import shlex
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from kitaru_nb.engine.flow_handle import in_background
from kitaru_nb.engine.recovery import execution_of
from kitaru_nb.errors import UsageError
from kitaru_nb.model.cost import small_dollars
from kitaru_nb.notebook import display
from kitaru_nb.notebook.replay_control import ReplayControl, steps_of, what_to_type
from kitaru_nb.notebook.variables import filled
from kitaru_nb.notebook.words import without_comment
from kitaru_nb.stacks.flows import Here
from kitaru_nb.stacks.replay_notebook import Wanted
from kitaru_nb.stacks.replaying import NotebookHandle, replay_notebook
from kitaru_nb.stacks.replays import replay_flow

__all__ = ["Asked", "parse_line", "replay_line"]

_OPTION = re.compile(r"(?:^|(?<=\s))--([a-z-]+)(?=[\s=]|$)")
_NEXT_CHANGE = re.compile(r"\s+(?=[\w.#-]+\s*=(?!=))")
_USAGE = "%replay [EXECUTION] --from CHECKPOINT [--set name=expr ...] [--background] [--stack S]"


@dataclass(slots=True)
class Asked:
    """A line, taken apart; changes are still expressions."""

    execution: str | None = None
    from_: str = ""
    changes: dict[str, str] = field(default_factory=dict)
    background: bool = False
    stack: str | None = None


def parse_line(line: str) -> Asked:
    """What a line asks for.

    An expression reaches to the next option, so that it may hold spaces, quotes and all.

    Raises:
        UsageError: kind ``bad-option``.
    """
    first, *rest = _OPTION.split(without_comment(line).strip())
    asked = Asked()
    words = first.split()
    if len(words) > 1:
        raise _misused(f"`%replay` takes one execution, and got `{' '.join(words)}`")
    asked.execution = words[0] if words else None
    for option, text in zip(rest[::2], rest[1::2], strict=True):
        value = text.strip().removeprefix("=").strip()
        match option:
            case "from":
                asked.from_ = _one_name(option, value)
            case "stack":
                asked.stack = _one_name(option, value)
            case "background" if value:
                raise _misused(f"`--background` takes nothing, and got `{value}`")
            case "background":
                asked.background = True
            case "set":
                asked.changes |= _changes(value)
            case _:
                raise _misused(f"`%replay` has no option `--{option}`")
    if not asked.from_:
        raise _misused("`%replay` needs the checkpoint to begin at")
    return asked


def _one_name(option: str, text: str) -> str:
    """The name that is given, in quotes where it holds blanks."""
    try:
        (name,) = shlex.split(text)
    except ValueError:  # none, several, or a quote that is not closed
        raise _misused(f"`--{option}` needs one name, in quotes where it holds blanks") from None
    return name


def _changes(text: str) -> dict[str, str]:
    """``name=expr``, or several of them."""
    parts = _NEXT_CHANGE.split(text)
    if not all(_is_change(part) for part in parts):
        parts = [text]
    found = {}
    for part in parts:
        name, equals, expression = part.partition("=")
        if not equals or not name.strip():
            raise _misused(f"`--set {text}` gives no name a value")
        found[name.strip()] = expression.strip()
    return found


def _is_change(text: str) -> bool:
    _, equals, expression = text.partition("=")
    try:
        ast.parse(expression.strip(), mode="eval")
    except SyntaxError:
        return False
    return bool(equals)


def _misused(message: str) -> UsageError:
    return UsageError(message, kind="bad-option", hint=_USAGE)


def replay_line(hooks: Any, line: str) -> object:
    """`%replay [EXECUTION] --from CHECKPOINT [--set name=expr ...] [--background] [--stack S]`.

    Without any option it shows the control, where somebody may be looking.
    """
    if "--" not in line and len(line.split()) < 2:
        if not hooks.quiet:
            _control(hooks, filled(line.strip(), hooks.shell.user_ns) or None)
        return None
    asked = parse_line(line)
    if asked.execution is not None:
        asked.execution = filled(asked.execution, hooks.shell.user_ns)
    session = hooks.open_session()
    typed = {name: _evaluated(hooks, name, text) for name, text in asked.changes.items()}
    place = Here(asked.stack)
    engine = session.engine if asked.stack is None else place.engine()
    original = execution_of(engine.journal, session.identity, asked.execution, session.attempt)
    if original.identity.flow is not None:
        begun = replay_flow(engine, original, asked.from_, typed=typed, place=place)
        saved = _saved(len(begun.reused.steps), "result", begun.reused.duration, begun.reused.cost)
        _say(hooks, begun.turn.execution, original.id, begun.plan.told(), saved)
        handle = in_background(begun.turn)
        return handle if asked.background else handle.result()
    if session.identity.replay is not None:
        # The cell that asks is one of those that a replay runs: each would begin the next one.
        display.say(hooks.shell, f"kitaru: this is a replay itself, so nothing replays `{original.id}` here")
        return None
    wanted = Wanted(asked.from_, typed=typed)
    running = replay_notebook(engine, original, wanted, namespace=hooks.shell.user_ns)
    _say_notebook(hooks, running, original.id)
    return None


def _control(hooks: Any, execution: str | None) -> None:
    """Choose a checkpoint, change inputs, run, compare; as words where there are no widgets."""
    session = hooks.open_session()
    original = execution_of(session.engine.journal, session.identity, execution, session.attempt)
    steps = steps_of(session.engine, original)
    text = what_to_type(original.id, steps)
    widget = _widget(hooks, ReplayControl(session.engine.settings, original.id, steps)) if steps else None
    if widget is None:
        display.say(hooks.shell, text)
        return
    hooks.shell.display_pub.publish({**widget.shown, **display.own_words(text)})


def _widget(hooks: Any, control: ReplayControl) -> Any:
    if not hasattr(hooks.shell, "kernel"):
        return None
    try:
        from kitaru_nb.notebook.replay_widget import ReplayWidget  # noqa: PLC0415 - the extra `widgets`
    except ImportError:
        return None
    return ReplayWidget(control)


def _evaluated(hooks: Any, name: str, expression: str) -> object:
    try:
        tree = ast.parse(expression, mode="eval")
    except SyntaxError as error:
        message = f"`{expression}` is no Python expression: {error.msg}"
        raise UsageError(
            message, kind="bad-change", hint=f'--set {name}=0.1, or --set {name}="text"'
        ) from None
    hooks.session.opens(ast.Module([ast.Expr(tree.body)], type_ignores=[]))
    try:
        return eval(compile(tree, "<--set>", "eval"), hooks.shell.user_ns)  # noqa: S307 - the user's own
    except Exception as error:
        message = f"`{expression}` cannot be evaluated: {type(error).__name__}: {error}"
        raise UsageError(
            message, kind="bad-change", hint=f'--set {name}=0.1, or --set {name}="text"'
        ) from error


def _say_notebook(hooks: Any, running: NotebookHandle, original: str) -> None:
    begun = running.begun
    saved = _saved(len(begun.reused.steps), "checkpoint", begun.reused.duration, begun.reused.cost)
    lines = [f"it runs in the background in a kernel of its own, into {running.output}", *begun.notes]
    _say(hooks, running.execution, original, begun.plan.told(), saved, lines=lines)


def _say(
    hooks: Any, execution: str, original: str, told: str, saved: str, *, lines: Sequence[str] = ()
) -> None:
    head = f"kitaru: `{execution}` replays `{original}` {told} · {saved}"
    look = f"%kitaru show {execution} · %kitaru diff {original} {execution}"
    display.say(hooks.shell, "\n".join([head, *(f"  {line}" for line in [*lines, look])]))


def _saved(count: int, what: str, seconds: float, cost: float | None) -> str:
    results = f"1 {what} before it is" if count == 1 else f"{count or 'no'} {what}s before it are"
    saved = [display.duration(seconds)] if count else []
    saved += [small_dollars(cost)] if count and cost is not None else []
    return f"{results} reused" + (f", which saves {' and '.join(saved)}" if saved else "")
