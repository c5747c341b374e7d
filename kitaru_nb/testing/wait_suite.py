"""What every journal must do with waits."""

from __future__ import annotations

import threading
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from kitaru_nb.errors import ConflictError, NotFoundError, UsageError
from kitaru_nb.journal.journal import Journal
from kitaru_nb.model.execution import Attempt, ExecutionStatus, Identity, current_owner
from kitaru_nb.model.transcript import Run, Transcript
from kitaru_nb.model.wait import DEADLINE, Question, Wait, WaitKind, WaitStatus, binding_of

__all__ = ["WaitPromises", "a_question"]

_BOOL = {"type": "boolean"}
_AT_ONCE = 1e-6  # seconds; it has passed with the next look at the clock


def a_question(text: str = "Publish?", **changes: Any) -> Question:
    """A question in a flow; `changes` replace its fields."""
    schema = changes.get("schema", _BOOL)
    fields = {"name": "publish", "scope": "flow", "place": 0, "schema": schema}
    binding = binding_of(text, schema, changes.pop("shown", None))
    return Question(**({**fields, "binding": binding, "text": text} | changes))


def _begun(journal: Journal) -> Attempt:
    return journal.start(Identity(flow="m:f"), owner=current_owner())[0]


def _address(attempt: Attempt, name: str = "publish") -> str:
    return f"{attempt.execution}/{name}"


