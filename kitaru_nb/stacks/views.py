"""A stored value opened for zarr: pinned to one artifact, and the same again in another process."""

from __future__ import annotations

from contextlib import closing
from dataclasses import dataclass
from typing import TYPE_CHECKING

from kitaru_nb.artifacts.zarr_view import stored_tree
from kitaru_nb.engine.refs import Found
from kitaru_nb.engine.stored import StoredNames, names_at
from kitaru_nb.errors import UsageError
from kitaru_nb.model.artifact import Digest
from kitaru_nb.model.settings import Settings
from kitaru_nb.stacks.open import open_engine

if TYPE_CHECKING:
    from kitaru_nb.artifacts.zarr_store import ArtifactZarrStore
    from kitaru_nb.artifacts.zarr_tree import Tree

__all__ = ["View", "view_of"]
