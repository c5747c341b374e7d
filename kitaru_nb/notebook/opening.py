"""Opens the engine for a kernel and finds the execution its notebook goes on with."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from kitaru_nb.engine.namespace import Namespace
from kitaru_nb.engine.process import Process
from kitaru_nb.engine.renamed import as_recorded, follow
from kitaru_nb.engine.session import Session
from kitaru_nb.errors import ConflictError, NotFoundError, StoreError
from kitaru_nb.model.execution import Identity
from kitaru_nb.model.settings import Settings
from kitaru_nb.notebook.callbacks import callbacks_of
from kitaru_nb.notebook.identity import identity_of, notebook_path
from kitaru_nb.notebook.sink import sink_for
from kitaru_nb.stacks.open import open_engine
from kitaru_nb.stacks.settings import resolve, table_in

__all__ = ["namespace_of", "open_session", "session_to_read"]


def open_session(shell: Any, process: Process) -> tuple[Session, Any]:
    """A session for `shell`'s notebook, and the sink for its outputs.

    A session without a notebook of its own (a console, a plain nbclient run) shares its
    folder's name with others; when one of those is running, this one begins beside it.
    """
    settings, path = _settings_and_notebook(shell)
    engine = open_engine(settings)
    identity = follow(engine.journal, identity_of(path, stack=settings.stack))
    own: dict[str, Any] = {
        "namespace": namespace_of(shell),
        "process": process,
        "callbacks": callbacks_of(shell),
    }
    session = Session(engine, identity=identity, **own)
    if path is None:
        try:
            session.open()
        except ConflictError:
            beside = Identity(
                notebook=identity.notebook, parameters={"session": os.getpid()}, stack=settings.stack
            )
            session = Session(engine, identity=beside, **own)
    return session, sink_for(shell)


def session_to_read(shell: Any, process: Process, error: StoreError) -> Session:
    """A session that can only resume, where `error` says that nothing can be recorded.

    Raises:
        StoreError: `error` itself: nothing can be read there either.
    """
    settings, path = _settings_and_notebook(shell)
    try:
        engine = open_engine(settings, read_only=True)
    except (StoreError, NotFoundError):
        raise error from None
    return Session(
        engine,
        identity=as_recorded(engine.journal, identity_of(path, stack=settings.stack)),
        namespace=namespace_of(shell),
        process=process,
        callbacks=callbacks_of(shell),
        reading=True,
    )


def _settings_and_notebook(shell: Any) -> tuple[Settings, Path | None]:
    """The settings, those in the notebook's metadata included, and the notebook's path."""
    settings = resolve()
    path = notebook_path(shell.user_ns, setting=settings.notebook)
    table = table_in(path)
    return settings if table is None else resolve(in_notebook=table), path


def namespace_of(shell: Any) -> Namespace:
    """The shell's namespace, without what IPython itself put there."""
    own = dict(shell.user_ns_hidden)
    return Namespace(shell.user_ns, lambda name, value: name in own and own[name] is value)