class WaitPromises:
    """The promises of `kitaru_nb.journal.journal.Journal` about waits, each a test."""

    def open_journal(self, home: Path) -> Journal:
        """See `JournalSuite`."""
        raise NotImplementedError

    def test_a_question_is_on_record_with_all_of_it(self, journal: Journal, other: Journal) -> None:
        attempt = _begun(journal)
        schema = {"enum": ["a", "ü"]}
        question = a_question(
            "Which one? \N{SNOWMAN}",
            schema=schema,
            show={"draft": "first\nsecond"},
            timeout=3600.0,
            default="a",
            has_default=True,
        )

        wait, asked = journal.ask(attempt, question)

        assert asked
        assert (wait.address, wait.execution, wait.status) == (
            _address(attempt),
            attempt.execution,
            WaitStatus.PENDING,
        )
        assert (wait.question, wait.schema, wait.show) == (question.text, schema, question.show)
        assert (wait.default, wait.has_default, wait.binding) == ("a", True, question.binding)
        assert wait.asked_at is not None
        assert wait.deadline is not None
        assert (wait.deadline - wait.asked_at).total_seconds() == 3600
        assert (wait.answer, wait.answered_by, wait.answered_at) == (None, None, None)
        assert other.wait(wait.address) == wait
        assert other.waits(attempt.execution) == other.waits() == [wait]

    def test_the_same_place_asks_once(self, journal: Journal, other: Journal) -> None:
        first = _begun(journal)
        asked = journal.ask(first, a_question())[0]
        journal.finish(first, ExecutionStatus.WAITING)
        second = _begun(other)

        again, anew = other.ask(second, a_question())

        assert (again, anew) == (asked, False)
        assert other.waits() == [asked]

    def test_waits_of_one_name_are_numbered_as_they_are_asked(self, journal: Journal) -> None:
        attempt = _begun(journal)
        places = [a_question(), a_question(place=1), a_question(scope="flow/review:x:0")]

        found = [journal.ask(attempt, each)[0].address for each in places]
        found.append(journal.ask(attempt, a_question(name="send"))[0].address)

        start = _address(attempt)
        assert found == [start, f"{start}#2", f"{start}#3", _address(attempt, "send")]
        assert journal.wait(f"{start}#1").address == start

    def test_an_answer_counts_for_every_later_attempt(self, journal: Journal, other: Journal) -> None:
        attempt = _begun(journal)
        address = journal.ask(attempt, a_question())[0].address
        journal.finish(attempt, ExecutionStatus.WAITING)

        wait = other.answer_wait(address, True, by="ana@lab", source="cli", reason="looks good")

        assert (wait.status, wait.answer, wait.answered_by) == (WaitStatus.ANSWERED, True, "ana@lab")
        assert (wait.source, wait.reason) == ("cli", "looks good")
        assert wait.answered_at is not None
        assert journal.ask(_begun(journal), a_question()) == (wait, False)

    def test_the_first_answer_counts(self, journal: Journal, other: Journal) -> None:
        address = journal.ask(_begun(journal), a_question())[0].address
        first = journal.answer_wait(address, True, by="ana@lab", source="cli")
        events = len(journal.events())

        again = other.answer_wait(address, True, by="ben@lab", source="cli")
        with pytest.raises(ConflictError) as refused:
            other.answer_wait(address, False, by="ben@lab", source="cli")

        assert again == first == other.wait(address)
        assert refused.value.kind == "already-answered"
        assert "ana@lab" in refused.value.message
        assert f"{first.answered_at:%Y-%m-%d %H:%M:%S}" in refused.value.message
        assert len(journal.events()) == events, "nothing more is recorded"

    def test_of_answers_at_the_same_time_one_counts(self, journal: Journal, other: Journal) -> None:
        attempt = _begun(journal)
        schema = {"type": "integer"}
        names = [f"n{number}" for number in range(10)]
        addresses = [journal.ask(attempt, a_question(name=name, schema=schema))[0].address for name in names]
        together = threading.Barrier(2)
        won: dict[int, list[Wait]] = {1: [], 2: []}

        def answer(by: int, place: Journal) -> None:
            for address in addresses:
                together.wait(20)
                try:
                    won[by].append(place.answer_wait(address, by, by=str(by), source="cli"))
                except ConflictError as error:
                    assert error.kind == "already-answered"  # noqa: PT017 - one of the two gets this

        second = threading.Thread(target=answer, args=(2, other))
        second.start()
        answer(1, journal)
        second.join()

        assert {wait.address for wait in won[1] + won[2]} == set(addresses)
        assert len(won[1] + won[2]) == len(addresses)
        for wait in won[1] + won[2]:
            assert journal.wait(wait.address).answer == wait.answer == int(wait.answered_by or 0)

    def test_true_is_not_one(self, journal: Journal) -> None:
        address = journal.ask(_begun(journal), a_question(schema={"type": ["boolean", "integer"]}))[0].address
        journal.answer_wait(address, True, by="ana", source="cli")

        with pytest.raises(ConflictError):
            journal.answer_wait(address, 1, by="ana", source="cli")

    @pytest.mark.parametrize("answer", ["yes", 1, None, [True], {"a": True}])
    def test_what_the_schema_does_not_take_is_no_answer(self, journal: Journal, answer: Any) -> None:
        address = journal.ask(_begun(journal), a_question())[0].address

        with pytest.raises(UsageError, match="true or false") as refused:
            journal.answer_wait(address, answer, by="ana", source="cli")

        assert refused.value.kind == "invalid-answer"
        assert journal.wait(address).status is WaitStatus.PENDING

    def test_a_changed_question_is_asked_again_and_the_old_answer_does_not_count(
        self, journal: Journal
    ) -> None:
        attempt = _begun(journal)
        address = journal.ask(attempt, a_question())[0].address
        journal.answer_wait(address, True, by="ana", source="cli")

        for changed in (
            a_question("Publish now?"),
            a_question("Publish now?", shown="digest of a draft"),
            a_question("Publish now?", schema={"type": "string"}),
        ):
            wait, anew = journal.ask(attempt, changed)
            assert anew
            assert (wait.address, wait.status) == (address, WaitStatus.PENDING)
            assert (wait.question, wait.schema, wait.answer) == (changed.text, changed.schema, None)
            assert wait.refused == "ana gave true when something else was asked or shown"
        assert journal.waits() == [wait]
        assert journal.answer_wait(address, "yes", by="ben", source="cli").answer == "yes"

    def test_an_answer_given_for_another_question_is_refused(self, journal: Journal) -> None:
        attempt = _begun(journal)
        old = journal.ask(attempt, a_question())[0]
        journal.ask(attempt, a_question("Publish the second draft?"))

        with pytest.raises(ConflictError, match="second draft") as refused:
            journal.answer_wait(old.address, True, by="ana", source="cli", binding=old.binding)

        assert refused.value.kind == "question-changed"
        assert journal.wait(old.address).status is WaitStatus.PENDING

    def test_an_answer_that_the_code_cannot_take_is_asked_for_once_more(self, journal: Journal) -> None:
        attempt = _begun(journal)
        address = journal.ask(attempt, a_question())[0].address
        journal.answer_wait(address, True, by="ana", source="cli")

        wait, anew = journal.ask(attempt, a_question(), refused="not on a Friday")

        assert anew
        assert (wait.address, wait.status, wait.refused) == (address, WaitStatus.PENDING, "not on a Friday")
        assert journal.answer_wait(address, False, by="ben", source="cli").answer is False

    def test_an_answer_ahead_of_time_counts_for_the_first_question(
        self, journal: Journal, other: Journal
    ) -> None:
        attempt = _begun(journal)
        address = _address(attempt, "publish#2")
        early = other.answer_wait(address, True, by="ana", source="cli")
        assert (early.address, early.status, early.answer) == (address, WaitStatus.ANSWERED, True)
        assert (early.schema, early.asked_at) == (None, None)
        with pytest.raises(ConflictError, match="ana"):
            other.answer_wait(address, False, by="ben", source="cli")

        first = journal.ask(attempt, a_question())[0]
        second = journal.ask(attempt, a_question(place=1))[0]

        assert first.status is WaitStatus.PENDING
        assert (second.address, second.status, second.answer) == (address, WaitStatus.ANSWERED, True)
        assert (second.answered_by, second.answered_at) == ("ana", early.answered_at)
        assert second.question == "Publish?"
        assert [wait.address for wait in journal.waits()] == [address, first.address]
        changed, anew = journal.ask(attempt, a_question("Publish now?", place=1))
        assert (changed.status, anew) == (WaitStatus.PENDING, True)

    def test_an_answer_ahead_of_time_that_does_not_fit_is_asked_for(self, journal: Journal) -> None:
        attempt = _begun(journal)
        journal.answer_wait(_address(attempt), "yes", by="ana", source="cli")

        wait = journal.ask(attempt, a_question())[0]

        assert wait.status is WaitStatus.PENDING
        assert wait.refused == "ahead of time ana gave \"yes\": 'yes' is not of type 'boolean'"
        answered = journal.answer_wait(wait.address, True, by="ana", source="cli")
        assert (answered.answer, journal.ask(attempt, a_question())) == (True, (answered, False))

    def test_what_was_answered_in_another_execution_counts_where_that_is_lent(self, journal: Journal) -> None:
        first = _begun(journal)
        for place, text in enumerate(("Publish?", "Send?", "Unanswered?")):
            wait = journal.ask(first, a_question(text, place=place))[0]
            if place < 2:
                journal.answer_wait(wait.address, True, by="ana@lab", source="cli", reason="fine")
        journal.finish(first, ExecutionStatus.COMPLETED)
        told = journal.waits(first.execution)
        replay = journal.start(Identity(flow="m:f"), owner=current_owner(), new=True)[0]
        journal.answer_wait(_address(replay, "publish#2"), False, by="ben@lab", source="cli")

        def ask(place: int, text: str) -> Wait:
            return journal.ask(replay, a_question(text, place=place), lender=first.execution)[0]

        kept, own, unanswered = ask(0, "Publish?"), ask(1, "Send?"), ask(2, "Unanswered?")
        changed = ask(3, "Publish?")

        assert (kept.answer, kept.answered_by, kept.reason) == (True, "ana@lab", "fine")
        assert (kept.answered_at, kept.lent) == (told[0].answered_at, told[0].address)
        assert (own.answer, own.answered_by, own.lent) == (False, "ben@lab", None)
        assert {unanswered.status, changed.status} == {WaitStatus.PENDING}
        assert journal.waits(first.execution) == told

    def test_an_answer_to_another_question_is_not_lent(self, journal: Journal) -> None:
        first = _begun(journal)
        address = journal.ask(first, a_question())[0].address
        journal.answer_wait(address, True, by="ana@lab", source="cli")
        replay = journal.start(Identity(flow="m:g"), owner=current_owner())[0]

        wait = journal.ask(replay, a_question(shown="another draft"), lender=first.execution)[0]

        assert wait.status is WaitStatus.PENDING

    @pytest.mark.parametrize("default", [False, None])
    def test_after_the_deadline_the_default_counts(
        self, journal: Journal, other: Journal, default: Any
    ) -> None:
        attempt = _begun(journal)
        question = a_question(
            schema={"type": ["boolean", "null"]}, timeout=_AT_ONCE, default=default, has_default=True
        )
        asked = journal.ask(attempt, question)[0]

        seen = other.wait(asked.address)
        with pytest.raises(ConflictError) as late:
            other.answer_wait(asked.address, True, by="ana", source="cli")
        wait, anew = journal.ask(attempt, question)

        assert (seen.status, seen.answer, seen.answered_by) == (WaitStatus.ANSWERED, default, DEADLINE)
        assert seen.answered_at == asked.deadline
        assert late.value.kind == "already-answered"
        assert (wait, anew) == (seen, False)

    def test_without_a_default_it_expires(self, journal: Journal) -> None:
        attempt = _begun(journal)
        address = journal.ask(attempt, a_question(timeout=_AT_ONCE))[0].address

        assert journal.wait(address).status is WaitStatus.EXPIRED
        assert journal.ask(attempt, a_question(timeout=_AT_ONCE))[0].status is WaitStatus.EXPIRED
        with pytest.raises(ConflictError) as late:
            journal.answer_wait(address, True, by="ana", source="cli")

        assert late.value.kind == "wait-expired"
        assert f"kitaru-nb replay {attempt.execution} --from" in (late.value.hint or "")
        assert journal.ask(attempt, a_question(timeout=_AT_ONCE))[0].status is WaitStatus.EXPIRED
        kinds = [event.kind for event in journal.events(attempt.execution)]
        assert kinds.count("wait.expired") == 1

    @pytest.mark.parametrize("status", [ExecutionStatus.COMPLETED, ExecutionStatus.CANCELLED])
    def test_nothing_waits_in_an_execution_that_is_over(
        self, journal: Journal, status: ExecutionStatus
    ) -> None:
        attempt = _begun(journal)
        address = journal.ask(attempt, a_question())[0].address
        journal.finish(attempt, status)

        for each in (address, _address(attempt, "another")):
            with pytest.raises(ConflictError, match=status.value) as refused:
                journal.answer_wait(each, True, by="ana", source="cli")
            assert refused.value.kind == "wait-expired"

        assert journal.wait(address).status is WaitStatus.EXPIRED

    def test_a_budget_is_not_answered(self, journal: Journal) -> None:
        address = journal.ask(_begun(journal), a_question(kind=WaitKind.BUDGET))[0].address

        with pytest.raises(UsageError, match="budget") as refused:
            journal.answer_wait(address, True, by="ana", source="cli")

        assert refused.value.kind == "not-a-question"

    def test_only_the_attempt_that_holds_the_execution_asks(self, journal: Journal) -> None:
        first = _begun(journal)
        journal.finish(first, ExecutionStatus.INTERRUPTED)
        _begun(journal)

        with pytest.raises(ConflictError) as refused:
            journal.ask(first, a_question())

        assert refused.value.kind == "superseded"
        assert journal.waits() == []

    def test_what_is_unknown_is_named(self, journal: Journal) -> None:
        attempt = _begun(journal)

        with pytest.raises(NotFoundError) as nothing:
            journal.wait(_address(attempt, "never"))
        with pytest.raises(NotFoundError) as nobody:
            journal.answer_wait("ex_nobody/publish", True, by="ana", source="cli")
        with pytest.raises(UsageError) as malformed:
            journal.answer_wait("publish", True, by="ana", source="cli")

        assert (nothing.value.kind, nobody.value.kind, malformed.value.kind) == (
            "unknown-wait",
            "unknown-execution",
            "bad-address",
        )

    def test_questions_and_answers_are_events(self, journal: Journal) -> None:
        attempt = _begun(journal)
        address = journal.ask(attempt, a_question())[0].address
        journal.answer_wait(address, True, by="ana@lab", source="cli")

        asked, answered = (e for e in journal.events(attempt.execution) if e.kind.startswith("wait."))

        assert (asked.kind, asked.data["question"]) == ("wait.asked", "Publish?")
        assert (answered.kind, answered.data["answer"]) == ("wait.answered", True)
        assert (answered.data["by"], answered.data["asked"]) == ("ana@lab", asked.seq)

    def test_what_was_answered_in_another_journal_is_shown_here_and_asked_again(
        self, journal: Journal, tmp_path: Path
    ) -> None:
        attempt = _begun(journal)
        asked = [journal.ask(attempt, a_question(place=place))[0] for place in (0, 1)]
        journal.answer_wait(asked[0].address, True, by="ana@lab", source="cli")
        journal.answer_wait(_address(attempt, "later"), True, by="ana@lab", source="cli")
        journal.finish(attempt, ExecutionStatus.WAITING)
        told = journal.waits()
        run = Run(journal.execution(attempt.execution), journal.attempts(attempt.execution))
        elsewhere = self.open_journal(tmp_path / "elsewhere")
        _begun(elsewhere)

        elsewhere.take_in(Transcript([run], [], journal.events(attempt.execution)), told={})

        shown = [replace(wait, binding=None) for wait in told]
        assert [replace(w, binding=None) for w in elsewhere.waits(attempt.execution)] == shown
        assert elsewhere.waits() == elsewhere.waits(attempt.execution)
        here = elsewhere.resume(attempt.execution, owner=current_owner())
        again = [elsewhere.ask(here, a_question(place=place)) for place in (0, 1)]
        early, _ = elsewhere.ask(here, a_question(name="later"))
        assert [wait.address for wait, _ in again] == [wait.address for wait in asked]
        assert {wait.status for wait, _ in again} | {early.status} == {WaitStatus.PENDING}
        third, _ = elsewhere.ask(here, a_question(place=2))
        assert third.address == _address(attempt, "publish#3")
        elsewhere.close()

    @pytest.mark.parametrize(
        "change",
        [
            {"address": "ex_other/publish"},
            {"address": 3},
            {"deadline": 1 << 80},
            {"place": "0"},
            {"schema": None},
            {"schema": {"enum": 3}},
            {"kind": "no kind"},
        ],
    )
    def test_a_wait_that_somebody_made_up_is_nothing_but_a_line_of_history(
        self, journal: Journal, tmp_path: Path, change: dict[str, Any]
    ) -> None:
        attempt = _begun(journal)
        address = journal.ask(attempt, a_question())[0].address
        journal.answer_wait(address, True, by="ana@lab", source="cli")
        journal.finish(attempt, ExecutionStatus.WAITING)
        run = Run(journal.execution(attempt.execution), journal.attempts(attempt.execution))
        events = [
            replace(event, data={**event.data, **change}) if event.kind == "wait.asked" else event
            for event in journal.events(attempt.execution)
        ]
        elsewhere = self.open_journal(tmp_path / "elsewhere")

        elsewhere.take_in(Transcript([run], [], events), told={})

        assert elsewhere.waits() == []
        assert len(elsewhere.events(attempt.execution)) == len(events) + 1
        elsewhere.close()

    def test_where_an_attempt_stopped_is_on_record(self, journal: Journal, other: Journal) -> None:
        attempt = _begun(journal)
        assert journal.suspended(attempt.execution) is None
        journal.note_suspended(attempt, {"wait": "ex/a"})

        noted = journal.note_suspended(attempt, {"wait": "ex/b"})

        assert other.suspended(attempt.execution) == noted
        assert dict(noted.data) == {"epoch": attempt.epoch, "wait": "ex/b"}
        with pytest.raises(ConflictError):
            journal.note_suspended(replace(attempt, epoch=attempt.epoch + 1), {})
