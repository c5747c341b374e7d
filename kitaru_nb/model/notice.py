"""A notice: what somebody who is not watching is told about an execution, and who is told."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from urllib.parse import urlsplit

__all__ = ["NOBODY", "USUAL", "NoticeKind", "Notify", "Target"]


class NoticeKind(StrEnum):
    """What has happened."""

    COMPLETED = "completed"
    FAILED = "failed"
    DIED = "died"
    INTERRUPTED = "interrupted"
    CANCELLED = "cancelled"
    WAITING = "waiting"
    BUDGET = "budget"


USUAL = (NoticeKind.FAILED, NoticeKind.DIED, NoticeKind.WAITING, NoticeKind.BUDGET)
"""What is told unless somebody chooses: all that needs a person before it goes on."""


@dataclass(frozen=True, slots=True)
class Target:
    """Who is told. Secrets are in it by reference only.

    Attributes:
        to: ``https://…`` for a webhook, ``mailto:…``, or a reference to either or to a URL of apprise.
        on: What is told.
        secret: For a webhook: the reference to what its body is signed with.
        server: For a mail: the server that takes it, ``smtp://…``, or a reference to that.
        sender: For a mail: who it is from.
    """

    to: str
    on: tuple[NoticeKind, ...] = USUAL
    secret: str | None = None
    server: str | None = None
    sender: str | None = None

    @property
    def label(self) -> str:
        """How it is called where others may read it: the path of a webhook is often its password."""
        if "://" not in self.to:
            return self.to
        parts = urlsplit(self.to)
        return f"{parts.scheme}://{parts.hostname}"

    @property
    def tells_secret(self) -> bool:
        """Whether it is written out with a path or a query, which others must not read."""
        parts = urlsplit(self.to) if "://" in self.to else None
        return parts is not None and bool(parts.path.strip("/") or parts.query)


@dataclass(frozen=True, slots=True)
class Notify:
    """Everybody who is told."""

    targets: tuple[Target, ...] = ()

    def __str__(self) -> str:
        """As `doctor` prints it."""
        return "; ".join(f"{each.label} on {','.join(each.on)}" for each in self.targets) or "off"


NOBODY = Notify()
"""Nobody is told."""
