"""What every journal in an SQL database does alike; a session of its own kind runs the transactions."""

from __future__ import annotations

import json
import secrets
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import replace
from datetime import datetime
from typing import Any, Protocol

from kitaru_nb.errors import CorruptError, NotFoundError, UsageError
from kitaru_nb.journal import rows
from kitaru_nb.journal.claims import claim, standing, unclaim
from kitaru_nb.journal.guests import Guests, candidates, latest
from kitaru_nb.journal.lease import Leases, closed
from kitaru_nb.journal.ledger import Ledger
from kitaru_nb.journal.removing import SWEEPS, Footing, sweep, tombstones
from kitaru_nb.journal.renaming import name_now, name_of_file, names_before, note_file, number_of_file, rename
from kitaru_nb.journal.rows import (
    ArtifactRow,
    AttemptRow,
    CheckpointRow,
    ExecutionRow,
    ExtentRow,
    Head,
    SweepRow,
    TombstoneRow,
)
from kitaru_nb.journal.sql_waits import SqlWaits
from kitaru_nb.journal.steps import append_step, note_served, require_artifacts, roll_up, within
from kitaru_nb.journal.taking_in import IMPORTED, take_in
from kitaru_nb.journal.waits import misplaced
from kitaru_nb.model.artifact import Artifact, Digest, Location, Tombstone
from kitaru_nb.model.checkpoint import Checkpoint, CheckpointKey, Draft, StepKind
from kitaru_nb.model.crash import crash_point
from kitaru_nb.model.event import Event
from kitaru_nb.model.execution import Attempt, Execution, ExecutionId, ExecutionStatus, Identity, Owner
from kitaru_nb.model.file_mark import FileMark
from kitaru_nb.model.removal import Removal
from kitaru_nb.model.served import Served
from kitaru_nb.model.transcript import Transcript

__all__ = ["Session", "SqlJournal"]

_NUMBER = "journal"  # under this name `newest` has the number of the journal itself
_REMEMBERED = 4096
_PAGE = 512  # checkpoints read in one transaction


class Session(Protocol):
    """Transactions on one database, from any thread and on both sides of a fork."""

    read_only: bool

    def reading(self) -> AbstractContextManager[Ledger]:
        """One consistent view of the journal."""
        ...

    def writing(self) -> AbstractContextManager[Ledger]:
        """One transaction, alone in writing, durable when the block has ended, undone when it raises."""
        ...

    def holding(self) -> AbstractContextManager[None]:
        """One transaction around all that this thread reads and writes inside the block."""
        ...

    def remember(self, head: Head) -> None:
        """Take note, after a commit, of how far the journal goes."""
        ...

    def space(self) -> tuple[int, int]:
        """Bytes of the database, and how many of them are free inside it."""
        ...

    def fold(self) -> None:
        """Give back to the disk what a log beside the database takes."""
        ...

    def compact(self) -> None:
        """Give the free space inside the database back to the disk."""
        ...

    def integrity_problems(self) -> list[CorruptError]:
        """What the database itself finds wrong with its structure."""
        ...

    def close(self) -> None:
        """Give back open files. The next use opens them again."""
        ...


