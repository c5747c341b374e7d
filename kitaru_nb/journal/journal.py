"""What a journal must do: record what happened so that it is never lost, and say it again."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any, Protocol

from kitaru_nb.model.artifact import Artifact, Digest, Location
from kitaru_nb.model.checkpoint import Checkpoint, CheckpointKey, Draft
from kitaru_nb.model.event import Event
from kitaru_nb.model.execution import (
    Attempt,
    Execution,
    ExecutionId,
    ExecutionStatus,
    Identity,
    Owner,
)

__all__ = ["Journal"]


class Journal(Protocol):
    """The metadata store. Append-only: nothing acknowledged is ever changed or removed.

    A method that returns has made its change durable against kill -9 and power loss.
    Every method may raise `StoreError` (kind ``journal-unreadable``, ``journal-full``,
    ``journal-read-only``) and `CorruptError` (kind ``corrupt-record``, naming what is
    damaged and what to type).
    """

    def start(
        self,
        identity: Identity,
        *,
        owner: Owner,
        tags: Sequence[str] = (),
        new: bool = False,
        take_over: bool = False,
        parent: ExecutionId | None = None,
    ) -> tuple[Attempt, Execution | None]:
        """Take the lease: go on with the identity's last execution, or begin a new one.

        Goes on when the last execution is interrupted, failed or waiting, or running with
        a dead owner (which this call first marks interrupted, with the reason), unless
        `new`. The second result is that execution as it stood before, None when this one
        is new. Atomic: of two callers one gets the lease.

        Raises:
            ConflictError: kind ``execution-held``: a live owner holds it and `take_over`
                was not given; the message says who and since when.
        """
        ...

    def resume(self, execution: ExecutionId, *, owner: Owner, take_over: bool = False) -> Attempt:
        """Take the lease of one named execution as its next attempt, whatever its status."""
        ...

    def heartbeat(self, attempt: Attempt) -> None:
        """Say that the attempt's owner is alive.

        Raises:
            ConflictError: kind ``superseded``: a later attempt has taken over.
        """
        ...

    def finish(self, attempt: Attempt, status: ExecutionStatus, *, reason: str | None = None) -> None:
        """End the attempt and give the lease back. A superseded attempt changes nothing."""
        ...

    def commit(
        self,
        attempt: Attempt,
        draft: Draft,
        *,
        artifacts: Sequence[Artifact] = (),
        locations: Sequence[Location] = (),
    ) -> Checkpoint:
        """Record a step with its artifacts and where their new extents are, in one transaction.

        The moment this returns, the checkpoint exists. The extents' bytes must be durable
        already (`ArtifactStore.flush`) unless they ride inline in `locations`.

        Raises:
            ConflictError: kind ``superseded``: a later attempt owns the execution; nothing
                was recorded.
        """
        ...

    def commit_restored(self, attempt: Attempt, drafts: Sequence[Draft]) -> list[Checkpoint]:
        """Record steps restored together, in one transaction; each one's parent is the one before.

        The first draft's `parent` is kept as given.
        """
        ...

    def execution(self, execution: str) -> Execution:
        """The execution with that id, or the newest one for ``"latest"``.

        An execution whose owner died reads as `interrupted`, with the reason.

        Raises:
            NotFoundError: kind ``unknown-execution``.
        """
        ...

    def executions(
        self,
        *,
        identity: Identity | None = None,
        notebook: str | None = None,
        status: ExecutionStatus | None = None,
        tag: str | None = None,
        since: datetime | None = None,
        limit: int | None = None,
    ) -> list[Execution]:
        """Executions that fit every filter given, newest first."""
        ...

    def attempts(self, execution: ExecutionId) -> list[Attempt]:
        """The execution's attempts, oldest first."""
        ...

    def find(
        self,
        key: CheckpointKey,
        *,
        executions: Sequence[ExecutionId] | None = None,
        notebook: str | None = None,
    ) -> list[Checkpoint]:
        """Completed checkpoints with this key, newest first.

        Looks in `executions` when given, else in all executions of `notebook`.
        """
        ...

    def checkpoints(self, execution: ExecutionId) -> list[Checkpoint]:
        """Every step on record for the execution, in the order they were recorded."""
        ...

    def checkpoint(self, seq: int) -> Checkpoint:
        """The step with that sequence number."""
        ...

    def line(self, seq: int) -> list[Checkpoint]:
        """The commits that lead to `seq`, oldest first, `seq` itself last.

        Follows `Draft.parent`, across executions and attempts.
        """
        ...

    def artifacts(self, digests: Iterable[Digest]) -> Mapping[Digest, Artifact]:
        """The artifacts with these digests; unknown ones are left out."""
        ...

    def locate(self, digests: Iterable[Digest]) -> Mapping[Digest, Location]:
        """Where each known extent is (see `artifacts.store.ExtentIndex`)."""
        ...

    def record_event(self, execution: ExecutionId, kind: str, data: Mapping[str, Any]) -> Event:
        """Append one event that no other method records (a resume, a take-over by hand, ...)."""
        ...

    def events(self, execution: ExecutionId | None = None, *, after: int = 0) -> list[Event]:
        """Events with a sequence number above `after`, oldest first."""
        ...

    def close(self) -> None:
        """Give back open files."""
        ...
