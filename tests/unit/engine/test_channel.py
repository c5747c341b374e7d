"""A mailbox between executions: each message is taken once, and is had again by whom took it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import pytest

from kitaru_nb import channel, log
from kitaru_nb.engine import channel as module
from kitaru_nb.engine.book import Book
from kitaru_nb.engine.context import inside
from kitaru_nb.engine.export import export_execution
from kitaru_nb.engine.importing import import_file
from kitaru_nb.engine.lease import Lease
from kitaru_nb.errors import ConflictError, StoreError, TimedOutError, UnstorableError, UsageError
from kitaru_nb.model.execution import ExecutionStatus, Identity, current_owner
from kitaru_nb.model.settings import Settings
from kitaru_nb.stacks.open import open_engine
from kitaru_nb.testing import a_draft
from tests.unit.engine.test_calls import attempts
from tests.unit.engine.turns import Attempts

__all__ = ["attempts"]


def test_each_message_is_taken_once_and_given_again_in_order(attempts: Attempts) -> None:
    with attempts.attempt_at("tests:sender"):
        for text in ("same", "same", "other"):
            channel("box").send(text)

    def body() -> list[str]:
        return [channel("box").receive(timeout=0) for _ in range(3)]

    assert attempts.twice(body)[:2] == (["same", "same", "other"],) * 2
    with attempts.attempt_at("tests:third"), pytest.raises(TimedOutError):
        channel("box").receive(timeout=0)


@pytest.mark.parametrize("name", ["", "../a'; --", "<b>", "half of a letter: \ud83d"])
def test_any_text_is_the_name_of_a_channel(attempts: Attempts, name: str) -> None:
    with attempts.attempt():
        channel(name).send(name)

        assert channel(name).receive(timeout=0) == name


def test_what_was_received_is_had_again_where_the_execution_is_imported(
    attempts: Attempts, tmp_path: Path
) -> None:
    with attempts.attempt_at("tests:sender"):
        channel("box").send("message")
    with attempts.attempt():
        channel("box").receive(timeout=0)
    received = attempts.execution.id
    export_execution(attempts.engine, received, tmp_path / "received.kitaru")

    elsewhere = Attempts(tmp_path / "elsewhere")
    with elsewhere.attempt_at("tests:another"):
        log(steps="are numbered otherwise there")
    import_file(elsewhere.engine, tmp_path / "received.kitaru")
    lease = Lease(elsewhere.engine, Identity(flow="tests:flow"))
    lease.take_named(received)
    book = Book(elsewhere.engine, lease.take)
    with inside(book.scope("flow")):
        assert channel("box").receive(timeout=0) == "message"
    book.close()
    lease.give_back(ExecutionStatus.INTERRUPTED)


def test_a_message_is_left_once_however_often_the_attempt_is_made(attempts: Attempts) -> None:
    attempts.twice(lambda: channel("box").send("one"))

    with attempts.attempt_at("tests:receiver"):
        assert channel("box").receive(timeout=0) == "one"
        with pytest.raises(TimedOutError) as nothing:
            channel("box").receive(timeout=0)
    assert nothing.value.kind == "nothing-received"


def test_who_waits_is_given_what_is_left_meanwhile(
    attempts: Attempts, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The message is left while the receiver pauses between two looks."""
    pauses: list[float] = []

    def pause(seconds: float) -> None:
        pauses.append(seconds)
        if len(pauses) == 9:
            with attempts_beside(attempts, "tests:sender"):
                channel("box").send("at last")

    monkeypatch.setattr(module.time, "sleep", pause)
    with attempts.attempt():
        assert channel("box").receive() == "at last"

    assert pauses == sorted(pauses)
    assert max(pauses) <= 1.0, "it looks again within a second"


def test_channels_of_other_names_hold_other_messages(attempts: Attempts) -> None:
    with attempts.attempt_at("tests:sender"):
        channel("a").send(1)
        channel("b").send(2)

    with attempts.attempt():
        assert [channel(name).receive(timeout=0) for name in "ba"] == [2, 1]


