"""What a journal must do: record what happened so that it is never lost, and say it again."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from datetime import datetime
from typing import Any, Protocol

from kitaru_nb.model.artifact import Artifact, Digest, Location, Tombstone
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
from kitaru_nb.model.file_mark import FileMark
from kitaru_nb.model.removal import Removal
from kitaru_nb.model.served import Served
from kitaru_nb.model.transcript import Transcript
from kitaru_nb.model.wait import Question, Wait

__all__ = ["Journal"]


class Journal(Protocol):
    """The metadata store. Append-only: only `sweep` removes anything, and that stays on record.

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
        execution: ExecutionId | None = None,
        file: FileMark | None = None,
    ) -> tuple[Attempt, Execution | None]:
        """Take the lease: go on with the identity's last execution, or begin a new one.

        Goes on when the last execution is interrupted, failed or waiting, or running with
        a dead owner (which this call first marks interrupted, with the reason), unless
        `new`. The second result is that execution as it stood before, None when this one
        is new. Atomic: of two callers one gets the lease. A new execution gets the id `execution`
        where one is given, which `new_execution_id` has made. A notebook is known by its `file`
        also when it is called something else, see `name_of_file`.

        Raises:
            ConflictError: kind ``execution-held``: a live owner holds it and `take_over`
                was not given; the message says who and since when.
        """
        ...

    def resume(self, execution: ExecutionId, *, owner: Owner, take_over: bool = False) -> Attempt:
        """Take the lease of one named execution as its next attempt, whatever its status."""
        ...

    def adopt(self, attempt: Attempt, *, owner: Owner) -> Attempt:
        """Begin an attempt that a queue holds, see `queue_owner`: `owner` holds its lease from now on.

        Of any number of processes that a queue starts for one attempt, one gets it.

        Raises:
            ConflictError: kind ``superseded``: another process has begun it, it has ended, or a later
                attempt has taken over.
        """
        ...

    def heartbeat(self, attempt: Attempt) -> None:
        """Say that the attempt's owner is alive.

        Raises:
            ConflictError: kind ``superseded``: a later attempt has taken over.
        """
        ...

    def rename(self, old: str, new: str, renamed: Callable[[Identity], Identity]) -> bool:
        """Call a notebook `new` in all that is on record of it, in one transaction.

        That it was called `old` stays on record, as an event of kind ``notebook.renamed``.

        Args:
            old: Its path so far.
            new: Its path from now on.
            renamed: Gives for an identity that names it the one that it has from now on.

        Returns:
            False where nothing was changed: `old` is not on record, or another notebook is under `new`.
        """
        ...

    def finish(self, attempt: Attempt, status: ExecutionStatus, *, reason: str | None = None) -> None:
        """End the attempt and give the lease back.

        Nothing changes where it is superseded, has ended, or is the queue's and a worker has begun it.
        """
        ...

    def commit(
        self,
        attempt: Attempt,
        draft: Draft,
        *,
        artifacts: Sequence[Artifact] = (),
        locations: Sequence[Location] = (),
        needs: Collection[Digest] = (),
    ) -> Checkpoint:
        """Record a step with its artifacts and where their extents are, in one transaction.

        The moment this returns, the checkpoint exists. The extents' bytes must be durable
        already (`ArtifactStore.flush`) unless they ride inline in `locations`. `locations` says
        where every extent of `artifacts` is, known ones too, but for those that they share with
        the artifacts in `needs`, or refer to there.

        Raises:
            ConflictError: kind ``values-removed``: `sweep` removed meanwhile what this leans on;
                nothing was recorded. What is looked up and written anew can be committed.
            ConflictError: kind ``superseded``: a later attempt owns the execution; nothing
                was recorded.
        """
        ...

    def commit_restored(self, attempt: Attempt, drafts: Sequence[Draft]) -> list[Checkpoint]:
        """Record steps restored together, in one transaction; each one's parent is the one before.

        The first draft's `parent` is kept as given.
        """
        ...

    def note_served(self, attempt: Attempt, served: Served) -> None:
        """Record what the attempt was given from the record: it counts as saved.

        Raises:
            ConflictError: kind ``superseded``.
        """
        ...

    def claim(self, attempt: Attempt, name: str) -> bool:
        """Take what is called `name` for the attempt's execution, for good; False where it is taken.

        Raises:
            ConflictError: kind ``superseded``.
        """
        ...

    def claim_step(self, attempt: Attempt, name: str, told: Mapping[str, Any]) -> ExecutionId | None:
        """Take the step called `name` for the attempt until its execution has recorded its next cell.

        The claim also ends with `unclaim_step`, and with the attempt: however its process ends, it
        stands in nobody's way. Atomic: of two attempts one gets it. `told` is put on record with it.

        Returns:
            None where it is taken now, or was already; else the execution that has it.

        Raises:
            ConflictError: kind ``superseded``.
        """
        ...

    def unclaim_step(self, attempt: Attempt, name: str) -> None:
        """Give a claim back that `claim_step` gave the attempt. Nothing happens where it has ended."""
        ...

    def claimed_by(self, name: str) -> ExecutionId | None:
        """The execution whose claim on the step called `name` stands now."""
        ...

    def roll_up(self, attempt: Attempt, child: ExecutionId) -> None:
        """Add what a child execution has cost since the last time to the attempt's execution.

        Raises:
            ConflictError: kind ``superseded``.
        """
        ...

    def take_in(self, transcript: Transcript, *, told: Mapping[str, Any]) -> None:
        """Add executions that another journal recorded, in one transaction that only adds rows.

        An artifact or extent that is on record stays as it is. The executions are *guests* until
        somebody takes their lease here with `resume`: they are found by their ids and in the list
        of all, and by nothing else. With one its children stop being guests, too.

        Call it inside `holding` to look first whether they are here.

        Args:
            transcript: What to add; none of its executions is on record.
            told: What the event of the import (``execution.imported``) says.

        Raises:
            ConflictError: kind ``values-removed``: `sweep` gave up meanwhile what a location is
                in; nothing was recorded. What is written anew can be taken in.
        """
        ...

    def guests(self) -> Mapping[ExecutionId, datetime]:
        """Executions that were imported and not gone on with here, each with when that was."""

    def ask(
        self,
        attempt: Attempt,
        question: Question,
        *,
        refused: str | None = None,
        lender: ExecutionId | None = None,
    ) -> tuple[Wait, bool]:
        """The wait for a question in one place of the code, and whether it was asked only now.

        Asked again in the same place, it is the same wait with the same address, and what was
        answered counts; where the question's binding differs, or with `refused` (why the code
        could not take the answer), it is asked once more and the old answer does not count. What
        was answered ahead of time counts for the first question, if that takes it; else what was
        answered to this very question in the same place of the execution `lender`. After its
        deadline a wait without an answer has its default, or has expired.

        Raises:
            ConflictError: kind ``superseded``: a later attempt owns the execution.
        """
        ...

    def answer_wait(
        self,
        address: str,
        answer: Any,
        *,
        by: str,
        source: str,
        binding: str | None = None,
        reason: str | None = None,
    ) -> Wait:
        """Record the answer to a wait, whether or not a process lives that waits for it.

        The first answer counts: of any number given at the same time, in whatever processes, one
        is recorded. An equal one later gets the recorded wait unchanged, so that a double click
        and a retry over the network are both harmless. Where nobody has asked yet the answer is
        kept for the first question with that address.

        Args:
            address: ``EXECUTION/NAME[#n]``.
            answer: A JSON value.
            by: Who answers; nobody but the caller vouches for it.
            source: By what way it came.
            binding: What it was given for, see `model.wait.binding_of`; None for whatever is asked.
            reason: What whoever answers says about it.

        Raises:
            UsageError: kind ``bad-address``; kind ``invalid-answer``: the question does not take
                it; kind ``not-a-question``: the wait is for a budget.
            NotFoundError: kind ``unknown-execution``.
            ConflictError: kind ``already-answered``: somebody gave another answer before; kind
                ``wait-expired``: its deadline has passed, or the execution is over; kind
                ``question-changed``: it asks something else than `binding` says.
        """
        ...

    def wait(self, address: str) -> Wait:
        """The wait with that address, as it stands now.

        Raises:
            UsageError: kind ``bad-address``.
            NotFoundError: kind ``unknown-wait``: nobody has asked or answered it yet.
        """
        ...

    def waits(self, execution: ExecutionId | None = None) -> list[Wait]:
        """The waits of an execution, or all there are, in the order in which they were first met."""
        ...

    def note_suspended(self, attempt: Attempt, data: Mapping[str, Any]) -> Event:
        """Record that code of the attempt stopped at a wait or a budget, and `data` about it.

        Raises:
            ConflictError: kind ``superseded``.
        """
        ...

    def suspended(self, execution: ExecutionId) -> Event | None:
        """The newest event of `note_suspended`; its data also has the ``epoch`` of the attempt."""
        ...

    def note_shown(self, attempt: Attempt, data: Mapping[str, Any]) -> Event:
        """Record what a step of the attempt shows while it runs, as an event of kind ``shown``.

        Raises:
            ConflictError: kind ``superseded``.
        """
        ...

    def execution(self, execution: str) -> Execution:
        """The execution with that id, or the newest one of this place for ``"latest"``.

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
        interactive: bool | None = None,
        status: ExecutionStatus | None = None,
        tag: str | None = None,
        since: datetime | None = None,
        before: ExecutionId | None = None,
        limit: int | None = None,
    ) -> list[Execution]:
        """Executions that fit every filter given, newest first; guests only without identity and notebook.

        With `interactive` only those whose cells a person runs, or only all others. `limit` counts
        what fits. With `before` only those that come after that one in this order.

        Raises:
            NotFoundError: kind ``unknown-execution``: there is no `before`.
        """
        ...

    def notebook_of(self, execution: ExecutionId) -> str | None:
        """What the notebook of an execution is called now: costs next to nothing."""
        ...

    def name_of_file(self, file: FileMark) -> str | None:
        """What a notebook is called on record, by the file that was given to `start`."""
        ...

    def number_of_file(self, notebook: str) -> int | None:
        """The number of the file that was last given to `start` under this name."""
        ...

    def names_before(self, notebook: str) -> list[str]:
        """What a notebook was called before `rename` gave it this name, the newest first."""
        ...

    def name_now(self, notebook: str) -> str:
        """What a notebook with this name is called since `rename`; the same where it was not renamed."""
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
        tag: str | None = None,
    ) -> list[Checkpoint]:
        """Completed checkpoints with this key, newest first.

        Looks in `executions` when given, else in all executions of `notebook` but guests; of those
        only in the ones with the tag `tag` when that is given.
        """
        ...

    def find_anywhere(self, key: CheckpointKey) -> Iterator[Checkpoint]:
        """Completed steps with this key in any execution but guests, newest first."""
        ...

    def checkpoints(self, execution: ExecutionId) -> list[Checkpoint]:
        """Every cell on record for the execution, in the order they were recorded."""
        ...

    def steps_within(self, execution: ExecutionId, *, after: int = 0) -> list[Checkpoint]:
        """The other steps of the execution: calls, model calls, saved values ..., in order.

        They belong to a cell or a flow, see `StepKind`. Only those with a number above `after`.
        """
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

    def pin(self, execution: ExecutionId) -> bool:
        """Keep the execution's values, whatever the policy. False when they were pinned already."""
        ...

    def unpin(self, execution: ExecutionId) -> bool:
        """Take a pin back. False when there was none."""
        ...

    def pinned(self) -> frozenset[ExecutionId]:
        """The executions that are pinned."""
        ...

    def removed(self, digests: Collection[Digest]) -> Mapping[Digest, Tombstone]:
        """What is left of those of `digests` whose bytes were removed; others are left out."""
        ...

    def holding(self) -> AbstractContextManager[None]:
        """One transaction around all that this thread reads and writes inside the block.

        Nobody else writes meanwhile. It is durable when the block has ended, undone when it raises.
        """
        ...

    def every_checkpoint(self, *, after: int = 0) -> Iterator[Checkpoint]:
        """Every step on record with a number above `after`, oldest first."""
        ...

    def artifact_digests(self) -> frozenset[Digest]:
        """The artifacts on record; `artifacts` gives them, each row verified."""
        ...

    def every_extent(self) -> list[Location]:
        """Where every extent is, each row verified; what is inline comes with no bytes (``b""``)."""
        ...

    def every_tombstone(self) -> list[Tombstone]:
        """Everything that was ever removed, also what was stored anew since."""
        ...

    def sweep(self, removal: Removal) -> frozenset[str]:
        """Take values off the records. Of each a tombstone stays, with the policy and the time.

        Whoever decides on `removal` does so inside `holding`, so that nothing is removed that a
        commit has just come to need. A commit that was prepared before and leans on something
        that is gone is refused afterwards (see `commit`).

        Returns:
            Those of ``removal.packs`` that no extent is in: remove them once this is durable,
            never before.
        """
        ...

    def now(self) -> datetime:
        """The time by the clock that times in the records are of: one for all who write here."""
        ...

    def space(self) -> tuple[int, int]:
        """Bytes that the records take, and how many of them are free for new ones."""
        ...

    def fold(self) -> None:
        """Give back what a log beside the records takes. May do nothing."""
        ...

    def compact(self) -> None:
        """Give free space back. May do nothing."""
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
