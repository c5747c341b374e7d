"""The journal in one SQLite file: write-ahead log, synchronous=FULL, one fsync per commit."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Any

from kitaru_nb.errors import CorruptError, NotFoundError, UsageError
from kitaru_nb.journal import rows
from kitaru_nb.journal.lease import (
    ENDED_WITHOUT_WARNING,
    close_state,
    held_error,
    is_held,
    seconds_between,
    superseded_error,
)
from kitaru_nb.journal.ledger import Ledger
from kitaru_nb.journal.rows import (
    ArtifactRow,
    AttemptRow,
    CheckpointRow,
    ExecutionRow,
    ExtentRow,
    Head,
    State,
)
from kitaru_nb.journal.session import Session
from kitaru_nb.model.artifact import Artifact, Digest, Location
from kitaru_nb.model.checkpoint import Checkpoint, CheckpointKey, CheckpointStatus, Draft
from kitaru_nb.model.crash import crash_point
from kitaru_nb.model.event import Event
from kitaru_nb.model.execution import (
    Attempt,
    Execution,
    ExecutionId,
    ExecutionStatus,
    Identity,
    Owner,
    new_execution_id,
)

__all__ = ["SqliteJournal"]

_REMEMBERED = 4096


class SqliteJournal:
    """The metadata store in one file. See `journal.Journal` for what each method promises.

    May be called from any thread and used on both sides of a fork. Every process opens
    its own; they take turns writing. Network file systems are not safe for it.

    Args:
        path: The database file; made with its folder when missing, 0600 and 0700.
        read_only: Open without writing anything, also on read-only media and with a log
            that was never folded. What is read then is the state at the time of opening
            if the folder is not writable.
        lease: Seconds without a heartbeat after which an owner on another host is dead.
        clock: Seconds since 1970, UTC; a test may bring its own.

    Raises:
        StoreError: kind ``journal-read-only``, ``journal-full``, ``journal-unreadable``,
            ``journal-newer`` or ``journal-foreign``.
        CorruptError: the file is damaged. It is left as it is.
    """

    def __init__(
        self,
        path: Path,
        *,
        read_only: bool = False,
        lease: float = 30.0,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.path = Path(path)
        self._lease = lease
        self._clock = clock
        self._ordinals: dict[int, int] = {}
        self._session = Session(self.path, read_only=read_only)

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
    ) -> tuple[Attempt, Execution | None]:
        """Go on with the identity's last execution, or begin a new one. See `Journal.start`."""
        now = self._now()
        with self._session.writing() as ledger:
            head = ledger.head()
            digest = rows.identity_digest(identity)
            before = None
            number = ledger.newest("identity:" + digest.hex())
            if number is not None:
                head, before = self._settle(ledger, head, number, take_over=take_over, leave=new, now=now)
            if before is not None and before.status.continues and not new:
                head, attempt = self._attempt(
                    ledger, head, ledger.state(number or 0), owner, execution=before.id, now=now
                )
            else:
                before = None
                row = _execution_row(head, identity, tags, parent, now)
                head, attempt = self._begin(ledger, head, row, identity, owner)
            ledger.update(head)
        self._session.remember(head)
        return attempt, before

    def resume(self, execution: ExecutionId, *, owner: Owner, take_over: bool = False) -> Attempt:
        """Take the lease of one named execution, whatever its status."""
        now = self._now()
        with self._session.writing() as ledger:
            number = self._known(ledger, execution)
            head, before = self._settle(
                ledger, ledger.head(), number, take_over=take_over, leave=False, now=now
            )
            head, attempt = self._attempt(
                ledger, head, ledger.state(number), owner, execution=before.id, now=now
            )
            ledger.update(head)
        self._session.remember(head)
        return attempt

    def heartbeat(self, attempt: Attempt) -> None:
        """Say that the attempt's owner is alive."""
        with self._session.writing() as ledger:
            _, row = self._fenced(ledger, attempt)
            ledger.update(row._replace(heartbeat_at=max(self._now(), row.heartbeat_at)))

    def finish(self, attempt: Attempt, status: ExecutionStatus, *, reason: str | None = None) -> None:
        """End the attempt. One that is superseded, or has ended, changes nothing."""
        if status is ExecutionStatus.RUNNING:
            raise UsageError("an attempt cannot end as `running`", kind="bad-status")
        now = self._now()
        with self._session.writing() as ledger:
            head, state = ledger.head(), ledger.state(self._known(ledger, attempt.execution))
            row = ledger.fetch(AttemptRow, state.attempt)
            if row.epoch != attempt.epoch or row.ended_at is not None:
                return
            state, row = close_state(state, row, status, ended_at=now, reason=_plain(reason))
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
    ) -> Checkpoint:
        """Record a step with its artifacts in one transaction. See `Journal.commit`."""
        stored = [rows.artifact_row(artifact) for artifact in artifacts]
        extents = [rows.extent_row(location) for location in locations]
        crash_point("before-commit")
        with self._session.writing() as ledger:
            head, state = ledger.head(), self._fenced(ledger, attempt)[0]
            ledger.insert_unless_known(stored)
            ledger.insert_unless_known(extents)
            self._require_artifacts(ledger, draft, {artifact.digest for artifact in artifacts})
            head, state, step = self._append(ledger, head, state, attempt, draft)
            ledger.update(state)
            ledger.update(head)
            crash_point("inside-commit")
        self._note(step)
        self._session.remember(head)
        crash_point("after-commit")
        return step

    def commit_restored(self, attempt: Attempt, drafts: Sequence[Draft]) -> list[Checkpoint]:
        """Record steps restored together; each one's parent is the one before."""
        if not drafts:
            return []
        steps: list[Checkpoint] = []
        with self._session.writing() as ledger:
            head, state = ledger.head(), self._fenced(ledger, attempt)[0]
            for draft in drafts:
                placed = replace(draft, parent=steps[-1].seq) if steps else draft
                ordinal = steps[-1].ordinal + 1 if steps else None
                head, state, step = self._append(ledger, head, state, attempt, placed, ordinal=ordinal)
                steps.append(step)
            ledger.update(state)
            ledger.update(head)
            crash_point("inside-commit")
        self._note(steps[-1])
        self._session.remember(head)
        return steps

    def record_event(self, execution: ExecutionId, kind: str, data: Mapping[str, Any]) -> Event:
        """Append one event that no other method records."""
        now = self._now()
        with self._session.writing() as ledger:
            state = ledger.state(self._known(ledger, execution))
            head, state, row = ledger.append_event(ledger.head(), state, kind, dict(data), at=now)
            ledger.update(state)
            ledger.update(head)
        self._session.remember(head)
        return rows.event_of(row, execution)

    # Reading

    def execution(self, execution: str) -> Execution:
        """The execution with that id, or the newest one for ``"latest"``."""
        with self._session.reading() as ledger:
            if execution != "latest":
                number = self._known(ledger, execution)
            elif (number := ledger.head().executions) == 0:
                raise NotFoundError(
                    "there is no execution yet", kind="unknown-execution", hint="run a `%%checkpoint` cell"
                )
            return self._execution(ledger, ledger.fetch(ExecutionRow, number))

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
        found: list[Execution] = []
        if limit is not None and limit <= 0:
            return found
        with self._session.reading() as ledger:
            for row in _candidates(ledger, identity, notebook):
                if tag is not None and tag not in json.loads(row.tags):
                    continue
                if since is not None and row.started_at < rows.microseconds(since):
                    continue
                if notebook is not None and rows.identity_of(row).notebook != notebook:
                    continue
                execution = self._execution(ledger, row)
                if status is None or execution.status is status:
                    found.append(execution)
                if len(found) == limit:
                    break
        return found

    def attempts(self, execution: ExecutionId) -> list[Attempt]:
        """The execution's attempts, oldest first. One whose owner died reads as interrupted."""
        with self._session.reading() as ledger:
            state = ledger.state(self._known(ledger, execution))
            return [self._seen(rows.attempt_of(row, execution)) for row in ledger.attempts(state)]

    def find(
        self,
        key: CheckpointKey,
        *,
        executions: Sequence[ExecutionId] | None = None,
        notebook: str | None = None,
    ) -> list[Checkpoint]:
        """Completed checkpoints with this key, newest first."""
        wanted = None if executions is None else set(executions)
        found: list[Checkpoint] = []
        with self._session.reading() as ledger:
            seq = ledger.newest("key:" + key)
            while seq is not None:
                step = ledger.step(seq)
                row = ledger.fetch(ExecutionRow, step.execution)
                if row.id in wanted if wanted is not None else rows.identity_of(row).notebook == notebook:
                    found.append(rows.checkpoint_of(step, ExecutionId(row.id)))
                seq = step.previous_of_key
        return found

    def checkpoints(self, execution: ExecutionId) -> list[Checkpoint]:
        """Every step on record for the execution, in the order they were recorded."""
        found: list[Checkpoint] = []
        with self._session.reading() as ledger:
            seq = ledger.state(self._known(ledger, execution)).last_step
            while seq is not None:
                row = ledger.step(seq)
                found.append(rows.checkpoint_of(row, execution))
                seq = row.previous
        return found[::-1]

    def checkpoint(self, seq: int) -> Checkpoint:
        """The step with that sequence number."""
        with self._session.reading() as ledger:
            row = self._step(ledger, seq)
            return rows.checkpoint_of(row, ledger.execution_id(row.execution))

    def line(self, seq: int) -> list[Checkpoint]:
        """The commits that lead to `seq`, oldest first, `seq` itself last."""
        found: list[Checkpoint] = []
        ids: dict[int, ExecutionId] = {}
        with self._session.reading() as ledger:
            row: CheckpointRow | None = self._step(ledger, seq)
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
                newest = ledger.state(self._known(ledger, execution)).last_event
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
                ledger.all_events(ledger.head(), after=0)
            except CorruptError as error:
                problems.append(error)
        return problems

    def close(self) -> None:
        """Give back open files. A later call opens them again."""
        self._session.close()

    # Parts of the above

    def _now(self) -> int:
        return int(self._clock() * 1_000_000)

    def _known(self, ledger: Ledger, execution: str) -> int:
        number = ledger.number(execution)
        if number is None:
            raise NotFoundError(
                f"there is no execution `{execution}` in the journal `{self.path}`",
                kind="unknown-execution",
                hint="`kitaru-nb executions` lists them; `latest` is the newest",
            )
        return number

    def _step(self, ledger: Ledger, seq: int) -> CheckpointRow:
        if not 0 < seq <= ledger.head().checkpoints:
            raise NotFoundError(
                f"there is no checkpoint {seq} in the journal `{self.path}`",
                kind="unknown-checkpoint",
                hint="`kitaru-nb show EXECUTION` lists the checkpoints of an execution",
            )
        return ledger.step(seq)

    def _fenced(self, ledger: Ledger, attempt: Attempt) -> tuple[State, AttemptRow]:
        """The rows that `attempt` may change, once it is known to be the one that may."""
        state = ledger.state(self._known(ledger, attempt.execution))
        row = ledger.fetch(AttemptRow, state.attempt)
        if row.epoch != attempt.epoch or row.ended_at is not None:
            newest = rows.attempt_of(row, attempt.execution)
            raise superseded_error(attempt.execution, attempt.epoch, newest)
        return state, row

    def _settle(
        self, ledger: Ledger, head: Head, number: int, *, take_over: bool, leave: bool, now: int
    ) -> tuple[Head, Execution]:
        """The execution once nobody holds it: a dead owner's attempt is ended, a live one's refused.

        With `leave` a live owner's execution is left alone.
        """
        row, state = ledger.fetch(ExecutionRow, number), ledger.state(number)
        attempt_row = ledger.fetch(AttemptRow, state.attempt)
        attempt = rows.attempt_of(attempt_row, ExecutionId(row.id))
        if attempt.ended_at is None:
            held = is_held(attempt, now=now, lease=self._lease)
            if held and leave:
                return head, self._execution(ledger, row)
            if held and not take_over:
                raise held_error(attempt)
            reason = "taken over" if held else ENDED_WITHOUT_WARNING
            state, attempt_row = close_state(
                state,
                attempt_row,
                ExecutionStatus.INTERRUPTED,
                ended_at=now if held else attempt_row.heartbeat_at,
                reason=reason,
            )
            data = {"epoch": attempt.epoch, "reason": reason}
            head, state, _ = ledger.append_event(head, state, "execution.interrupted", data, at=now)
            ledger.update(attempt_row)
            ledger.update(state)
        return head, self._execution(ledger, row)

    def _begin(
        self, ledger: Ledger, head: Head, row: ExecutionRow, identity: Identity, owner: Owner
    ) -> tuple[Head, Attempt]:
        """Add a new execution and its first attempt."""
        row = row._replace(
            previous_of_identity=ledger.put_newest("identity:" + row.identity_digest.hex(), row.n)
        )
        if identity.notebook is not None:
            row = row._replace(previous_of_notebook=ledger.put_newest("notebook:" + identity.notebook, row.n))
        ledger.put_newest("execution:" + row.id, row.n)
        ledger.insert(row)
        state = State(
            row.n, ExecutionStatus.RUNNING.value, None, None, 0, 0, 0.0, None, None, None, 0.0, 0, None, None
        )
        ledger.insert(state)
        data = {"identity": json.loads(row.identity), "tags": json.loads(row.tags), "parent": row.parent}
        head = head._replace(executions=row.n)
        head, state, _ = ledger.append_event(head, state, "execution.started", data, at=row.started_at)
        return self._attempt(ledger, head, state, owner, execution=ExecutionId(row.id), now=row.started_at)

    def _attempt(
        self, ledger: Ledger, head: Head, state: State, owner: Owner, *, execution: ExecutionId, now: int
    ) -> tuple[Head, Attempt]:
        """Add the execution's next attempt."""
        running = ExecutionStatus.RUNNING.value
        row = AttemptRow(
            head.attempts + 1,
            state.n,
            state.epoch + 1,
            state.attempt or None,
            rows.owner_text(owner),
            now,
            now,
            None,
            running,
            None,
        )
        ledger.insert(row)
        state = state._replace(status=running, ended_at=None, reason=None, epoch=row.epoch, attempt=row.n)
        data = {"epoch": row.epoch, "host": owner.host, "pid": owner.pid}
        head = head._replace(attempts=row.n)
        head, state, _ = ledger.append_event(head, state, "attempt.started", data, at=now)
        ledger.update(state)
        return head, rows.attempt_of(row, execution)

    def _append(
        self,
        ledger: Ledger,
        head: Head,
        state: State,
        attempt: Attempt,
        draft: Draft,
        *,
        ordinal: int | None = None,
    ) -> tuple[Head, State, Checkpoint]:
        """Add one step and its event; the caller updates head and state."""
        seq = head.checkpoints + 1
        if ordinal is None:
            ordinal = 1 if draft.parent is None else self._ordinal(ledger, draft.parent) + 1
        same_key = None
        if draft.status is CheckpointStatus.COMPLETED:
            same_key = ledger.put_newest("key:" + draft.key, seq)
        ledger.insert(
            CheckpointRow(
                seq,
                state.n,
                attempt.epoch,
                ordinal,
                state.last_step,
                same_key,
                draft.parent,
                draft.origin,
                draft.status.value,
                draft.key,
                rows.microseconds(draft.started_at),
                float(draft.duration),
                None if draft.cost is None else float(draft.cost),
                draft.tokens,
                rows.body_of(draft),
            )
        )
        state = self._counted(ledger, state, draft)._replace(steps=state.steps + 1, last_step=seq)
        data = {"seq": seq, "name": draft.name, "ordinal": ordinal, "epoch": attempt.epoch}
        kind = f"checkpoint.{draft.status.value}"
        head, state, _ = ledger.append_event(
            head._replace(checkpoints=seq), state, kind, data, at=self._now()
        )
        return head, state, Checkpoint(seq, attempt.execution, attempt.epoch, ordinal, draft)

    def _counted(self, ledger: Ledger, state: State, draft: Draft) -> State:
        """The state with what the step cost, or what restoring it saved, added."""
        if draft.status is not CheckpointStatus.RESTORED:
            return state._replace(
                cost=_sum(state.cost, draft.cost), tokens=_sum_whole(state.tokens, draft.tokens)
            )
        if draft.origin is None:
            return state
        origin = self._step(ledger, draft.origin)
        return state._replace(
            saved_cost=_sum(state.saved_cost, origin.cost),
            saved_duration=state.saved_duration + origin.duration,
        )

    def _ordinal(self, ledger: Ledger, seq: int) -> int:
        known = self._ordinals.get(seq)
        return self._step(ledger, seq).ordinal if known is None else known

    def _note(self, step: Checkpoint) -> None:
        if len(self._ordinals) >= _REMEMBERED:
            self._ordinals.clear()
        self._ordinals[step.seq] = step.ordinal

    def _require_artifacts(self, ledger: Ledger, draft: Draft, given: set[Digest]) -> None:
        """Refuse a step that points at an artifact which is neither given nor on record."""
        named = {group.artifact for group in draft.groups}
        if draft.process is not None:
            named.add(draft.process)
        missing = named - given
        if missing:
            missing -= {Digest(row.digest.hex()) for row in ledger.by_digest(ArtifactRow, missing)}
        if missing:
            names = [name for group in draft.groups if group.artifact in missing for name in group.names]
            shown = ", ".join(f"`{name}`" for name in names) or "the process state"
            raise NotFoundError(
                f"checkpoint `{draft.name}` refers to stored values that are not on record: {shown}",
                kind="unknown-artifact",
                hint="run the cell again with `--fresh`",
            )

    def _seen(self, attempt: Attempt) -> Attempt:
        """The attempt as it is known from here: one whose owner died has ended."""
        if attempt.ended_at is not None or is_held(attempt, now=self._now(), lease=self._lease):
            return attempt
        return replace(
            attempt,
            ended_at=attempt.heartbeat_at,
            status=ExecutionStatus.INTERRUPTED,
            reason=ENDED_WITHOUT_WARNING,
        )

    def _execution(self, ledger: Ledger, row: ExecutionRow) -> Execution:
        state = ledger.state(row.n)
        attempt = self._seen(rows.attempt_of(ledger.fetch(AttemptRow, state.attempt), ExecutionId(row.id)))
        duration = state.spent
        if state.ended_at is None:
            ended = self._now() if attempt.ended_at is None else rows.microseconds(attempt.ended_at)
            duration += seconds_between(rows.microseconds(attempt.started_at), ended)
        return Execution(
            id=ExecutionId(row.id),
            identity=rows.identity_of(row),
            status=attempt.status,
            started_at=rows.moment(row.started_at),
            ended_at=attempt.ended_at,
            reason=attempt.reason,
            epoch=state.epoch,
            parent=None if row.parent is None else ExecutionId(row.parent),
            tags=tuple(json.loads(row.tags)),
            duration=duration,
            cost=state.cost,
            tokens=state.tokens,
            saved_cost=state.saved_cost,
            saved_duration=state.saved_duration,
        )