def test_what_cannot_be_stored_is_not_sent(attempts: Attempts) -> None:
    with attempts.attempt() as scope:
        with pytest.raises(UnstorableError, match="channel box"):
            channel("box").send({"running": (number for number in "ab")})
        assert scope.book.results() == []
        with pytest.raises(TimedOutError):
            channel("box").receive(timeout=0)


def test_a_channel_belongs_to_an_execution(attempts: Attempts) -> None:
    with pytest.raises(UsageError) as nowhere:
        channel("box")
    with attempts.attempt():
        box = channel("box")
    with pytest.raises(UsageError) as later:
        box.send(1)

    assert nowhere.value.kind == later.value.kind == "outside-execution"


@contextmanager
def full_disk(engine: Any) -> Iterator[None]:
    """Inside the block the disk has no room left when a transaction is to be committed."""
    journal = engine.journal

    @contextmanager
    def full() -> Iterator[None]:
        with type(journal).holding(journal):
            yield
            raise StoreError("the disk is full", kind="journal-full", hint="make room")

    journal.holding = full
    try:
        yield
    finally:
        del journal.holding


def test_a_message_whose_commit_failed_was_not_sent_and_can_be_sent(attempts: Attempts) -> None:
    with attempts.attempt_at("tests:sender") as scope:
        book = scope.book
        with full_disk(attempts.engine), pytest.raises(StoreError):
            channel("box").send("once")
        assert (book.newest, scope.consumed, scope.root.held) == (0, set(), {})
        with inside(book.scope("flow")):  # the cell is run again in the same kernel
            channel("box").send("once")
        recorded = attempts.engine.journal.steps_within(book.execution)
        assert book.results() == recorded
        assert (book.newest, [step.draft.number for step in recorded]) == (2, [0, 0])

    with attempts.attempt():
        assert channel("box").receive(timeout=0) == "once"
        with pytest.raises(TimedOutError):
            channel("box").receive(timeout=0)


def test_a_message_whose_receipt_was_not_committed_is_not_had_and_can_be_taken(attempts: Attempts) -> None:
    with attempts.attempt_at("tests:sender"):
        channel("box").send("message")

    with attempts.attempt() as scope:
        with full_disk(attempts.engine), pytest.raises(StoreError):
            channel("box").receive(timeout=0)
        with attempts_beside(attempts, "tests:quicker"):
            assert channel("box").receive(timeout=0) == "message"
        with inside(scope.book.scope("flow")), pytest.raises(TimedOutError):
            channel("box").receive(timeout=0)


@contextmanager
def attempts_beside(attempts: Attempts, flow: str) -> Iterator[None]:
    """Another process works in another execution meanwhile."""
    beside = Attempts(attempts.engine.settings.home)
    with beside.attempt_at(flow):
        yield
    beside.engine.close()


def test_what_follows_a_failed_commit_is_signed_for_what_it_follows(attempts: Attempts) -> None:
    """Another process is quicker, and its step has the number that the undone one had."""
    engine = attempts.engine
    with attempts.attempt_at("tests:sender") as scope:
        with full_disk(engine), pytest.raises(StoreError):
            channel("box").send("undone")
        with closing(open_engine(Settings(home=engine.settings.home))) as other:
            signed = other.trust.signed(a_draft("first"), scope.book.execution)
            first = other.journal.commit(scope.book.attempt, signed)
        signed = engine.trust.signed(a_draft("second", parent=first.seq), scope.book.execution)
        second = engine.journal.commit(scope.book.attempt, signed)

    with closing(open_engine(Settings(home=engine.settings.home))) as other:
        assert first.seq == 1
        other.trust.require(other.journal.line(second.seq))


def test_nothing_of_a_message_stays_where_the_lease_was_lost(attempts: Attempts) -> None:
    with attempts.attempt_at("tests:sender") as scope:
        book = scope.book
        attempts.engine.journal.resume(book.execution, owner=current_owner(), take_over=True)
        with pytest.raises(ConflictError) as refused:
            channel("box").send("late")

        assert refused.value.kind == "superseded"
        assert book.results() == []
        assert scope.consumed == set()

    with attempts.attempt(), pytest.raises(TimedOutError):
        channel("box").receive(timeout=0)
