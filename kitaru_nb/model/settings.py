"""Settings, resolved once at the edge and passed down."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from kitaru_nb.model.notice import NOBODY, Notify
from kitaru_nb.model.stack import LOCAL, Stack

__all__ = ["JOURNAL_FILE", "Quota", "RerunLimit", "Settings"]

JOURNAL_FILE = "journal.db"
"""The journal's file in `Settings.home`."""


@dataclass(frozen=True, slots=True)
class RerunLimit:
    """From what time or cost on a step is not run again by chance alone.

    Attributes:
        seconds: None for no limit of time.
        cost: US dollars; None for no limit of cost.
    """

    seconds: float | None = 60.0
    cost: float | None = 0.10

    def exceeded(self, seconds: float, cost: float | None) -> bool:
        """Whether a step of that length or cost is above the limit."""
        return (self.seconds is not None and seconds > self.seconds) or (
            self.cost is not None and cost is not None and cost > self.cost
        )

    def __str__(self) -> str:
        """As it is written in a setting: ``60s,$0.1``, or ``off``."""
        parts = [] if self.seconds is None else [f"{self.seconds:g}s"]
        parts += [] if self.cost is None else [f"${self.cost:g}"]
        return ",".join(parts) or "off"


@dataclass(frozen=True, slots=True)
class Quota:
    """How much disk a store may take.

    Attributes:
        part: Of the volume it is on, at least `LEAST`; None where that does not count.
        bytes: As such; None where that does not count. With neither there is no limit.
    """

    part: float | None = 0.2
    bytes: int | None = None

    def bytes_of(self, volume: int) -> int | None:
        """The limit on a volume of that size."""
        if self.bytes is not None or self.part is None:
            return self.bytes
        return max(int(self.part * volume), LEAST)

    def __str__(self) -> str:
        """As it is written in a setting: ``20%``, a number of bytes, or ``off``."""
        if self.bytes is not None:
            return str(self.bytes)
        return "off" if self.part is None else f"{self.part:.0%}"


LEAST = 1 << 30
"""A part of a small volume would soon be too little: this much a store may take on any."""


@dataclass(frozen=True, slots=True)
class Settings:
    """What a user has chosen.

    Attributes:
        home: Folder of the embedded journal and artifact store.
        notebook: The notebook's path, when known.
        stack: Name of the stack.
        place: That stack; None when there is none of that name.
        heartbeat: Seconds between heartbeats of a lease.
        lease: Seconds after the last heartbeat at which an owner that cannot be seen
            from here (another host) counts as dead.
        patience: Seconds for which a journal, a store or a scheduler that does not answer is waited for.
        confirm_rerun: Above this, a step that is a miss only because an unchanged plain cell
            gave another value is not run unasked.
        strict_env: Whether another version of a package that a step uses makes it run again.
        max_bytes: How much disk the store may take.
        keep_days: For how many days the values of finished executions are kept when it is reached.
        paranoid: Whether each commit is compared with what a restore of it would give.
        budget: What one execution may cost in US dollars; None for no limit.
        llm_bodies: What is kept of model calls: ``store`` the requests and the answers,
            ``redact`` the answers only, ``off`` neither.
        prices: Of models, per million tokens; before all other prices.
        notify: Who is told about runs that nobody watches.
        sources: For each setting, where its value came from; `doctor` prints it.
        again: Reads them anew, from the same places; None where they were read from none.
    """

    home: Path
    notebook: str | None = None
    stack: str = "local"
    place: Stack | None = LOCAL
    heartbeat: float = 10.0
    lease: float = 30.0
    patience: float = 60.0
    confirm_rerun: RerunLimit = RerunLimit()
    strict_env: bool = False
    max_bytes: Quota = Quota()
    keep_days: float = 30.0
    paranoid: bool = False
    budget: float | None = None
    llm_bodies: str = "store"
    prices: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    notify: Notify = NOBODY
    sources: Mapping[str, str] = field(default_factory=dict)
    again: Callable[[], Settings] | None = field(default=None, compare=False, repr=False)

    def now(self) -> Settings:
        """What the same places say now: what a person has raised while this ran.

        Raises:
            UsageError: one of them has a value that does not fit.
        """
        return self if self.again is None else self.again()
