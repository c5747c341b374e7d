"""Opens the engine for a kernel and finds the execution its notebook goes on with."""

from __future__ import annotations

import os
from functools import partial
from pathlib import Path
from typing import Any

from kitaru_nb.engine.namespace import Namespace
from kitaru_nb.engine.process import Process
from kitaru_nb.engine.recovery import furthest
from kitaru_nb.engine.session import Session
from kitaru_nb.errors import ConflictError, KitaruError
from kitaru_nb.model.checkpoint import Checkpoint
from kitaru_nb.model.execution import Execution, Identity
from kitaru_nb.notebook.callbacks import callbacks_of
from kitaru_nb.notebook.identity import identity_of, notebook_path
from kitaru_nb.notebook.sink import sink_for
from kitaru_nb.stacks.open import open_engine
from kitaru_nb.stacks.settings import resolve

__all__ = ["open_session", "unfinished"]


def open_session(shell: Any, process: Process) -> tuple[Session, Any]:
    """A session for `shell`'s notebook, and the sink for its outputs.

    A session without a notebook of its own (a console, a plain nbclient run) shares its
    folder's name with others; when one of those is running, this one begins beside it.
    """
    settings = resolve()
    path = notebook_path(shell.user_ns, setting=settings.notebook)
    engine, identity = open_engine(settings), identity_of(path)
    own: dict[str, Any] = {
        "namespace": namespace_of(shell),
        "process": process,
        "callbacks": partial(callbacks_of, shell),
    }
    session = Session(engine, identity=identity, **own)
    if path is None:
        try:
            session.open()
        except ConflictError:
            beside = Identity(notebook=identity.notebook, parameters={"session": os.getpid()})
            session = Session(engine, identity=beside, **own)
    return session, sink_for(shell)


def namespace_of(shell: Any) -> Namespace:
    """The shell's namespace, without what IPython itself put there."""
    own = dict(shell.user_ns_hidden)
    return Namespace(shell.user_ns, lambda name, value: name in own and own[name] is value)


def unfinished(shell: Any) -> tuple[Execution, list[Checkpoint]] | None:
    """The notebook's last execution when it did not end well and has something to restore."""
    settings = resolve()
    if not (Path(settings.home) / "journal.db").exists():
        return None
    path = notebook_path(shell.user_ns, setting=settings.notebook)
    if path is None:
        return None
    try:
        engine = open_engine(settings, read_only=True)
    except KitaruError:
        return None  # the first step says what is wrong, where it can be acted on
    try:
        known = engine.journal.executions(identity=identity_of(path), limit=1)
        if not known or not known[0].status.continues:
            return None
        commits = _last_line(engine.journal.checkpoints(known[0].id))
        return (known[0], commits) if commits else None
    except KitaruError:
        return None
    finally:
        engine.close()


def _last_line(checkpoints: list[Checkpoint]) -> list[Checkpoint]:
    """The commits that lead to the furthest one, oldest first."""
    by_seq = {c.seq: c for c in checkpoints}
    line = []
    last = furthest(checkpoints)
    seq = last.seq if last is not None else None
    while seq is not None and seq in by_seq:
        line.append(by_seq[seq])
        seq = by_seq[seq].draft.parent
    return line[::-1]
