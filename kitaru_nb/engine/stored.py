"""Stored values in a process that has no notebook: what they refer to comes along when it is used.

A function defined in a cell reads notebook globals, and an object refers to the class that
a cell defined. Here both are looked up in what was on record at the value's checkpoint.
"""

from __future__ import annotations

import builtins
from collections.abc import Callable, Iterable, Mapping
from contextlib import closing
from typing import Any

from kitaru_nb.artifacts.marker import marker_details, marker_in
from kitaru_nb.artifacts.pickle_codec import not_by_itself
from kitaru_nb.artifacts.ties import Tie, tied
from kitaru_nb.engine.engine import Engine
from kitaru_nb.engine.refs import TIED
from kitaru_nb.engine.trust import Standing
from kitaru_nb.journal.journal import Journal
from kitaru_nb.model.artifact import Anchor, Digest
from kitaru_nb.model.checkpoint import Checkpoint

__all__ = ["StoredNames", "names_at", "stored_names", "stored_values"]


def names_at(journal: Journal, seq: int) -> dict[str, Digest]:
    """The artifact of every notebook name, as of the commit `seq`."""
    return _names_of(journal.line(seq))


def stored_names(
    engine: Callable[[], Engine], seq: int | None, *, digest: Digest | None = None, trust: bool = False
) -> StoredNames:
    """A namespace with every notebook name as of the commit `seq`.

    Args:
        engine: Opens the engine to read from.
        seq: The commit; None where only an artifact is known.
        digest: That artifact.
        trust: Load what anybody signed.
    """
    with closing(engine()) as opened:
        line = opened.journal.line(seq) if seq is not None else []
        with opened.trust.accepting(trust):
            held = {d for c in line if opened.trust.standing(c) is Standing.TRUSTED for d in c.draft.stored}
            if seq is None and digest is not None:
                held = {digest} if trust or _is_held(opened, digest) else set()
    return StoredNames(engine, _names_of(line), trusted=held)


def _names_of(line: Iterable[Checkpoint]) -> dict[str, Digest]:
    found: dict[str, Digest] = {}
    for checkpoint in line:
        for name in checkpoint.draft.deleted:
            found.pop(name, None)
        for group in checkpoint.draft.groups:
            found.update(dict.fromkeys(group.names, group.artifact))
    return found


def _is_held(engine: Engine, digest: Digest) -> bool:
    """Whether any trusted record holds an artifact that was asked for by its digest alone."""
    if engine.trust.may_load(engine.artifact(digest)):
        return True
    return any(
        digest in checkpoint.draft.stored and engine.trust.standing(checkpoint) is Standing.TRUSTED
        for checkpoint in engine.journal.every_checkpoint()
    )


def stored_values(engine: Callable[[], Engine]) -> Callable[[Checkpoint, str], object]:
    """Gives what a name held as of a commit (see `engine.compare.StoredValue`).

    Args:
        engine: Opens the engine to read from.
    """
    known: dict[int, StoredNames] = {}

    def value(checkpoint: Checkpoint, name: str) -> object:
        if checkpoint.seq not in known:
            known[checkpoint.seq] = stored_names(engine, checkpoint.seq)
        with tied(Tie.APART):
            return known[checkpoint.seq][name]

    return value


def _is_torn(values: Mapping[str, object]) -> bool:
    """Whether a result leads to something that was only there when the call was made."""
    marker = marker_in(values["result"])
    return marker is not None and not marker_details(marker)[0]


class StoredNames(dict[str, Any]):
    """A namespace whose names are loaded when something first reads them.

    Functions that are loaded have it as their globals. The store is opened for each look
    and closed after it, so that nothing stays open for as long as a function lives.

    Args:
        engine: Opens the engine to read from.
        digests: For each name the artifact that holds it.
        trusted: Artifacts that trusted records hold; others are loaded only if that runs nothing.
    """

    def __init__(
        self, engine: Callable[[], Engine], digests: Mapping[str, Digest], *, trusted: Iterable[Digest] = ()
    ) -> None:
        super().__init__(
            __builtins__=builtins
        )  # C code that imports something asks its caller's globals for it
        self._trusted = set(trusted)
        self._engine = engine
        self._digests = digests
        self._loaded: dict[Digest, dict[str, object]] = {}

    def __missing__(self, name: str) -> object:
        """The stored value of a notebook name; `KeyError` sends Python on to the builtins."""
        if name not in self._digests:
            raise KeyError(name)
        return self.artifact(self._digests[name])[name]

    def artifact(self, digest: Digest) -> dict[str, object]:
        """The values of one artifact; the same objects each time.

        Raises:
            CorruptError: a stored byte is damaged or missing.
            UnstorableError: kind ``not-by-itself``: it is a call's result that an early version
                stored without what it refers to.
            UntrustedError: loading it could run code, and no trusted record holds it.
        """
        if digest not in self._loaded:
            with closing(self._engine()) as engine:
                if digest in self._trusted:
                    engine.trust.vouch(digest)
                values = engine.get(digest, namespace=self, resolve=self._resolve)
            if values.keys() == TIED and _is_torn(values):
                raise not_by_itself()
            self._loaded[digest] = values
            self.update({name: value for name, value in values.items() if self._digests.get(name) == digest})
        return self._loaded[digest]

    def _resolve(self, anchor: Anchor) -> object:
        self._trusted.add(anchor.artifact)  # what refers to it is trusted, or would not have been loaded
        return self.artifact(anchor.artifact)[anchor.name]
