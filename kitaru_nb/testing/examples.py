"""Small records that tests of journals are made with."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from blake3 import blake3

from kitaru_nb.model.artifact import Artifact, Digest, Extent, Location
from kitaru_nb.model.checkpoint import CheckpointKey, CheckpointStatus, Draft
from kitaru_nb.model.execution import Owner, current_owner

__all__ = ["STARTED", "a_draft", "a_stored_value", "dead_owner", "digest_of", "unseen_owner"]

STARTED = datetime(2024, 2, 29, 12, 30, 15, 123456, tzinfo=UTC)
"""When they began."""


_NOBODY = (1 << 22) + 1  # no system gives a process so high a number


def digest_of(content: str | bytes) -> Digest:
    """The digest of some content."""
    return Digest(
        blake3(content.encode("utf-8", "surrogatepass") if isinstance(content, str) else content).hexdigest()
    )


def dead_owner() -> Owner:
    """An owner on this host that no longer runs."""
    return replace(current_owner(), pid=_NOBODY, process_start=1)


def unseen_owner() -> Owner:
    """An owner on another host, of which nothing can be seen from here."""
    return replace(current_owner(), host="elsewhere.example")


def a_stored_value(content: bytes = b"value") -> tuple[Artifact, Location]:
    """A small artifact and the place of its only extent, inline."""
    extent = Extent(digest_of(content), len(content))
    manifest = {"codec": "pickle5", "buffers": [{"bytes": len(content), "extents": [[extent.digest, 5]]}]}
    artifact = Artifact(digest_of(b"manifest" + content), "pickle5", len(content), manifest)
    return artifact, Location(extent, data=content)


def a_draft(name: str = "train", **changes: Any) -> Draft:
    """A completed step; `changes` replace its fields."""
    fields: dict[str, Any] = {
        "name": name,
        "key": CheckpointKey(digest_of(f"key of {name}")),
        "code": digest_of(f"code of {name}"),
        "source": f"{name} = 1\n",
        "status": CheckpointStatus.COMPLETED,
        "started_at": STARTED,
        "duration": 1.5,
    }
    return Draft(**(fields | changes))
