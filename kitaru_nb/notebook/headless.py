"""The kernel's side of a headless run: every cell is a checkpoint, nothing extra is shown.

A worker process holds the lease and drives the cells; it calls `start` once when the kernel
is up and `last` after each cell.
"""

from __future__ import annotations

from contextlib import closing
from functools import partial
from pathlib import Path
from typing import Any

from kitaru_nb.artifacts.vault import VAULT
from kitaru_nb.engine.engine import Engine
from kitaru_nb.engine.process import Process
from kitaru_nb.engine.recovery import damaged
from kitaru_nb.engine.replay import replay_in
from kitaru_nb.engine.replay_cells import CellReplay
from kitaru_nb.engine.session import Session
from kitaru_nb.engine.sharing import grid_of
from kitaru_nb.engine.variables_seen import seen_otherwise, set_by, value_digest
from kitaru_nb.errors import KitaruError, NotFoundError
from kitaru_nb.model.execution import Attempt, ExecutionId
from kitaru_nb.model.stack import Stack
from kitaru_nb.model.wait import OnWait
from kitaru_nb.notebook import extension
from kitaru_nb.notebook.callbacks import callbacks_of
from kitaru_nb.notebook.opening import namespace_of
from kitaru_nb.notebook.sink import sink_for
from kitaru_nb.stacks.open import open_engine
from kitaru_nb.stacks.settings import resolve

__all__ = ["last", "look", "report", "start", "unlike"]

_not_back: list[str] = []
_unlike: list[tuple[int, str]] = []


def start(turn: dict[str, Any]) -> dict[str, Any]:
    """Take part in a worker's attempt and restore the namespace it goes on from.

    Args:
        turn: ``home``, ``stack`` (its fields), ``execution``, ``epoch``, ``notebook``, where that is
            read from, and ``folder``, where it is (None for one that is no file); ``settings``, those in
            its metadata; ``restore``, the
            `seq` of the commit to go on from, or None; ``secrets``, with labels, that the worker
            knows; ``trust``, whether anybody's records count; ``budget``, what the execution may
            cost, or None; ``on_wait``, the fields of an `OnWait`, or None; ``reuse``, whether marked
            cells take what touched the outside in other executions; ``replay`` for a replay: whether
            what plain cells had changed is to be put back, and whether the named cell has run before.

    Returns:
        ``lost``: names that could not come back, with the reason; ``problems``: sentences.

    Raises:
        CorruptError: stored bytes of a name are damaged.
        UntrustedError: nobody who is trusted here has signed some of it.
    """
    from IPython import get_ipython  # noqa: PLC0415 - IPython is loaded in a kernel

    shell = get_ipython()
    engine = _opened(turn)
    attempt = _attempt(engine.journal.attempts(ExecutionId(turn["execution"])), turn["epoch"])
    execution = engine.journal.execution(turn["execution"])
    identity = execution.identity
    extension.load(shell)
    KitaruError.in_cells = staticmethod(str)  # what it shows is read in a terminal
    hooks = extension.hooks()
    hooks.every_cell = hooks.quiet = True
    hooks.session = Session(
        engine,
        identity=identity,
        namespace=namespace_of(shell),
        attempt=attempt,
        marked_only=False,
        process=hooks.process,
        callbacks=callbacks_of(shell),
        folder=None if turn.get("folder") is None else Path(turn["folder"]),
        grid=grid_of(execution.tags),
    )
    if turn.get("budget") is not None:
        hooks.session.book.set_limit(turn["budget"])
    if turn.get("reuse"):
        hooks.session.reuse_marked()
    hooks.sink = sink_for(shell)
    if turn.get("on_wait") is not None:
        hooks.front.on_wait = OnWait(**turn["on_wait"])
    found = _restore(hooks.session, turn["restore"])
    if turn.get("replay"):
        _follow(hooks.session, hooks.process, **turn["replay"])
    return found


def look(turn: dict[str, Any]) -> None:
    """Find out, before anything is restored, whether the environment here is what a line of commits saw.

    Args:
        turn: ``line``, their `seq`; the rest as for `start`.
    """
    with closing(_opened(turn)) as engine:
        line = [engine.journal.checkpoint(seq) for seq in turn["line"]]
        engine.trust.require(line)
        found = seen_otherwise(line, now=value_digest, set_by=partial(set_by, engine))
        _unlike[:] = sorted(found.items())


def unlike() -> tuple[int, str] | None:
    """The first place in that line where it is not, with the name of the variable; None if it is."""
    return _unlike[0] if _unlike else None


def _opened(turn: dict[str, Any]) -> Engine:
    """What the worker has open, here."""
    for label, value in turn.get("secrets", ()):
        VAULT.meet_as(label, value)
    settings = resolve(
        place=Stack(**turn["stack"]),
        home=turn["home"],
        notebook=turn["notebook"],
        in_notebook=turn.get("settings"),
    )
    engine = open_engine(settings, awaited=True)  # the worker has just had it open
    if turn.get("trust"):
        engine.trust.accept_all()
    return engine


def report() -> str:
    """What `start` could not put back, for a person; empty when everything is back."""
    return "\n".join(_not_back)


def last() -> dict[str, Any]:
    """What became of the cell that just ran: its `seq` and status, both None for a plain cell.

    Of one that was restored, ``said`` is what is not back.
    """
    hooks = extension.hooks()
    status, hooks.last_status = hooks.last_status, {"seq": None, "status": None}
    return status


def _attempt(attempts: list[Attempt], epoch: int) -> Attempt:
    for attempt in attempts:
        if attempt.epoch == epoch:
            return attempt
    raise NotFoundError(
        f"attempt {epoch} is not on record", kind="unknown-attempt", hint="run the notebook again"
    )


def _follow(session: Session, process: Process, *, carry: bool, reached: bool) -> None:
    """Let the session run the replay that its execution is."""
    engine, execution = session.engine, session.open().execution
    recorded = engine.journal.steps_within(execution)
    engine.trust.require(recorded[:1])  # the plan, which is the first thing on record
    plan = replay_in(recorded)
    assert plan is not None
    replay = CellReplay(engine, session.namespace, process, plan, reached=reached)
    session.follow(replay)
    if carry:
        restored = replay.carry()
        _not_back.extend(restored.said())


def _restore(session: Session, seq: int | None) -> dict[str, Any]:
    if seq is None:
        return {"lost": {}, "problems": []}
    restored, line = session.restore_line(seq)
    if restored.untrusted is not None:
        raise restored.untrusted
    if restored.damaged:
        raise damaged(restored, line[-1])
    _not_back[:] = restored.said()
    return {"lost": restored.lost, "problems": restored.problems}
