"""Which stack a run is on record in, and which one it was begun on, whatever the current one is.

A command that submits to a stack prints what to type next, with an id in it. That line has to work as it
is typed: so an id that the current stack's journal does not know is looked for in those of the others.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

from kitaru_nb.engine.engine import Engine
from kitaru_nb.engine.refs import LATEST, find_execution
from kitaru_nb.errors import KitaruError, NotFoundError, StackError, UsageError
from kitaru_nb.model.execution import Execution
from kitaru_nb.model.settings import Settings
from kitaru_nb.model.stack import LOCAL
from kitaru_nb.stacks.config import read_stacks
from kitaru_nb.stacks.open import chosen_stack, open_engine
from kitaru_nb.stacks.parts import journal_at
from kitaru_nb.stacks.settings import resolve

__all__ = ["begun_on", "engine_with", "is_asked_for", "is_elsewhere", "other_places"]

_UNKNOWN = ("unknown-execution", "nothing-recorded")


def engine_with(text: str | None, *, read_only: bool = False) -> Engine:
    """The engine of the stack that has the execution `text` names on record.

    That is the current one where it knows it, or where none is named (None, ``latest``). Other stacks
    are only read while they are asked; one that cannot be reached is passed over, and named in the
    error if the execution is not found.

    Args:
        text: An id, or the start of one.
        read_only: See `open_engine`, like what is raised.

    Raises:
        NotFoundError: kinds ``unknown-execution``, ``nothing-recorded``.
        UsageError: kind ``ambiguous-execution``.
    """
    settings = resolve()
    if text is None or text == LATEST:
        return open_engine(settings, read_only=read_only)
    try:
        return _knowing(settings, text, read_only=read_only)
    except NotFoundError as error:
        if error.kind not in _UNKNOWN:
            raise
        unknown = error
    missed = []
    for each in other_places(settings):
        try:
            with closing(_knowing(each, text, read_only=True)) as engine:
                found = begun_on(each, find_execution(engine.journal, text))
        except NotFoundError:
            continue
        except KitaruError as error:
            if error.kind == "ambiguous-execution":
                raise
            missed.append(f"stack `{each.stack}` could not be asked: {error.message}")
        else:
            return open_engine(found, read_only=read_only)
    if not missed:
        raise unknown
    message = f"{unknown.message} on stack `{settings.stack}`; {'; '.join(missed)}"
    raise NotFoundError(message, kind=unknown.kind, hint=unknown.hint)


def other_places(settings: Settings) -> Iterator[Settings]:
    """The settings of each other stack that is known here and has a journal of its own.

    One whose file says no possible place is among them: whoever opens it learns so, and can name it.
    """
    seen = {journal_at(settings, chosen_stack(settings))}
    for stack in read_stacks(Path.cwd()).stacks.values():
        try:
            found = resolve(place=stack)
        except UsageError:  # of its own settings; whoever uses that stack is told
            continue
        try:
            place = journal_at(found, stack)
        except UsageError:
            place = stack.name
        if place not in seen:
            seen.add(place)
            yield found


def begun_on(settings: Settings, execution: Execution) -> Settings:
    """The settings to go on with a run: those of the stack that it was begun on.

    Where the stack was named for this command, by ``KITARU_NB_STACK``, that one counts.

    Raises:
        StackError: kind ``stack-unknown``: there is no such stack here.
    """
    name = execution.identity.stack
    if name == settings.stack or is_asked_for(settings):
        return settings
    stack = read_stacks(Path.cwd()).stacks.get(name)
    if stack is None:
        raise StackError(
            f"`{execution.id}` was begun on stack `{name}`, which is not known here",
            kind="stack-unknown",
            hint=f"KITARU_NB_STACK={settings.stack} kitaru-nb resume {execution.id}, to go on with it there",
        )
    found = resolve(place=stack)
    if journal_at(found, stack) != journal_at(settings, chosen_stack(settings)):
        return settings  # another stack of that name: the run was imported, or the file was changed
    return found


def is_elsewhere(settings: Settings) -> bool:
    """Whether the stack runs things in other processes than this one."""
    return chosen_stack(settings).launcher != LOCAL.launcher


def is_asked_for(settings: Settings) -> bool:
    """Whether the environment names the stack, for this command, and no file chooses it."""
    return settings.sources.get("stack") == "KITARU_NB_STACK"


def _knowing(settings: Settings, text: str, *, read_only: bool) -> Engine:
    """The engine of a stack, if that knows the execution."""
    engine = open_engine(settings, read_only=read_only)
    try:
        find_execution(engine.journal, text)
    except BaseException:
        engine.close()
        raise
    return engine