class SqlJournal(SqlWaits):
    """A journal over the transactions of one session. See `journal.Journal` for what each method promises.

    Args:
        session: Runs the transactions.
        lease: Seconds without a heartbeat after which an owner on another host is dead.
        clock: Seconds since 1970, UTC, the same for everyone who writes to this journal.
        listened: From when to when signs of life could be recorded; by default, always.
    """

    def __init__(
        self,
        session: Session,
        *,
        lease: float,
        clock: Callable[[], float],
        listened: Callable[[], tuple[int, int]] | None = None,
    ) -> None:
        self._leases = Leases(lease, clock, listened)
        self._ordinals: dict[int, int] = {}
        self._footing = Footing()
        self._session = session

    # Taking and giving back the lease

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
        """Go on with the identity's last execution, or begin a new one. See `Journal.start`."""
        with self._session.writing() as ledger:
            head, before = ledger.head(), None
            number = next((row.n for row in candidates(ledger, identity, None)), None)
            if number is not None:
                head, before = self._leases.settle(ledger, head, number, take_over=take_over, leave=new)
            if number is None or before is None or new or not before.status.continues:
                before = None
                head, attempt = self._leases.begin(
                    ledger, head, identity, owner, tags=tags, parent=parent, execution=execution
                )
            else:
                state = ledger.state(number)
                head, attempt = self._leases.next_attempt(ledger, head, state, owner, execution=before.id)
            if file is not None and identity.notebook is not None:
                note_file(ledger, identity.notebook, file, ledger.known(attempt.execution))
            ledger.update(head)
        self._session.remember(head)
        return attempt, before

    def resume(self, execution: ExecutionId, *, owner: Owner, take_over: bool = False) -> Attempt:
        """Take the lease of one named execution, whatever its status."""
        with self._session.writing() as ledger:
            number = ledger.known(execution)
            head, _ = self._leases.settle(ledger, ledger.head(), number, take_over=take_over)
            state = ledger.state(number)
            head, attempt = self._leases.next_attempt(ledger, head, state, owner, execution=execution)
            Guests(ledger).welcome(execution)
            ledger.update(head)
        self._session.remember(head)
        return attempt

    def adopt(self, attempt: Attempt, *, owner: Owner) -> Attempt:
        """Begin an attempt that a queue holds."""
        with self._session.writing() as ledger:
            head, adopted = self._leases.adopt(ledger, ledger.head(), attempt, owner)
            ledger.update(head)
        self._session.remember(head)
        return adopted

    def heartbeat(self, attempt: Attempt) -> None:
        """Say that the attempt's owner is alive."""
        with self._session.writing() as ledger:
            row = self._leases.fenced(ledger, attempt)[1]
            ledger.update(row._replace(heartbeat_at=max(self._leases.now(), row.heartbeat_at)))

    def rename(self, old: str, new: str, renamed: Callable[[Identity], Identity]) -> bool:
        """Call a notebook something else. See `Journal.rename`."""
        with self._session.writing() as ledger:
            head = rename(ledger, old, new, renamed, at=self._leases.now())
        if head is not None:
            self._session.remember(head)
        return head is not None

    def finish(self, attempt: Attempt, status: ExecutionStatus, *, reason: str | None = None) -> None:
        """End the attempt. See `Journal.finish`."""
        if status is ExecutionStatus.RUNNING:
            raise UsageError("an attempt cannot end as `running`", kind="bad-status")
        with self._session.writing() as ledger:
            now = self._leases.now()  # a server says in each transaction what time it is
            head, state = ledger.head(), ledger.state(ledger.known(attempt.execution))
            row = ledger.fetch(AttemptRow, state.attempt)
            # what a queue held is the worker's that has begun it: who put it there may not end that
            newest = rows.attempt_of(row, attempt.execution)
            begun = attempt.owner.is_queue and not newest.owner.is_queue
            if row.epoch != attempt.epoch or row.ended_at is not None or begun:
                return
            state, row = closed(state, row, status, ended_at=now, reason=_plain(reason))
            data = {"epoch": row.epoch, "reason": row.reason}
            head, state, _ = ledger.append_event(head, state, f"execution.{status.value}", data, at=now)
            ledger.update(row)
            ledger.update(state)
            ledger.update(head)
        self._session.remember(head)

    # Recording

    def commit(
        self,
        attempt: Attempt,
        draft: Draft,
        *,
        artifacts: Sequence[Artifact] = (),
        locations: Sequence[Location] = (),
        needs: Collection[Digest] = (),
    ) -> Checkpoint:
        """Record a step with its artifacts in one transaction. See `Journal.commit`."""
        stored = [rows.artifact_row(artifact) for artifact in artifacts]
        once = {place.extent.digest: place for place in locations}  # values that share bytes each name them
        extents = rows.extent_rows([*once.values()])
        crash_point("before-commit")
        with self._session.writing() as ledger:
            head, state = ledger.head(), self._leases.fenced(ledger, attempt)[0]
            self._footing.check(ledger, locations=locations, needs=needs)
            ledger.keep(stored)
            ledger.keep(extents)
            require_artifacts(ledger, draft, {artifact.digest for artifact in artifacts})
            head, state, step = append_step(
                ledger,
                head,
                state,
                draft,
                attempt=attempt,
                ordinal=self._place(ledger, attempt, draft),
                at=self._leases.now(),
            )
            ledger.update(state)
            ledger.update(head)
            crash_point("inside-commit")
        self._note(step)
        self._footing.committed(artifacts)
        self._session.remember(head)
        crash_point("after-commit")
        return step

    def commit_restored(self, attempt: Attempt, drafts: Sequence[Draft]) -> list[Checkpoint]:
        """Record steps restored together; each one's parent is the one before."""
        if not drafts:
            return []
        steps: list[Checkpoint] = []
        with self._session.writing() as ledger:
            head, state = ledger.head(), self._leases.fenced(ledger, attempt)[0]
            for draft in drafts:
                if steps:
                    placed, ordinal = replace(draft, parent=steps[-1].seq), steps[-1].ordinal + 1
                else:
                    placed, ordinal = draft, self._ordinal_after(ledger, draft.parent)
                head, state, step = append_step(
                    ledger, head, state, placed, attempt=attempt, ordinal=ordinal, at=self._leases.now()
                )
                steps.append(step)
            ledger.update(state)
            ledger.update(head)
            crash_point("inside-commit")
        self._note(steps[-1])
        self._session.remember(head)
        return steps

    def note_served(self, attempt: Attempt, served: Served) -> None:
        """Record what the attempt was given from the record. See `Journal.note_served`."""
        with self._session.writing() as ledger:
            head, state = ledger.head(), self._leases.fenced(ledger, attempt)[0]
            head, state = note_served(ledger, head, state, served, epoch=attempt.epoch, at=self._leases.now())
            ledger.update(state)
            ledger.update(head)
        self._session.remember(head)

    def claim(self, attempt: Attempt, name: str) -> bool:
        """Take something for the attempt's execution, for good. See `Journal.claim`."""
        with self._session.writing() as ledger:
            head, state = ledger.head(), self._leases.fenced(ledger, attempt)[0]
            if ledger.newest("claim:" + name):
                return False
            data = {"name": name, "epoch": attempt.epoch}
            head, state, event = ledger.append_event(head, state, "claimed", data, at=self._leases.now())
            ledger.put_newest("claim:" + name, event.seq)
            ledger.update(state)
            ledger.update(head)
        self._session.remember(head)
        return True

    def claim_step(self, attempt: Attempt, name: str, told: Mapping[str, Any]) -> ExecutionId | None:
        """Take a step until the execution's next cell is on record. See `Journal.claim_step`."""
        with self._session.writing() as ledger:
            head, state = ledger.head(), self._leases.fenced(ledger, attempt)[0]
            holder = standing(ledger, self._leases, name)
            if holder is not None:
                return None if holder == attempt.execution else holder
            head, state = claim(ledger, head, state, name, told, epoch=attempt.epoch, at=self._leases.now())
            ledger.update(state)
            ledger.update(head)
        self._session.remember(head)
        return None

    def unclaim_step(self, attempt: Attempt, name: str) -> None:
        """Give back what `claim_step` gave. See `Journal.unclaim_step`."""
        with self._session.writing() as ledger:
            if standing(ledger, self._leases, name) == attempt.execution:
                self._leases.fenced(ledger, attempt)
                unclaim(ledger, name)

    def claimed_by(self, name: str) -> ExecutionId | None:
        """The execution whose claim stands. See `Journal.claimed_by`."""
        with self._session.reading() as ledger:
            return standing(ledger, self._leases, name)

    def roll_up(self, attempt: Attempt, child: ExecutionId) -> None:
        """Add what a child execution has cost to the attempt's execution. See `Journal.roll_up`."""
        with self._session.writing() as ledger:
            head, state = ledger.head(), self._leases.fenced(ledger, attempt)[0]
            spent = ledger.state(ledger.known(child))
            head, state = roll_up(ledger, head, state, spent, child=child, at=self._leases.now())
            ledger.update(state)
            ledger.update(head)
        self._session.remember(head)

    # What comes from elsewhere

    def take_in(self, transcript: Transcript, *, told: Mapping[str, Any]) -> None:
        """Add executions that another journal recorded, in one transaction. See `Journal.take_in`."""
        with self._session.writing() as ledger:
            head = take_in(ledger, transcript, told, self._footing, at=self._leases.now())
            ledger.update(head)
            crash_point("inside-import")
        self._session.remember(head)

    def guests(self) -> Mapping[ExecutionId, datetime]:
        """Executions that were imported and not gone on with here, each with when that was."""
        with self._session.reading() as ledger:
            return {each: rows.moment(at) for each, at in Guests(ledger).since().items()}

    # Removing

    def pin(self, execution: ExecutionId) -> bool:
        """Keep the execution's values, whatever the policy. False when they were pinned already."""
        return self._set_pin(execution, "execution.pinned")

    def unpin(self, execution: ExecutionId) -> bool:
        """Take a pin back. False when there was none."""
        return self._set_pin(execution, "execution.unpinned")

    def pinned(self) -> frozenset[ExecutionId]:
        """The executions that are pinned."""
        with self._session.reading() as ledger:
            executions = ledger.numbers_of(ExecutionRow, ledger.head().executions)
            return frozenset(ExecutionId(row.id) for row in executions if ledger.newest("pin:" + row.id))

    def removed(self, digests: Collection[Digest]) -> Mapping[Digest, Tombstone]:
        """What is left of those of `digests` whose bytes were removed; others are left out."""
        with self._session.reading() as ledger:
            return tombstones(ledger, digests)

    @contextmanager
    def holding(self) -> Iterator[None]:
        """One transaction around all that this thread reads and writes inside the block."""
        try:
            with self._session.holding():
                yield
        except BaseException:
            self._ordinals.clear()
            self._footing.forget()
            raise

    def every_checkpoint(self, *, after: int = 0) -> Iterator[Checkpoint]:
        """Every step on record with a number above `after`, oldest first."""
        while found := self.some_checkpoints(after):
            yield from found
            after = found[-1].seq

    def some_checkpoints(self, after: int) -> list[Checkpoint]:
        """The first of those steps with a number above `after`; none where there are no more."""
        with self._session.reading() as ledger:
            last = min(ledger.head().checkpoints, after + _PAGE)
            found = [ledger.step(seq) for seq in range(after + 1, last + 1)]
            ids = {number: ledger.execution_id(number) for number in {row.execution for row in found}}
        return [rows.checkpoint_of(row, ids[row.execution]) for row in found]

    def artifact_digests(self) -> frozenset[Digest]:
        """The artifacts on record."""
        with self._session.reading() as ledger:
            return frozenset(map(Digest, ledger.keys(ArtifactRow)))

    def every_extent(self) -> list[Location]:
        """Where every extent is; what is kept in the journal comes without its bytes."""
        with self._session.reading() as ledger:
            return [rows.location_of(row._replace(data=row.data and b"")) for row in ledger.every(ExtentRow)]

    def every_tombstone(self) -> list[Tombstone]:
        """Everything that was ever removed, also what was stored anew since."""
        with self._session.reading() as ledger:
            sweeps = {row.n: row for row in ledger.numbers_of(SweepRow, ledger.newest(SWEEPS) or 0)}
            return [rows.tombstone_of(row, sweeps[row.sweep]) for row in ledger.every(TombstoneRow)]

    def sweep(self, removal: Removal) -> frozenset[str]:
        """Take values off the records; gives the packs that may be removed. See `Journal.sweep`."""
        crash_point("before-sweep")
        with self._session.writing() as ledger:
            head, packs = sweep(ledger, ledger.head(), removal, at=self._leases.now())
            ledger.update(head)
            crash_point("inside-sweep")
        self._session.remember(head)
        return packs

    def now(self) -> datetime:
        """The time by the clock that all who write here share."""
        with self._session.reading():
            return rows.moment(self._leases.now())

    def space(self) -> tuple[int, int]:
        """Bytes of the database, and how many of them are free inside it."""
        return self._session.space()

    def fold(self) -> None:
        """Give back to the disk what a log beside the database takes."""
        self._session.fold()

    def compact(self) -> None:
        """Give the free space inside the database back to the disk. Needs as much again meanwhile."""
        self._session.compact()

    def _set_pin(self, execution: ExecutionId, kind: str) -> bool:
        with self._session.writing() as ledger:
            number = ledger.known(execution)
            name = "pin:" + execution
            if bool(ledger.newest(name)) == (kind == "execution.pinned"):
                return False
            head, state, event = ledger.append_event(
                ledger.head(), ledger.state(number), kind, {}, at=self._leases.now()
            )
            ledger.put_newest(name, event.seq if kind == "execution.pinned" else 0)
            ledger.update(state)
            ledger.update(head)
        self._session.remember(head)
        return True

    def record_event(self, execution: ExecutionId, kind: str, data: Mapping[str, Any]) -> Event:
        """Append one event that no other method records."""
        with self._session.writing() as ledger:
            now = self._leases.now()
            state = ledger.state(ledger.known(execution))
            head, state, row = ledger.append_event(ledger.head(), state, kind, dict(data), at=now)
            ledger.update(state)
            ledger.update(head)
        self._session.remember(head)
        return rows.event_of(row, execution)

    def note_shown(self, attempt: Attempt, data: Mapping[str, Any]) -> Event:
        """Record what a step of the attempt shows while it runs."""
        with self._session.writing() as ledger:
            state = self._leases.fenced(ledger, attempt)[0]
            head, state, row = ledger.append_event(
                ledger.head(), state, "shown", dict(data), at=self._leases.now()
            )
            ledger.update(state)
            ledger.update(head)
        self._session.remember(head)
        return rows.event_of(row, attempt.execution)

    # Reading

    def execution(self, execution: str) -> Execution:
        """The execution with that id, or the newest one for ``"latest"``."""
        with self._session.reading() as ledger:
            if execution != "latest":
                number = ledger.known(execution)
            elif (number := latest(ledger)) == 0:
                raise NotFoundError(
                    "there is no execution yet", kind="unknown-execution", hint="run a `%%checkpoint` cell"
                )
            return self._leases.execution(ledger, ledger.fetch(ExecutionRow, number))

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
        """Executions that fit every filter given, newest first."""
        found: list[Execution] = []
        if limit is not None and limit <= 0:
            return found
        with self._session.reading() as ledger:
            for row in candidates(ledger, identity, notebook, before=before):
                if tag is not None and tag not in json.loads(row.tags):
                    continue
                if since is not None and row.started_at < rows.microseconds(since):
                    continue
                if notebook is not None and rows.identity_of(row).notebook != notebook:
                    continue
                if interactive is not None and rows.identity_of(row).interactive is not interactive:
                    continue
                execution = self._leases.execution(ledger, row)
                if status is None or execution.status is status:
                    found.append(execution)
                if len(found) == limit:
                    break
        return found

    def notebook_of(self, execution: ExecutionId) -> str | None:
        """What the notebook of an execution is called now."""
        with self._session.reading() as ledger:
            return rows.identity_of(ledger.fetch(ExecutionRow, ledger.known(execution))).notebook

    def name_of_file(self, file: FileMark) -> str | None:
        """What a notebook's file was called when it last ran. See `Journal.name_of_file`."""
        with self._session.reading() as ledger:
            return name_of_file(ledger, file)

    def number_of_file(self, notebook: str) -> int | None:
        """The number of the file that was last run under a name. See `Journal.number_of_file`."""
        with self._session.reading() as ledger:
            return number_of_file(ledger, notebook)

    def names_before(self, notebook: str) -> list[str]:
        """What a notebook was called before. See `Journal.names_before`."""
        with self._session.reading() as ledger:
            return names_before(ledger, notebook)

    def name_now(self, notebook: str) -> str:
        """What a notebook is called that once had this name. See `Journal.name_now`."""
        with self._session.reading() as ledger:
            return name_now(ledger, notebook)

    def attempts(self, execution: ExecutionId) -> list[Attempt]:
        """The execution's attempts, oldest first. One whose owner died reads as interrupted."""
        with self._session.reading() as ledger:
            state = ledger.state(ledger.known(execution))
            return [self._leases.seen(ledger, state, row, execution) for row in ledger.attempts(state)]

    def find(
        self,
        key: CheckpointKey,
        *,
        executions: Sequence[ExecutionId] | None = None,
        notebook: str | None = None,
        tag: str | None = None,
    ) -> list[Checkpoint]:
        """Completed checkpoints with this key, newest first."""
        wanted = None if executions is None else set(executions)
        found: list[Checkpoint] = []
        with self._session.reading() as ledger:
            seq = ledger.newest("key:" + key)
            guests = Guests(ledger) if seq is not None else ()
            while seq is not None:
                step = ledger.step(seq)
                row = ledger.fetch(ExecutionRow, step.execution)
                if wanted is None:
                    fits = (
                        rows.identity_of(row).notebook == notebook
                        and row.id not in guests
                        and (tag is None or tag in json.loads(row.tags))
                    )
                else:
                    fits = row.id in wanted
                if fits:
                    found.append(rows.checkpoint_of(step, ExecutionId(row.id)))
                seq = step.previous_of_key
        return found

    def find_anywhere(self, key: CheckpointKey) -> Iterator[Checkpoint]:
        """Completed steps with this key in any execution but guests, newest first."""
        seq = self.newest_of_key(key)
        while seq is not None:
            found, is_guest, seq = self.of_key(seq)
            if not is_guest:
                yield found

    def newest_of_key(self, key: CheckpointKey) -> int | None:
        """The number of the newest completed step with this key."""
        with self._session.reading() as ledger:
            return ledger.newest("key:" + key)

    def of_key(self, seq: int) -> tuple[Checkpoint, bool, int | None]:
        """A step, whether it is a guest's, and the number of the one with its key before it."""
        with self._session.reading() as ledger:
            step = ledger.step(seq)
            found = rows.checkpoint_of(step, ledger.execution_id(step.execution))
            return found, found.execution in Guests(ledger), step.previous_of_key

    def checkpoints(self, execution: ExecutionId) -> list[Checkpoint]:
        """Every step on record for the execution, in the order they were recorded."""
        found: list[Checkpoint] = []
        with self._session.reading() as ledger:
            seq = ledger.state(ledger.known(execution)).last_step
            while seq is not None:
                row = ledger.step(seq)
                found.append(rows.checkpoint_of(row, execution))
                seq = row.previous
        return found[::-1]

    def steps_within(self, execution: ExecutionId, *, after: int = 0) -> list[Checkpoint]:
        """Steps that belong to a cell or a flow, with a number above `after`, in order."""
        found: list[Checkpoint] = []
        with self._session.reading() as ledger:
            ledger.known(execution)
            seq = ledger.newest(within(execution))
            while seq is not None and seq > after:
                row = ledger.step(seq)
                found.append(rows.checkpoint_of(row, execution))
                seq = row.previous
        return found[::-1]

    def checkpoint(self, seq: int) -> Checkpoint:
        """The step with that sequence number."""
        with self._session.reading() as ledger:
            row = ledger.known_step(seq)
            return rows.checkpoint_of(row, ledger.execution_id(row.execution))

    def line(self, seq: int) -> list[Checkpoint]:
        """The commits that lead to `seq`, oldest first, `seq` itself last."""
        found: list[Checkpoint] = []
        ids: dict[int, ExecutionId] = {}
        with self._session.reading() as ledger:
            row: CheckpointRow | None = ledger.known_step(seq)
            while row is not None:
                if row.execution not in ids:
                    ids[row.execution] = ledger.execution_id(row.execution)
                found.append(rows.checkpoint_of(row, ids[row.execution]))
                row = None if row.parent is None else ledger.step(row.parent)
        return found[::-1]

    def artifacts(self, digests: Iterable[Digest]) -> Mapping[Digest, Artifact]:
        """The artifacts with these digests; unknown ones are left out."""
        with self._session.reading() as ledger:
            found = [rows.artifact_of(row) for row in ledger.by_digest(ArtifactRow, digests)]
        return {artifact.digest: artifact for artifact in found}

    def locate(self, digests: Iterable[Digest]) -> Mapping[Digest, Location]:
        """Where each known extent is; unknown ones are left out."""
        with self._session.reading() as ledger:
            found = [rows.location_of(row) for row in ledger.by_digest(ExtentRow, digests)]
        return {location.extent.digest: location for location in found}

    def events(self, execution: ExecutionId | None = None, *, after: int = 0) -> list[Event]:
        """Events with a sequence number above `after`, oldest first."""
        with self._session.reading() as ledger:
            if execution is not None:
                newest = ledger.state(ledger.known(execution)).last_event
                return [rows.event_of(row, execution) for row in ledger.events(newest, after=after)]
            found = ledger.all_events(ledger.head(), after=max(after, 0))
            ids = {number: ledger.execution_id(number) for number in {row.execution for row in found}}
        return [rows.event_of(row, ids[row.execution]) for row in found]

    def verify(self) -> list[CorruptError]:
        """Everything in the file that is not as it was written; reads all of it."""
        problems = self._session.integrity_problems()
        with self._session.reading() as ledger:
            problems += ledger.scan()
            try:
                events = ledger.all_events(ledger.head(), after=0)
                problems += ledger.otherwise(misplaced(ledger, events, IMPORTED))
            except CorruptError as error:
                problems.append(error)
        return problems

    def newest_event(self) -> tuple[int, str]:
        """The number of the newest event and its checksum, which stands for all events before it."""
        with self._session.reading() as ledger:
            head = ledger.head()
            return head.events, head.chain.hex()

    def close(self) -> None:
        """Give back open files. A later call opens them again."""
        self._session.close()

    def number(self) -> int | None:
        """A number of this journal's own, made by the first one who may write; others have other numbers."""
        with self._session.reading() as ledger:
            found = ledger.newest(_NUMBER)
        if found is None and not self._session.read_only:
            with self._session.writing() as ledger:
                found = ledger.newest(_NUMBER)
                if found is None:
                    found = secrets.randbits(63)
                    ledger.put_newest(_NUMBER, found)
        return found

    def _place(self, ledger: Ledger, attempt: Attempt, draft: Draft) -> int:
        """The ordinal of a step that is about to be added."""
        if draft.kind is StepKind.CELL:
            return self._ordinal_after(ledger, draft.parent)
        return self._ordinal_after(ledger, ledger.newest(within(attempt.execution)))

    def _ordinal_after(self, ledger: Ledger, parent: int | None) -> int:
        if parent is None:
            return 1
        known = self._ordinals.get(parent)
        return (ledger.known_step(parent).ordinal if known is None else known) + 1

    def _note(self, step: Checkpoint) -> None:
        if len(self._ordinals) >= _REMEMBERED:
            self._ordinals.clear()
        self._ordinals[step.seq] = step.ordinal


def _plain(text: str | None) -> str | None:
    return (
        None
        if text is None
        else text.encode("utf-8", "backslashreplace").decode("utf-8").replace("\0", "\\x00")
    )
