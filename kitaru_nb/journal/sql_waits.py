"""The waits of a journal in an SQL database: each method is one transaction. See `journal.waits`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from kitaru_nb.errors import ConflictError
from kitaru_nb.journal import rows
from kitaru_nb.journal.lease import Leases
from kitaru_nb.journal.rows import EventRow
from kitaru_nb.journal.waits import Writing, address_of, every_wait, standing, unknown, wait_at
from kitaru_nb.model.crash import crash_point
from kitaru_nb.model.event import Event
from kitaru_nb.model.execution import Attempt, ExecutionId, ExecutionStatus
from kitaru_nb.model.wait import Question, Wait

if TYPE_CHECKING:
    from kitaru_nb.journal.sql_journal import Session

__all__ = ["SqlWaits"]


class SqlWaits:
    """What a journal says and records of waits. See `journal.Journal` for what each method promises."""

    _session: Session
    _leases: Leases

    def ask(
        self,
        attempt: Attempt,
        question: Question,
        *,
        refused: str | None = None,
        lender: ExecutionId | None = None,
    ) -> tuple[Wait, bool]:
        """The wait for a question, and whether it was asked only now. See `Journal.ask`."""
        execution = attempt.execution
        if refused is None:  # most often it is on record, and nothing has to be written
            with self._session.reading() as ledger:
                found = standing(ledger, question, execution, now=self._leases.now())
            if found is not None:
                return found, False
        with self._session.writing() as ledger:
            state = self._leases.fenced(ledger, attempt)[0]
            writing = Writing(ledger, ledger.head(), state, self._leases.now())
            wait, asked = writing.ask(question, execution, refused=refused, lender=lender)
            ledger.update(writing.state)
            ledger.update(writing.head)
        self._session.remember(writing.head)
        crash_point("after-ask")
        return wait, asked

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
        """Record the answer to a wait; the first one counts. See `Journal.answer_wait`."""
        place = address_of(address)
        given = {"answer": answer, "by": by, "source": source}
        given |= {} if reason is None else {"reason": reason}
        with self._session.writing() as ledger:
            state = ledger.state(ledger.known(place.execution))
            status = ExecutionStatus(state.status)
            writing = Writing(ledger, ledger.head(), state, self._leases.now())
            found = writing.answer(place, given, binding=binding, status=status)
            ledger.update(writing.state)
            ledger.update(writing.head)
            crash_point("inside-answer")
        self._session.remember(writing.head)
        if isinstance(found, ConflictError):
            raise found
        return found

    def wait(self, address: str) -> Wait:
        """The wait with that address, as it stands now."""
        place = address_of(address)
        with self._session.reading() as ledger:
            ledger.known(place.execution)
            found = wait_at(ledger, place, now=self._leases.now())
        if found is None:
            raise unknown(place)
        return found

    def waits(self, execution: ExecutionId | None = None) -> list[Wait]:
        """The waits of an execution, or all there are, in the order in which they were first met."""
        with self._session.reading() as ledger:
            if execution is not None:
                ledger.known(execution)
            return list(every_wait(ledger, execution, now=self._leases.now()))[::-1]

    def note_suspended(self, attempt: Attempt, data: Mapping[str, Any]) -> Event:
        """Record that code of the attempt stopped at a wait or a budget."""
        with self._session.writing() as ledger:
            state = self._leases.fenced(ledger, attempt)[0]
            told = {"epoch": attempt.epoch, **data}
            head, state, row = ledger.append_event(
                ledger.head(), state, "suspended", told, at=self._leases.now()
            )
            ledger.put_newest("suspended:" + attempt.execution, row.seq)
            ledger.update(state)
            ledger.update(head)
        self._session.remember(head)
        return rows.event_of(row, attempt.execution)

    def suspended(self, execution: ExecutionId) -> Event | None:
        """The newest event of `note_suspended`."""
        with self._session.reading() as ledger:
            ledger.known(execution)
            seq = ledger.newest("suspended:" + execution)
            return None if seq is None else rows.event_of(ledger.fetch(EventRow, seq), execution)
