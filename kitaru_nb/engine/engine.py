"""The engine: a journal and an artifact store, joined."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kitaru_nb.engine.trust import Trust
from kitaru_nb.errors import CorruptError, KitaruError, StoreError, UnstorableError
from kitaru_nb.journal.journal import Journal
from kitaru_nb.model.artifact import Anchor, Artifact, Digest
from kitaru_nb.model.bound import ProcessBound
from kitaru_nb.model.settings import Settings

if TYPE_CHECKING:
    from kitaru_nb.artifacts.store import ArtifactStore
    from kitaru_nb.artifacts.values import Stored
    from kitaru_nb.artifacts.verify import Verification

__all__ = ["Engine", "Resolve"]

Resolve = Callable[[Anchor], object]
"""Gives the live function or class that an anchor stands for."""


@dataclass(frozen=True, slots=True)
class Engine(ProcessBound):
    """Durable execution over one journal and one artifact store.

    `stacks.open.open_engine` makes one from settings.

    Attributes:
        journal: What happened.
        store: The bytes.
        settings: What the user has chosen.
        trust: Signs records, and says which may be acted upon.
        check: Raises a StoreError when nothing could be written now; asked before a step
            runs, so that no money is spent on a result that has no place.
        tend: Sees to the place while a step runs; called with each heartbeat, never raises.
        hear: Gives sentences about the place that its user should read, each once.
        ours: Files, and folders with all that is in them, that are no data of a notebook: what
            steps do to them is ours.
        again: Opens it in another process; can be pickled. None where it cannot be opened again.
    """

    journal: Journal
    store: ArtifactStore
    settings: Settings
    trust: Trust
    check: Callable[[], None] = lambda: None
    tend: Callable[[], None] = lambda: None
    hear: Callable[[], list[str]] = list
    ours: tuple[Path, ...] = ()
    again: Callable[[], Engine] | None = None

    def artifact(self, digest: Digest) -> Artifact:
        """The artifact with that digest.

        Raises:
            CorruptError: the journal refers to it and does not have it.
        """
        found = self.journal.artifacts([digest]).get(digest)
        if found is None:
            self._refuse_removed(digest)
            message = f"artifact `{digest[:12]}` is on record but missing from the journal"
            raise CorruptError(message, kind="missing-artifact", hint="kitaru-nb doctor")
        return found

    def put(
        self,
        values: Mapping[str, object],
        *,
        namespace: dict[str, Any],
        anchors: Mapping[int, Anchor] | None = None,
        before: Digest | None = None,
    ) -> Stored:
        """`values` written to the store; durable after `store.flush`, on record after the commit.

        `before` is what these names were stored as last.
        """
        from kitaru_nb.artifacts.values import store_values  # noqa: PLC0415 - most commands store nothing

        stored = store_values(
            values,
            namespace=namespace,
            store=self.store,
            index=self.journal,
            anchors=anchors or {},
            before=before,
            known=self._known,
        )
        self.trust.vouch(stored.artifact.digest)
        return stored

    def _known(self, digest: Digest) -> Artifact | None:
        return self.journal.artifacts([digest]).get(digest)

    def get(
        self,
        digest: Digest,
        *,
        namespace: dict[str, Any],
        resolve: Resolve | None = None,
        later: list[Verification] | None = None,
    ) -> dict[str, object]:
        """The values of an artifact, every byte checked; with `later` see `load_values`.

        Raises:
            CorruptError: a stored byte is damaged or missing.
            StoreError: kind ``values-removed``: `gc` removed them.
            UnstorableError: kind ``unloadable-value``: the bytes are right and the object
                cannot be rebuilt, for want of a module, say.
            UntrustedError: kind ``untrusted-value``: loading it could run code, and no trusted
                record holds it.
        """
        from kitaru_nb.artifacts.values import load_values  # noqa: PLC0415 - most commands load nothing

        artifact = self.artifact(digest)
        if not self.trust.may_load(artifact):
            raise self.trust.refusal_to_load(digest)
        try:
            return load_values(
                artifact,
                store=self.store,
                index=self.journal,
                namespace=namespace,
                resolve=resolve,
                later=later,
            )
        except CorruptError:
            self._refuse_removed(digest)  # while it was being read
            raise
        except (KitaruError, MemoryError):
            raise
        except Exception as error:  # a foreign class may raise anything while it is rebuilt
            message = f"it was stored and cannot be loaded here: {type(error).__name__}: {error}"
            raise UnstorableError(
                message, kind="unloadable-value", hint="install what it was made with"
            ) from error

    def _refuse_removed(self, digest: Digest) -> None:
        """Say it when the bytes of an artifact were removed.

        Raises:
            StoreError: kind ``values-removed``.
        """
        stone = self.journal.removed([digest]).get(digest)
        if stone is not None:
            hint = "run the cell that makes it with --fresh; `kitaru-nb pin EXECUTION` keeps values for good"
            raise StoreError(f"its values were {stone}", kind="values-removed", hint=hint)

    def close(self) -> None:
        """Give back open files."""
        self.store.close()
        self.journal.close()