def _execution_row(
    head: Head, identity: Identity, tags: Sequence[str], parent: ExecutionId | None, now: int
) -> ExecutionRow:
    return ExecutionRow(
        head.executions + 1,
        new_execution_id(),
        rows.identity_text(identity),
        rows.identity_digest(identity),
        rows.dumps(list(tags)),
        parent,
        now,
        None,
        None,
    )


def _candidates(ledger: Ledger, identity: Identity | None, notebook: str | None) -> Iterator[ExecutionRow]:
    """The shortest list on record that holds every execution asked for, newest first."""
    if identity is not None:
        number = ledger.newest("identity:" + rows.identity_digest(identity).hex())
        while number is not None:
            row = ledger.fetch(ExecutionRow, number)
            yield row
            number = row.previous_of_identity
    elif notebook is not None:
        number = ledger.newest("notebook:" + notebook)
        while number is not None:
            row = ledger.fetch(ExecutionRow, number)
            yield row
            number = row.previous_of_notebook
    else:
        yield from ledger.numbers_of(ExecutionRow, ledger.head().executions)


def _plain(text: str | None) -> str | None:
    return None if text is None else text.encode("utf-8", "backslashreplace").decode("utf-8")


def _sum(total: float | None, part: float | None) -> float | None:
    return total if part is None else (total or 0.0) + part


def _sum_whole(total: int | None, part: int | None) -> int | None:
    return total if part is None else (total or 0) + part
