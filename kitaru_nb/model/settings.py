"""Settings, resolved once at the edge and passed down."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

__all__ = ["Settings"]


@dataclass(frozen=True, slots=True)
class Settings:
    """What a user has chosen.

    Attributes:
        home: Folder of the embedded journal and artifact store.
        notebook: The notebook's path, when known.
        stack: Name of the stack.
        heartbeat: Seconds between heartbeats of a lease.
        lease: Seconds after the last heartbeat at which an owner that cannot be seen
            from here (another host) counts as dead.
        sources: For each setting, where its value came from; `doctor` prints it.
    """

    home: Path
    notebook: str | None = None
    stack: str = "local"
    heartbeat: float = 10.0
    lease: float = 30.0
    sources: Mapping[str, str] = field(default_factory=dict)
