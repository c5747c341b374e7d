"""A stored value opened for zarr: pinned to one artifact, and the same again in another process."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from contextlib import closing
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from kitaru_nb.artifacts.zarr_view import stored_tree
from kitaru_nb.engine.engine import Engine
from kitaru_nb.engine.refs import LATEST, Found, find_artifact
from kitaru_nb.engine.stored import stored_names
from kitaru_nb.model.artifact import Digest, Location
from kitaru_nb.model.settings import Settings
from kitaru_nb.stacks.open import open_engine
from kitaru_nb.stacks.settings import resolve

if TYPE_CHECKING:
    from kitaru_nb.artifacts.zarr_store import ArtifactZarrStore
    from kitaru_nb.artifacts.zarr_tree import Tree

__all__ = ["View", "view_of", "view_of_found"]


@dataclass(frozen=True, slots=True)
class View:
    """Which stored value was opened, and where: what later is stored under its name is another one.

    Attributes:
        stack: The stack and the folder that it is in.
        digest: Its artifact.
        name: The notebook name in that, or None for all of them.
        seq: The commit that it was found in, if it was.
        title: What to call it in an error.
        ref: What was asked for.
        settings: How to open that place.
        trust: Whether what anybody signed may be loaded.
    """

    stack: str
    digest: Digest
    name: str | None
    seq: int | None = field(compare=False)
    title: str = field(compare=False)
    ref: str = field(compare=False)
    settings: Settings = field(compare=False)
    trust: bool = field(default=False, compare=False)

    def __call__(self) -> ArtifactZarrStore:
        """The value as a zarr store.

        Raises:
            UsageError: kind ``not-an-array``: it is no array and no group of arrays.
            CorruptError: the manifest is damaged.
        """
        from kitaru_nb.artifacts.zarr_store import ArtifactZarrStore  # noqa: PLC0415 - imports zarr

        return ArtifactZarrStore(self.tree(), name=self.name or self.digest[:12], again=self)

    def tree(self) -> Tree:
        """The value as a tree of zarr nodes; needs no zarr.

        Raises:
            UsageError: kind ``not-an-array``: it is no array and no group of arrays.
            CorruptError: the manifest is damaged.
        """
        with closing(open_engine(self.settings, read_only=True)) as engine:
            artifact = engine.artifact(self.digest)
            return stored_tree(
                artifact,
                self.name,
                store=engine.store,
                index=_Places(self.settings, self.digest),
                load=self.load,
                title=self.title,
                hint=f"kitaru_nb.load({self.ref!r})",
            )

    def load(self) -> object:
        """The value itself."""
        names = stored_names(
            lambda: open_engine(self.settings, read_only=True), self.seq, digest=self.digest, trust=self.trust
        )
        values = names.artifact(self.digest)
        if self.name is not None:
            return values[self.name]
        return next(iter(values.values())) if len(values) == 1 else values


@dataclass(frozen=True, slots=True)
class _Places:
    """Where extents are now, asked of a journal that is open only meanwhile: arrays stay open for long."""

    settings: Settings
    artifact: Digest

    def locate(self, digests: Iterable[Digest]) -> Mapping[Digest, Location]:
        """As the journal has it.

        Raises:
            StoreError: kind ``values-removed``: `gc` has removed the artifact since it was opened.
        """
        wanted = set(digests)
        with closing(open_engine(self.settings, read_only=True)) as engine:
            found = engine.journal.locate(wanted)
            if found.keys() < wanted:
                engine.artifact(self.artifact)
            return found


def view_of(ref: str, *, execution: str = LATEST, settings: Settings | None = None) -> tuple[Found, View]:
    """The value that `ref` names now: where it was found, and how to open it.

    Args:
        ref: ``EXECUTION/CHECKPOINT[#n]/NAME``, a bare name, or a digest.
        execution: Where to look for a bare name.
        settings: Of the place to look in; those that hold here without them.

    Raises:
        NotFoundError: no such value; the message lists close ones.
    """
    settings = settings or resolve()
    with closing(open_engine(settings, read_only=True)) as engine:
        found = find_artifact(engine.journal, ref, execution=execution)
        return found, view_of_found(found, engine, ref=ref)


def view_of_found(found: Found, engine: Engine, *, ref: str) -> View:
    """A stored value that was found in `engine`, where it was asked for as `ref`."""
    title = f"`{found.name or found.artifact.digest[:12]}`"
    if found.seq is not None:
        checkpoint = engine.journal.checkpoint(found.seq)
        title = f"{title} of checkpoint `{checkpoint.draft.name}` ({checkpoint.execution})"
    settings = engine.settings
    place = f"{settings.stack}:{settings.home}"
    return View(place, found.artifact.digest, found.name, found.seq, title, ref, settings)
